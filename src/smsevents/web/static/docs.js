// The page at /docs: displays /openapi.json, and runs the export on request.
// Text is only added to the page as text nodes, so nothing that a server sends can become markup.

const SHOWN_LINES = 5;
const REFRESH_MS = 200;
const COPIED_MS = 3000;
const EXAMPLE_DAYS = 30;
const DAY_MS = 24 * 60 * 60 * 1000;
const LINE_FEED = 10;
const PROBLEM = "application/problem+json";

const byId = (id) => document.getElementById(id);
const number = new Intl.NumberFormat("en");

function make(tag, attributes, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  element.append(...children);
  return element;
}

/** Returns the parts of a text; parts in backticks become <code>. */
function prose(text = "") {
  return text.split(/`([^`]+)`/).map((part, index) => (index % 2 ? make("code", {}, part) : part));
}

/** Returns lines as a list with their own line numbers. */
function lineList(lines, start = 1) {
  const items = lines.map((line) => make("li", {}, make("code", {}, line)));
  return make("ol", { class: "lines", start }, ...items);
}

// ---- The description ----

async function showDescription() {
  const place = byId("operations");
  place.append(make("p", {}, "Loading the description …"));
  try {
    const spec = await (await fetch("openapi.json")).json();
    byId("version").textContent = spec.info.version;
    byId("about").replaceChildren(...prose(spec.info.description));
    place.replaceChildren(...operationsOf(spec));
  } catch (error) {
    place.replaceChildren(make("p", { class: "notice bad", role: "alert" }, `openapi.json cannot be shown: ${error}`));
    return;
  }
  showContents();
}

/** Lists the sections, and scrolls to the one in the address: it did not exist when the page was loaded. */
function showContents() {
  for (const title of document.querySelectorAll("main h2")) {
    const link = make("a", { href: `#${title.parentElement.id}` }, title.textContent);
    byId("contents").append(make("li", {}, link));
  }
  if (location.hash) byId(location.hash.slice(1))?.scrollIntoView();
}

function operationsOf(spec) {
  const key = spec.components.securitySchemes.key;
  return Object.entries(spec.paths).flatMap(([path, item]) =>
    Object.entries(item).map(([method, operation]) => showOperation(method.toUpperCase(), path, operation, key)),
  );
}

function showOperation(method, path, operation, key) {
  const id = operation.operationId;
  const address = make("code", {}, make("span", { class: "method" }, method), ` ${path}`);
  return make(
    "section",
    { id, "aria-labelledby": `${id}-title` },
    make("h2", { id: `${id}-title` }, operation.summary),
    make("p", { class: "address" }, address),
    make("p", {}, ...prose(operation.description)),
    make("h3", {}, "With curl"),
    ...showCommands(method, path, operation, key),
    make("h3", {}, "Parameters"),
    fields([...operation.parameters.map(parameterField), keyField(key)]),
    ...showRequestBody(operation.requestBody),
    make("h3", {}, "Answers"),
    ...Object.entries(operation.responses).map(([status, answer]) => showAnswer(status, answer)),
  );
}

function showRequestBody(body) {
  if (!body) return [];
  const media = Object.entries(body.content).flatMap(([type, media]) => showMedia([type], media));
  return [make("h3", {}, "Request body"), ...media];
}

/** Returns table rows with the name, the type and the meaning of each value. */
function fields(rows) {
  return make(
    "dl",
    { class: "fields" },
    ...rows.flatMap(([name, kind, meaning]) => [
      make("dt", {}, make("code", {}, name), ` ${kind}`),
      make("dd", {}, ...prose(meaning)),
    ]),
  );
}

function parameterField(parameter) {
  const example = firstExample(parameter);
  const kind = [parameter.in, parameter.schema.type, parameter.required ? "required" : "optional"].join(", ");
  const told = example === undefined ? "" : ` For example \`${example}\`.`;
  return [parameter.name, kind, parameter.description + told];
}

function keyField(key) {
  return [key.name, `${key.in}, string, required`, key.description ?? "The API key; `smsevents key create` makes one."];
}

function propertyFields(schema) {
  return Object.entries(schema.properties).map(([name, property]) => [
    name,
    (property.anyOf?.map((one) => one.type) ?? [].concat(property.type ?? "string")).join(" or ") + (schema.required?.includes(name) ? "" : ", optional"),
    property.description,
  ]);
}

function firstExample(owner) {
  return Object.values(owner.examples ?? {})[0]?.value;
}

function showMedia(types, media) {
  const names = types.flatMap((type, index) => [index ? " or " : "", make("code", {}, type)]);
  const told = [make("p", { class: "media" }, ...names)];
  if (media.schema.description) told.push(make("p", {}, ...prose(media.schema.description)));
  // every problem has the same fields, and the example shows them
  if (media.schema.properties && !types.includes(PROBLEM)) told.push(fields(propertyFields(media.schema)));
  return [...told, ...Object.values(media.examples ?? {}).map((example) => showExample(example.value))];
}

function showExample(value) {
  if (typeof value === "string") return lineList(value.trimEnd().split("\n"));
  return make("pre", {}, make("code", {}, JSON.stringify(value, null, 2)));
}

