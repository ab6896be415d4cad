// The page at /docs. The reference is in the page itself; this adds what needs a script, and the form.

import { html, render } from "../lib.js";
import { translatorOf } from "../i18n/translator.js";
import { applyTheme, theme, THEMES } from "../theme.js";
import { addCopyButtons, nameThisServer } from "./commands.js";
import { followSections } from "./contents.js";
import cs from "./i18n/cs.js";
import en from "./i18n/en.js";
import { TryIt } from "./try-it.js";

const SIGNS = { auto: "◐", light: "○", dark: "●" };
const language = document.documentElement.lang; // the server has chosen it
const t = translatorOf({ en, cs }, language);

function showTheme(button) {
  const name = `${t("theme")}: ${t(`theme_${theme()}`)}`;
  button.textContent = SIGNS[theme()];
  button.title = name;
  button.ariaLabel = name;
}

function addThemeChoice() {
  const button = document.getElementById("theme");
  showTheme(button);
  button.addEventListener("click", () => {
    applyTheme(THEMES[(THEMES.indexOf(theme()) + 1) % THEMES.length]);
    showTheme(button);
  });
  button.hidden = false;
}

function addForm() {
  const place = document.getElementById("try");
  render(html`<${TryIt} t=${t} language=${language} />`, place);
  place.hidden = false;
  document.querySelector("[data-try]").hidden = false;
}

if (theme() !== "auto") applyTheme(); // nothing is stored unless a person chooses
addThemeChoice();
addForm();
nameThisServer(document.querySelector("main"));
addCopyButtons(document.querySelector("main"), t);
// what is above the section in the address has grown since the browser went there
if (location.hash) document.getElementById(decodeURIComponent(location.hash.slice(1)))?.scrollIntoView();
followSections();
