// The interval that all panels share, and the one before it. Days are those of the chosen zone; buckets are made by the
// server alone.

const HISTORY_DAYS = 90;
export const DAY_MS = 24 * 60 * 60 * 1000;

const SKEW_MIN_MS = 2000;
const formatters = new Map();

/** The server's clock decides which day it is, not the browser's: returns how far ahead it is, if that matters. */
export function skewOf(serverTime) {
  const skew = serverTime - Date.now();
  return Number.isNaN(skew) || Math.abs(skew) < SKEW_MIN_MS ? 0 : skew;
}

function partsIn(zone, ms) {
  if (!formatters.has(zone)) {
    const options = { timeZone: zone, hourCycle: "h23", year: "numeric", month: "numeric", day: "numeric" };
    formatters.set(
      zone,
      new Intl.DateTimeFormat("en", { ...options, hour: "numeric", minute: "numeric", second: "numeric" }),
    );
  }
  const parts = formatters.get(zone).formatToParts(ms);
  return Object.fromEntries(parts.map((part) => [part.type, Number(part.value)]));
}

function offsetOf(zone, ms) {
  const { year, month, day, hour, minute, second } = partsIn(zone, ms);
  return Date.UTC(year, month - 1, day, hour, minute, second) - Math.floor(ms / 1000) * 1000;
}

/** Returns the day of a time in a zone, like 2026-11-26. */
export function dayOf(zone, ms) {
  return new Date(ms + offsetOf(zone, ms)).toISOString().slice(0, 10);
}

export function addDays(day, count) {
  return new Date(Date.parse(`${day}T00:00Z`) + count * DAY_MS).toISOString().slice(0, 10);
}

/** Returns when a day begins in a zone, in Unix ms. */
export function startOf(zone, day) {
  const asUtc = Date.parse(`${day}T00:00Z`);
  const guess = asUtc - offsetOf(zone, asUtc);
  const start = asUtc - offsetOf(zone, guess);
  // where midnight does not exist, the day begins at the change of the clocks
  return dayOf(zone, start) < day ? guess : start;
}

const isDay = (text) => /^\d{4}-\d{2}-\d{2}$/.test(text) && !Number.isNaN(Date.parse(`${text}T00:00Z`));

function timeOf(text, zone, isEnd) {
  if (isDay(text)) return isEnd ? startOf(zone, addDays(text, 1)) - 1 : startOf(zone, text);
  const ms = Date.parse(text);
  return Number.isNaN(ms) ? null : ms;
}

/**
 * Returns the interval of a state: `from` and `to` (Unix ms, both inclusive), `days` (how many it has), `isPreset`,
 * and `previous`, the same number of days before it, or null if that reaches before the history.
 */
export function periodOf(state, now) {
  const zone = state.tz;
  const today = dayOf(zone, now);
  let from = state.from && timeOf(state.from, zone, false);
  let to = state.to && timeOf(state.to, zone, true);
  const isPreset = !from && !to;
  if (isPreset) {
    from = startOf(zone, addDays(today, 1 - Number(state.days)));
    to = now;
  } else {
    to = to || now;
    from = from || startOf(zone, addDays(dayOf(zone, to), -29));
    if (from > to) [from, to] = [to, from];
  }
  const end = Math.min(to, now);
  const first = dayOf(zone, from);
  const days = Math.max(1, Math.round((startOf(zone, dayOf(zone, end)) - startOf(zone, first)) / DAY_MS) + 1);
  return { from, to, end, days, isPreset, previous: previousOf(zone, from, end, days, now) };
}

function previousOf(zone, from, end, days, now) {
  const isDays = startOf(zone, dayOf(zone, from)) === from;
  // by local days, so that a day of 23 or 25 hours is compared with a complete one
  const before = isDays
    ? { from: startOf(zone, addDays(dayOf(zone, from), -days)), to: shifted(zone, end, -days) }
    : { from: from - (end - from) - 1, to: from - 1 };
  return before.from < now - HISTORY_DAYS * DAY_MS || before.to < before.from ? null : before;
}

function shifted(zone, ms, days) {
  const day = dayOf(zone, ms);
  return Math.min(startOf(zone, addDays(day, days)) + (ms - startOf(zone, day)), startOf(zone, addDays(day, days + 1)) - 1);
}

/** Returns the function that makes a part of the period the new one, as charts over time do. */
export const zoomOf = (go, period) => (from, to) =>
  go({ from: new Date(from).toISOString(), to: new Date(Math.min(to, period.end)).toISOString(), step: "" });

/** Returns the steps that make a readable number of bars, and the one to begin with. */
export function stepsOf({ from, end }) {
  const days = (end - from) / DAY_MS;
  const possible = [];
  if (days <= 2) possible.push("15m");
  if (days <= 9) possible.push("1h");
  possible.push("1d");
  if (days > 13) possible.push("1w");
  if (days > 45) possible.push("1M");
  return { possible, usual: days <= 0.3 ? "15m" : days <= 2.1 ? "1h" : "1d" };
}