function showAnswer(status, answer) {
  const headers = Object.entries(answer.headers ?? {});
  const details = make(
    "details",
    {},
    make("summary", {}, make("strong", {}, status), " ", make("span", {}, ...prose(answer.description))),
    ...(headers.length ? [fields(headers.map(([name, header]) => [name, header.schema.type, header.description]))] : []),
    ...alikeMedia(answer.content ?? {}).flatMap(([types, media]) => showMedia(types, media)),
  );
  details.open = status.startsWith("2");
  return details;
}

/** Groups media types with the same content, so that it is shown only once. */
function alikeMedia(content) {
  const alike = new Map();
  for (const [type, media] of Object.entries(content)) {
    const same = JSON.stringify(media);
    alike.set(same, [[...(alike.get(same)?.[0] ?? []), type], media]);
  }
  return [...alike.values()];
}

// ---- Commands to paste ----

function showCommands(method, path, operation, key) {
  const url = addressOf(path.replace(/{(\w+)}/g, (_, name) => exampleOf(operation, name)));
  const end = `-H '${key.name}: YOUR_API_KEY' ${url}`;
  if (!operation.requestBody) return [command(`curl -X ${method} ${end}`, `${operation.summary}:`)];
  if (operation.requestBody.content["application/json"]) return exportCommands(end);
  return importCommands(end);
}

/** Returns the address of an API path, also when a proxy serves the API under a prefix. */
function addressOf(path) {
  return new URL(`.${path}`, document.baseURI).href;
}

function exampleOf(operation, name) {
  return firstExample(operation.parameters.find((parameter) => parameter.name === name));
}

function exportCommands(end) {
  // relative to today, because an interval of long ago would return no events
  const to = Math.floor(Date.now() / 1000) * 1000;
  return [
    command(`curl -d '{"from": ${to - EXAMPLE_DAYS * DAY_MS}, "to": ${to}}' ${end}`, `The last ${EXAMPLE_DAYS} days:`),
    make(
      "p",
      {},
      ...prose(
        "Put in your trackpoint and your key. With `--compressed` the same lines travel as gzip, in far fewer bytes." +
          " If curl ends with a code other than 0, what came is not all: ask again." +
          " `--fail-with-body` makes it do so for errors, too.",
      ),
    ),
  ];
}

function importCommands(end) {
  return [
    command(`curl --data-binary @events.jsonl ${end}`, "A file of lines:"),
    command(`gzip -c events.jsonl | curl --data-binary @- -H 'Content-Encoding: gzip' ${end}`, "The same, as gzip:"),
  ];
}

function command(text, caption) {
  const code = make("code", {}, text);
  const button = make("button", { type: "button", class: "quiet" }, "Copy");
  const told = make("span", { role: "status" });
  button.addEventListener("click", () => copy(code, told));
  return make(
    "figure",
    { class: "command" },
    make("figcaption", {}, caption),
    make("pre", {}, code),
    make("div", { class: "buttons" }, button, told),
  );
}

async function copy(code, told) {
  try {
    // not available on plain http, except on localhost
    await navigator.clipboard.writeText(code.textContent);
    told.textContent = "Copied";
  } catch {
    getSelection().selectAllChildren(code);
    told.textContent = "Selected: copy it with your keyboard or menu";
  }
  setTimeout(() => told.replaceChildren(), COPIED_MS);
}

// ---- Try it ----

/** Counts the lines of a stream and keeps only the first and last few: an export may be larger than memory. */
class Excerpt {
  constructor() {
    this.bytes = 0;
    this.lines = 0;
    this.head = new Uint8Array(0);
    this.tail = new Uint8Array(0);
  }

  add(chunk) {
    if (this.lines < SHOWN_LINES) this.head = firstLines(joined(this.head, chunk));
    this.tail = lastLines(joined(this.tail, chunk));
    this.bytes += chunk.length;
    for (const byte of chunk) if (byte === LINE_FEED) this.lines += 1;
  }

  /** Returns whether the received data ends at the end of a line. */
  isWhole() {
    return this.tail.length === 0 || this.tail[this.tail.length - 1] === LINE_FEED;
  }

  first() {
    return wholeLines(this.head);
  }

  last() {
    const behindFirst = Math.min(SHOWN_LINES, Math.max(0, this.lines - SHOWN_LINES));
    return behindFirst ? wholeLines(this.tail).slice(-behindFirst) : [];
  }
}

function joined(left, right) {
  const both = new Uint8Array(left.length + right.length);
  both.set(left);
  both.set(right, left.length);
  return both;
}

function firstLines(bytes) {
  let end = 0;
  for (let line = 0; line < SHOWN_LINES; line += 1) {
    end = bytes.indexOf(LINE_FEED, end) + 1;
    if (end === 0) return bytes;
  }
  return bytes.slice(0, end);
}

/** Keeps only the last lines and the incomplete line after them. */
function lastLines(bytes) {
  let start = bytes.length;
  for (let line = 0; line <= SHOWN_LINES; line += 1) {
    // the position must not be negative: it would then count from the end
    start = start > 0 ? bytes.lastIndexOf(LINE_FEED, start - 1) : -1;
    if (start < 0) return bytes;
  }
  return bytes.slice(start + 1);
}

