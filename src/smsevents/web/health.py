"""Whether the process lives, and whether it can serve."""

from __future__ import annotations

from typing import TYPE_CHECKING

from litestar import Response, get
from litestar.datastructures import State

from smsevents.catalog.schema import HEAD, version
from smsevents.errors import StoreUnavailable

if TYPE_CHECKING:
    from smsevents.web.state import Shared


@get("/health/live", sync_to_thread=False, include_in_schema=False)
def live() -> dict[str, str]:
    """Say that the process answers."""
    return {"status": "alive"}


@get("/health/ready", include_in_schema=False)
async def ready(state: State) -> Response[dict[str, str]]:
    """Say whether the database can be read and has the tables of this version; 503 if not."""
    shared: Shared = state.shared

    def check() -> None:
        with shared.database.read() as connection:
            if version(connection) != HEAD:
                raise StoreUnavailable("The database has tables of another version; restart the server.")

    await shared.readers.run(check)
    return Response({"status": "ready"})
