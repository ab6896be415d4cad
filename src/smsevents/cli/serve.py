"""`smsevents serve`."""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated

import typer

from smsevents.catalog import open_catalog
from smsevents.settings import PORT_MAX, Settings


def serve(
    host: Annotated[str | None, typer.Option(help="Address to listen on [SMSEVENTS_HOST, 127.0.0.1].")] = None,
    port: Annotated[int | None, typer.Option(min=1, max=PORT_MAX, help="Port [SMSEVENTS_PORT, 8080].")] = None,
    workers: Annotated[int, typer.Option(min=1, help="Processes that serve.")] = 1,
) -> None:
    """Serve the export and the import over HTTP until Ctrl-C."""
    # imported here because it takes longer than most other commands do
    from smsevents.web.listen import listen, url_of  # noqa: PLC0415
    from smsevents.web.server import serve as run  # noqa: PLC0415

    settings = Settings.from_environment()
    settings = replace(settings, host=host or settings.host, port=port or settings.port)
    # first of all, so that a second server by mistake does not upgrade the database under the first
    sockets = listen(settings.host, settings.port)
    # made or upgraded once, so that a fault is told here and not by each worker
    open_catalog(settings.database).close()
    url = url_of(settings.host, settings.port)
    typer.echo(f"smsevents serves {settings.database} on {url} (docs: {url}/docs)", err=True)
    run(settings, workers, sockets)
