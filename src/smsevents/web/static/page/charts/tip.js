// The figures of one bucket, beside it. Each row has a `name` and a `value`, and a `swatch` where it is drawn.

import { html } from "../lib.js";

const WIDTH = 190;

export function Tip({ title, rows, x, width }) {
  const left = x + 16 + WIDTH > width ? Math.max(0, x - 16 - WIDTH) : x + 16;
  return html`<div class="tip" style=${{ left: `${left}px` }} aria-hidden="true">
    <strong>${title}</strong>
    <dl>
      ${rows.map(
        ({ swatch, name, value }) => html`<div key=${name}>
          <span class=${swatch && `swatch ${swatch}`}></span>
          <dt>${name}</dt>
          <dd>${value}</dd>
        </div>`,
      )}
    </dl>
  </div>`;
}
