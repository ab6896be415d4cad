// What is said when there are no numbers: an error, or nothing to show. Each says what to do next.

import { html } from "./lib.js";
import { writeState } from "./url.js";

/** Returns what a person can do about a problem, in their language; the server's own text where it says more. */
export function textOf(problem, t) {
  if (problem.status === 0 || problem.status === 502 || problem.status === 504) return t("errorAway");
  if (problem.status === 503) return t("errorBusy");
  if (problem.status === 400 || problem.status === 401 || problem.status === 429) return problem.message;
  if (problem.status === 403) return problem.message || t("errorRights");
  if (problem.status >= 500) return problem.message || t("errorServer");
  return problem.message;
}

/** Returns the same at the sign-in, where nobody has to know about headers. */
export function signInText(problem, t) {
  const known = { 401: "wrongKey", 403: "errorRights", 429: "tooManyKeys" }[problem.status];
  return known ? t(known) : textOf(problem, t);
}

export function Failure({ problem, t, retry }) {
  if (!(problem.status >= 0)) throw problem; // a defect of the page belongs in the console
  return html`<div class="notice bad" role="alert">
    <p><strong>${t("errorTitle")}</strong></p>
    <p>${problem.status === 403 ? t("errorRights") : textOf(problem, t)}</p>
    ${problem.status === 400 && html`<p>${t("errorTooMuch")}</p>`}
    <div class="actions"><button onClick=${retry}>${t("retry")}</button></div>
  </div>`;
}

export function Empty({ t, format, period, state, go, language, hasFilters }) {
  const wider = { days: "90", from: "", to: "" };
  return html`<section class="card empty wide" aria-labelledby="empty-title">
    <h2 id="empty-title">${t("emptyTitle")}</h2>
    <p class="muted">
      ${hasFilters ? t("emptyFilters") : t("emptyPeriod", { from: format.day(period.from), to: format.day(period.end) })}${" "}
      ${!hasFilters && t("emptyNew")}
    </p>
    <div class="actions">
      ${
        hasFilters &&
        html`<button class="primary" onClick=${() => go({ type: [], campaign: [], node: [] })}>
          ${t("clearFilters")}
        </button>`
      }
      ${
        writeState({ ...state, ...wider }) !== writeState(state) &&
        html`<button onClick=${() => go(wider)}>${t("show90")}</button>`
      }
      ${!hasFilters && html`<a class="button" href=${`docs?lang=${language}#import`}>${t("howToRecord")}</a>`}
    </div>
  </section>`;
}
