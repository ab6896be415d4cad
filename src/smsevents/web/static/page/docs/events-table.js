// Events as a table, or as the lines that were sent.

import { html, useState } from "../lib.js";

/** Returns a time in UTC, or what was sent if it is not one. */
export function shownTime(ms) {
  const time = new Date(Number(ms));
  return Number.isNaN(time.getTime()) ? String(ms) : time.toISOString().slice(0, -1).replace("T", " ");
}

export function Events({ t, lines }) {
  const [isTable, setTable] = useState(true);
  return html`<div class="events">
    <div class="presets" role="group" aria-label=${t("view")}>
      <button type="button" aria-pressed=${String(isTable)} onClick=${() => setTable(true)}>${t("table")}</button>
      <button type="button" aria-pressed=${String(!isTable)} onClick=${() => setTable(false)}>${t("rawLines")}</button>
    </div>
    ${isTable ? html`<${EventTable} t=${t} lines=${lines} />` : html`<${RawLines} lines=${lines} />`}
  </div>`;
}

function RawLines({ lines }) {
  return html`<ol class="lines">
    ${lines.map((line, index) => html`<li key=${index}><code>${line}</code></li>`)}
  </ol>`;
}

const COLUMNS = {
  date: ({ smsEvent }) => shownTime(smsEvent.date),
  user: ({ smsEvent }) => smsEvent.userId,
  status: ({ smsEvent }) => html`<span class=${`status ${smsEvent.status.toLowerCase()}`}>${smsEvent.status}</span>`,
  type: ({ source }) => source.type,
  campaign: ({ source }) => html`<${Named} ...${source.campaign} />`,
  node: ({ source }) => source.node && html`<${Named} ...${source.node} />`,
  sent: ({ source }) => shownTime(source.sendDate),
};

function Named({ id, name }) {
  return html`${name} <code class="muted">${id}</code>`;
}

function EventTable({ t, lines }) {
  return html`<table role="table">
    <caption class="hidden-text">
      ${t("events")}
    </caption>
    <thead role="rowgroup">
      <tr role="row">
        ${Object.keys(COLUMNS).map((name) => html`<th key=${name} role="columnheader" scope="col">${t(name)}</th>`)}
      </tr>
    </thead>
    <tbody role="rowgroup">
      ${lines.map((line, index) => {
        const event = JSON.parse(line);
        return html`<tr key=${index} role="row">
          ${Object.entries(COLUMNS).map(
            ([name, show]) => html`<td key=${name} role="cell" data-kind=${name} data-label=${t(name)}>${show(event) ?? "–"}</td>`,
          )}
        </tr>`;
      })}
    </tbody>
  </table>`;
}
