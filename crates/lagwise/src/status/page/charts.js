// What all drawings share: the colors of the style, the time that is shown, and a cursor in it.

const view = { range: 300, chosen: false, cursor: null, stacking: 'node' };

const charts = []; // { canvas, height, draw(pen), describe(t) }

const drawn = { colors: {} };

// Colors are named in the style alone, and change with light and dark.
function readColors() {
  const style = getComputedStyle(document.documentElement);
  const of = (name) => style.getPropertyValue(`--${name}`).trim();
  const names = [
    'ink', 'muted', 'faint', 'grid', 'surface', 'bound', 'estimate', 'limit', 'primary', 'in_rotation',
    'probation', 'ejected', 'unknown', 'series-1', 'series-2', 'series-3', 'series-4', 'series-5',
    'series-6',
  ];
  drawn.colors = Object.fromEntries(names.map((name) => [name, of(name)]));
}

// A drawing that says what is under the pointer, and can be read with the arrow keys.
function addChart(chart) {
  charts.push(chart);
  const { canvas } = chart;
  const timeAt = (event) => {
    const box = canvas.getBoundingClientRect();
    const [left, right] = [chart.left ?? 0, chart.right ?? 0];
    const share = (event.clientX - box.left - left) / Math.max(1, box.width - left - right);
    const to = store.now();
    return to - view.range * (1 - Math.min(1, Math.max(0, share)));
  };
  const point = (t, x, y) => {
    view.cursor = t;
    showTip(chart.describe(t, y), canvas, x, y);
    drawAll();
  };
  canvas.addEventListener('pointermove', (event) => point(timeAt(event), event.clientX, event.offsetY));
  canvas.addEventListener('pointerdown', (event) => point(timeAt(event), event.clientX, event.offsetY));
  for (const end of ['pointerleave', 'pointercancel', 'blur']) canvas.addEventListener(end, hideTip);
  canvas.addEventListener('keydown', (event) => {
    if (event.key === 'Escape') hideTip();
    const step = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
    if (!step) return;
    event.preventDefault();
    const to = store.now();
    const t = (view.cursor ?? to) + (step * view.range) / 60;
    const held = Math.min(to, Math.max(to - view.range, t));
    const box = canvas.getBoundingClientRect();
    const x = box.left + (chart.left ?? 0) + (1 - (to - held) / view.range) * (box.width - (chart.left ?? 0));
    point(held, x, 0);
  });
  new ResizeObserver(() => draw(chart)).observe(canvas);
}

function removeChart(canvas) {
  const place = charts.findIndex((chart) => chart.canvas === canvas);
  if (place >= 0) charts.splice(place, 1);
}

function drawAll() {
  if (document.hidden) return;
  charts.forEach(draw);
}

function draw(chart) {
  const { canvas } = chart;
  const [width, height] = [canvas.clientWidth, chart.height()];
  if (width === 0) return;
  const ratio = window.devicePixelRatio || 1;
  const [wide, high] = [Math.round(width * ratio), Math.round(height * ratio)];
  if (canvas.width !== wide || canvas.height !== high) {
    [canvas.width, canvas.height] = [wide, high];
    canvas.style.height = `${height}px`;
  }
  const pen = canvas.getContext('2d');
  pen.setTransform(ratio, 0, 0, ratio, 0, 0);
  pen.clearRect(0, 0, width, height);
  pen.font = '11px system-ui, sans-serif';
  chart.draw(pen, width, height);
}

// From a time to a place, and the marks below.
function timeAxis(pen, { left, right, bottom }) {
  const { colors } = drawn;
  const to = store.now();
  const from = to - view.range;
  const x = (t) => left + ((t - from) / view.range) * (right - left);
  pen.fillStyle = colors.muted;
  pen.textBaseline = 'top';
  const steps = view.range > 60 ? [60, 120, 240] : [10, 20, 30];
  const step = steps.find((ago) => x(to) - x(to - ago) >= 76) ?? view.range;
  for (let ago = 0; ago <= view.range; ago += step) {
    pen.textAlign = ago === 0 ? 'right' : ago === view.range ? 'left' : 'center';
    const text = ago === 0 ? 'now' : ago % 60 !== 0 ? `−${ago} s` : `−${ago / 60} min`;
    pen.fillText(text, x(to - ago), bottom + 5);
  }
  return { x, from, to };
}

