// How long deliveries took.

import { Histogram, shownBins } from "../charts/histogram.js";
import { html } from "../lib.js";
import { FiguresTable } from "./figures-table.js";
import { Panel, TableSwitch } from "./panel.js";

export function Delivery({ t, format, state, go, results, retry }) {
  const { delivery } = results;
  const controls = html`<${TableSwitch} t=${t} name="delivery" state=${state} go=${go} />`;
  return html`<${Panel} t=${t} title=${t("timeToDeliver")} className="half-of-large" result=${delivery} retry=${retry} controls=${controls}>
    ${() => {
      const { data } = delivery;
      if (!data.deliveries) return html`<p class="muted">${t("noDeliveries")}</p>`;
      const isTable = state.table.includes("delivery");
      const bins = shownBins(data);
      const shareOf = (count) => format.percent(count / data.deliveries);
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
          caption=${t("timeToDeliver")}
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
              <dd>${shareOf(count)}</dd>
            </div>`,
          )}
        </dl>
        <figcaption class="note">
          ${t("deliveryNote", { deliveries: t("deliveries", { count: data.deliveries }) })}
        </figcaption>
      </figure>`;
    }}
  <//>`;
}
