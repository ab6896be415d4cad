// Every request of the page. An error of the server is a `Problem` whose text is meant for people.

import { statisticsPath } from "./paths.js";
import { skewOf } from "./period.js";
import { takeResponse, takeSession } from "./start.js";

export class Problem extends Error {
  constructor(status, detail) {
    super(detail);
    this.status = status; // 0: no response at all
  }
}

async function ask(path, options = {}) {
  let response;
  try {
    response = await (takeResponse(path) ?? fetch(path, { credentials: "same-origin", redirect: "error", ...options }));
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Problem(0, "");
  }
  if (!response.ok) throw await problemOf(response);
  return response;
}

async function problemOf(response) {
  let detail = "";
  try {
    detail = (await response.json()).detail ?? "";
  } catch {
    // a proxy's own page, which would not help
  }
  return new Problem(response.status, detail);
}

const OWN = { "X-Smsevents": "1" };

const SIGNED_IN = "smsevents-signed-in";

/** Remembers that this browser signed in, so that the page need not ask in vain; the cookie itself is out of reach. */
function remember(isSignedIn) {
  try {
    if (isSignedIn) localStorage.setItem(SIGNED_IN, "1");
    else localStorage.removeItem(SIGNED_IN);
  } catch {
    // storage is forbidden: the page asks
  }
}

function mayBeSignedIn() {
  try {
    return localStorage.getItem(SIGNED_IN) !== null;
  } catch {
    return true;
  }
}

/** Returns who is signed in, with the server's time, or null. The page itself may say who opened it. */
export async function currentSession() {
  const opened = takeSession();
  if (opened) {
    remember(true);
    return opened;
  }
  if (!mayBeSignedIn()) return null;
  try {
    const response = await ask("session");
    return withTime(await response.json(), response);
  } catch (problem) {
    if (problem.status !== 401) throw problem;
    remember(false);
    return null;
  }
}

/** Signs in with `{ key }` or `{ ticket }`. */
export async function signIn(body) {
  const headers = { ...OWN, "Content-Type": "application/json" };
  const response = await ask("session", { method: "POST", headers, body: JSON.stringify(body) });
  remember(true);
  return withTime(await response.json(), response);
}

export async function signOut() {
  await ask("session", { method: "DELETE", headers: OWN });
  remember(false);
}

const withTime = (session, response) => ({ ...session, skew: skewOf(Date.parse(response.headers.get("Date") ?? "")) });

/** Returns the numbers of a shop. `path` is below sms-stats; `query` maps names to values or lists. */
export async function statistics(shop, path, query, signal) {
  return (await ask(statisticsPath(shop, path, query), { signal })).json();
}

/** Exports events. Rejects if the export was truncated, so nothing incomplete is ever saved. */
export async function exportEvents(shop, body) {
  const headers = { ...OWN, "Content-Type": "application/json" };
  const response = await ask(`shop/${shop}/export-sms-events`, { method: "POST", headers, body: JSON.stringify(body) });
  try {
    return await response.blob();
  } catch {
    throw new Problem(0, "");
  }
}

/** Returns what exports can do, by the server's own description: their `members`, and whether it has files to download. */
export async function exportAbilities() {
  const { paths } = await (await ask("openapi.json")).json();
  const body = paths["/shop/{trackpointId}/export-sms-events"].post.requestBody;
  return {
    members: Object.keys(body.content["application/json"].schema.properties),
    hasFiles: "/shop/{trackpointId}/sms-events" in paths,
  };
}
