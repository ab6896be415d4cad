// A line without axes, for the course of a number. It says nothing that the figures beside it do not.

import { html } from "../lib.js";

const WIDTH = 84;
const HEIGHT = 24;

export function Sparkline({ values, kind }) {
  const known = values.filter((value) => value !== null);
  if (known.length < 2) return null;
  const largest = Math.max(...known);
  const least = Math.min(0, ...known);
  const x = (index) => (index / (values.length - 1)) * WIDTH;
  const y = (value) => HEIGHT - ((value - least) / (largest - least || 1)) * HEIGHT;
  let path = "";
  values.forEach((value, index) => {
    if (value !== null) path += `${path ? "L" : "M"}${x(index).toFixed(1)} ${y(value).toFixed(1)}`;
  });
  return html`<svg class=${`spark stroke-${kind}`} width=${WIDTH} height=${HEIGHT} viewBox="0 0 ${WIDTH} ${HEIGHT}" aria-hidden="true">
    <path d=${path} />
  </svg>`;
}
