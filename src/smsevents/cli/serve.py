"""`smsevents serve`."""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated

import typer

from smsevents.catalog import open_catalog
from smsevents.cli.database import settings_in_force
from smsevents.settings import PORT_MAX


def serve(
    host: Annotated[str | None, typer.Option(help="Address to listen on [SMSEVENTS_HOST, 127.0.0.1].")] = None,
    port: Annotated[int | None, typer.Option(min=1, max=PORT_MAX, help="Port [SMSEVENTS_PORT, 8080].")] = None,
    workers: Annotated[int, typer.Option(min=1, help="Processes that serve.")] = 1,
) -> None:
    """Serve the export and the import over HTTP until Ctrl-C."""
    # imported here because it takes longer than most other commands do
    from smsevents.web.server import serve as run  # noqa: PLC0415

    settings = settings_in_force()
    settings = replace(settings, host=host or settings.host, port=port or settings.port)
    # made or upgraded once, so that a fault is told here and not by each worker
    open_catalog(settings.database).close()
    typer.echo(
        f"smsevents serves {settings.database} on http://{settings.host}:{settings.port} (docs: /docs)",
        err=True,
    )
    run(settings, workers)
