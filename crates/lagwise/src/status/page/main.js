// Listens, and shows what it hears. What was not heard of lately is marked as such: unknown is stale.

const SILENCE = 3; // seconds after which nobody is there
const base = location.pathname.endsWith('/') ? location.pathname : `${location.pathname}/`;

const link = { source: null, state: 'waiting', pause: 1, since: store.now() };

function connect() {
  const source = new EventSource(`${base}events`);
  link.source = source;
  source.addEventListener('cluster', (message) => {
    link.pause = 1;
    hear(message);
    learn();
  });
  source.addEventListener('sample', hear);
  source.addEventListener('event', (message) => {
    store.note(JSON.parse(message.data));
    showLog();
  });
  source.onerror = () => {
    check();
    if (source.readyState !== EventSource.CLOSED) return;
    // Refused, not cut off: the browser would not try again.
    setTimeout(connect, link.pause * 1e3);
    link.pause = Math.min(10, link.pause * 2);
  };
}

async function learn() {
  try {
    const answer = await fetch(`${base}history`);
    if (!answer.ok) return;
    store.learn(await answer.json());
    if (!view.chosen) suit();
    show();
  } catch {
    // Cut off in between: whoever connects again learns again.
  }
}

// A chart of minutes says little of a service that began just now.
function suit() {
  const age = store.now() - (store.samples[0]?.t ?? store.now());
  view.range = age < 90 ? 60 : 300;
  document.querySelector(`input[name="range"][value="${view.range}"]`).checked = true;
}

function hear(message) {
  store.take(JSON.parse(message.data));
  show();
}

function show() {
  check();
  if (!store.cluster || document.hidden) return;
  showFacts(store.cluster);
  showNodes(store.cluster);
  showRoutes();
  showLog();
  drawAll();
}

// Whether what is shown is of now.
function check() {
  const silent = store.now() - store.heard;
  const live = store.heard > 0 && silent < SILENCE;
  const never = store.heard === 0;
  const state = live ? 'live' : never ? 'waiting' : 'stale';
  document.body.dataset.link = state;
  const text = {
    live: 'live',
    waiting: store.now() - link.since > SILENCE ? 'not connected' : 'connecting',
    stale: `not connected, shown as of ${clock(store.heard)}`,
  }[state];
  say(document.getElementById('link-text'), text);
  showNotice(state);
}

function showNotice(state) {
  const notice = document.getElementById('notice');
  const stale = 'Nobody has told this page anything since then: what it shows may be wrong by now. It tries to connect again.';
  const concerned = store.cluster ? concern(store.cluster) : null;
  const text = state === 'stale' ? stale : state === 'live' ? concerned : null;
  notice.hidden = text === null;
  notice.dataset.kind = state;
  if (text !== null) say(notice, text);
}

function showLog() {
  const list = document.getElementById('log');
  const shown = store.events.slice(-100).reverse();
  const key = shown.map((change) => `${change.run}/${change.at}/${change.node}`).join();
  document.getElementById('log-none').hidden = shown.length > 0;
  if (list.dataset.key === key) return;
  list.dataset.key = key;
  list.replaceChildren(...shown.map((change) => {
    const item = document.createElement('li');
    item.dataset.event = change.event;
    const part = (tag, text) => {
      const element = document.createElement(tag);
      element.textContent = text;
      item.append(element);
      return element;
    };
    part('time', clock(change.t)).dateTime = new Date(change.t * 1e3).toISOString();
    part('b', change.node ?? 'cluster');
    part('span', change.text);
    return item;
  }));
}

function choose(name, value) {
  for (const input of document.querySelectorAll(`input[name="${name}"]`)) {
    input.addEventListener('change', () => {
      view[name] = value(input.value);
      view.chosen ||= name === 'range';
      show();
    });
  }
}

readColors();
matchMedia('(prefers-color-scheme: dark)').addEventListener('change', () => {
  readColors();
  show();
});
document.addEventListener('visibilitychange', show);
choose('range', Number);
choose('stacking', String);
startTimeline();
startRoutes();
connect();
setInterval(() => {
  const before = document.body.dataset.link;
  check();
  // Time goes on, also where nothing is heard.
  if (before !== 'live' || document.body.dataset.link !== 'live') show();
}, 1000);
