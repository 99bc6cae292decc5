'use strict';
// How times and amounts are written, and what the names of causes mean.

const unknown = 'unknown';

// 0.40 ms, 12 ms, 1.25 s, 3 min 5 s, 2 h 3 min: never rounded up over a limit.
function time(seconds) {
  if (seconds === null || seconds === undefined || Number.isNaN(seconds)) return unknown;
  const cut = (value, digits) => (Math.floor(value * 10 ** digits) / 10 ** digits).toFixed(digits);
  const millis = seconds * 1e3;
  if (millis < 0.0005) return '0 ms';
  if (millis < 1) return `${cut(millis, 2)} ms`;
  if (millis < 10) return `${cut(millis, 1)} ms`;
  if (seconds < 1) return `${cut(millis, 0)} ms`;
  if (seconds < 10) return `${Number(cut(seconds, 2))} s`;
  if (seconds < 60) return `${Number(cut(seconds, 1))} s`;
  const whole = Math.floor(seconds);
  if (whole < 3600) return two(whole, 60, 'min', 1, 's');
  if (whole < 86400) return two(whole, 3600, 'h', 60, 'min');
  return two(whole, 86400, 'd', 3600, 'h');
}

function two(whole, large, largeUnit, small, smallUnit) {
  const rest = Math.floor((whole % large) / small);
  const first = `${Math.floor(whole / large)} ${largeUnit}`;
  return rest === 0 ? first : `${first} ${rest} ${smallUnit}`;
}

// Bytes as pg_size_pretty writes them.
function size(bytes) {
  if (bytes === null || bytes === undefined) return unknown;
  if (bytes < 10240) return `${bytes} B`;
  let amount = bytes / 1024;
  let unit = 'kB';
  for (const next of ['MB', 'GB', 'TB']) {
    if (amount < 1000) break;
    amount /= 1024;
    unit = next;
  }
  return `${amount < 10 ? amount.toFixed(1) : amount.toFixed(0)} ${unit}`;
}

function rate(perSecond) {
  if (perSecond >= 100) return `${Math.round(perSecond).toLocaleString('en')}/s`;
  return `${Number(perSecond.toFixed(perSecond < 10 ? 1 : 0))}/s`;
}

// The time of day where the reader is.
function clock(seconds) {
  const date = new Date(seconds * 1e3);
  const pad = (number) => String(number).padStart(2, '0');
  return `${pad(date.getHours())}:${pad(date.getMinutes())}:${pad(date.getSeconds())}`;
}

const words = (name) => name.replaceAll('_', ' ');

const reasons = {
  diverged: 'has replayed what the primary never wrote',
  drained: 'taken out by hand',
  foreign: 'holds the data of another cluster',
  lagging: 'its bound is beyond the limit',
  paused: 'its replay is paused',
  promoted: 'accepts writes, or did when last seen',
  unproved: 'not yet proved to follow the primary',
  unreachable: 'does not answer',
  unseen: 'last seen too long ago',
};

// What a standing is called; with its cause, if there is one.
function standing(at) {
  if (!at || !at.standing) return unknown;
  const name = at.standing === 'primary_lost' ? 'primary, lost' : words(at.standing);
  return at.cause ? `${name}: ${words(at.cause)}` : name;
}

// Which of the bands a standing is drawn as.
function band(at) {
  if (!at || !at.standing) return 'unknown';
  return at.standing === 'primary_lost' ? 'ejected' : at.standing;
}
