// Messages or events over time, stacked by status.

import { Bars } from "../charts/bars.js";
import { html } from "../lib.js";
import { eventSeries, hintsOf, messageSeries, sources, standout } from "../numbers.js";
import { statisticsPath } from "../paths.js";
import { zoomOf } from "../period.js";
import { queryOf } from "../requests.js";
import { STATUSES } from "../statuses.js";
import { Choice } from "../top-bar.js";
import { firstDayOf } from "./campaigns.js";
import { CutNote } from "./cut-note.js";
import { FiguresTable } from "./figures-table.js";
import { Panel, TableSwitch } from "./panel.js";

export function Series({ t, format, state, go, period, step, steps, results, session, retry, showExport }) {
  const isEvents = state.unit === "events";
  const result = isEvents ? results.events : results.messages;
  const nameOf = (status) => t(status === "ACCEPTED" && isEvents ? "eventACCEPTED" : status);
  const wanted = STATUSES.filter((status) => !state.status.length || state.status.includes(status));
  const title = t(`series${isEvents ? "Events" : "Messages"}_${step}`);
  const toggle = (status) => {
    const now = wanted.includes(status) ? wanted.filter((one) => one !== status) : [...wanted, status];
    go({ status: now.length === STATUSES.length || !now.length ? [] : STATUSES.filter((one) => now.includes(one)) });
  };
  const csv = statisticsPath(session.trackpointId, isEvents ? "" : "/messages", {
    ...queryOf(state, period),
    step,
    by: isEvents ? "status" : "",
    format: "csv",
  });

  const controls = html`<${Choice}
      label=${t("unit")}
      value=${state.unit}
      options=${[
        ["messages", t("unitMessages")],
        ["events", t("unitEvents")],
      ]}
      choose=${(unit) => go({ unit })}
    />
    <${Choice} label=${t("step")} value=${step} options=${steps.possible.map((one) => [one, t(`step_${one}`)])} choose=${(one) => go({ step: one })} />
    <${TableSwitch} t=${t} name="series" state=${state} go=${go} />
    <a href=${csv} download>${t("download")}</a>`;

  return html`<${Panel} t=${t} title=${title} className="wide may-break" result=${result} retry=${retry} controls=${controls}>
    ${() => {
      const series = isEvents ? eventSeries(result.data) : messageSeries(result.data);
      const isTable = state.table.includes("series");
      const columns = wanted.map((status) => ({ key: status, name: nameOf(status), values: series.map((one) => one.values[status]) }));
      return html`<div class="legend" role="group" aria-label=${t("statuses")}>
          ${STATUSES.map(
            (status) => html`<button key=${status} aria-pressed=${String(wanted.includes(status))} onClick=${() => toggle(status)}>
              <span class=${`swatch ${status}`}></span>${nameOf(status)}
            </button>`,
          )}
        </div>
        <figure>
          <div hidden=${isTable}>
            <${Bars}
              ...${{ series, format, step }}
              statuses=${wanted}
              nameOf=${(one) => (one === "total" ? t("total") : nameOf(one))}
              zoom=${zoomOf(go, period)}
              label=${t("bars")}
            />
          </div>
          <${FiguresTable}
            t=${t}
            caption=${title}
            isShown=${isTable}
            first=${t("interval")}
            rows=${series.map((bucket) => format.bucket(bucket, step))}
            columns=${columns}
            format=${format}
          />
          <figcaption class="note">
            <${Notes} ...${{ t, format, state, go, period, step, series, results }} data=${result.data} />
            ${isEvents && html`<p>${t("events", { count: result.data.events })}, <button class="link" onClick=${() => showExport({ from: result.data.from, to: result.data.to, count: result.data.events })}>${t("equalExport")}</button></p>`}
            <p class="hint">${t("zoomHint")}</p>
          </figcaption>
        </figure>`;
    }}
  <//>`;
}

/** What a person should notice, computed from the numbers. */
function Notes({ t, format, state, go, period, step, series, results, data }) {
  // by time of the event, a message may be there with its failure alone, which would look like a failed campaign
  const isFair = state.at === "send" && results.sources?.data;
  const list = isFair ? sources(results.sources.data) : [];
  const bad = isFair && standout(list, results.messages.data.total);
  const hint = bad && hintsOf(list, firstDayOf(t, format, state, step, results.sources.data.buckets)).get(bad.key);
  return html`<p>
    <${CutNote} ...${{ t, format, step, period, data }} buckets=${series} />
    ${
      bad &&
      html`<span>
        ${t("standsOut", { name: bad.name, hint: hint ? ` (${hint})` : "", share: format.percent(bad.share) })}${" "}
        <button class="link" onClick=${() => go({ campaign: [bad.id], node: [] })}>${t("showIt")}</button>
      </span>`
    }
  </p>`;
}
