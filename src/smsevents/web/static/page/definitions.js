// What each number means, with its denominator.

import { Dialog } from "./dialog.js";
import { html } from "./lib.js";

const TERMS = ["unit", "sent", "skipped", "attempted", "rate", "pending", "failed", "time", "axis"];

export function DefinitionsDialog({ t, close }) {
  return html`<${Dialog} t=${t} title=${t("definitions")} close=${close}>
    <ul class="definitions">
      ${TERMS.map((term) => html`<li key=${term}>${t(`definition_${term}`)}</li>`)}
    </ul>
  <//>`;
}
