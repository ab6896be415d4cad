// The form that runs an export: with a key that is typed, or as the person who is signed in to the page.

import { currentSession } from "../api.js";
import { html, useEffect, useRef, useState } from "../lib.js";
import { addressOf, copy } from "./commands.js";
import { Events, shownTime } from "./events-table.js";
import { runExport } from "./export-run.js";

const LINES = [20, 100, 1000];
const EXAMPLE_SHOP = "4541245641234564";
const LATEST = "9999-12-31T23:59";

// without the Z it would be interpreted in the local time zone
const millisecondsOf = (text) => (text ? Date.parse(`${text}Z`) : undefined);

export function TryIt({ t, language }) {
  const [session, setSession] = useState(null);
  const [fields, setFields] = useState({ trackpoint: "", key: "", from: "", to: "", most: LINES[0] });
  const [run, setRun] = useState(null);
  const abort = useRef(null);
  const isRunning = run !== null && !run.end;

  useEffect(() => {
    currentSession().then(
      (found) => {
        setSession(found);
        if (found) setFields((old) => ({ ...old, trackpoint: old.trackpoint || found.trackpointId }));
      },
      () => {}, // the form works with a key
    );
  }, []);

  const change = (name) => (event) => setFields({ ...fields, [name]: event.target.value });
  // JSON omits undefined values, so an empty field is not sent
  const body = { from: millisecondsOf(fields.from), to: millisecondsOf(fields.to) };
  const path = `shop/${encodeURIComponent(fields.trackpoint || EXAMPLE_SHOP)}/export-sms-events`;
  const most = Number(fields.most);

  async function submit(event) {
    event.preventDefault();
    if (isRunning) return;
    const stop = new AbortController();
    const started = performance.now();
    abort.current = stop;
    setRun({ end: "", lines: [], bytes: 0, most });
    const headers = fields.key ? { "X-Api-Key": fields.key } : { "X-Smsevents": "1" };
    await runExport({ address: addressOf(path), headers, body, most, signal: stop.signal }, (found) =>
      setRun({ ...found, most, seconds: (performance.now() - started) / 1000 }),
    );
  }

  return html`<h2 id="try-title">${t("tryIt")}</h2>
    <p>${t("lead")}</p>
    ${session && html`<p class="notice" id="signed-in">${t("signedIn", { name: session.name || session.trackpointId })}</p>`}
    <form onSubmit=${submit}>
      <${Field} t=${t} name="trackpoint" hint="trackpointHint" value=${fields.trackpoint} onInput=${change("trackpoint")}
        required inputmode="numeric" pattern="[0-9]+" title=${t("digitsOnly")} />
      <${Field} t=${t} name="key" hint=${session ? "keyHintSignedIn" : "keyHint"} value=${fields.key} onInput=${change("key")}
        type="password" required=${!session} pattern="[!-~]+" title=${t("asPrinted")} />
      <${Field} t=${t} name="from" hint="fromHint" value=${fields.from} onInput=${change("from")}
        type="datetime-local" max=${LATEST} />
      <${Field} t=${t} name="to" hint="toHint" value=${fields.to} onInput=${change("to")} type="datetime-local" max=${LATEST} />
      <div>
        <label for="try-most">${t("most")}</label>
        <select id="try-most" value=${fields.most} onChange=${change("most")}>
          ${LINES.map((count) => html`<option key=${count} value=${count}>${t("lines", { count })}</option>`)}
        </select>
      </div>
      <${Buttons} t=${t} isRunning=${isRunning} stop=${() => abort.current?.abort()} />
    </form>
    <${Outcome} t=${t} run=${run} />
    <${Figures} t=${t} run=${run} language=${language} />
    ${run?.lines.length > 0 && html`<${Events} t=${t} lines=${run.lines} />`}
    <${Command} t=${t} body=${body} path=${path} most=${most} />`;
}

/** An input with its label and hint. It has no name, so that a browser never puts the key into an address. */
function Field({ t, name, hint, type = "text", ...attributes }) {
  const id = `try-${name}`;
  return html`<div>
    <label for=${id}>${t(name)}</label>
    <input id=${id} type=${type} autocomplete="off" spellcheck=${false} aria-describedby=${`${id}-hint`} ...${attributes} />
    <p id=${`${id}-hint`} class="muted">${t(hint)}</p>
  </div>`;
}

