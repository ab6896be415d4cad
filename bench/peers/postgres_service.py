"""The export service that most people would write on top of PostgreSQL: Starlette, psycopg, a server-side cursor.

`/rows` sends a row at a time, made by `json.dumps`. `/chunks` is what one writes after measuring that: orjson, and
1,000 rows to a send. `GZipMiddleware` compresses for clients that take gzip. BENCH_POSTGRES is the connection string.
"""

import json
import os
from collections.abc import AsyncIterator
from typing import Any

import orjson
import psycopg
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.gzip import GZipMiddleware
from starlette.requests import Request
from starlette.responses import StreamingResponse
from starlette.routing import Route

CHUNK_ROWS = 1000
_QUERY = """
    SELECT trackpoint, user_id, status, date, type, campaign_id, campaign_name, node_id, node_name, send_date
    FROM events WHERE trackpoint = %s AND date BETWEEN %s AND %s ORDER BY date
"""


async def export(request: Request) -> Any:  # noqa: ANN401 -- types of a peer, which is not always installed
    """Export a shop: `rows` one at a time, or `chunks` of many rows."""
    parameters = tuple(int(request.query_params[name]) for name in ("trackpoint", "start", "end"))

    async def lines() -> AsyncIterator[str | bytes]:
        connecting = psycopg.AsyncConnection.connect(os.environ["BENCH_POSTGRES"])
        async with await connecting as connection, connection.cursor("export") as cursor:
            cursor.itersize = CHUNK_ROWS
            await cursor.execute(_QUERY, parameters)
            if request.path_params["way"] == "rows":
                async for row in cursor:
                    yield json.dumps(_event(row)) + "\n"
            while found := await cursor.fetchmany(CHUNK_ROWS):
                yield b"".join(orjson.dumps(_event(row), option=orjson.OPT_APPEND_NEWLINE) for row in found)

    return StreamingResponse(lines(), media_type="application/json-seq")


def _event(row: tuple[Any, ...]) -> dict[str, Any]:
    trackpoint, user, status, date, kind, campaign, campaign_name, node, node_name, sent = row
    source = {"type": kind, "campaign": {"id": campaign, "name": campaign_name}}
    if node is not None:
        source["node"] = {"id": node, "name": node_name}
    source["sendDate"] = sent
    return {"smsEvent": {"trackpoint": trackpoint, "userId": user, "status": status, "date": date}, "source": source}


app = Starlette(routes=[Route("/{way}", export)], middleware=[Middleware(GZipMiddleware)])
