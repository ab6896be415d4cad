// Stands in the page itself, with the modules that it imports, so the numbers are requested as soon as the page is there:
// at the same time as its scripts, not after them. The page then takes what is on its way, see start.js.

import { statisticsPath } from "./paths.js";
import { skewOf } from "./period.js";
import { requestsOf } from "./requests.js";
import { readState } from "./url.js";

const opened = JSON.parse(document.getElementById("session").textContent);

if (opened && !location.hash.startsWith("#ticket=")) {
  const session = { ...opened, skew: skewOf(opened.now) };
  const now = Date.now() + session.skew;
  const { requests, chosen } = requestsOf(readState(location.search), now, false);
  const responses = new Map();
  for (const { path, query } of Object.values({ ...requests, ...chosen }).filter(Boolean)) {
    const address = statisticsPath(session.trackpointId, path, query);
    const response = fetch(address, { credentials: "same-origin", redirect: "error" });
    response.catch(() => {}); // whoever takes it handles the failure
    responses.set(address, response);
  }
  globalThis.smsevents = { session, now, responses };
}
