// How the time to deliver changes: the median and the time within which 95 % came, by the buckets of the period.

import { Spread } from "../charts/spread.js";
import { html } from "../lib.js";
import { deliverySeries, slowest } from "../numbers.js";
import { zoomOf } from "../period.js";
import { CutNote } from "./cut-note.js";
import { FiguresTable } from "./figures-table.js";

export function DeliveryOverTime({ t, format, go, period, step, data, title, isTable }) {
  const series = deliverySeries(data);
  const lines = [
    { key: "medianMs", name: t("medianShort") },
    { key: "p95Ms", name: t("p95Short") },
  ];
  const countOf = ({ deliveries }) => ({ name: t("delivered"), value: format.number(deliveries) });
  const shown = (ms) => (ms === null ? "–" : format.duration(ms));
  const slow = slowest(series, data.medianMs);
  const notable = slow && {
    bucket: format.bucket(slow, step),
    time: `≈ ${format.duration(slow.medianMs)}`,
    usual: `≈ ${format.duration(data.medianMs)}`,
  };
  return html`<ul class="legend" aria-label=${t("deliveryLines")}>
      ${lines.map(({ key, name }) => html`<li key=${key}><span class=${`swatch ${key}`}></span>${name}</li>`)}
    </ul>
    <figure>
      <div hidden=${isTable}>
        <${Spread} ...${{ series, lines, countOf, format, step }} zoom=${zoomOf(go, period)} label=${t("deliveryPoints")} />
      </div>
      <${FiguresTable}
        t=${t}
        caption=${title}
        isShown=${isTable}
        first=${t("interval")}
        rows=${series.map((bucket) => format.bucket(bucket, step))}
        columns=${[
          { key: "deliveries", name: t("delivered"), values: series.map((one) => one.deliveries) },
          ...lines.map(({ key, name }) => ({
            key,
            name: `${name} (≈)`,
            values: series.map((one) => one[key]),
            total: data[key],
            show: shown,
          })),
        ]}
        format=${format}
      />
      <figcaption class="note">
        <p>
          <${CutNote} ...${{ t, format, step, period, data }} buckets=${series} />
          ${notable && t("slower", notable)}
        </p>
        <p>${t("deliveryNote", { deliveries: t("deliveries", { count: data.deliveries }) })} ${!isTable && t("logarithmic")}</p>
        <p class="hint">${t("zoomHint")}</p>
      </figcaption>
    </figure>`;
}
