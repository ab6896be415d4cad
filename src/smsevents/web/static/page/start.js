// What early.js, in the page itself, has begun: each thing can be taken once.

const begun = globalThis.smsevents ?? {};

function take(name) {
  const found = begun[name];
  delete begun[name];
  return found;
}

/** Returns who is signed in, as the page was told, or undefined. */
export const takeSession = () => take("session");

/** Returns the time that the requests on their way are for (Unix ms), or undefined. */
export const takeStart = () => take("now");

/** Returns the response of an address that was requested already, or undefined. */
export function takeResponse(address) {
  const response = begun.responses?.get(address);
  begun.responses?.delete(address);
  return response;
}
