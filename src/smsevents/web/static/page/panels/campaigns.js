// Campaigns and flows, and the steps of each flow: sorted, searched, and each a link to its own numbers.

import { Sparkline } from "../charts/sparkline.js";
import { html, useState } from "../lib.js";
import { hintsOf, sources } from "../numbers.js";
import { statisticsPath } from "../paths.js";
import { failedOf, rateOf } from "../statuses.js";
import { Choice } from "../top-bar.js";
import { writeState } from "../url.js";
import { Panel } from "./panel.js";

const SHOWN_ROWS = 15;
const COLUMNS = {
  name: (one) => one.name.toLowerCase(),
  type: (one) => one.type,
  sent: (one) => one.counts.sent,
  rate: (one) => rateOf(one.counts) ?? -1,
  failed: (one) => failedOf(one.counts),
  pending: (one) => one.counts.pending,
};

/** Returns what names the first day of sending by its bucket, or null if the buckets are not days of sending. */
export const firstDayOf = (t, format, state, step, buckets) =>
  state.at === "send" && step === "1d" && buckets.length > 1
    ? (first) => t("firstSent", { day: format.dayMonth(buckets[first].from) })
    : null;

export function Campaigns({ t, format, state, go, period, step, results, session, retry }) {
  const [isAll, setAll] = useState(false);
  const [folded, setFolded] = useState(() => new Set());
  const { sources: result, messages } = results;
  const csv = statisticsPath(session.trackpointId, "/messages", {
    from: new Date(period.from).toISOString(),
    to: new Date(period.to).toISOString(),
    tz: state.tz,
    at: state.at,
    type: state.type,
    campaign: state.campaign,
    node: state.node,
    by: "type,campaign,node",
    format: "csv",
  });
  const key = state.sort.replace("-", "") in COLUMNS ? state.sort : "-sent";
  const controls = html`<span class="phone-sort">
      <${Choice} label=${t("sortBy")} value=${key} options=${phoneSorts(t)} choose=${(sort) => go({ sort })} />
    </span>
    <input
      type="search"
      placeholder=${t("search")}
      aria-label=${t("search")}
      value=${state.q}
      onInput=${(event) => go({ q: event.target.value }, { replace: true })}
    />
    <a href=${csv} download>${t("download")}</a>`;

  return html`<${Panel} t=${t} title=${t("campaigns")} className="wide may-break" result=${result} retry=${retry} controls=${controls}>
    ${() => {
      const all = sources(result.data);
      if (!all.length) return html`<p class="muted">${t("noCampaigns")}</p>`;
      const found = sorted(all.map((one) => matching(one, state.q.trim().toLowerCase())).filter(Boolean), key);
      const shown = isAll ? found : found.slice(0, SHOWN_ROWS);
      if (!found.length) return html`<p class="muted" role="status">${t("noMatch", { query: state.q })}</p>`;
      const fold = (one) => {
        const next = new Set(folded);
        if (!next.delete(one)) next.add(one);
        setFolded(next);
      };
      const dayOf = firstDayOf(t, format, state, step, result.data.buckets);
      const hints = new Map([all, ...all.map(({ nodes }) => nodes)].flatMap((some) => [...hintsOf(some, dayOf)]));
      const row = { hints, t, format, state, go, total: messages.data.total.sent, buckets: result.data.buckets };
      return html`<table class="campaigns">
          <caption class="hidden-text">${t("campaigns")}</caption>
          <thead>
            <tr>
              <${Heading} ...${{ t, go, sort: key }} name="name" />
              <${Heading} ...${{ t, go, sort: key }} name="type" />
              <${Heading} ...${{ t, go, sort: key }} name="sent" isNumber=${true} />
              <th scope="col" class="share">${t("shareOfSent")}</th>
              <${Heading} ...${{ t, go, sort: key }} name="rate" />
              <${Heading} ...${{ t, go, sort: key }} name="failed" isNumber=${true} />
              <${Heading} ...${{ t, go, sort: key }} name="pending" isNumber=${true} />
              <th scope="col" class="trend">${t("trend")}</th>
            </tr>
          </thead>
          <tbody>
            ${shown.flatMap((one) => [
              html`<${Row} key=${one.key} ...${row} one=${one} isFolded=${folded.has(one.key)} fold=${() => fold(one.key)} />`,
              ...(folded.has(one.key) ? [] : one.nodes).map(
                (node) => html`<${Row} key=${node.key} ...${row} one=${node} parent=${one} />`,
              ),
            ])}
          </tbody>
        </table>
        ${
          found.length > shown.length &&
          html`<button class="more" onClick=${() => setAll(true)}>${t("showAll", { count: found.length })}</button>`
        }`;
    }}
  <//>`;
}

