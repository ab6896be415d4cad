// The addresses of a shop's numbers and files, relative to the page.

function membersOf(query) {
  const members = new URLSearchParams();
  for (const [name, value] of Object.entries(query)) {
    for (const one of [value].flat()) if (one !== "" && one != null) members.append(name, one);
  }
  return members;
}

/** Returns the address of numbers. `path` is below sms-stats; `query` maps names to values or lists. */
export function statisticsPath(shop, path, query) {
  return `shop/${shop}/sms-stats${path}?${membersOf(query)}`;
}

/** Returns the address of a file with the events of an export, in a format of the server. */
export function filePath(shop, body, zone, format) {
  const { from = "90d", to = "", ...filters } = body;
  return `shop/${shop}/sms-events?${membersOf({ from, to, ...filters, tz: zone, format })}`;
}
