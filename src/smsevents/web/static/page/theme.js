// Light or dark: as the system, unless the person chose. The choice belongs to the browser, not to the address.

const KEY = "smsevents-theme";
export const THEMES = ["auto", "light", "dark"];

export function theme() {
  try {
    const stored = localStorage.getItem(KEY);
    return THEMES.includes(stored) ? stored : "auto";
  } catch {
    return "auto"; // storage is forbidden
  }
}

export function applyTheme(chosen = theme()) {
  if (chosen === "auto") delete document.documentElement.dataset.theme;
  else document.documentElement.dataset.theme = chosen;
  try {
    localStorage.setItem(KEY, chosen);
  } catch {
    // storage is forbidden: the choice lasts until the page is closed
  }
}
