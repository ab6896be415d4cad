// The frame of a panel: a heading, its controls, and what is said instead of the numbers if they are missing.

import { html, useId } from "../lib.js";
import { Failure } from "../notices.js";

export function Panel({ t, title, className = "", result, retry, controls, children }) {
  const id = useId();
  return html`<section class=${`card ${className}`} aria-labelledby=${id}>
    <div class="panel-head">
      <h2 id=${id}>${title}</h2>
      ${controls && html`<div class="controls">${controls}</div>`}
    </div>
    ${
      result?.problem
        ? html`<${Failure} problem=${result.problem} t=${t} retry=${retry} />`
        : result?.data
          ? html`<div class=${result.isOld ? "is-old" : ""}>${children()}</div>`
          : html`<p class="muted" role="status">${t("loading")}</p>`
    }
  </section>`;
}

/** The switch between a chart and the same numbers as a table. The choice is in the address. */
export function TableSwitch({ t, name, state, go }) {
  const isTable = state.table.includes(name);
  const table = isTable ? state.table.filter((one) => one !== name) : [...state.table, name];
  return html`<button aria-pressed=${String(isTable)} onClick=${() => go({ table })}>${t("table")}</button>`;
}
