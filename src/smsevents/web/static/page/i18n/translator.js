// Finds texts in a language. A text is a string with {members}, or one string for each plural form.

export const LANGUAGES = ["en", "cs"];

/** Czech never ends a line with a preposition of one letter, nor between a number and what it counts. */
function unbroken(text) {
  return text.replace(/(^|[\s(„])([ksvzouai]) /giu, "$1$2\u00a0").replace(/(\d|\{count\}) (?=[\p{L}%])/gu, "$1\u00a0");
}

const mapped = (texts, change) =>
  Object.fromEntries(
    Object.entries(texts).map(([key, text]) => [key, typeof text === "string" ? change(text) : mapped(text, change)]),
  );

/** Returns the language of a person: what the address says, else the first of the browser's that we have. */
export function languageOf(asked) {
  if (LANGUAGES.includes(asked)) return asked;
  const wished = navigator.languages.map((one) => one.slice(0, 2).toLowerCase());
  // Slovak readers read Czech more easily than English
  const found = wished.map((one) => (one === "sk" ? "cs" : one)).find((one) => LANGUAGES.includes(one));
  return found ?? "en";
}

/** Returns the function that finds a text of `{ en, cs }`: `t("events", { count: 3 })`. Numbers are formatted. */
export function translatorOf({ en, cs }, language) {
  const texts = language === "cs" ? mapped(cs, unbroken) : en;
  const rules = new Intl.PluralRules(language);
  const number = new Intl.NumberFormat(language);
  return (key, values = {}) => {
    const found = texts[key] ?? en[key];
    if (found === undefined) throw new Error(`no text ${key}`);
    const text = typeof found === "string" ? found : (found[rules.select(values.count)] ?? found.other);
    return text.replace(/\{(\w+)\}/g, (_, name) => {
      const value = values[name];
      return typeof value === "number" ? number.format(value) : String(value);
    });
  };
}