function cursorLine(pen, x, top, bottom, axis) {
  if (view.cursor === null || view.cursor < axis.from) return;
  pen.strokeStyle = drawn.colors.muted;
  pen.lineWidth = 1;
  pen.setLineDash([]);
  pen.beginPath();
  pen.moveTo(Math.round(x(view.cursor)) + 0.5, top);
  pen.lineTo(Math.round(x(view.cursor)) + 0.5, bottom);
  pen.stroke();
}

// Stripes, so that no state is told by its color alone.
function stripes(pen, kind, color) {
  const tile = document.createElement('canvas');
  const ratio = window.devicePixelRatio || 1;
  [tile.width, tile.height] = [8 * ratio, 8 * ratio];
  const brush = tile.getContext('2d');
  brush.scale(ratio, ratio);
  brush.strokeStyle = color;
  brush.lineWidth = kind === 'unknown' ? 1 : 2;
  const lines = {
    probation: [[0, 8, 8, 0], [-2, 2, 2, -2], [6, 10, 10, 6]],
    ejected: [[0, 8, 8, 0], [-2, 2, 2, -2], [6, 10, 10, 6], [0, 0, 8, 8], [-2, 6, 2, 10], [6, -2, 10, 2]],
    unknown: [[0, 8, 8, 0], [-2, 2, 2, -2], [6, 10, 10, 6]],
  }[kind] ?? [];
  for (const [fromX, fromY, toX, toY] of lines) {
    brush.beginPath();
    brush.moveTo(fromX, fromY);
    brush.lineTo(toX, toY);
    brush.stroke();
  }
  const pattern = pen.createPattern(tile, 'repeat');
  pattern.setTransform(new DOMMatrix().scale(1 / ratio));
  return pattern;
}

// The lag of one node: what is not known is left out, and marked.
function drawLag(pen, width, height, name, limit) {
  const { colors } = drawn;
  const [left, right, top, bottom] = [46, width - 6, 8, height - 20];
  const axis = timeAxis(pen, { left, right, bottom });
  const points = store.samples
    .filter((sample) => sample.t >= axis.from - HOLE)
    .map((sample) => ({ t: sample.t, ...(sample.nodes.get(name) ?? {}) }));
  const values = points.flatMap((point) => [point.bound ?? 0, point.estimate ?? 0]);
  const floor = 1e-3;
  const most = Math.max(limit * 2, ...values);
  const ceiling = niceCeiling(most);
  const y = (value) => {
    const share = Math.log(Math.max(value, floor) / floor) / Math.log(ceiling / floor);
    return bottom - Math.min(1, share) * (bottom - top);
  };
  drawScale(pen, y, { left, right, floor, ceiling });
  pen.save();
  pen.beginPath();
  pen.rect(left, top - 2, right - left, bottom - top + 3);
  pen.clip();
  drawUnknown(pen, points, axis, { top, bottom });
  drawLine(pen, points, (point) => point.bound, axis, y, { color: colors.bound, fill: bottom });
  drawLine(pen, points, (point) => point.estimate, axis, y, { color: colors.estimate });
  pen.restore();
  drawLimit(pen, y(limit), left, right);
  cursorLine(pen, axis.x, top, bottom, axis);
}

// 1, 3, 10, 30 and so on.
function niceCeiling(most) {
  const decade = 10 ** Math.floor(Math.log10(most));
  return [1, 3, 10].map((factor) => factor * decade).find((value) => value >= most);
}

function drawScale(pen, y, { left, right, floor, ceiling }) {
  const { colors } = drawn;
  pen.textAlign = 'right';
  pen.textBaseline = 'middle';
  pen.lineWidth = 1;
  for (let value = floor; value <= ceiling * 1.01; value *= 10) {
    const at = Math.round(y(value)) + 0.5;
    pen.strokeStyle = colors.grid;
    pen.setLineDash([]);
    pen.beginPath();
    pen.moveTo(left, at);
    pen.lineTo(right, at);
    pen.stroke();
    pen.fillStyle = colors.muted;
    pen.fillText(value < 0.999 ? `${Math.round(value * 1e3)} ms` : `${Math.round(value)} s`, left - 6, at);
  }
}

