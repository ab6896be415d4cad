// Stacked bars with a cursor and a selection. Pointer: hover for the figures, drag to select. Keyboard: the chart is one
// stop; arrows move the cursor, Shift with arrows selects, Enter zooms in, Escape ends the selection.

import { html, useRef, useState } from "../lib.js";
import { ticksTo, useWidth } from "./scale.js";
import { Tip } from "./tip.js";

const HEIGHT = 240;
const TOP = 8;
const BOTTOM = 24;
const RIGHT = 48;
const TICK_PX = 76; // of a label on the axis
const BAR_MAX_PX = 96;

export function Bars({ series, statuses, nameOf, format, step, label, zoom }) {
  const box = useRef();
  const width = useWidth(box);
  const [cursor, setAt] = useState(null);
  const [begin, setAnchor] = useState(null); // where the selection begins
  // after zooming in, there may be fewer bars than before
  const at = cursor === null ? null : Math.min(cursor, series.length - 1);
  const anchor = begin === null ? null : Math.min(begin, series.length - 1);
  const totals = series.map(({ values }) => statuses.reduce((sum, status) => sum + values[status], 0));
  const ticks = ticksTo(Math.max(...totals, 0), 4).filter((tick) => tick <= Math.max(...totals, 1));
  const plotWidth = Math.max(0, width - RIGHT);
  const band = plotWidth / series.length;
  const largest = Math.max(...totals, 1);
  const y = (value) => HEIGHT - BOTTOM - (value / largest) * (HEIGHT - TOP - BOTTOM);
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
  const spoken = (index) => {
    const parts = statuses.filter((status) => series[index].values[status]);
    const figures = parts.map((status) => `${nameOf(status)} ${format.number(series[index].values[status])}`);
    return `${format.bucket(series[index], step)}: ${figures.join(", ") || "0"}`;
  };

  return html`<div class="chart" ref=${box}>
    <svg height=${HEIGHT} viewBox="0 0 ${width || 1} ${HEIGHT}" aria-hidden="true">
      <defs>
        <pattern id="hatched" width="5" height="5" patternUnits="userSpaceOnUse" patternTransform="rotate(45)">
          <line class="hatch-line" x1="1" y1="0" x2="1" y2="5" />
        </pattern>
        <pattern id="incomplete" width="6" height="6" patternUnits="userSpaceOnUse" patternTransform="rotate(45)">
          <line class="incomplete-line" x1="1" y1="0" x2="1" y2="6" />
        </pattern>
      </defs>
      ${
        width > 0 &&
        html`<${Axes} ...${{ ticks, y, plotWidth, series, band, format, step }} />
          ${series.map((bucket, index) =>
            html`<${Bar} key=${bucket.from} ...${{ bucket, statuses, y, x: index * band, band, total: totals[index] }} />`,
          )}
          ${at !== null && html`<rect class="cursor" x=${at * band} y=${TOP} width=${band} height=${HEIGHT - TOP - BOTTOM} />`}
          ${
            selected &&
            html`<rect
              class="selection"
              x=${selected[0] * band}
              y=${TOP}
              width=${(selected[1] - selected[0] + 1) * band}
              height=${HEIGHT - TOP - BOTTOM}
            />`
          }`
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
    ${at !== null && series[at] && html`<${Tip} ...${{ bucket: series[at], statuses, nameOf, format, step }} x=${(at + 0.5) * band} width=${width} />`}
  </div>`;
}

function Bar({ bucket, statuses, y, x, band, total }) {
  const gap = Math.max(Math.min(3, band * 0.2), band - BAR_MAX_PX);
  let below = 0;
  const parts = statuses.map((status) => {
    const value = bucket.values[status];
    const top = y(below + value);
    const height = y(below) - top;
    below += value;
    // a hair of space between the parts, where they are high enough to spare it
    const shown = height > 2 ? height - 0.5 : height;
    return value && html`<rect key=${status} class=${status} x=${x + gap / 2} y=${top} width=${band - gap} height=${shown} />`;
  });
  return html`<g>
    ${parts}
    ${
      !bucket.complete &&
      total > 0 &&
      html`<rect fill="url(#incomplete)" x=${x + gap / 2} y=${y(total)} width=${band - gap} height=${y(0) - y(total)} />`
    }
  </g>`;
}

const ROUND_HOURS = [1, 2, 3, 6, 12, 24];

/** Returns the bars that get a label: every so many days, or hours that divide a day. */
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

function Axes({ ticks, y, plotWidth, series, band, format, step }) {
  const labels = labelled(series, band, format, step);
  return html`<g>
    ${ticks.map(
      (tick) => html`<g key=${tick}>
        <line class=${tick ? "grid" : "base"} x1="0" x2=${plotWidth} y1=${y(tick)} y2=${y(tick)} />
        <text x=${plotWidth + 8} y=${y(tick) + 4}>${format.short(tick)}</text>
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
