// The figures of one bar, beside it.

import { html } from "../lib.js";

const WIDTH = 190;

export function Tip({ bucket, statuses, nameOf, format, step, x, width }) {
  const left = x + 16 + WIDTH > width ? Math.max(0, x - 16 - WIDTH) : x + 16;
  const total = statuses.reduce((sum, status) => sum + bucket.values[status], 0);
  const shown = statuses.filter((status) => bucket.values[status]).reverse();
  return html`<div class="tip" style=${{ left: `${left}px` }} aria-hidden="true">
    <strong>${format.bucket(bucket, step)}</strong>
    <dl>
      ${shown.map(
        (status) => html`<div key=${status}>
          <span class=${`swatch ${status}`}></span>
          <dt>${nameOf(status)}</dt>
          <dd>${format.number(bucket.values[status])}</dd>
        </div>`,
      )}
      <div><span></span><dt>${nameOf("total")}</dt><dd>${format.number(total)}</dd></div>
    </dl>
  </div>`;
}
