// A modal dialog: the browser's own, which keeps the focus inside and closes on Escape.

import { html, useEffect, useId, useRef } from "./lib.js";

export function Dialog({ t, title, close, children }) {
  const element = useRef();
  const id = useId();
  useEffect(() => {
    element.current.showModal();
  }, []);
  return html`<dialog ref=${element} aria-labelledby=${id} onClose=${close}>
    <div class="dialog-head">
      <h2 id=${id}>${title}</h2>
      <button class="plain" onClick=${() => element.current.close()}>${t("close")}</button>
    </div>
    <div class="dialog-body">${children}</div>
  </dialog>`;
}
