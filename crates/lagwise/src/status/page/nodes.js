// The cluster in figures, and a card for each node.

const marks = { primary: '◆', primary_lost: '✕', in_rotation: '●', probation: '◐', ejected: '✕' };

const cards = new Map(); // name to its parts

function say(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

function showFacts(cluster) {
  const replicas = cluster.nodes.filter((node) => !node.is_primary).length;
  const lost = cluster.primary_lost_seconds;
  const fact = (name, text) => say(document.getElementById(`fact-${name}`), text);
  const gone = lost === null ? '' : `, lost for ${time(lost)}`;
  fact('primary', cluster.primary === null ? 'none found' : cluster.primary + gone);
  fact('rotation', `${cluster.in_rotation} of ${replicas}`);
  fact('timeline', cluster.timeline === null ? unknown : String(cluster.timeline));
  fact('limit', time(cluster.max_lag_seconds));
  fact('poll', time(cluster.poll_interval_seconds));
  document.title = `${cluster.in_rotation} of ${replicas} in rotation · lagwise`;
}

// What deserves a word before everything else.
function concern(cluster) {
  if (cluster.primary === null) return 'No primary is known: nothing can be written.';
  if (cluster.primary_lost_seconds !== null) {
    return `${cluster.primary} does not answer: nothing can be written until it does, or another node is promoted.`;
  }
  const replicas = cluster.nodes.filter((node) => !node.is_primary);
  if (replicas.length > 0 && cluster.in_rotation === 0) {
    return 'No replica is in rotation: reads go to the primary, as far as its budget allows.';
  }
  return null;
}

function showNodes(cluster) {
  const parent = document.getElementById('nodes');
  const names = cluster.nodes.map((node) => node.name);
  const replicas = cluster.nodes.filter((node) => !node.is_primary).length;
  parent.style.setProperty('--columns', columns(replicas));
  for (const [name, card] of cards) {
    if (names.includes(name)) continue;
    removeChart(card.canvas);
    card.root.remove();
    cards.delete(name);
  }
  cluster.nodes.forEach((node, place) => {
    const card = cards.get(node.name) ?? addCard(node.name);
    if (parent.children[place] !== card.root) parent.insertBefore(card.root, parent.children[place] ?? null);
    showNode(card, node, cluster);
  });
}

// No card stands alone in the last row, if that can be.
function columns(count) {
  if (count <= 4) return Math.max(1, count);
  return count % 4 === 0 || count % 4 === 3 ? 4 : 3;
}

function addCard(name) {
  const root = document.createElement('article');
  root.className = 'node panel';
  root.dataset.node = name;
  const part = (tag, className, parent = root) => {
    const element = document.createElement(tag);
    element.className = className;
    parent.append(element);
    return element;
  };
  const head = part('header', '');
  const title = part('h3', '', head);
  title.textContent = name;
  const role = part('span', 'role', head);
  const badge = part('span', 'badge', head);
  const why = part('p', 'why');
  const figure = part('div', 'figure');
  const bound = part('p', 'large', figure);
  const boundLabel = part('p', 'label', figure);
  const canvas = part('canvas', 'lag');
  canvas.tabIndex = 0;
  canvas.setAttribute('role', 'img');
  const list = part('dl', 'details');
  const card = { root, role, badge, why, figure, bound, boundLabel, canvas, list, details: new Map() };
  cards.set(name, card);
  addChart({
    canvas,
    left: 46,
    right: 6,
    height: () => 148,
    draw: (pen, width, height) => {
      if (!canvas.hidden) drawLag(pen, width, height, name, store.cluster.max_lag_seconds);
    },
    describe: (t) => describeLag(name, t),
  });
  return card;
}

function describeLag(name, t) {
  const sample = store.at(t);
  const point = sample?.nodes.get(name);
  const title = `${name}, ${clock(t)}`;
  if (!point) return [title, 'nobody looked'];
  const bound = point.bound === null ? 'nothing proved' : `bound ${time(point.bound)}`;
  return [title, standing(point), bound, `estimate ${time(point.estimate)}`];
}

function showNode(card, node, cluster) {
  const lost = node.is_primary && cluster.primary_lost_seconds !== null;
  const primary = lost ? 'primary_lost' : 'primary';
  const at = node.is_primary ? primary : node.membership;
  card.root.dataset.standing = at;
  const role = node.balanced ? 'behind a balancer' : node.role ?? 'role unknown';
  say(card.role, [node.name.includes(role) ? null : role, node.zone].filter(Boolean).join(' · '));
  const membership = node.cause ? `${words(node.membership)}: ${words(node.cause)}` : words(node.membership);
  const badge = { primary: 'takes writes', primary_lost: 'lost' }[at] ?? membership;
  say(card.badge, `${marks[at]} ${badge}`);
  say(card.why, describeStanding(node, cluster));
  card.canvas.hidden = node.is_primary;
  card.figure.hidden = node.is_primary;
  if (!node.is_primary) {
    const known = node.staleness_seconds !== null;
    say(card.bound, known ? time(node.staleness_seconds) : unknown);
    card.bound.classList.toggle('none', !known);
    say(card.boundLabel, known ? 'behind at most' : 'nothing is proved');
    const label = `Lag of ${node.name}: ${known ? `at most ${time(node.staleness_seconds)}` : 'nothing proved'}`;
    card.canvas.setAttribute('aria-label', `${label}. Arrow keys read the chart.`);
  }
  showDetails(card, details(node));
}

function describeStanding(node, cluster) {
  if (node.is_primary) {
    const lost = cluster.primary_lost_seconds;
    return lost === null ? `on timeline ${cluster.timeline}` : `has not answered for ${time(lost)}`;
  }
  const age = node.since_seconds < 1 ? 'just now' : `for ${time(Math.floor(node.since_seconds))}`;
  if (node.cause) return `${reasons[node.cause] ?? words(node.cause)}, ${age}`;
  return `since ${clock(store.heard - node.since_seconds)}, ${age}`;
}

function details(node) {
  const rows = [];
  if (!node.is_primary) {
    rows.push(['Estimate', time(node.estimate_seconds)]);
    rows.push(['Bytes behind', size(node.bytes_behind)]);
  }
  rows.push(['Position', node.lsn ?? unknown]);
  const seen = node.observed_seconds_ago;
  rows.push(['Answers in', seen === null ? unknown : time(node.latency_seconds)]);
  rows.push(['Seen', seen === null ? 'not now' : `${time(seen)} ago`]);
  const { connections, idle, most } = node.pool;
  const open = `${connections - Math.min(idle, connections)} busy, ${idle} idle, of ${most}`;
  rows.push(['Connections', connections === 0 ? 'none open' : open]);
  return rows;
}

function showDetails(card, rows) {
  const labels = rows.map(([label]) => label);
  for (const [label, row] of card.details) {
    if (labels.includes(label)) continue;
    row.root.remove();
    card.details.delete(label);
  }
  for (const [label, text] of rows) {
    if (!card.details.has(label)) card.details.set(label, addDetail(card.list, label));
    const value = card.details.get(label).value;
    say(value, text);
    value.classList.toggle('none', text === unknown || text === 'not now');
  }
}

function addDetail(list, label) {
  const root = document.createElement('div');
  const term = document.createElement('dt');
  const value = document.createElement('dd');
  term.textContent = label;
  root.append(term, value);
  list.append(root);
  return { root, value };
}
