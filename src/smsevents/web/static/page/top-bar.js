// The bar on top: the shop, the period, and how the numbers are shown.

import { html, useState } from "./lib.js";
import { PeriodDialog } from "./period-dialog.js";
import { applyTheme, theme, THEMES } from "./theme.js";

const OTHER = { cs: "Česky", en: "English" };
const SIGNS = { auto: "◐", light: "○", dark: "●" };

export function TopBar({ t, session, state, go, period, language, leave, now }) {
  const [choosing, setChoosing] = useState(false);
  const [isOpen, setOpen] = useState(false); // the menu, which only a phone has
  const other = language === "cs" ? "en" : "cs";
  return html`<header class="top">
    <div class="top-inner">
      <div class="brand">
        <strong>smsevents</strong>
        <span class="shop">${session.name}</span>
        <code>${session.trackpointId}</code>
      </div>
      <button class="menu" aria-expanded=${String(isOpen)} aria-controls="settings" onClick=${() => setOpen(!isOpen)}>
        <span aria-hidden="true">☰</span> ${t("menu")}
      </button>
      <div class="presets" role="group" aria-label=${t("period")}>
        ${["7", "30", "90"].map(
          (days) => html`<button
            key=${days}
            aria-pressed=${String(period.isPreset && state.days === days)}
            onClick=${() => go({ days, from: "", to: "", step: "" })}
          >
            ${t(`days${days}`)}
          </button>`,
        )}
        <button aria-pressed=${String(!period.isPreset)} aria-haspopup="dialog" onClick=${() => setChoosing(true)}>
          ${t("custom")}
        </button>
      </div>
      <div
        class=${`settings ${isOpen ? "open" : ""}`}
        id="settings"
        onKeyDown=${(event) => event.key === "Escape" && setOpen(false)}
      >
        <${Choice}
          label=${t("compare")}
          value=${state.compare}
          options=${[
            ["previous", compareName(t, period)],
            ["none", t("compareNone")],
          ]}
          choose=${(compare) => go({ compare })}
        />
        <${ZoneChoice} t=${t} state=${state} go=${go} />
        <button class="plain" lang=${other} onClick=${() => go({ lang: other })}>
          ${OTHER[other]}
        </button>
        <${ThemeChoice} t=${t} />
        <button class="plain" onClick=${leave}>${t("signOut")}</button>
      </div>
    </div>
    ${choosing && html`<${PeriodDialog} t=${t} state=${state} go=${go} period=${period} now=${now} close=${() => setChoosing(false)} />`}
  </header>`;
}

export const compareName = (t, period) =>
  period.isPreset ? t("comparePrevious", { count: period.days }) : t("compareSpan");

export function Choice({ label, value, options, choose, className }) {
  return html`<select
    class=${className}
    aria-label=${label}
    value=${value}
    onChange=${(event) => choose(event.target.value)}
  >
    ${options.map(([one, name]) => html`<option key=${one} value=${one} selected=${one === value}>${name}</option>`)}
  </select>`;
}

function ZoneChoice({ t, state, go }) {
  const known = ["UTC", ...Intl.supportedValuesOf("timeZone")];
  const zones = known.includes(state.tz) ? known : [state.tz, ...known];
  const options = zones.map((zone) => [zone, zone.replaceAll("_", " ")]);
  return html`<${Choice} label=${t("zone")} value=${state.tz} options=${options} choose=${(tz) => go({ tz })} />`;
}

function ThemeChoice({ t }) {
  const [chosen, setChosen] = useState(theme);
  const name = `${t("theme")}: ${t(`theme_${chosen}`)}`;
  const next = () => {
    const one = THEMES[(THEMES.indexOf(chosen) + 1) % THEMES.length];
    applyTheme(one);
    setChosen(one);
  };
  return html`<button class="plain" title=${name} aria-label=${name} onClick=${next}>${SIGNS[chosen]}</button>`;
}
