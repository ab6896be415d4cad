"""Whether the process lives, and whether it can serve."""

from __future__ import annotations

from typing import TYPE_CHECKING

from litestar import HttpMethod, Response, route
from litestar.datastructures import State

from smsevents.catalog.schema import HEAD, version
from smsevents.errors import StoreUnavailable

if TYPE_CHECKING:
    from smsevents.web.state import Shared


_METHODS = [HttpMethod.GET, HttpMethod.HEAD]  # many monitors ask with HEAD


@route("/health/live", http_method=_METHODS, sync_to_thread=False, include_in_schema=False)
def live() -> dict[str, str]:
    """Say that the process answers."""
    return {"status": "alive"}


@route("/health/ready", http_method=_METHODS, include_in_schema=False)
async def ready(state: State) -> Response[dict[str, str]]:
    """Say whether the database can be read and has the tables of this version; 503 if not."""
    shared: Shared = state.shared

    def check() -> None:
        """Read the version of the tables."""
        with shared.database.read() as connection:
            if version(connection) != HEAD:
                raise StoreUnavailable("The database has tables of another version; restart the server.")

    await shared.probes.run(None, check)
    return Response({"status": "ready"})
