// A line without axes, for the course of a number. It says nothing that the figures beside it do not. Its height begins at
// zero; if it `isCentred`, it is moved to the middle of its height, not stretched.

import { html } from "../lib.js";

const WIDTH = 84;
const HEIGHT = 24;

export function Sparkline({ values, kind, isCentred = false }) {
  const known = values.filter((value) => value !== null);
  if (known.length < 2) return null;
  const largest = Math.max(...known);
  const least = Math.min(0, ...known);
  const x = (index) => (index / (values.length - 1)) * WIDTH;
  const scaled = (value) => HEIGHT - ((value - least) / (largest - least || 1)) * HEIGHT;
  const moved = isCentred ? (HEIGHT - scaled(largest) - scaled(Math.min(...known))) / 2 : 0;
  const y = (value) => scaled(value) + moved;
  let path = "";
  values.forEach((value, index) => {
    if (value !== null) path += `${path ? "L" : "M"}${x(index).toFixed(1)} ${y(value).toFixed(1)}`;
  });
  return html`<svg class=${`spark stroke-${kind}`} width=${WIDTH} height=${HEIGHT} viewBox="0 0 ${WIDTH} ${HEIGHT}" aria-hidden="true">
    <path d=${path} />
  </svg>`;
}
