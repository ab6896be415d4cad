// How long deliveries took over time: the median and the time within which 95 % came, on a logarithmic axis. The two lines
// are told apart by their strokes, too. A bucket without deliveries is a gap; one that is not complete has hollow dots.

import { html } from "../lib.js";
import { durationTicks } from "./scale.js";
import { BOTTOM, HEIGHT, Timeline, TOP } from "./timeline.js";
import { Tip } from "./tip.js";

const DOT_PX = 3;
const DOTS_BAND_PX = 10; // narrower buckets have dots only where no line leads to them
const TICK_PX = 24; // between two values of the axis, at least

/** `lines` are the members of a bucket that are drawn, the lower one first, with their names. */
export function Spread({ series, lines, countOf, format, step, label, zoom }) {
  const values = series.flatMap((bucket) => lines.map(({ key }) => bucket[key])).filter((ms) => ms !== null);
  const { least, most, ticks: possible } = durationTicks(values);
  const y = (ms) => HEIGHT - BOTTOM - ((Math.log(Math.max(ms, least)) - Math.log(least)) / Math.log(most / least)) * (HEIGHT - TOP - BOTTOM);
  let last = Infinity;
  const ticks = possible.filter((ms) => {
    if (last - y(ms) < TICK_PX) return false;
    last = y(ms);
    return true;
  });
  const shown = (ms) => (ms === null ? "–" : `≈ ${format.duration(ms)}`);
  const figures = (index) => [
    ...lines.map(({ key, name }) => ({ swatch: key, name, value: shown(series[index][key]) })).reverse(),
    { ...countOf(series[index]) },
  ];
  const spoken = (index) => {
    const parts = figures(index).map(({ name, value }) => `${name} ${value}`);
    return `${format.bucket(series[index], step)}: ${parts.join(", ")}`;
  };
  const tip = (index, x, width) =>
    html`<${Tip} title=${format.bucket(series[index], step)} rows=${figures(index)} ...${{ x, width }} />`;
  const draw = (band) =>
    html`<${Area} ...${{ series, lines, y, band }} />
      ${lines.map(({ key }) => html`<${Line} key=${key} name=${key} ...${{ series, y, band }} />`)}`;
  return html`<${Timeline} ...${{ series, ticks, y, format, step, label, zoom, draw, spoken, tip }} tickName=${format.duration} />`;
}

/** Returns the stretches of buckets that have deliveries, each a list of `{ x, bucket }`. */
function stretches(series, band, key) {
  const found = [[]];
  series.forEach((bucket, index) => {
    if (bucket[key] === null) found.push([]);
    else found.at(-1).push({ x: (index + 0.5) * band, bucket });
  });
  return found.filter((one) => one.length);
}

const point = (x, y) => `${x.toFixed(1)} ${y.toFixed(1)}`;

function Area({ series, lines, y, band }) {
  const [low, high] = lines.map(({ key }) => key);
  const parts = stretches(series, band, low).map((one) => [
    ...one.map(({ x, bucket }) => point(x, y(bucket[high]))),
    ...one.map(({ x, bucket }) => point(x, y(bucket[low]))).reverse(),
  ]);
  return html`<path class="spread-area" d=${parts.map((one) => `M${one.join("L")}Z`).join("")} />`;
}

function Line({ name, series, y, band }) {
  const all = stretches(series, band, name);
  const path = all.map((one) => `M${one.map(({ x, bucket }) => point(x, y(bucket[name]))).join("L")}`).join("");
  const hasDot = ({ bucket }, stretch) => band >= DOTS_BAND_PX || !bucket.complete || stretch.length === 1;
  const dots = all.flatMap((stretch) => stretch.filter((one) => hasDot(one, stretch)));
  return html`<g class=${`spread-line ${name}`}>
    <path d=${path} />
    ${dots.map(({ x, bucket }) => html`<circle key=${bucket.from} class=${bucket.complete ? "" : "hollow"} cx=${x} cy=${y(bucket[name])} r=${DOT_PX} />`)}
  </g>`;
}
