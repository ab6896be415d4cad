// The frame of a chart over time: its axes, a cursor and a selection. Pointer: hover for the figures, drag to select.
// Keyboard: the chart is one stop; arrows move the cursor, Shift with arrows selects, Enter zooms in, Escape ends the
// selection.

import { html, useRef, useState } from "../lib.js";
import { useWidth } from "./scale.js";

export const HEIGHT = 240;
export const TOP = 8;
export const BOTTOM = 24;
const RIGHT = 48;
const TICK_PX = 76; // of a label on the axis

/**
 * `ticks` are the values that have a line, the lowest first; `y` and `tickName` return the place and the name of one.
 * `draw` returns what is drawn, from the width of a bucket; `spoken` the figures of a bucket as text, by its position;
 * `tip` what is shown beside a bucket, from its position, `x` and the width.
 */
export function Timeline({ series, ticks, y, tickName, format, step, label, zoom, draw, spoken, tip }) {
  const box = useRef();
  const width = useWidth(box);
  const [cursor, setAt] = useState(null);
  const [begin, setAnchor] = useState(null); // where the selection begins
  // after zooming in, there may be fewer buckets than before
  const at = cursor === null ? null : Math.min(cursor, series.length - 1);
  const anchor = begin === null ? null : Math.min(begin, series.length - 1);
  const plotWidth = Math.max(0, width - RIGHT);
  const band = plotWidth / series.length;
  const selected = anchor === null || at === null ? null : [Math.min(anchor, at), Math.max(anchor, at)];

  const zoomIn = (first, last) => {
    setAnchor(null);
    zoom(series[first].from, series[last].to);
  };
  const indexAt = (event) => {
    const x = event.clientX - box.current.getBoundingClientRect().left;
    return Math.min(series.length - 1, Math.max(0, Math.floor(x / band)));
  };
  const pointer = {
    onPointerDown: (event) => {
      if (event.pointerType === "touch") setAt(indexAt(event)); // a finger scrolls, so it does not select
      if (event.button !== 0 || event.pointerType === "touch") return;
      event.currentTarget.setPointerCapture(event.pointerId);
      setAnchor(indexAt(event));
      setAt(indexAt(event));
    },
    onPointerMove: (event) => setAt(indexAt(event)),
    onPointerUp: () => (selected && selected[0] !== selected[1] ? zoomIn(...selected) : setAnchor(null)),
    onPointerCancel: () => setAnchor(null),
    onPointerLeave: (event) => anchor === null && event.pointerType !== "touch" && setAt(null),
    onBlur: () => {
      setAt(null);
      setAnchor(null);
    },
    onFocus: (event) => event.currentTarget.matches(":focus-visible") && at === null && setAt(series.length - 1),
  };
  const keys = (event) => {
    const last = series.length - 1;
    const here = at ?? last;
    const moves = { ArrowLeft: here - 1, ArrowRight: here + 1, Home: 0, End: last };
    if (event.key in moves) {
      if (event.shiftKey && anchor === null) setAnchor(here);
      if (!event.shiftKey) setAnchor(null);
      setAt(Math.min(last, Math.max(0, moves[event.key])));
    } else if (event.key === "Enter") zoomIn(...(selected ?? [here, here]));
    else if (event.key === "Escape") (anchor === null ? setAt : setAnchor)(null);
    else return;
    event.preventDefault();
  };
  const column = (kind, first, last) =>
    html`<rect class=${kind} x=${first * band} y=${TOP} width=${(last - first + 1) * band} height=${HEIGHT - TOP - BOTTOM} />`;

  return html`<div class="chart" ref=${box}>
    <svg height=${HEIGHT} viewBox="0 0 ${width || 1} ${HEIGHT}" aria-hidden="true">
      ${
        width > 0 &&
        html`<${Axes} ...${{ ticks, y, tickName, plotWidth, series, band, format, step }} />
          ${draw(band)} ${at !== null && column("cursor", at, at)} ${selected && column("selection", ...selected)}`
      }
    </svg>
    <div
      class="chart-keys"
      tabindex="0"
      role="slider"
      aria-label=${label}
      aria-valuemin="1"
      aria-valuemax=${series.length}
      aria-valuenow=${(at ?? series.length - 1) + 1}
      aria-valuetext=${spoken(at ?? series.length - 1)}
      onKeyDown=${keys}
      ...${pointer}
    ></div>
    ${at !== null && series[at] && tip(at, (at + 0.5) * band, width)}
  </div>`;
}

const ROUND_HOURS = [1, 2, 3, 6, 12, 24];

/** Returns the buckets that get a label: every so many days, or hours that divide a day. */
function labelled(series, band, format, step) {
  const all = series.map((bucket, index) => ({ bucket, index }));
  const every = Math.max(1, Math.ceil(TICK_PX / band));
  if (step !== "1h" && step !== "15m") return all.filter(({ index }) => index % every === 0);
  const inHour = step === "1h" ? 1 : 4;
  const hours = ROUND_HOURS.find((one) => one * inHour >= every) ?? 24;
  return all.filter(({ bucket }) => {
    const [hour, minute] = format.hour(bucket.from);
    return minute === 0 && hour % hours === 0;
  });
}

function Axes({ ticks, y, tickName, plotWidth, series, band, format, step }) {
  const labels = labelled(series, band, format, step);
  return html`<g>
    ${ticks.map(
      (tick, index) => html`<g key=${tick}>
        <line class=${index ? "grid" : "base"} x1="0" x2=${plotWidth} y1=${y(tick)} y2=${y(tick)} />
        <text x=${plotWidth + 8} y=${y(tick) + 4}>${tickName(tick)}</text>
      </g>`,
    )}
    ${labels.map(({ bucket, index }) => {
      const isLast = index * band + TICK_PX > plotWidth + RIGHT;
      const [x, anchor] =
        band > TICK_PX ? [(index + 0.5) * band, "middle"] : isLast ? [plotWidth, "end"] : [index * band, "start"];
      return html`<text key=${bucket.from} x=${x} y=${HEIGHT - 6} text-anchor=${anchor}>
        ${format.tick(bucket, step, index === 0)}
      </text>`;
    })}
  </g>`;
}
