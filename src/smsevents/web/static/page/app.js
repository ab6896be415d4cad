// The start: who is signed in? Then the numbers, else the sign-in.

import { currentSession, signIn, signOut } from "./api.js";
import { Dashboard } from "./dashboard.js";
import { languageOf, translator } from "./i18n/i18n.js";
import { html, render, useCallback, useEffect, useMemo, useState } from "./lib.js";
import { Failure, signInText } from "./notices.js";
import { SignIn } from "./sign-in.js";
import { applyTheme } from "./theme.js";
import { readState, writeState } from "./url.js";

/** A ticket in the fragment of the address signs in once. It is removed from the address before it is used. */
function takeTicket() {
  const found = /^#ticket=([\w-]+)$/.exec(location.hash);
  if (found) history.replaceState(null, "", location.pathname + location.search);
  return found?.[1];
}

let ticket = takeTicket();

function useAddress() {
  const [state, setState] = useState(() => readState(location.search));
  useEffect(() => {
    history.replaceState(null, "", writeState(state)); // with the time zone, so that a link shows others the same
    const back = () => setState(readState(location.search));
    addEventListener("popstate", back);
    return () => removeEventListener("popstate", back);
  }, []);
  const go = useCallback((change, { replace = false } = {}) => {
    setState((old) => {
      const next = { ...old, ...change };
      const address = writeState(next);
      if (address !== writeState(old)) history[replace ? "replaceState" : "pushState"](null, "", address);
      return next;
    });
  }, []);
  return [state, go];
}

function App() {
  const [state, go] = useAddress();
  const [session, setSession] = useState(undefined); // undefined: not known yet; null: nobody
  const [failure, setFailure] = useState(null);
  const [note, setNote] = useState("");
  const [hasArrived, setArrived] = useState(false); // by the form, whose focus the numbers take over
  const language = languageOf(state.lang);
  const t = useMemo(() => translator(language), [language]);

  const start = useCallback(async () => {
    setFailure(null);
    const used = ticket;
    ticket = undefined; // once
    try {
      setSession(used ? await signIn({ ticket: used }) : await currentSession());
    } catch (problem) {
      if (problem.status === 401 || problem.status === 403) {
        setNote(used ? t("usedTicket") : signInText(problem, t));
        setSession(null);
      } else setFailure(problem);
    }
  }, []);

  useEffect(() => {
    start();
  }, []);
  useEffect(() => {
    document.documentElement.lang = language;
    document.title = session ? `${session.name || session.trackpointId} – smsevents` : "smsevents";
  }, [language, session]);

  function arrive(found) {
    setArrived(true);
    setSession(found);
  }

  async function leave() {
    try {
      await signOut();
      setNote("");
      setSession(null);
    } catch (problem) {
      setFailure(problem);
    }
  }

  if (failure) {
    return html`<main class="sign-in"><${Failure} problem=${failure} t=${t} retry=${start} /></main>`;
  }
  if (session === undefined) return html`<main class="sign-in"><p class="muted" role="status">${t("loading")}</p></main>`;
  if (session === null) {
    return html`<${SignIn} t=${t} language=${language} go=${go} note=${note} signedIn=${arrive} />`;
  }
  return html`<${Dashboard}
    session=${session}
    state=${state}
    go=${go}
    language=${language}
    t=${t}
    leave=${leave}
    hasArrived=${hasArrived}
    ended=${() => {
      setNote(t("sessionEnded"));
      setSession(null);
    }}
  />`;
}

applyTheme();
const root = document.getElementById("app");
root.replaceChildren();
render(html`<${App} />`, root);
