// From the responses of the statistics to what the panels show. Nothing is counted here that the server counted.

import { failedOf, STATE_OF, STATUSES } from "./statuses.js";

const NOTHING = {
  sent: 0,
  attempted: 0,
  delivered: 0,
  pending: 0,
  noReceipt: 0,
  skipped: 0,
  expired: 0,
  undeliverable: 0,
  rejected: 0,
  deleted: 0,
  events: 0,
};

/** Returns the counts of messages of each bucket, in order. */
export function countsByBucket(messages) {
  const counts = messages.buckets.map(() => NOTHING);
  for (const row of messages.rows) counts[row.bucket] = added(counts[row.bucket], row);
  return counts;
}

/** Returns the buckets of a series with their values by status: of messages, by their state. */
export function messageSeries(messages) {
  return countsByBucket(messages).map((counts, index) => ({
    ...messages.buckets[index],
    values: Object.fromEntries(STATUSES.map((status) => [status, counts[STATE_OF[status]]])),
  }));
}

/** Returns the same of events, by their status. */
export function eventSeries(stats) {
  const series = stats.buckets.map((bucket) => ({
    ...bucket,
    values: Object.fromEntries(STATUSES.map((status) => [status, 0])),
  }));
  for (const row of stats.rows) series[row.bucket].values[row.status] += row.events;
  return series;
}

/** Returns the buckets of delivery times; those without deliveries have no times. */
export function deliverySeries(data) {
  const none = { deliveries: 0, medianMs: null, p90Ms: null, p95Ms: null };
  const series = data.buckets.map((bucket) => ({ ...bucket, ...none }));
  for (const { bucket, ...figures } of data.rows) Object.assign(series[bucket], figures);
  return series;
}

const NOTABLE_DELIVERIES = 50;
const NOTABLE_RATIO = 2;

/** Returns the complete bucket whose deliveries took far longer than all did, or null. */
export function slowest(series, usualMs) {
  const found = series
    .filter((one) => one.complete && one.deliveries >= NOTABLE_DELIVERIES && one.medianMs >= NOTABLE_RATIO * usualMs)
    .sort((a, b) => b.medianMs - a.medianMs);
  return found[0] ?? null;
}

/**
 * Returns the campaigns and flows, each with `counts`, `sent` (how many in each bucket, if there are several), and
 * `nodes` where it is a flow.
 */
export function sources(messages) {
  const found = new Map();
  const buckets = messages.buckets.length;
  const count = (place, key, facts, row) => {
    const at = place.get(key) ?? { key, ...facts, counts: NOTHING, sent: new Array(buckets).fill(0) };
    at.counts = added(at.counts, row);
    at.sent[row.bucket] += row.sent;
    place.set(key, at);
    return at;
  };
  for (const row of messages.rows) {
    const key = row.other ? "other" : `${row.type} ${row.campaign.id}`;
    const { id = "", name } = row.campaign ?? {};
    const facts = { isOther: Boolean(row.other), id, name: shownName(name), type: row.type };
    const source = count(found, key, facts, row);
    source.nodes ??= new Map();
    if (row.node) count(source.nodes, `${key} ${row.node.id}`, { id: row.node.id, name: shownName(row.node.name) }, row);
  }
  return [...found.values()].map((one) => ({ ...one, nodes: [...one.nodes.values()] }));
}

/** Pasted names may hold line separators, which a browser would not show at all. */
const shownName = (name = "") => name.replace(/[\s\u2028\u2029]+/g, " ").trim();

const SHOWN_ID_CHARACTERS = 12;

/**
 * Returns what tells sources of the same name apart, by their keys: the first day of sending if `dayOf` names it and it
 * is within the period, else the id. Other sources have none.
 */
export function hintsOf(list, dayOf) {
  const named = new Map();
  for (const one of list) if (!one.isOther && one.name) named.set(one.name, [...(named.get(one.name) ?? []), one]);
  const hints = new Map();
  for (const group of named.values()) {
    if (group.length === 1) continue;
    const firsts = group.map(({ sent }) => sent.findIndex((count) => count > 0));
    // what was sent in the first bucket may have begun earlier
    const days = dayOf && firsts.every((first) => first > 0) ? firsts.map(dayOf) : [];
    const texts = [days, group.map(({ id }) => shortened(id)), group.map(({ id }) => id)];
    const distinct = texts.find((some) => new Set(some).size === group.length) ?? texts[2];
    group.forEach(({ key }, index) => hints.set(key, distinct[index]));
  }
  return hints;
}

const shortened = (id) => (id.length > SHOWN_ID_CHARACTERS ? `${id.slice(0, SHOWN_ID_CHARACTERS)}…` : id);

function added(one, other) {
  return Object.fromEntries(Object.keys(NOTHING).map((name) => [name, one[name] + (other[name] ?? 0)]));
}

const NOTABLE_MESSAGES = 50;
const NOTABLE_SHARE = 0.1;

/** Returns the campaign or flow whose messages failed far more often than all did, or null. */
export function standout(list, total) {
  const usual = total.attempted ? failedOf(total) / total.attempted : 0;
  const shareOf = ({ counts }) => failedOf(counts) / counts.attempted;
  const bad = list.filter(
    (one) =>
      !one.isOther &&
      one.counts.attempted >= NOTABLE_MESSAGES &&
      shareOf(one) >= NOTABLE_SHARE &&
      shareOf(one) >= 2 * usual,
  );
  bad.sort((a, b) => failedOf(b.counts) - failedOf(a.counts));
  return bad.length && list.length > 1 ? { ...bad[0], share: shareOf(bad[0]) } : null;
}
