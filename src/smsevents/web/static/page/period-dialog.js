// Choosing any days: both are in the period.

import { Dialog } from "./dialog.js";
import { html, useState } from "./lib.js";
import { addDays, dayOf } from "./period.js";

export function PeriodDialog({ t, state, go, period, now, close }) {
  const today = dayOf(state.tz, now);
  const oldest = addDays(today, -90);
  const [from, setFrom] = useState(dayOf(state.tz, period.from));
  const [to, setTo] = useState(dayOf(state.tz, period.end));

  function submit(event) {
    event.preventDefault();
    go({ from: from < to ? from : to, to: from < to ? to : from, step: "" });
    close();
  }

  return html`<${Dialog} t=${t} title=${t("period")} close=${close}>
    <form class="dialog-body" onSubmit=${submit}>
      <div class="dialog-fields">
        <label>
          ${t("from")}
          <input type="date" required min=${oldest} max=${today} value=${from} onInput=${(e) => setFrom(e.target.value)} />
        </label>
        <label>
          ${t("to")}
          <input type="date" required min=${oldest} max=${today} value=${to} onInput=${(e) => setTo(e.target.value)} />
        </label>
      </div>
      <p class="muted">${t("zone")}: ${state.tz.replaceAll("_", " ")}</p>
      <div class="actions"><button class="primary">${t("apply")}</button></div>
    </form>
  <//>`;
}
