// Stacked bars over time.

import { html } from "../lib.js";
import { ticksTo } from "./scale.js";
import { BOTTOM, HEIGHT, Timeline, TOP } from "./timeline.js";
import { Tip } from "./tip.js";

const BAR_MAX_PX = 96;

export function Bars({ series, statuses, nameOf, format, step, label, zoom }) {
  const totals = series.map(({ values }) => statuses.reduce((sum, status) => sum + values[status], 0));
  const largest = Math.max(...totals, 1);
  const ticks = ticksTo(Math.max(...totals, 0), 4).filter((tick) => tick <= largest);
  const y = (value) => HEIGHT - BOTTOM - (value / largest) * (HEIGHT - TOP - BOTTOM);
  const figures = (index) =>
    statuses
      .filter((status) => series[index].values[status])
      .map((status) => ({
        swatch: status,
        name: nameOf(status),
        value: format.number(series[index].values[status]),
      }));
  const spoken = (index) => {
    const parts = figures(index).map(({ name, value }) => `${name} ${value}`);
    return `${format.bucket(series[index], step)}: ${parts.join(", ") || "0"}`;
  };
  const tip = (index, x, width) => {
    const total = { name: nameOf("total"), value: format.number(totals[index]) };
    return html`<${Tip} title=${format.bucket(series[index], step)} rows=${[...figures(index).reverse(), total]} ...${{ x, width }} />`;
  };
  const draw = (band) =>
    html`<defs>
        <pattern id="hatched" width="5" height="5" patternUnits="userSpaceOnUse" patternTransform="rotate(45)">
          <line class="hatch-line" x1="1" y1="0" x2="1" y2="5" />
        </pattern>
        <pattern id="incomplete" width="6" height="6" patternUnits="userSpaceOnUse" patternTransform="rotate(45)">
          <line class="incomplete-line" x1="1" y1="0" x2="1" y2="6" />
        </pattern>
      </defs>
      ${series.map((bucket, index) =>
        html`<${Bar} key=${bucket.from} ...${{ bucket, statuses, y, x: index * band, band, total: totals[index] }} />`,
      )}`;
  return html`<${Timeline} ...${{ series, ticks, y, format, step, label, zoom, draw, spoken, tip }} tickName=${format.short} />`;
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
