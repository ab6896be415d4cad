// The page of a shop: asks for the numbers of one interval, and hands them to the panels.

import { ContextLine, Filters } from "./context.js";
import { ExportDialog } from "./export-dialog.js";
import { formats } from "./format.js";
import { html, useEffect, useMemo, useRef, useState } from "./lib.js";
import { Empty, Failure } from "./notices.js";
import { Campaigns } from "./panels/campaigns.js";
import { Delivery } from "./panels/delivery.js";
import { Funnel } from "./panels/funnel.js";
import { Series } from "./panels/series.js";
import { Tiles } from "./panels/tiles.js";
import { requestsOf } from "./requests.js";
import { takeStart } from "./start.js";
import { TopBar } from "./top-bar.js";
import { useStatistics } from "./use-statistics.js";

export function Dashboard({ session, state, go, language, t, leave, ended, hasArrived }) {
  const main = useRef();
  useEffect(() => {
    if (hasArrived) main.current.focus();
  }, []);
  const [refreshed, setRefreshed] = useState(0);
  const [asked, setAsked] = useState(null); // the export that is shown
  const now = useMemo(() => takeStart() ?? Date.now() + session.skew, [session, refreshed, state.days, state.from, state.to]);
  const format = useMemo(() => formats(language, state.tz), [language, state.tz]);
  const [isSplit, setSplit] = useState(false);
  const { period, steps, step, requests, chosen } = useMemo(() => requestsOf(state, now, isSplit), [state, now, isSplit]);
  const responses = useStatistics(session.trackpointId, requests, refreshed, ended);
  // apart from the others, so that these are not requested again when a view is chosen
  const ofView = useStatistics(session.trackpointId, chosen, refreshed, ended);
  const results = { ...responses, ...ofView, ...(!isSplit && { sources: responses.messages }) };
  const { messages, events, sources } = results;
  useEffect(() => {
    if (messages?.problem?.status === 400) setSplit(true);
  }, [messages?.problem]);
  const problem = messages?.problem ?? events?.problem;
  const retry = () => setRefreshed(refreshed + 1);
  const hasFilters = Boolean(state.type.length || state.campaign.length || state.node.length);
  const isEmpty = messages?.data && events?.data && !messages.isOld && !messages.data.total.sent && !events.data.events;
  const shared = { t, format, state, go, period, step, results, session, retry, showExport: setAsked };

  return html`<a class="skip" href="#numbers">${t("skip")}</a>
    <${TopBar} ...${shared} language=${language} leave=${leave} now=${now} />
    <main ref=${main} class="content" id="numbers" tabindex="-1" aria-busy=${String(Boolean(messages?.isOld))}>
      <${ContextLine} ...${shared} refresh=${retry} />
      <${Filters} ...${shared} />
      <div class="panels">
        ${
          problem
            ? html`<div class="wide"><${Failure} problem=${problem} t=${t} retry=${retry} /></div>`
            : isEmpty
              ? html`<${Empty} ...${shared} language=${language} hasFilters=${hasFilters} />`
              : messages?.data
                ? html`<${Tiles} ...${shared} />
                    <${Series} ...${shared} steps=${steps} />
                    <${Funnel} ...${shared} />
                    <${Delivery} ...${shared} />
                    <${Campaigns} ...${shared} key=${`${sources?.data?.from}`} />`
                : html`<p class="wide muted" role="status">${t("loading")}</p>`
        }
      </div>
      <footer class="foot">
        <a href=${`docs?lang=${language}`}>${t("apiDocs")}</a>
      </footer>
    </main>
    ${asked && html`<${ExportDialog} ...${shared} asked=${asked} close=${() => setAsked(null)} />`}`;
}
