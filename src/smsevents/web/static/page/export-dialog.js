// The export that equals a number: its request, the command for it, and a download that is compared with the number.

import { exportAbilities, exportEvents } from "./api.js";
import { Dialog } from "./dialog.js";
import { html, useEffect, useState } from "./lib.js";
import { textOf } from "./notices.js";
import { filePath } from "./paths.js";

const IN_BROWSER_MAX_EVENTS = 1_000_000; // about 250 MB, which the browser has to hold

/** Returns the body of the export whose lines are what the page counts. `asked` has `from`, `to`, and maybe `status`. */
function bodyOf(state, asked) {
  const interval =
    state.at === "event" ? { from: asked.from, to: asked.to } : { sentFrom: asked.from, sentTo: asked.to };
  const filters = { status: asked.status ?? [], type: state.type, campaign: state.campaign, node: state.node };
  const used = Object.entries(filters).filter(([, values]) => values.length);
  return { ...interval, ...Object.fromEntries(used) };
}

export function ExportDialog({ t, format, state, session, asked, close }) {
  const [abilities, setAbilities] = useState(null);
  const [message, setMessage] = useState("");
  const [isRunning, setRunning] = useState(false);
  const [isCopied, setCopied] = useState(false);
  const body = bodyOf(state, asked);
  const mayExport = session.scopes.includes("export");
  const isPossible = abilities !== null && Object.keys(body).every((name) => abilities.members.includes(name));
  const address = new URL(`shop/${session.trackpointId}/export-sms-events`, document.baseURI).href;
  const command = `curl -d '${JSON.stringify(body)}' -H "X-Api-Key: $SMSEVENTS_API_KEY" ${address}`;

  useEffect(() => {
    exportAbilities().then(setAbilities, (problem) => setMessage(textOf(problem, t)));
  }, []);

  async function download() {
    setRunning(true);
    setMessage("");
    try {
      const blob = await exportEvents(session.trackpointId, body);
      const lines = await linesOf(blob);
      save(blob, `sms-events-${session.trackpointId}-${fileTime(asked.from)}-${fileTime(asked.to)}.jsonl`);
      const compared = lines === asked.count ? t("exportEqual") : t("exportDiffers", { count: asked.count });
      setMessage(`${t("exportDone", { lines: t("lines", { count: lines }) })} ${compared}`);
    } catch (problem) {
      setMessage(textOf(problem, t));
    } finally {
      setRunning(false);
    }
  }

  async function copy() {
    await navigator.clipboard.writeText(command);
    setCopied(true);
  }

  return html`<${Dialog} t=${t} title=${t("exportTitle")} close=${close}>
    <p>
      ${t("events", { count: asked.count })}, ${format.momentRange(asked.from, asked.to)}.${" "}
      ${t(state.at === "event" ? "exportLead" : "exportSent")}
    </p>
    ${abilities !== null && !isPossible && html`<p class="notice">${t("exportNoFilter")}</p>`}
    ${!mayExport && html`<p class="notice">${t("exportNoScope")}</p>`}
    ${
      mayExport &&
      isPossible &&
      html`<div class="actions">
        <button class="primary" disabled=${isRunning || asked.count > IN_BROWSER_MAX_EVENTS} onClick=${download}>
          ${t(isRunning ? "exportRunning" : "exportDownload")}
        </button>
        ${abilities.hasFiles && html`<${Files} ...${{ t, state, session, body }} />`}
        ${asked.count > IN_BROWSER_MAX_EVENTS && !abilities.hasFiles && html`<span class="muted">${t("exportLarge")}</span>`}
      </div>`
    }
    <p role="status">${message}</p>
    ${
      mayExport &&
      isPossible &&
      html`<div>
        <p class="muted">${t("exportCommand")}</p>
        <code class="command">${command}</code>
        ${navigator.clipboard && html`<button onClick=${copy}>${t(isCopied ? "copied" : "copy")}</button>`}
      </div>`
    }
  <//>`;
}

/** The same events as files that the browser saves itself, whatever their size. */
function Files({ t, state, session, body }) {
  const link = (format) => filePath(session.trackpointId, body, state.tz, format);
  return html`<a class="button" href=${link("csv")} download>CSV</a>
    <a class="button" href=${link("csv-excel-cs")} download>${t("exportExcel")}</a>`;
}

const fileTime = (ms) => new Date(ms).toISOString().slice(0, 16).replaceAll(":", "");

async function linesOf(blob) {
  const reader = blob.stream().getReader();
  let lines = 0;
  for (;;) {
    const { done, value } = await reader.read();
    if (done) return lines;
    for (const byte of value) if (byte === 10) lines += 1;
  }
}

function save(blob, name) {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(blob);
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
}
