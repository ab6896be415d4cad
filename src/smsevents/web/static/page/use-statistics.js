// The numbers of all panels, requested together for one interval. Each has its own outcome, so one panel may fail alone.

import { statistics } from "./api.js";
import { useEffect, useState } from "./lib.js";

/**
 * Returns, by the name of each request, `{ data, problem, isOld }`. `requests` maps names to `{ path, query }` or null.
 * Numbers of the last interval stay, marked as old, until the new ones are there.
 */
export function useStatistics(shop, requests, refreshed, ended) {
  const [results, setResults] = useState({});
  const key = JSON.stringify(requests);

  useEffect(() => {
    const stop = new AbortController();
    setResults((old) =>
      Object.fromEntries(Object.keys(requests).map((name) => [name, { data: old[name]?.data, isOld: true }])),
    );
    for (const [name, request] of Object.entries(requests)) {
      // a response that was on its way before the page was there does not end with the signal
      const settle = (result) => stop.signal.aborted || setResults((old) => ({ ...old, [name]: result }));
      if (!request) {
        settle({});
        continue;
      }
      statistics(shop, request.path, request.query, stop.signal).then(
        (data) => settle({ data }),
        (problem) => {
          if (problem.name === "AbortError") return;
          if (problem.status === 401) ended();
          else settle({ problem });
        },
      );
    }
    return () => stop.abort();
  }, [shop, key, refreshed]);
  return results;
}