function drawLimit(pen, y, left, right) {
  pen.strokeStyle = drawn.colors.limit;
  pen.lineWidth = 1.25;
  pen.setLineDash([5, 4]);
  pen.beginPath();
  pen.moveTo(left, Math.round(y) + 0.5);
  pen.lineTo(right, Math.round(y) + 0.5);
  pen.stroke();
  pen.setLineDash([]);
}

function drawLine(pen, points, value, axis, y, { color, fill }) {
  const runs = [[]];
  let last = null;
  for (const point of points) {
    const known = value(point);
    const missing = known === null || known === undefined;
    if (missing || (last !== null && point.t - last > HOLE)) runs.push([]);
    last = point.t;
    if (!missing) runs.at(-1).push([axis.x(point.t), y(known)]);
  }
  for (const run of runs.filter((found) => found.length > 0)) {
    // A point alone is seen as well.
    if (run.length === 1) run.push([run[0][0] + 1.5, run[0][1]]);
    pen.beginPath();
    run.forEach(([x, at]) => pen.lineTo(x, at));
    pen.strokeStyle = color;
    pen.lineWidth = fill === undefined ? 1.25 : 1.75;
    pen.lineJoin = 'round';
    pen.stroke();
    if (fill === undefined) continue;
    pen.lineTo(run.at(-1)[0], fill);
    pen.lineTo(run[0][0], fill);
    pen.closePath();
    pen.globalAlpha = 0.1;
    pen.fillStyle = color;
    pen.fill();
    pen.globalAlpha = 1;
  }
}

const unwatched = 'before this process';

// Where nothing was proved, or nobody looked.
function drawUnknown(pen, points, axis, { top, bottom }) {
  const { colors } = drawn;
  const mark = (from, to, text) => {
    const [start, end] = [Math.max(axis.x(from), axis.x(axis.from)), axis.x(to)];
    if (end - start < 1) return;
    if (text !== unwatched) {
      pen.fillStyle = stripes(pen, 'unknown', colors.faint);
      pen.fillRect(start, top, end - start, bottom - top);
    }
    pen.textAlign = 'center';
    pen.textBaseline = 'middle';
    if (pen.measureText(text).width + 12 > end - start) return;
    const [middle, half] = [(start + end) / 2, pen.measureText(text).width / 2 + 4];
    pen.fillStyle = colors.surface;
    pen.fillRect(middle - half, (top + bottom) / 2 - 9, 2 * half, 18);
    pen.fillStyle = colors.muted;
    pen.fillText(text, middle, (top + bottom) / 2);
  };
  let since = null;
  let before = axis.from;
  for (const point of points) {
    const missing = point.bound === null || point.bound === undefined;
    if (point.t - before > HOLE) mark(before, point.t, point === points[0] ? unwatched : 'nobody looked');
    if (missing) since ??= point.t;
    else if (since !== null) {
      mark(since, point.t, 'nothing proved');
      since = null;
    }
    before = point.t;
  }
  if (since !== null) mark(since, Math.min(before + HOLE, axis.to), 'nothing proved');
  if (axis.to - before > HOLE) mark(before, axis.to, 'nobody looked');
}

// What is under the pointer.
function showTip(lines, canvas, x, y) {
  const tip = document.getElementById('tip');
  if (!lines) {
    hideTip();
    return;
  }
  tip.replaceChildren(...lines.map((text, place) => {
    const line = document.createElement(place === 0 ? 'strong' : 'span');
    line.textContent = text;
    return line;
  }));
  tip.hidden = false;
  const box = canvas.getBoundingClientRect();
  const wide = tip.offsetWidth;
  const room = document.documentElement.clientWidth;
  const left = Math.min(Math.max(8, x + 14), Math.max(8, room - wide - 8));
  const beside = x + 14 + wide > room - 8 && x - wide - 14 > 8 ? x - wide - 14 : left;
  tip.style.left = `${beside}px`;
  const high = tip.offsetHeight;
  tip.style.top = `${Math.max(8, Math.min(box.top + y + 14, window.innerHeight - high - 8))}px`;
}

function hideTip() {
  document.getElementById('tip').hidden = true;
  if (view.cursor === null) return;
  view.cursor = null;
  drawAll();
}
