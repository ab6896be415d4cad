// The line above the numbers says what they count: period, axis, how many events, which export equals them, as of when.

import { DefinitionsDialog } from "./definitions.js";
import { html, useState } from "./lib.js";
import { sources } from "./numbers.js";
import { dayOf, startOf, addDays } from "./period.js";
import { Choice } from "./top-bar.js";

export function ContextLine({ t, format, state, go, period, results, showExport, refresh }) {
  const [explaining, setExplaining] = useState(false);
  const { events } = results;
  const data = events?.data;
  return html`<div class="context">
    <h1>${rangeName(format, state.tz, period)}</h1>
    <span class="on-paper">${t(state.at === "send" ? "bySend" : "byEvent")}</span>
    <${Choice}
      label=${t("axis")}
      value=${state.at}
      options=${[
        ["send", t("bySend")],
        ["event", t("byEvent")],
      ]}
      choose=${(at) => go({ at })}
    />
    ${
      data &&
      html`<span class=${events.isOld ? "is-old" : ""} aria-live="polite">
          ${t("events", { count: data.events })},${" "}
          <button class="link" onClick=${() => showExport({ from: data.from, to: data.to, count: data.events })}>
            ${t("equalExport")}
          </button>
        </span>
        <span>${t("asOf", { time: format.moment(data.asOf) })}</span>`
    }
    <span class="push actions">
      <button class="link" onClick=${refresh}>${t("refresh")}</button>
      <button class="link" onClick=${() => setExplaining(true)}>${t("definitions")}</button>
    </span>
    ${explaining && html`<${DefinitionsDialog} t=${t} close=${() => setExplaining(false)} />`}
  </div>`;
}

/** Complete days are named as days; anything else with its times. */
function rangeName(format, zone, { from, to, end, isPreset }) {
  const startsDay = startOf(zone, dayOf(zone, from)) === from;
  const endsDay = startOf(zone, addDays(dayOf(zone, to), 1)) - 1 === to;
  return startsDay && (endsDay || isPreset) ? format.range(from, end) : format.momentRange(from, to);
}

export function Filters({ t, state, go, results }) {
  const found = results.sources?.data ? sources(results.sources.data) : [];
  const names = new Map(found.flatMap((one) => [[one.id, one.name], ...one.nodes.map((node) => [node.id, node.name])]));
  const chips = ["type", "campaign", "node"].flatMap((kind) =>
    state[kind].map((id) => ({ kind, id, name: kind === "type" ? t(id === "flow" ? "flow" : "campaign") : names.get(id) ?? id })),
  );
  if (!chips.length) return null;
  return html`<div class="chips" role="group" aria-label=${t("filters")}>
    ${chips.map(
      ({ kind, id, name }) => html`<button
        key=${`${kind} ${id}`}
        onClick=${() => go({ [kind]: state[kind].filter((one) => one !== id) })}
      >
        <span class="hidden-text">${t("removeFilter")} </span>
        ${kind === "type" ? name : `${t(kind)}: ${name}`} <span aria-hidden="true">✕</span>
      </button>`,
    )}
  </div>`;
}