function wholeLines(bytes) {
  return new TextDecoder().decode(bytes).split("\n").slice(0, -1);
}

class Cut extends Error {}

let running = null;

async function tryExport(event) {
  event.preventDefault();
  if (running) return;
  const abort = new AbortController();
  const excerpt = new Excerpt();
  const started = performance.now();
  const seconds = () => ((performance.now() - started) / 1000).toFixed(2);
  setRunning(abort);
  clearResult();
  say("", "Running …");
  byId("state").scrollIntoView({ block: "nearest" });
  try {
    const response = await askExport(abort.signal);
    showHead(response);
    if (response.ok) await follow(response, excerpt, () => showFigures(excerpt, seconds()));
    else await showProblem(response);
  } catch (error) {
    say("bad", reasonOf(error, abort.signal.aborted));
  } finally {
    if (excerpt.bytes) showLines(excerpt);
    byId("seconds").textContent = seconds();
    setRunning(null);
  }
}

async function askExport(signal) {
  const trackpoint = encodeURIComponent(byId("trackpoint").value);
  // JSON omits undefined values, so an empty field is not sent
  const interval = { from: millisecondsOf("from"), to: millisecondsOf("to") };
  const request = {
    method: "POST",
    headers: { "X-Api-Key": byId("key").value },
    body: JSON.stringify(interval),
    cache: "no-store",
    signal,
  };
  return fetch(addressOf(`/shop/${trackpoint}/export-sms-events`), request);
}

function millisecondsOf(id) {
  const { value } = byId(id);
  // without the Z it would be interpreted in the local time zone
  return value ? Date.parse(`${value}Z`) : undefined;
}

/** Reads the stream to its end. Throws `Cut` if the export was truncated. */
async function follow(response, excerpt, refresh) {
  const reader = response.body.getReader();
  let refreshed = 0;
  try {
    for (let part = await reader.read(); !part.done; part = await reader.read()) {
      excerpt.add(part.value);
      if (performance.now() - refreshed > REFRESH_MS) {
        refresh();
        refreshed = performance.now();
      }
    }
  } catch (error) {
    throw new Cut(error);
  } finally {
    refresh();
  }
  if (!excerpt.isWhole()) throw new Cut();
  say("good", excerpt.lines ? `Done: ${counted(excerpt.lines)}.` : "Done. There is no event in this interval.");
}

function reasonOf(error, isStopped) {
  if (isStopped) return "You stopped the export: what is shown is not all.";
  if (error instanceof Cut) return "The export was cut: what is shown is not all. Run it again.";
  return `The server cannot be reached: ${error.message}. Is it running?`;
}

async function showProblem(response) {
  // a response of a proxy in front of the server may lack a problem's fields
  const problem = await response.json().catch(() => ({}));
  const title = make("strong", {}, problem.title ?? `Status ${response.status}`);
  say("bad", title, ". ", ...prose(problem.detail ?? "The answer does not say why."));
}

function showHead(response) {
  byId("result").hidden = false;
  byId("status").textContent = `${response.status} ${response.statusText}`;
  showTime("export-from", response.headers.get("X-Export-From"));
  showTime("export-to", response.headers.get("X-Export-To"));
}

function showTime(id, milliseconds) {
  if (milliseconds === null) return;
  const time = new Date(Number(milliseconds)).toISOString().replace("T", " ").replace("Z", " UTC");
  byId(id).replaceChildren(make("code", {}, milliseconds), make("small", {}, time));
}

function showFigures(excerpt, seconds) {
  byId("lines").textContent = number.format(excerpt.lines);
  byId("bytes").textContent = number.format(excerpt.bytes);
  byId("seconds").textContent = seconds;
}

function showLines(excerpt) {
  const first = excerpt.first();
  const last = excerpt.last();
  const parts = [make("h3", {}, last.length ? `The first ${counted(first.length)}` : "The lines"), lineList(first)];
  if (last.length) {
    parts.push(make("h3", {}, `The last ${counted(last.length)}`), lineList(last, excerpt.lines - last.length + 1));
  }
  byId("excerpt").replaceChildren(...parts);
}

function counted(lines) {
  return `${number.format(lines)} ${lines === 1 ? "line" : "lines"}`;
}

function clearResult() {
  byId("result").hidden = true;
  byId("excerpt").replaceChildren();
  for (const figure of document.querySelectorAll(".figures dd")) figure.textContent = "–";
}

function say(tone, ...parts) {
  byId("state").className = `notice ${tone}`;
  byId("state").replaceChildren(...parts);
}

function setRunning(abort) {
  running = abort;
  // a disabled button loses the focus, so move it to the other button
  const [off, on] = abort ? [byId("run"), byId("stop")] : [byId("stop"), byId("run")];
  const hadFocus = document.activeElement === off;
  on.disabled = false;
  off.disabled = true;
  if (hadFocus) on.focus();
}

byId("form").addEventListener("submit", tryExport);
byId("stop").addEventListener("click", () => running?.abort());
byId("try").hidden = false;
showDescription();
