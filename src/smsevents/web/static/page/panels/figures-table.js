// The numbers of a chart as a table. On paper it is always open.

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
            ${columns.map(({ key, values }) => html`<td key=${key} class="number">${format.number(values[index])}</td>`)}
          </tr>`,
        )}
      </tbody>
      ${
        rows.length > 1 &&
        html`<tfoot>
          <tr>
            <th scope="row">${t("total")}</th>
            ${columns.map(
              ({ key, values }) => html`<td key=${key} class="number">${format.number(values.reduce((a, b) => a + b, 0))}</td>`,
            )}
          </tr>
        </tfoot>`
      }
    </table>
  </div>`;
}
