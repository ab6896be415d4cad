"""The HTTP interface of smsevents: one file per resource.

app.py              the application: routes, errors, what it opens and closes
server.py           the server process and its workers
processes.py        several server processes on the same sockets
listen.py           the sockets that the server listens on
connection/         HTTP/1.1 over sockets: heads, bodies, limits of a connection

exports.py          POST /shop/{trackpointId}/export-sms-events
export_request.py   the body of an export request
export_chunks.py    the chunks of an export, read in threads
export_pace.py      how much of an export is read at a time, and when
export_response.py  an export as ASGI messages
downloads.py        GET /shop/{trackpointId}/sms-events
event_tables.py     events as CSV, for downloads
imports.py          POST /shop/{trackpointId}/import-sms-events
receipts.py         /receipts/{token}[/{ref}]
sent_sms.py         POST /shop/{trackpointId}/sent-sms
users.py            DELETE /shop/{trackpointId}/users/{userId}
statistics.py       GET /shop/{trackpointId}/sms-stats, and delivery-time and messages below it
stats_query.py      the query parameters of statistics
stats_bodies.py     the bodies of statistics
stats_csv.py        the same as CSV
stats_openapi.py    the same for OpenAPI
health.py           /health/live, /health/ready
session.py          /session
session_cookie.py   the cookie of a session, and which requests may use it
attempts.py         how many wrong keys or tokens an address may send
page.py             / and the files of the pages
docs.py             /docs
reference.py        docs/api.md as HTML, for /docs
bundle.py           modules of JavaScript as one file
static_files.py     files as a browser gets them
openapi.py          /openapi.json, assembled from the description of each resource
describe.py         the parts of such a description

auth.py             the shop of a request, and whether its key allows the request
body.py             reading a body within limits
body_pace.py        how slowly a body may arrive
within.py           a time limit that costs nothing unless there is something to wait for
query.py            query parameters that are refused
negotiate.py        media types and content codings
problems.py         an error → a response
request_info.py     what is known about a request while it is served
request_log.py      counting and logging each request

state.py            what the requests of a process share
fair.py             places and threads, shared fairly between shops
results.py          results of threads, on their way to the event loop
outcomes.py         outcomes of writes, on their way to the event loop
commit_marks.py     what was committed, asked for once for all requests that wait
once.py             one call for all callers that want the same result at the same time
memory.py           how much freed memory a process keeps

metrics.py          /metrics: the numbers of a process
tenant_metrics.py   the numbers of each shop
receipt_metrics.py  the numbers of delivery receipts
house_metrics.py    the numbers of the database and its upkeep
samples.py          metrics as values that can be sent and added
gathering.py        the metrics of several processes, added up
"""

import os

# With one of these set, perhaps for another program, prometheus_client would count in sparse files that it maps into
# memory. A full disk then kills the process (SIGBUS). The library reads these variables once, when it is imported.
for _name in ("PROMETHEUS_MULTIPROC_DIR", "prometheus_multiproc_dir"):
    os.environ.pop(_name, None)
