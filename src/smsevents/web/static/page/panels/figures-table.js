// The numbers of a chart as a table. On paper it is always open. A column has its `values`, and `total` where that is not
// their sum; `show` says how they are written.

import { html } from "../lib.js";

export function FiguresTable({ t, caption, isShown, first, rows, columns, format }) {
  return html`<div class="figures-table" hidden=${!isShown} tabindex=${isShown ? "0" : undefined} role="group" aria-label=${caption}>
    <table>
      <caption class="hidden-text">${caption}</caption>
      <thead>
        <tr>
          <th scope="col">${first}</th>
          ${columns.map(({ key, name }) => html`<th key=${key} scope="col" class="number">${name}</th>`)}
        </tr>
      </thead>
      <tbody>
        ${rows.map(
          (row, index) => html`<tr key=${index}>
            <th scope="row">${row}</th>
            ${columns.map(
              ({ key, values, show = format.number }) => html`<td key=${key} class="number">${show(values[index])}</td>`,
            )}
          </tr>`,
        )}
      </tbody>
      ${
        rows.length > 1 &&
        html`<tfoot>
          <tr>
            <th scope="row">${t("total")}</th>
            ${columns.map(
              ({ key, values, show = format.number, total = values.reduce((a, b) => a + b, 0) }) =>
                html`<td key=${key} class="number">${show(total)}</td>`,
            )}
          </tr>
        </tfoot>`
      }
    </table>
  </div>`;
}
