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
