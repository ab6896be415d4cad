// Numbers and times as people of a language write them, in one time zone.

const SECOND = 1000;
const MINUTE = 60 * SECOND;
const HOUR = 60 * MINUTE;
const NARROW = "\u202f";
const NBSP = "\u00a0";

/** Returns the formats of a language and a zone. Times are Unix ms. */
export function formats(language, zone) {
  const locale = language === "en" ? "en-GB" : language;
  const number = new Intl.NumberFormat(language);
  const short = new Intl.NumberFormat(language, { notation: "compact", maximumFractionDigits: 1 });
  const oneDigit = new Intl.NumberFormat(language, { maximumFractionDigits: 1 });
  const ratio = new Intl.NumberFormat(language, { minimumFractionDigits: 1, maximumFractionDigits: 1 });
  const signed = new Intl.NumberFormat(language, { maximumFractionDigits: 1, signDisplay: "exceptZero" });
  const dates = (options) => new Intl.DateTimeFormat(locale, { timeZone: zone, ...options });
  const day = dates({ day: "numeric", month: "short" });
  const fullDay = dates({ day: "numeric", month: language === "cs" ? "long" : "short", year: "numeric" });
  const weekday = dates({ weekday: "short", day: "numeric", month: "short" });
  const month = dates({ month: "long", year: "numeric" });
  const shortMonth = dates({ month: "short" });
  const clock = dates({ hour: "2-digit", minute: "2-digit", hourCycle: "h23" });
  const moment = dates({ day: "numeric", month: "short", hour: "2-digit", minute: "2-digit", hourCycle: "h23" });

  const spaced = (text, unit) => `${text}${NBSP}${unit}`;
  const percentSign = language === "cs" ? `${NBSP}%` : "%";
  const percentOf = (value, format) => `${format.format(value * 100)}${percentSign}`;

  function duration(ms) {
    if (ms < SECOND) return spaced(number.format(Math.round(ms)), "ms");
    if (ms < 10 * SECOND) return spaced(oneDigit.format(ms / SECOND), "s");
    if (ms < MINUTE) return spaced(number.format(Math.round(ms / SECOND)), "s");
    if (ms < HOUR) return spaced(oneDigit.format(ms / MINUTE), "min");
    return spaced(oneDigit.format(ms / HOUR), "h");
  }

  /** Returns the name of a bucket: a day, a month, or from when to when. */
  function bucket({ from, to }, step) {
    if (step === "1d") return weekday.format(from);
    if (step === "1M") return month.format(from);
    if (step === "1w") return `${day.format(from)} – ${day.format(to)}`;
    return `${moment.format(from)} – ${clock.format(to + 1)}`;
  }

  /** Returns the short name of a bucket on the axis. */
  function tick({ from }, step, isFirst) {
    if (step === "1M") return shortMonth.format(from);
    if (step === "1d" || step === "1w") return day.format(from);
    const time = clock.format(from);
    return isFirst || time === "00:00" ? day.format(from) : time;
  }

  function sign(value, text) {
    return value < 0 ? text.replace(/^[-−]/, "−") : text;
  }

  return {
    number: (value) => number.format(value),
    short: (value) => short.format(value).replace(" ", NBSP),
    percent: (value) => (value === null ? "–" : percentOf(value, ratio)),
    change: (value) => sign(value, `${signed.format(value * 100)}${percentSign}`),
    points: (value) => sign(value, signed.format(value * 100)),
    signedDuration: (ms) => `${ms < 0 ? "−" : "+"}${duration(Math.abs(ms))}`,
    duration,
    bucket,
    tick,
    dayMonth: (ms) => day.format(ms),
    day: (ms) => fullDay.format(ms),
    hour: (ms) => clock.format(ms).split(":").map(Number),
    moment: (ms) => moment.format(ms),
    range: (from, to) => fullDay.formatRange(from, to).replaceAll("\u2009", NARROW),
    momentRange: (from, to) =>
      dates({ day: "numeric", month: "short", year: "numeric", hour: "2-digit", minute: "2-digit", hourCycle: "h23" })
        .formatRange(from, to)
        .replaceAll("\u2009", NARROW),
  };
}
