// Bands of membership over time, and routes over time.

const ROW = 30; // pixels of a band and of the room around it

const timelineCanvas = document.createElement('canvas');

function startTimeline() {
  timelineCanvas.tabIndex = 0;
  timelineCanvas.setAttribute('role', 'img');
  document.getElementById('timeline').append(timelineCanvas);
  const chart = {
    canvas: timelineCanvas,
    left: 0,
    right: 6,
    height: () => Math.max(1, store.names().length) * (ROW + namesAbove()) + 22,
    draw: drawTimeline,
    describe: describeTimeline,
  };
  addChart(chart);
}

// On a phone the names stand above their bands.
const isNarrow = () => timelineCanvas.clientWidth < 520;
const namesAbove = () => (isNarrow() ? 14 : 0);

function drawTimeline(pen, width, height) {
  const { colors } = drawn;
  const names = store.names();
  pen.font = '12px system-ui, sans-serif';
  const widest = Math.max(0, ...names.map((name) => pen.measureText(name).width));
  const left = isNarrow() ? 0 : Math.min(160, widest + 14);
  const right = width - 6;
  charts.find((chart) => chart.canvas === timelineCanvas).left = left;
  const bottom = height - 20;
  pen.font = '11px system-ui, sans-serif';
  const axis = timeAxis(pen, { left, right, bottom });
  names.forEach((name, place) => {
    const top = place * (ROW + namesAbove()) + namesAbove();
    pen.font = '12px system-ui, sans-serif';
    pen.fillStyle = colors.ink;
    pen.textAlign = 'left';
    pen.textBaseline = isNarrow() ? 'bottom' : 'middle';
    pen.fillText(name, 0, isNarrow() ? top + 2 : top + ROW / 2, isNarrow() ? width : left - 10);
    drawBand(pen, name, axis, { top: top + 4, high: ROW - 8, left, right });
  });
  cursorLine(pen, axis.x, 0, bottom, axis);
  const now = names.map((name) => `${name}: ${standing(store.samples.at(-1)?.nodes.get(name))}`);
  timelineCanvas.setAttribute('aria-label', `Now: ${now.join('; ')}. Arrow keys read the chart.`);
}

function drawBand(pen, name, axis, { top, high, left, right }) {
  const { colors } = drawn;
  pen.save();
  pen.beginPath();
  pen.roundRect(left, top, right - left, high, 4);
  pen.clip();
  const first = Math.max(left, axis.x(store.samples[0]?.t ?? axis.to));
  pen.fillStyle = colors.grid;
  pen.fillRect(left, top + high / 2, first - left, 1);
  pen.fillStyle = stripes(pen, 'unknown', colors.faint);
  pen.fillRect(first, top, right - first, high);
  for (const { from, to, at } of store.stretches(name, axis.from, axis.to)) {
    const kind = band(at);
    if (kind === 'unknown') continue;
    const [start, end] = [Math.max(left, axis.x(from)), axis.x(to)];
    // However short it was, it is seen.
    const wide = Math.max(2, end - start);
    pen.fillStyle = colors[kind];
    pen.fillRect(start, top, wide, high);
    if (kind === 'probation' || kind === 'ejected') {
      pen.globalAlpha = 0.28;
      pen.fillStyle = stripes(pen, kind, colors.surface);
      pen.fillRect(start, top, wide, high);
      pen.globalAlpha = 1;
    }
    label(pen, standing(at), { start, wide, top, high, kind });
  }
  pen.restore();
}

function label(pen, text, { start, wide, top, high, kind }) {
  pen.font = '600 11px system-ui, sans-serif';
  const long = pen.measureText(text).width + 14;
  if (long > wide) return;
  pen.textAlign = 'left';
  pen.textBaseline = 'middle';
  if (kind === 'probation' || kind === 'ejected') {
    pen.fillStyle = drawn.colors[kind];
    pen.fillRect(start + 2, top, long - 2, high);
  }
  pen.fillStyle = drawn.colors.surface;
  pen.fillText(text, start + 7, top + high / 2 + 0.5);
}

function describeTimeline(t, y) {
  const names = store.names();
  const row = Math.floor(y / (ROW + namesAbove()));
  const chosen = y > 0 && names[row] !== undefined ? [names[row]] : names;
  const lines = chosen.map((name) => {
    const found = store.stretches(name, t - 0.01, t + 0.01).at(-1);
    const since = found?.at ? `, from ${clock(found.from)} to ${endOf(found)}` : '';
    const cause = found?.at?.cause;
    const why = chosen.length === 1 && cause ? ` (${reasons[cause]})` : '';
    return `${chosen.length > 1 ? `${name}: ` : ''}${standing(found?.at)}${why}${since}`;
  });
  return [chosen.length === 1 ? `${chosen[0]}, ${clock(t)}` : clock(t), ...lines];
}

const endOf = (stretch) => (store.now() - stretch.to < HOLE ? 'now' : clock(stretch.to));

const routesCanvas = document.getElementById('routes-chart');

