"""The paths of statistics in this process, without a server."""

from __future__ import annotations

import asyncio
from contextlib import closing, contextmanager
from typing import TYPE_CHECKING, Any

from litestar import Litestar

from smsevents.catalog import open_catalog
from smsevents.settings import Settings
from smsevents.web import problems, statistics
from smsevents.web.request_log import RequestLog
from smsevents.web.state import AppState

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.support.servers import Shop

WAIT_MAX_SECONDS = 10


@contextmanager
def statistics_app(url: str) -> Iterator[tuple[RequestLog, AppState]]:
    """Yield the application and its state, on a database."""
    open_catalog(url).close()
    with closing(AppState.open(Settings(database=url))) as state:
        app = Litestar(
            [statistics.sms_stats, statistics.delivery_time, statistics.messages],
            exception_handlers=problems.HANDLERS,
            openapi_config=None,
        )
        app.state.app = state
        yield RequestLog(app), state


class Client:
    """A client that sends one request, and goes away when it is told to."""

    def __init__(self, app: RequestLog, shop: Shop, kind: str = "", query: str = "", tag: str = "") -> None:
        self._app = app
        path = f"/shop/{shop.trackpoint}/sms-stats{kind}"
        self._scope: dict[str, Any] = {
            "type": "http",
            "http_version": "1.1",
            "method": "GET",
            "scheme": "http",
            "root_path": "",
            "path": path,
            "raw_path": path.encode(),
            "query_string": query.encode(),
            "client": ("127.0.0.1", 1),
            "server": ("127.0.0.1", 2),
            "headers": [(b"x-api-key", shop.key.encode()), (b"if-none-match", tag.encode())],
            "state": {},
        }
        self.leaves = asyncio.Event()
        self.statuses: list[int] = []
        self.headers: dict[str, str] = {}

    async def run(self) -> int:
        """Send the request, and return the status of the response."""
        await asyncio.wait_for(self._app(self._scope, self._receive, self._send), WAIT_MAX_SECONDS)  # type: ignore[arg-type]  # a scope
        return self.statuses[0]

    async def _receive(self) -> Any:
        await self.leaves.wait()
        return {"type": "http.disconnect"}

    async def _send(self, message: Any) -> None:
        if message["type"] == "http.response.start":
            self.statuses.append(message["status"])
            self.headers = {name.decode(): value.decode() for name, value in message["headers"]}
