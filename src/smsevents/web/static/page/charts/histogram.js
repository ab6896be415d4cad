// How long deliveries took: bars on a logarithmic axis, with marks at the median and at 95 %.

import { html, useRef } from "../lib.js";
import { useWidth } from "./scale.js";

const HEIGHT = 248;
const TOP = 40;
const BOTTOM = 24;
const SIDE = 24;
const LEAST_MS = 100; // what is faster lies in the first bar
const EDGES_MS = [100, 500, 2_000, 10_000, 30_000, 120_000, 600_000, 3_600_000, 14_400_000, 86_400_000, 345_600_000];
const BARS_MAX = 60;
const LABEL_PX = 44;

export function Histogram({ data, format, median, p95 }) {
  const box = useRef();
  const width = useWidth(box);
  const bins = shownBins(data);
  const least = Math.max(1, bins[0].fromMs);
  const start = Math.log(least);
  const end = Math.log(Math.max(least * 2, bins.at(-1).toMs));
  const x = (ms) => SIDE + ((Math.log(Math.max(least, ms)) - start) / (end - start || 1)) * (width - 2 * SIDE);
  // the height is the density, because bars may differ in width
  const densities = bins.map((bin) => bin.deliveries / Math.max(1e-9, x(bin.toMs) - x(bin.fromMs)));
  const largest = Math.max(...densities, 1e-9);
  const y = (density) => HEIGHT - BOTTOM - (density / largest) * (HEIGHT - TOP - BOTTOM);
  let lastLabel = -LABEL_PX;
  const edges = EDGES_MS.filter((ms) => {
    const place = x(ms);
    if (Math.log(ms) < start || Math.log(ms) > end || place - lastLabel < LABEL_PX) return false;
    lastLabel = place;
    return true;
  });

  return html`<div class="chart" ref=${box}>
    <svg height=${HEIGHT} viewBox="0 0 ${width || 1} ${HEIGHT}" aria-hidden="true">
      ${
        width > 0 &&
        html`<g class="delivery-bars">
            ${bins.map((bin, index) => {
              const left = x(bin.fromMs);
              return html`<rect
                key=${bin.fromMs}
                x=${left + 0.5}
                y=${y(densities[index])}
                width=${Math.max(1, x(bin.toMs) - left - 1)}
                height=${HEIGHT - BOTTOM - y(densities[index])}
              />`;
            })}
          </g>
          <line class="base" x1=${SIDE} x2=${width - SIDE} y1=${HEIGHT - BOTTOM} y2=${HEIGHT - BOTTOM} />
          ${edges.map(
            (ms) => html`<text key=${ms} x=${x(ms)} y=${HEIGHT - 6} text-anchor="middle">${format.duration(ms)}</text>`,
          )}
          ${mark(x(data.medianMs), median, 12, width)} ${mark(x(data.p95Ms), p95, 28, width)}`
      }
    </svg>
  </div>`;
}

function mark(x, text, y, width) {
  const isRight = x > width * 0.6;
  return html`<g>
    <line class="mark-line" x1=${x} x2=${x} y1=${y - 8} y2=${HEIGHT - BOTTOM} />
    <text class="mark-text" x=${x + (isRight ? -6 : 6)} y=${y} text-anchor=${isRight ? "end" : "start"}>${text}</text>
  </g>`;
}

/** Joins a bin that is much narrower than most with the next one: its few deliveries would make a spike of noise. */
function withoutNarrow(bins) {
  const widthOf = (bin) => Math.log(bin.toMs / Math.max(1, bin.fromMs));
  const usual = bins.map(widthOf).sort((a, b) => a - b)[Math.floor(bins.length / 2)];
  const joined = [];
  for (const bin of bins) {
    const last = joined.at(-1);
    if (last && Math.min(widthOf(last), widthOf(bin)) < usual * 0.6 && widthOf(last) + widthOf(bin) < usual * 1.7) {
      joined[joined.length - 1] = { fromMs: last.fromMs, toMs: bin.toMs, deliveries: last.deliveries + bin.deliveries };
    } else joined.push(bin);
  }
  return joined;
}

/** Returns the bins that are shown: without the empty ends, and pairs of bins where there are too many. */
export function shownBins({ histogram }) {
  const first = histogram.findIndex((bin) => bin.deliveries);
  const last = histogram.findLastIndex((bin) => bin.deliveries);
  let bins = histogram.slice(first, last + 1);
  const fast = bins.filter((bin) => bin.toMs <= LEAST_MS);
  if (fast.length) {
    const deliveries = fast.reduce((sum, bin) => sum + bin.deliveries, 0);
    bins = [{ fromMs: LEAST_MS / 1.19, toMs: LEAST_MS, deliveries }, ...bins.slice(fast.length)];
  }
  bins = withoutNarrow(bins);
  while (bins.length > BARS_MAX) {
    bins = bins.flatMap((bin, index) => {
      if (index % 2) return [];
      const next = bins[index + 1];
      return [next ? { fromMs: bin.fromMs, toMs: next.toMs, deliveries: bin.deliveries + next.deliveries } : bin];
    });
  }
  return bins;
}
