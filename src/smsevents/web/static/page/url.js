// What the page shows is in its address, and nowhere else: a link shows another person the same, and the back button
// works. Members that have their default are left out, except for the time zone, which other people may have another of.

const DEFAULTS = {
  days: "30", // a preset; `from` and `to` take precedence
  from: "",
  to: "",
  tz: "",
  at: "send",
  step: "",
  unit: "messages",
  delivery: "histogram",
  status: [],
  type: [],
  campaign: [],
  node: [],
  table: [],
  sort: "-sent",
  q: "",
  compare: "previous",
  lang: "",
};
const CHOICES = {
  days: ["7", "30", "90"],
  at: ["send", "event"],
  step: ["", "15m", "1h", "1d", "1w", "1M"],
  unit: ["messages", "events"],
  delivery: ["histogram", "over-time"],
  compare: ["previous", "none"],
  lang: ["", "en", "cs"],
};

export const browserZone = () => Intl.DateTimeFormat().resolvedOptions().timeZone || "UTC";

function isZone(name) {
  try {
    Intl.DateTimeFormat("en", { timeZone: name });
    return true;
  } catch {
    return false;
  }
}

/** Reads the state from a query string. A value that is not possible counts as absent. */
export function readState(search) {
  const given = new URLSearchParams(search);
  const state = {};
  for (const [name, fallback] of Object.entries(DEFAULTS)) {
    const values = given.getAll(name);
    if (Array.isArray(fallback)) state[name] = values;
    else if (!values.length || (CHOICES[name] && !CHOICES[name].includes(values[0]))) state[name] = fallback;
    else state[name] = values[0];
  }
  if (!isZone(state.tz) || !state.tz) state.tz = browserZone();
  return state;
}

/** Writes a state as a query string, with its question mark; empty if everything has its default. */
export function writeState(state) {
  const query = new URLSearchParams();
  for (const [name, fallback] of Object.entries(DEFAULTS)) {
    if (Array.isArray(fallback)) for (const value of state[name]) query.append(name, value);
    else if (state[name] !== fallback) query.append(name, state[name]);
  }
  const text = query.toString();
  return text ? `?${text}` : location.pathname;
}
