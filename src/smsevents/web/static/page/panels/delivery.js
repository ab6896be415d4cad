// How long deliveries took: how many took how long, or how that changes over time.

import { Histogram, shownBins } from "../charts/histogram.js";
import { html } from "../lib.js";
import { statisticsPath } from "../paths.js";
import { queryOf } from "../requests.js";
import { Choice } from "../top-bar.js";
import { DeliveryOverTime } from "./delivery-over-time.js";
import { FiguresTable } from "./figures-table.js";
import { Panel, TableSwitch } from "./panel.js";

export function Delivery({ t, format, state, go, period, step, results, session, retry }) {
  const isOverTime = state.delivery === "over-time";
  const result = isOverTime ? results.deliveryOverTime : results.delivery;
  const title = t(isOverTime ? `deliverySeries_${step}` : "timeToDeliver");
  const query = { ...queryOf(state, period), step: isOverTime ? step : "", format: "csv" };
  const controls = html`<${Choice}
      label=${t("view")}
      value=${state.delivery}
      options=${[
        ["histogram", t("viewHistogram")],
        ["over-time", t("viewOverTime")],
      ]}
      choose=${(delivery) => go({ delivery })}
    />
    <${TableSwitch} t=${t} name="delivery" state=${state} go=${go} />
    ${isOverTime && html`<a href=${statisticsPath(session.trackpointId, "/delivery-time", query)} download>${t("download")}</a>`}`;
  return html`<${Panel} t=${t} title=${title} className="half-of-large may-break" result=${result} retry=${retry} controls=${controls}>
    ${() => {
      const { data } = result;
      if (!data.deliveries) return html`<p class="muted">${t("noDeliveries")}</p>`;
      const shared = { t, format, state, data, title, isTable: state.table.includes("delivery") };
      return isOverTime
        ? html`<${DeliveryOverTime} ...${shared} ...${{ go, period, step }} />`
        : html`<${DeliveryHistogram} ...${shared} />`;
    }}
  <//>`;
}

function DeliveryHistogram({ t, format, data, title, isTable }) {
  const bins = shownBins(data);
  return html`<figure>
    <div hidden=${isTable}>
      <${Histogram}
        data=${data}
        format=${format}
        median=${t("median", { time: `≈ ${format.duration(data.medianMs)}` })}
        p95=${t("p95", { time: `≈ ${format.duration(data.p95Ms)}` })}
      />
    </div>
    <${FiguresTable}
      t=${t}
      caption=${title}
      isShown=${isTable}
      first=${t("timeToDeliver")}
      rows=${bins.map((bin) => `${format.duration(bin.fromMs)} – ${format.duration(bin.toMs)}`)}
      columns=${[{ key: "deliveries", name: t("delivered"), values: bins.map((bin) => bin.deliveries) }]}
      format=${format}
    />
    <dl class="shares">
      ${[
        ["within10s", data.within10s],
        ["within1m", data.within1m],
        ["within1h", data.within1h],
      ].map(
        ([name, count]) => html`<div key=${name}>
          <dt>${t(name)}</dt>
          <dd>${format.percent(count / data.deliveries)}</dd>
        </div>`,
      )}
    </dl>
    <figcaption class="note">${t("deliveryNote", { deliveries: t("deliveries", { count: data.deliveries }) })}</figcaption>
  </figure>`;
}