/** A disabled button loses the focus, so it moves to the other one. */
function Buttons({ t, isRunning, stop }) {
  const [runButton, stopButton] = [useRef(), useRef()];
  const hadFocus = useRef(false);
  hadFocus.current = [runButton.current, stopButton.current].includes(document.activeElement) && Boolean(runButton.current);
  useEffect(() => {
    if (hadFocus.current) (isRunning ? stopButton : runButton).current.focus();
  }, [isRunning]);
  return html`<div class="actions">
    <button class="primary" ref=${runButton} disabled=${isRunning}>${t("run")}</button>
    <button type="button" ref=${stopButton} disabled=${!isRunning} onClick=${stop}>${t("stop")}</button>
  </div>`;
}

const GOOD = ["complete", "enough"];
const BAD = ["truncated", "refused", "away"];

function Outcome({ t, run }) {
  const tone = GOOD.includes(run?.end) ? "good" : BAD.includes(run?.end) ? "bad" : "";
  return html`<div id="outcome" class=${run ? `notice ${tone}` : ""} role="status">
    ${run && html`<${OutcomeText} t=${t} run=${run} />`}
  </div>`;
}

function OutcomeText({ t, run }) {
  const lines = t("lines", { count: run.lines.length });
  if (!run.end) return t("running");
  if (run.end === "refused") return html`<${ProblemText} t=${t} ...${run} />`;
  if (run.end === "away") return t("away", { reason: run.reason });
  if (run.end === "complete" && !run.lines.length) return t("completeEmpty");
  return t(run.end, { lines });
}

/** What the server says is in English. */
function ProblemText({ t, response, problem }) {
  const id = response.headers.get("X-Request-Id");
  return html`<p lang="en"><strong>${problem.title ?? `Status ${response.status}`}.</strong> <${Prose} text=${problem.detail ?? ""} /></p>
    ${!problem.detail && html`<p>${t("noDetail")}</p>`}
    ${id && html`<p class="request-id">X-Request-Id: <code>${id}</code></p>`}`;
}

/** A text in which code stands between backticks. */
function Prose({ text }) {
  return text.split(/`([^`]+)`/).map((part, index) => (index % 2 ? html`<code>${part}</code>` : part));
}

function Figures({ t, run, language }) {
  if (!run?.response) return null;
  const number = new Intl.NumberFormat(language, { maximumFractionDigits: 2 });
  const { response } = run;
  const time = (name) => {
    const ms = response.headers.get(name);
    return ms && html`<code>${ms}</code> <small>${shownTime(ms)} UTC</small>`;
  };
  const figures = {
    figureStatus: `${response.status} ${response.statusText}`,
    figureLines: number.format(run.lines.length),
    figureBytes: number.format(run.bytes),
    figureSeconds: number.format(run.seconds),
    "X-Export-From": time("X-Export-From"),
    "X-Export-To": time("X-Export-To"),
  };
  const warning = response.headers.get("X-Export-Warning");
  return html`<dl class="figures">
      ${Object.entries(figures).map(
        ([name, value]) =>
          value && html`<div key=${name}><dt>${name.startsWith("X-") ? name : t(name)}</dt><dd>${value}</dd></div>`,
      )}
    </dl>
    ${warning && html`<p class="notice" lang="en">${warning}</p>`}`;
}

function Command({ t, body, path, most }) {
  const [told, setTold] = useState("");
  const code = useRef();
  const command = `curl -sS --fail-with-body -d '${JSON.stringify(body)}' -H "X-Api-Key: $KEY" ${addressOf(path)} | head -n ${most}`;
  return html`<div class="same">
    <p>${t("command")}</p>
    <pre><code ref=${code}>${command}</code></pre>
    <p class="copy">
      <button type="button" onClick=${async () => setTold(await copy(code.current))}>${t("copy")}</button>
      <span role="status">${told && t(told)}</span>
    </p>
  </div>`;
}
