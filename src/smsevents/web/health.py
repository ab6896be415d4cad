"""Whether the process is running, and whether it can serve."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from litestar import HttpMethod, Response, route
from litestar.datastructures import State

from smsevents.catalog.checks import State as Outcome
from smsevents.catalog.schema import is_usable
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


@dataclass(frozen=True)
class Readiness:
    """What a process that can serve has to say: how it judges the time, and warnings for the operator."""

    judgement: Judgement
    warnings: list[str]


def check_ready(app: AppState) -> Readiness:
    """Read the version of the tables, try to write, and judge the time and the machine.

    Raises `StoreUnavailable` if the process cannot serve, or should not.
    """
    with app.database.read() as connection:
        if not is_usable(connection):
            raise StoreUnavailable("The database has tables of another version; restart the server.")
        concerns = app.database.dialect.concerns(connection)
    if wrong := next((one for one in concerns if one.state is Outcome.WRONG), None):
        raise StoreUnavailable(wrong.detail)
    app.database.check_writable()
    warnings = [f"{one.name}: {one.detail}" for one in concerns if one.state is Outcome.WARNING]
    return Readiness(app.timekeeper.judge(), warnings)


@route("/health/ready", http_method=_METHODS, include_in_schema=False)
async def ready(state: State) -> Response[dict[str, str | list[str]]]:
    """Return 200 if this process should get requests; otherwise 503.

    The database can be read and written, it has tables that this version may use, and the clock of this machine is not
    far off. The server is also ready while time is in doubt, and says so: nothing is lost in the meantime.
    """
    app: AppState = state.app
    found = await app.readiness.run(lambda: check_ready(app))
    body: dict[str, str | list[str]] = {"status": "ready", **time_in_doubt(found.judgement)}
    if found.warnings:
        body["warnings"] = found.warnings
    return Response(body)


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