const COLUMN_NAMES = { name: "name", type: "type", sent: "sent", rate: "deliveryRate", failed: "failed", pending: "pending" };

function phoneSorts(t) {
  return Object.entries(COLUMN_NAMES).flatMap(([name, text]) => [
    [`-${name}`, `${t(text)} ↓`],
    [name, `${t(text)} ↑`],
  ]);
}

function Heading({ t, go, sort, name, isNumber }) {
  const isDown = sort === `-${name}`;
  const isSorted = isDown || sort === name;
  const next = isSorted ? (isDown ? name : `-${name}`) : name === "name" || name === "type" ? name : `-${name}`;
  return html`<th
    scope="col"
    class=${isNumber ? "number" : ""}
    aria-sort=${isSorted ? (isDown ? "descending" : "ascending") : undefined}
  >
    <button onClick=${() => go({ sort: next })}>${t(COLUMN_NAMES[name])}${isSorted ? (isDown ? " ▾" : " ▴") : ""}</button>
  </th>`;
}

function Row({ t, hints, format, state, go, one, parent, total, buckets, isFolded, fold }) {
  const rate = rateOf(one.counts);
  const share = total ? one.counts.sent / total : 0;
  const only = parent ? { campaign: [parent.id], node: [one.id] } : { campaign: [one.id], node: [] };
  const name = one.isOther ? t("other") : one.name || one.id;
  const follow = (event) => {
    if (event.ctrlKey || event.metaKey || event.shiftKey) return;
    event.preventDefault();
    go(only);
  };
  const hasNodes = !parent && one.nodes.length > 0;
  return html`<tr class=${parent ? "inner" : ""}>
    <th scope="row">
      <div class="name">
        ${
          hasNodes &&
          html`<button
            class="fold"
            aria-expanded=${String(!isFolded)}
            aria-label=${t(isFolded ? "showSteps" : "hideSteps", { name })}
            onClick=${fold}
          >
            ${isFolded ? "▸" : "▾"}
          </button>`
        }
        <span>
          ${
            one.isOther
              ? name
              : html`<a href=${writeState({ ...state, ...only })} onClick=${follow}>${name}</a>`
          }
          ${hints.has(one.key) && html` <span class="hint-of-name">${hints.get(one.key)}</span>`}
        </span>
      </div>
    </th>
    <td class="muted kind">${one.isOther ? "" : t(parent ? "node" : one.type === "flow" ? "flow" : "campaign")}</td>
    <td class="number sent">${format.number(one.counts.sent)}</td>
    <td class="with-bar share" data-label=${t("shareOfSent")}><${Share} share=${share} text=${format.percent(share)} fill="" /></td>
    <td class="with-bar rate" data-label=${t("deliveryRate")}>
      <${Share} share=${rate ?? 0} text=${format.percent(rate)} fill="fill-delivered" />
    </td>
    <td class="number failed" data-label=${t("failed")}>${format.number(failedOf(one.counts))}</td>
    <td class="number pending" data-label=${t("pending")}>${format.number(one.counts.pending)}</td>
    <td class="trend" aria-hidden="true"><${Sparkline} values=${one.sent.filter((_, index) => buckets[index].complete)} kind="pending" isCentred=${true} /></td>
  </tr>`;
}

function Share({ share, text, fill }) {
  return html`<div>
    <div class="bar thin" aria-hidden="true">
      <div class=${`bar-fill ${share ? fill : "none"}`} style=${{ width: `${share * 100}%` }}></div>
    </div>
    <span>${text}</span>
  </div>`;
}

function matching(one, query) {
  const has = ({ name, id }) => name.toLowerCase().includes(query) || id.toLowerCase().includes(query);
  if (!query || has(one)) return one;
  const nodes = one.nodes.filter(has);
  return nodes.length ? { ...one, nodes } : null;
}

function sorted(list, key) {
  const value = COLUMNS[key.replace("-", "")];
  const direction = key.startsWith("-") ? -1 : 1;
  const compare = (a, b) => {
    const [x, y] = [value(a), value(b)];
    const order = typeof x === "string" ? x.localeCompare(y) : x - y;
    return order * direction || a.name.localeCompare(b.name);
  };
  const inOrder = list.map((one) => ({
    ...one,
    nodes: [...one.nodes].sort((a, b) => compare({ type: one.type, ...a }, { type: one.type, ...b })),
  }));
  return inOrder.sort((a, b) => Number(a.isOther) - Number(b.isOther) || compare(a, b));
}
