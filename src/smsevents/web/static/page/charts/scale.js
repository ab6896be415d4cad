// Scales and sizes of charts.

import { useLayoutEffect, useState } from "../lib.js";

/** Returns round values from zero to at least `largest`, about `count` of them. */
export function ticksTo(largest, count) {
  if (largest <= 0) return [0, 1];
  const rough = largest / count;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = Math.max(1, [1, 2, 2.5, 5, 10].map((one) => one * power).find((one) => one >= rough));
  const whole = step < 10 ? Math.ceil(step) : step; // counts are whole
  const ticks = [0];
  while (ticks.at(-1) < largest) ticks.push(ticks.at(-1) + whole);
  return ticks;
}

const SECOND_MS = 1000;
const MINUTE_MS = 60 * SECOND_MS;
const HOUR_MS = 60 * MINUTE_MS;
const ROUND_MS = [
  ...[1, 10, 100, 200, 500],
  ...[1, 2, 5, 10, 20, 30].map((one) => one * SECOND_MS),
  ...[1, 2, 5, 10, 20, 30].map((one) => one * MINUTE_MS),
  ...[1, 2, 4, 8, 12, 24, 48, 96, 192, 384, 768, 1536, 3072].map((one) => one * HOUR_MS),
];

/** Returns the ends of a logarithmic axis for times in ms, `least` and `most`, and the round times from end to end. */
export function durationTicks(values) {
  const least = ROUND_MS.findLast((one) => one <= Math.min(...values)) ?? ROUND_MS[0];
  const largest = Math.max(...values, least + 1);
  const most = ROUND_MS.find((one) => one >= largest) ?? largest;
  return { least, most, ticks: ROUND_MS.filter((one) => least <= one && one <= most) };
}

/** Returns the width of an element in pixels, as it changes; zero before it is known. */
export function useWidth(ref) {
  const [width, setWidth] = useState(0);
  useLayoutEffect(() => {
    const observer = new ResizeObserver(([entry]) => setWidth(Math.floor(entry.contentRect.width)));
    observer.observe(ref.current);
    return () => observer.disconnect();
  }, []);
  return width;
}
