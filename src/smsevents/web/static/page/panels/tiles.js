// Five figures with their change. The first is the answer to "is it working?".

import { Sparkline } from "../charts/sparkline.js";
import { html } from "../lib.js";
import { countsByBucket } from "../numbers.js";
import { failedOf, rateOf } from "../statuses.js";
import { compareName } from "../top-bar.js";

/** Whether the numbers before are not known, because they are on their way or could not be had. */
const isUnknown = ({ previousMessages, previousDelivery, earlier }) =>
  [previousMessages, previousDelivery, earlier].some((one) => one?.isOld || one?.problem);

/** The period before counts only if the log reaches back to its beginning; else the change would be made up. */
function comparable(results) {
  const { previousMessages, previousDelivery, earlier } = results;
  const before = previousMessages?.data;
  if (!before?.total.attempted) return null;
  const first = before.rows.find((row) => row.bucket === 0);
  if (!earlier?.data?.events && !first) return null;
  return { total: before.total, medianMs: previousDelivery?.data?.medianMs ?? null };
}

export function Tiles({ t, format, period, results }) {
  const { messages, delivery } = results;
  const total = messages.data.total;
  const before = comparable(results);
  const counts = countsByBucket(messages.data);
  // an incomplete day would look like a fall
  const complete = counts.filter((_, index) => messages.data.buckets[index].complete);
  const rate = rateOf(total);
  const median = delivery?.data?.medianMs ?? null;
  const since = isUnknown(results) ? null : compareName(t, period);

  const ratioChange = (now, then) => (then ? now / then - 1 : now ? null : 0);
  const rateChange = before && rate !== null && rateOf(before.total) !== null ? rate - rateOf(before.total) : null;
  const medianChange = before && median !== null && before.medianMs !== null ? median - before.medianMs : null;
  const changeOf = (pick) => (before ? ratioChange(pick(total), pick(before.total)) : null);
  const points = rateChange === null ? null : format.points(rateChange);

  return html`<div class=${`wide ${messages.isOld ? "is-old" : ""}`}>
    <dl class="tiles">
      <${Tile} name=${t("deliveryRate")} value=${format.percent(rate)} spark=${complete.map(rateOf)} kind="delivered">
        <${Change} ...${{ t, since }} value=${rateChange} text=${points && t("points", { change: points })} isMoreBetter=${true} />
      <//>
      <${Tile} name=${t("delivered")} value=${format.number(total.delivered)} spark=${complete.map((one) => one.delivered)} kind="delivered">
        <${CountChange} ...${{ t, format, since }} value=${changeOf((one) => one.delivered)} />
      <//>
      <${Tile} name=${t("failed")} value=${format.number(failedOf(total))} spark=${complete.map(failedOf)} kind="failed">
        <${CountChange} ...${{ t, format, since }} value=${changeOf(failedOf)} />
      <//>
      <${Tile} name=${t("pending")} value=${format.number(total.pending)} spark=${complete.map((one) => one.pending)} kind="pending">
        <span class="muted">
          ${
            total.noReceipt
              ? t("noReceiptOf", { count: total.noReceipt })
              : t("ofAttempted", { share: format.percent(total.attempted ? total.pending / total.attempted : null) })
          }
        </span>
      <//>
      <${Tile} name=${t("medianTime")} value=${median === null ? "–" : `≈ ${format.duration(median)}`}>
        <${Change}
          ...${{ t, since }}
          value=${medianChange}
          text=${medianChange !== null && format.signedDuration(medianChange)}
          isMoreBetter=${false}
          least=${50}
        />
      <//>
    </dl>
    ${before && since !== null && html`<p class="compared">${t("changes", { since })}</p>`}
  </div>`;
}

function Tile({ name, value, spark, kind, children }) {
  return html`<div class="card tile">
    <dt>${name}</dt>
    <dd class="value">${value}</dd>
    <dd class="below">${children}${spark && html`<${Sparkline} values=${spark} kind=${kind} />`}</dd>
  </div>`;
}

/** More or fewer messages is neither better nor worse: that depends on how many were sent. */
const CountChange = ({ t, format, since, value }) =>
  html`<${Change} ...${{ t, since, value }} text=${value !== null && format.change(value)} />`;

/** A change is never told by its colour alone: it has a sign. Without `isMoreBetter`, it is not judged. */
function Change({ t, since, value, text, isMoreBetter, least = 0.0005 }) {
  if (since === null) return null;
  if (value === null) return html`<span class="muted">${t("noComparison")}</span>`;
  if (Math.abs(value) < least) return html`<span class="muted">${t("unchanged")}</span>`;
  const judged = isMoreBetter === undefined ? "neutral" : value > 0 === isMoreBetter ? "better" : "worse";
  return html`<span title=${since}>
    <span class=${judged}>${text}</span>${" "}
    <span class="hidden-text">${since}</span>
  </span>`;
}
