"""The HTTP face of smsevents: one file per resource.

app.py              the application: routes, errors, what it opens and closes
server.py           the server process and its workers
processes.py        several server processes on the same sockets
listen.py           the sockets that are listened on
connection/         HTTP/1.1 over sockets: heads, bodies, limits of a connection

exports.py          POST /shop/{trackpointId}/export-sms-events
export_chunks.py    the chunks of an export, read in threads
export_pace.py      how much of an export is read at a time, and when
export_response.py  an export as ASGI messages
imports.py          POST /shop/{trackpointId}/import-sms-events
users.py            DELETE /shop/{trackpointId}/users/{userId}
health.py           /health/live, /health/ready
docs.py             /docs
openapi.py          /openapi.json, put together from what each resource says of itself
describe.py         what such a description is made of

auth.py             which shop a request is about, and may its key do that there
body.py             reading a body within limits
body_pace.py        how slowly a body may arrive
query.py            members of a query that are refused
negotiate.py        which media type, which coding
problems.py         an error → a response
request_info.py     what is known of a request while it is served
request_log.py      counting and logging each request

state.py            what the requests of a process share
fair.py             places and threads, shared fairly between shops
once.py             one call for all who ask for the same at the same time
memory.py           how much freed memory a process keeps

metrics.py          /metrics: the numbers of a process
tenant_metrics.py   the numbers of each shop
house_metrics.py    the numbers of the database and its upkeep
samples.py          numbers as values that can be sent and added
gathering.py        the numbers of several processes, added up
"""

import os

# With one of these set, perhaps for another program, prometheus_client would count in sparse files that it maps into
# memory: a full folder then kills the process (SIGBUS). It looks at them once, when it is imported.
for _name in ("PROMETHEUS_MULTIPROC_DIR", "prometheus_multiproc_dir"):
    os.environ.pop(_name, None)
