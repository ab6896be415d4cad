"""The HTTP face of smsevents: one file per resource.

app.py        the application
exports.py    POST /shop/{trackpointId}/export-sms-events
imports.py    POST /shop/{trackpointId}/import-sms-events
users.py      DELETE /shop/{trackpointId}/users/{userId}
shop.py       which shop, and may the key do that there
body.py       reading a body within limits
negotiate.py  which media type, which coding
problems.py   an error → an answer
openapi.py    /openapi.json
docs.py       /docs
health.py     /health/live, /health/ready
metrics.py    /metrics
gathering.py  the numbers of several workers, added up
samples.py    numbers as values that can be sent and added
requests.py   counting and logging each request
state.py      what the requests of a process share
protocol.py   HTTP/1.1 with a limit on the head
server.py     the server process and its workers
"""

import os

# With one of these set, perhaps for another program, prometheus_client would count in sparse files that it maps into
# memory: a full folder then kills the process (SIGBUS). It looks at them once, when it is imported.
for _name in ("PROMETHEUS_MULTIPROC_DIR", "prometheus_multiproc_dir"):
    os.environ.pop(_name, None)