function startRoutes() {
  addChart({
    canvas: routesCanvas,
    left: 46,
    right: 6,
    height: () => 190,
    draw: drawRoutes,
    describe: describeRoutes,
  });
}

// Counts of routes to each node, or for each reason, at a sample.
function countsOf(sample) {
  if (view.stacking === 'reason') return sample.reasons;
  return new Map([...sample.nodes].map(([name, point]) => [name, point.routes]));
}

// Routes a second, in pieces of time as wide as can be told apart.
function rates() {
  const to = store.now();
  const piece = view.range / 60;
  const first = Math.floor((to - view.range) / piece);
  const pieces = Array.from({ length: 61 }, (_, place) => ({ t: (first + place) * piece, rates: new Map() }));
  for (let place = 1; place < store.samples.length; place += 1) {
    const [before, after] = [store.samples[place - 1], store.samples[place]];
    const found = pieces[Math.floor(after.t / piece) - first];
    if (!found || after.t - before.t > HOLE) continue;
    found.seen = true;
    const earlier = countsOf(before);
    for (const [key, count] of countsOf(after)) {
      // A count that went back began anew.
      const more = count - (earlier.get(key) ?? 0);
      if (more > 0) found.rates.set(key, (found.rates.get(key) ?? 0) + more / piece);
    }
  }
  return { pieces, piece };
}

function routeKeys() {
  const keys = new Set();
  for (const sample of store.samples) {
    for (const [key, count] of countsOf(sample)) if (count > 0) keys.add(key);
  }
  const order = store.names();
  return [...keys].sort((one, other) => order.indexOf(one) - order.indexOf(other) || (one < other ? -1 : 1));
}

const routeColor = (place) => drawn.colors[`series-${(place % 6) + 1}`];

function drawRoutes(pen, width, height) {
  const { colors } = drawn;
  const [left, right, top, bottom] = [46, width - 6, 8, height - 20];
  const axis = timeAxis(pen, { left, right, bottom });
  const { pieces, piece } = rates();
  const total = (found) => [...found.rates.values()].reduce((sum, part) => sum + part, 0);
  const most = Math.max(1, ...pieces.map(total));
  const step = niceStep(most / 3);
  const ceiling = Math.ceil(most / step) * step;
  const y = (value) => bottom - (value / ceiling) * (bottom - top);
  pen.textAlign = 'right';
  pen.textBaseline = 'middle';
  for (let value = 0; value <= ceiling + step / 2; value += step) {
    const at = Math.round(y(value)) + 0.5;
    pen.strokeStyle = colors.grid;
    pen.beginPath();
    pen.moveTo(left, at);
    pen.lineTo(right, at);
    pen.stroke();
    pen.fillStyle = colors.muted;
    pen.fillText(rate(value), left - 6, at);
  }
  const keys = routeKeys();
  for (const found of pieces) {
    const start = Math.max(left, axis.x(found.t));
    const end = Math.min(right, axis.x(found.t + piece));
    if (end - start < 0.5) continue;
    let below = 0;
    keys.forEach((key, place) => {
      const part = found.rates.get(key) ?? 0;
      if (part === 0) return;
      pen.fillStyle = routeColor(place);
      const [low, high] = [y(below), y(below + part)];
      pen.fillRect(start, high, Math.max(1, end - start - 1), Math.max(0.5, low - high - 0.5));
      below += part;
    });
  }
  cursorLine(pen, axis.x, top, bottom, axis);
}

// 1, 2, 5, 10 and so on.
function niceStep(rough) {
  const decade = 10 ** Math.floor(Math.log10(rough));
  return [1, 2, 5, 10].map((factor) => factor * decade).find((value) => value >= rough);
}

function describeRoutes(t) {
  const { pieces, piece } = rates();
  const found = pieces.find((other) => t >= other.t && t < other.t + piece);
  if (!found?.seen) return [clock(t), 'nobody looked'];
  const lines = routeKeys().map((key) => `${words(key)} ${rate(found.rates.get(key) ?? 0)}`);
  return [clock(t), ...lines];
}

function showRoutes() {
  const any = store.samples.some((sample) => [...sample.reasons.values()].some((count) => count > 0));
  document.getElementById('routes-none').hidden = any;
  document.getElementById('routes-some').hidden = !any;
  document.getElementById('stacking').hidden = !any;
  if (!any) return;
  const { pieces } = rates();
  const lately = pieces.filter((found) => found.seen).at(-2) ?? { rates: new Map() };
  const keys = routeKeys();
  const items = keys.map((key, place) => {
    const item = document.createElement('li');
    const mark = document.createElement('i');
    mark.className = 'square';
    mark.style.background = routeColor(place);
    item.append(mark, `${words(key)} ${rate(lately.rates.get(key) ?? 0)}`);
    return item;
  });
  document.getElementById('routes-legend').replaceChildren(...items);
  const told = keys.map((key) => `${words(key)} ${rate(lately.rates.get(key) ?? 0)}`).join(', ');
  routesCanvas.setAttribute('aria-label', `Routes: ${told}. Arrow keys read the chart.`);
}
