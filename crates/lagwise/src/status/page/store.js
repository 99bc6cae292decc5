// What this page has been told, over restarts of whoever tells it.

const SPAN = 600; // seconds that are kept
const HOLE = 2.5; // seconds between two samples from which on something is missing between them
const EVENTS = 200;

const store = {
  cluster: null, // the newest
  heard: 0, // when
  run: null, // of which run of the service
  offset: 0, // what makes seconds of that run seconds of this clock
  samples: [], // { t, nodes: Map of name to point, reasons: Map }, oldest first
  events: [], // { t, run, node, event, cause, text }, oldest first

  now: () => Date.now() / 1e3,

  // A new run counts from zero.
  enter(run, at) {
    if (run === this.run) return;
    this.run = run;
    this.offset = this.now() - at;
  },

  // All nodes at a moment.
  take({ run, at, cluster, peaks }) {
    this.enter(run, at);
    this.cluster = cluster;
    this.heard = this.now();
    const lost = cluster.primary_lost_seconds !== null;
    const nodes = new Map();
    const reasons = new Map();
    for (const node of cluster.nodes) {
      let routes = 0;
      for (const [reason, count] of Object.entries(node.routes)) {
        routes += count;
        reasons.set(reason, (reasons.get(reason) ?? 0) + count);
      }
      const primary = lost ? 'primary_lost' : 'primary';
      nodes.set(node.name, {
        bound: peaks[node.name] ?? node.staleness_seconds,
        estimate: node.estimate_seconds,
        standing: node.is_primary ? primary : node.membership,
        cause: node.is_primary ? null : node.cause,
        routes,
      });
    }
    const sample = { t: at + this.offset, nodes, reasons };
    const last = this.samples.at(-1);
    if (!last || last.t < sample.t) this.samples.push(sample);
    this.forget();
  },

  // What has happened, once.
  note(change) {
    const t = change.at + this.offset;
    const twin = (other) => other.run === this.run && other.at === change.at && other.text === change.text;
    if (this.events.some((other) => twin(other) && other.node === change.node)) return;
    this.events.push({ ...change, t, run: this.run });
    this.events.splice(0, Math.max(0, this.events.length - EVENTS));
  },

  // What was before this page looked: the service knows best of the time that it covers.
  learn(past) {
    this.enter(past.run, past.at);
    const told = unfold(past, this.offset);
    if (told.length > 0) {
      const [first, last] = [told[0].t, told.at(-1).t];
      this.samples = [
        ...this.samples.filter((sample) => sample.t < first),
        ...told,
        ...this.samples.filter((sample) => sample.t > last),
      ];
    }
    past.events.forEach((change) => this.note(change));
    this.events.sort((one, other) => one.t - other.t);
    this.forget();
  },

  forget() {
    const since = this.now() - SPAN - HOLE;
    const from = this.samples.findIndex((sample) => sample.t >= since);
    if (from > 0) this.samples.splice(0, from);
  },

  // Every node that was seen in this time: those that there are first, in their order.
  names() {
    const names = this.cluster ? this.cluster.nodes.map((node) => node.name) : [];
    for (const sample of this.samples) {
      for (const name of sample.nodes.keys()) {
        if (!names.includes(name)) names.push(name);
      }
    }
    return names;
  },

  // The sample that speaks of a time, if any does.
  at(t) {
    let found = null;
    for (const sample of this.samples) {
      if (sample.t > t + 0.5) break;
      found = sample;
    }
    return found && t - found.t < HOLE ? found : null;
  },

  // Stretches of one standing of a node: { from, to, at }; a hole is a stretch of nothing.
  stretches(name, from, to) {
    const found = [];
    const extend = (start, end, at) => {
      const last = found.at(-1);
      const same = last && last.at?.standing === at?.standing && last.at?.cause === at?.cause;
      if (same) last.to = end;
      else found.push({ from: start, to: end, at });
    };
    this.samples.forEach((sample, place) => {
      const next = this.samples[place + 1]?.t ?? to;
      const at = sample.nodes.get(name) ?? null;
      if (next - sample.t <= HOLE) {
        extend(sample.t, next, at);
      } else {
        extend(sample.t, sample.t + 1, at);
        extend(sample.t + 1, next, null);
      }
    });
    return found.filter((stretch) => stretch.to > from && stretch.from < to);
  },
};

// Columns and stretches to samples.
function unfold(past, offset) {
  const samples = past.times.map((at) => ({ t: at + offset, nodes: new Map(), reasons: new Map() }));
  for (const series of past.nodes) {
    let stretch = 0;
    past.times.forEach((at, place) => {
      while (series.standings[stretch + 1]?.from <= at) stretch += 1;
      if (series.routes[place] === null) return;
      samples[place].nodes.set(series.name, {
        bound: series.bound[place],
        estimate: series.estimate[place],
        standing: series.standings[stretch].standing,
        cause: series.standings[stretch].cause,
        routes: series.routes[place],
      });
    });
  }
  for (const [reason, counts] of Object.entries(past.reasons)) {
    counts.forEach((count, place) => samples[place].reasons.set(reason, count));
  }
  return samples;
}
