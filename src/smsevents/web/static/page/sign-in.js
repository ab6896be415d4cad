// The sign-in: one field.

import { currentSession, signIn } from "./api.js";
import { html, useEffect, useRef, useState } from "./lib.js";
import { signInText } from "./notices.js";

export function SignIn({ t, language, go, note, signedIn }) {
  const [shown, setShown] = useState(false);
  const [busy, setBusy] = useState(false);
  const [error, setError] = useState("");
  const input = useRef();

  useEffect(() => input.current.focus(), []);

  async function submit(event) {
    event.preventDefault();
    const key = input.current.value.trim();
    if (!key) return;
    setBusy(true);
    setError("");
    try {
      const session = await signIn({ key });
      if (await currentSession()) signedIn(session);
      else setError(t("cookieLost"));
    } catch (problem) {
      setError(signInText(problem, t));
      input.current.focus();
    } finally {
      setBusy(false);
    }
  }

  const message = error || note;
  return html`<main class="sign-in">
    <div class="card">
      <h1><img src="page/icon.svg" alt="" width="32" height="32" />smsevents</h1>
      <p class="muted">${t("signInLead")}</p>
      <form onSubmit=${submit}>
        <input type="text" hidden readonly autocomplete="username" value="smsevents" />
        <label for="key">${t("apiKey")}</label>
        <div class="with-button">
          <input
            id="key"
            ref=${input}
            type=${shown ? "text" : "password"}
            required
            autocomplete="current-password"
            autocapitalize="off"
            spellcheck=${false}
            aria-describedby="key-hint key-message"
            aria-invalid=${error ? "true" : undefined}
          />
          <button type="button" aria-pressed=${String(shown)} onClick=${() => setShown(!shown)}>
            ${t(shown ? "hideKey" : "showKey")}
          </button>
        </div>
        <p id="key-hint" class="muted">${t("apiKeyHint")}</p>
        <div id="key-message" role="alert">${message && html`<p class="notice bad">${message}</p>`}</div>
        <button class="primary" disabled=${busy}>${t(busy ? "signingIn" : "signIn")}</button>
      </form>
    </div>
    <nav class="foot">
      <a href=${`docs?lang=${language}`}>${t("apiDocs")}</a>
      <button
        class="link"
        lang=${language === "cs" ? "en" : "cs"}
        onClick=${() => go({ lang: language === "cs" ? "en" : "cs" }, { replace: true })}
      >
        ${language === "cs" ? "English" : "Česky"}
      </button>
    </nav>
  </main>`;
}
