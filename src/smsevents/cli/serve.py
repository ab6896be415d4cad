"""`smsevents serve`."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Annotated

import typer

from smsevents.catalog import open_catalog
from smsevents.catalog.checks import State
from smsevents.catalog.dialects import shown
from smsevents.cli.database import settings_in_force, with_database
from smsevents.cli.erasures import repeat_first
from smsevents.cli.opening import say_doubt, tell_created
from smsevents.cli.packs import use_store
from smsevents.errors import StoreUnavailable
from smsevents.settings import PORT_MAX
from smsevents.timekeeper import Timekeeper

if TYPE_CHECKING:
    from collections.abc import Iterable

    from smsevents.catalog.checks import Check

WORKERS_MAX = 256  # far more than is useful; a mistyped number could overload the machine


@with_database
def serve(
    host: Annotated[str | None, typer.Option(help="Address to listen on [SMSEVENTS_HOST, 127.0.0.1].")] = None,
    port: Annotated[int | None, typer.Option(min=1, max=PORT_MAX, help="Port [SMSEVENTS_PORT, 8080].")] = None,
    workers: Annotated[int, typer.Option(min=1, max=WORKERS_MAX, help="Number of worker processes.")] = 1,
) -> None:
    """Serve the API, the page and delivery receipts over HTTP until Ctrl-C."""
    # imported here because the import takes longer than most other commands run
    from smsevents.web.listen import listen, url_of  # noqa: PLC0415
    from smsevents.web.server import serve as run  # noqa: PLC0415

    settings = settings_in_force(given={"host": host or None, "port": port})
    # first, so that a second server started by mistake does not upgrade the database under the first
    sockets = listen(settings.host, settings.port)
    # created or upgraded once, so that an error is reported here and not by each worker
    database = open_catalog(settings.database)
    try:
        if database.dialect.is_new:
            tell_created(database)
        _require_right(database.concerns())
        timekeeper = Timekeeper(database)
        with suppress(StoreUnavailable):  # a full disk must not prevent exports
            timekeeper.note()
        say_doubt(timekeeper.judge())
        use_store(database)
        repeat_first(database)  # before any process serves an export
    finally:
        database.close()
    url = url_of(settings.host, settings.port)
    typer.echo(f"smsevents serves {shown(settings.database)} on {url}; page: {url}/  docs: {url}/docs", err=True)
    run(settings, workers, sockets)


def _require_right(checks: Iterable[Check]) -> None:
    """Report warnings on standard error. Raises `StoreUnavailable` if this machine should not serve."""
    for one in checks:
        if one.state is State.WRONG:
            raise StoreUnavailable(one.detail)
        if one.state is State.WARNING:
            typer.echo(f"smsevents: {one.name}: {one.detail}", err=True)
