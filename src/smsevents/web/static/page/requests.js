// The requests of the page for a state. They can be made before the page itself is there, see early.js.

import { DAY_MS, periodOf, stepsOf } from "./period.js";

const SOURCE = "type,campaign,node";
const isoTime = (ms) => new Date(ms).toISOString();

const commonOf = ({ type, campaign, node, tz, at }) => ({ tz, at, type, campaign, node });

/** Returns what the numbers of a state have in common: the interval, the axis and the filters. */
export const queryOf = (state, period) => ({
  ...commonOf(state),
  from: isoTime(period.from),
  to: isoTime(period.to),
});

/**
 * Returns the requests of all panels by their names, each a `{ path, query }` or null, and the interval and the steps that
 * they are for. Counting messages is what costs the server most, so one request serves the time series and the table. If
 * its response would have too many rows, they are apart (`isSplit`). `chosen` are the requests of what only some views
 * show.
 */
export function requestsOf(state, now, isSplit) {
  const period = periodOf(state, now);
  const steps = stepsOf(period);
  const step = steps.possible.includes(state.step) ? state.step : steps.usual;
  const common = commonOf(state);
  const interval = queryOf(state, period);
  const before = state.compare === "previous" && period.previous;
  const previous = before && { ...common, from: isoTime(before.from), to: isoTime(before.to) };
  const earlier = before && {
    ...common,
    from: isoTime(Math.max(now - 90 * DAY_MS, before.from - 90 * DAY_MS)),
    to: isoTime(before.from),
  };
  const requests = {
    messages: { path: "/messages", query: { ...interval, step, by: isSplit ? "" : SOURCE } },
    events: { path: "", query: { ...interval, step, by: "status" } },
    delivery: { path: "/delivery-time", query: interval },
    sources: isSplit ? { path: "/messages", query: { ...interval, by: SOURCE } } : null,
    previousMessages: previous && { path: "/messages", query: { ...previous, step: "1d" } },
    previousDelivery: previous && { path: "/delivery-time", query: previous },
    earlier: earlier && { path: "", query: earlier },
  };
  const isOverTime = state.delivery === "over-time";
  const chosen = { deliveryOverTime: isOverTime ? { path: "/delivery-time", query: { ...interval, step } } : null };
  return { period, steps, step, requests, chosen };
}
