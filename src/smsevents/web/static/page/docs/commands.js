// The commands of the reference: they name this server, and can be copied.

const EXAMPLE_SERVER = "http://127.0.0.1:8080";
const COPIED_MS = 3000;

/** Returns an address of this server, also when a proxy serves it under a prefix. */
export const addressOf = (path) => new URL(path, document.baseURI).href;

/** Puts the address of this server in the place of the one that the examples name. */
export function nameThisServer(place) {
  const own = addressOf("./").replace(/\/$/, "");
  const texts = document.createTreeWalker(place, NodeFilter.SHOW_TEXT);
  while (texts.nextNode()) {
    const text = texts.currentNode;
    if (text.data.includes(EXAMPLE_SERVER)) text.data = text.data.replaceAll(EXAMPLE_SERVER, own);
  }
}

/** Copies the text of an element, or selects it where a browser has no clipboard; returns the name of what it did. */
export async function copy(element) {
  try {
    // not available on plain http, except on localhost
    await navigator.clipboard.writeText(element.textContent);
    return "copied";
  } catch {
    getSelection().selectAllChildren(element);
    return "selected";
  }
}

export function addCopyButtons(place, t) {
  for (const code of place.querySelectorAll("pre > .language-sh, pre > .language-bash")) {
    const button = document.createElement("button");
    const told = document.createElement("span");
    const line = document.createElement("p");
    button.type = "button";
    button.textContent = t("copy");
    told.setAttribute("role", "status");
    line.className = "copy";
    line.append(button, told);
    button.addEventListener("click", async () => {
      told.textContent = t(await copy(code));
      setTimeout(() => told.replaceChildren(), COPIED_MS);
    });
    code.parentElement.after(line);
  }
}
