// What became of the messages: each figure with its share of those sent.

import { html } from "../lib.js";
import { failedOf } from "../statuses.js";
import { Panel } from "./panel.js";

const FAILURES = ["undeliverable", "expired", "rejected", "deleted"];

export function Funnel({ t, format, results, retry, showExport }) {
  const { messages } = results;
  return html`<${Panel} t=${t} title=${t("funnel")} className="half-of-large" result=${messages} retry=${retry}>
    ${() => {
      const { total, events, from, to } = messages.data;
      const failed = failedOf(total);
      const resolved = total.attempted - total.pending;
      const rows = [
        ["sent", total.sent, ""],
        ["attempted", total.attempted, ""],
        ["delivered", total.delivered, "fill-delivered"],
        ["failed", failed, "fill-failed"],
        ...FAILURES.filter((name) => total[name]).map((name) => [name, total[name], `fill-${name}`, true]),
        ["pending", total.pending, "fill-pending"],
        ["skipped", total.skipped, "fill-skipped"],
      ];
      return html`<figure>
        <dl class="funnel">
          ${rows.map(([name, count, fill, isInner]) => {
            const share = total.sent ? count / total.sent : 0;
            return html`<div key=${name}>
              <dt class=${isInner ? "inner" : ""}>${t(name)}</dt>
              <dd class=${`bar ${isInner ? "thin" : ""}`} aria-hidden="true">
                <div class=${`bar-fill ${count ? fill : "none"}`} style=${{ width: `${share * 100}%` }}></div>
              </dd>
              <dd class="number">${format.number(count)}</dd>
              <dd class="number muted">${format.percent(share)}</dd>
            </div>`;
          })}
        </dl>
        <figcaption class="note">
          <p>
            ${t("messages", { count: total.sent })} ${t("fromEvents", { count: events })},${" "}
            <button class="link" onClick=${() => showExport({ from, to, count: events })}>${t("equalExport")}</button>.${" "}
            ${t("funnelNote")}
          </p>
          ${total.pending > 0 && resolved > 0 && html`<p>${t("rateResolved", { share: format.percent(total.delivered / resolved) })}</p>`}
        </figcaption>
      </figure>`;
    }}
  <//>`;
}
