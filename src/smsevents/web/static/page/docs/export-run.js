// One export of the form: it stops after some lines, and says how it ended.

const LINE_FEED = 10;

/** The lines of a stream, up to a number of them. */
class Lines {
  constructor(most) {
    this.most = most;
    this.bytes = 0;
    this.lines = [];
    this.rest = new Uint8Array(0); // the beginning of a line
    this.hasMore = false; // something follows the last line that is wanted
  }

  add(chunk) {
    let bytes = new Uint8Array(this.rest.length + chunk.length);
    bytes.set(this.rest);
    bytes.set(chunk, this.rest.length);
    while (this.lines.length < this.most) {
      const end = bytes.indexOf(LINE_FEED);
      if (end < 0) break;
      this.lines.push(new TextDecoder().decode(bytes.subarray(0, end)));
      this.bytes += end + 1;
      bytes = bytes.subarray(end + 1);
    }
    this.rest = bytes;
    this.hasMore = this.lines.length === this.most && bytes.length > 0;
  }
}

/**
 * Runs an export and reports each change: `{ response, lines, bytes, end }`. `end` is how it ended, empty until then:
 * `complete`; `enough`, after `most` lines of more; `stopped`, by `signal`; `truncated`; `refused`, with `problem`; or
 * `away`, with `reason`.
 */
export async function runExport({ address, headers, body, most, signal }, report) {
  const abort = new AbortController();
  signal.addEventListener("abort", () => abort.abort());
  let response;
  try {
    const request = { method: "POST", headers, body: JSON.stringify(body), cache: "no-store", signal: abort.signal };
    response = await fetch(address, { ...request, credentials: "same-origin", redirect: "error" });
  } catch (error) {
    report({ end: signal.aborted ? "stopped" : "away", reason: error.message, lines: [], bytes: 0 });
    return;
  }
  if (!response.ok) {
    // a response of a proxy in front of the server may lack a problem's members
    report({ response, end: "refused", problem: await response.json().catch(() => ({})), lines: [], bytes: 0 });
    return;
  }
  const found = new Lines(most);
  const state = (end) => report({ response, end, lines: [...found.lines], bytes: found.bytes });
  state("");
  const reader = response.body.getReader();
  try {
    for (let part = await reader.read(); !part.done; part = await reader.read()) {
      found.add(part.value);
      if (found.hasMore) {
        state("enough");
        abort.abort();
        return;
      }
      state("");
    }
    // what ends within a line was truncated by a proxy that does not know better
    state(found.rest.length ? "truncated" : "complete");
  } catch {
    state(signal.aborted ? "stopped" : "truncated");
  }
}
