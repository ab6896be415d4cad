"""Whether the process is running, and whether it can serve."""

from __future__ import annotations

from typing import TYPE_CHECKING

from litestar import HttpMethod, Response, route
from litestar.datastructures import State

from smsevents.catalog.schema import HEAD, version
from smsevents.errors import StoreUnavailable
from smsevents.timekeeper import WHAT_TO_DO

if TYPE_CHECKING:
    from smsevents.clock.trusted import Judgement
    from smsevents.web.state import AppState


_METHODS = [HttpMethod.GET, HttpMethod.HEAD]  # many monitors use HEAD


@route("/health/live", http_method=_METHODS, sync_to_thread=False, include_in_schema=False)
def live() -> dict[str, str]:
    """Return 200: the process responds."""
    return {"status": "alive"}


@route("/health/ready", http_method=_METHODS, include_in_schema=False)
async def ready(state: State) -> Response[dict[str, str]]:
    """Return 200 if the database can be read and written and has the tables of this version; otherwise 503.

    The server is also ready while time is in doubt, and says so: nothing is lost in the meantime.
    """
    app: AppState = state.app

    def check() -> Judgement:
        """Read the version of the tables, try to write, and judge the time."""
        with app.database.read() as connection:
            if version(connection) != HEAD:
                raise StoreUnavailable("The database has tables of another version; restart the server.")
        app.database.check_writable()
        return app.timekeeper.judge()

    judgement = await app.readiness.run(check)
    return Response({"status": "ready"} | time_in_doubt(judgement))


def time_in_doubt(judgement: Judgement) -> dict[str, str]:
    """Return the members of the body about the time: none, unless it is in doubt."""
    if judgement.doubt is None:
        return {}
    return {
        "time": "in doubt",
        "reason": judgement.doubt.value,
        "explanation": judgement.explain(),
        "what_to_do": WHAT_TO_DO,
    }
