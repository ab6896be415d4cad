// The texts of the page.

import cs from "./cs.js";
import en from "./en.js";
import { translatorOf } from "./translator.js";

export { languageOf } from "./translator.js";

export const translator = (language) => translatorOf({ en, cs }, language);
