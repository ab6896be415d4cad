// What a chart over time says about buckets that are not complete: those of the present and of the end of the history.

import { html } from "../lib.js";

export function CutNote({ t, format, buckets, step, period, data }) {
  const current = buckets.findLast((one) => !one.complete && one.from <= data.asOf);
  const first = buckets[0];
  const isCut = first && first !== current && !first.complete && data.from > period.from; // by the history
  return html`${isCut && html`<span>${t("cutByHistory", { bucket: format.bucket(first, step) })} </span>`}
  ${current && html`<span>${t("notComplete", { bucket: format.bucket(current, step) })} </span>`}`;
}
