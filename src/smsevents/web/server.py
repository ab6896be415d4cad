"""The server process: uvicorn, with one worker or several."""

from __future__ import annotations

import os
import signal
from contextlib import ExitStack

import uvicorn

from smsevents.logs import configure_logs
from smsevents.settings import Settings, variable_of
from smsevents.upkeep.keeper import kept
from smsevents.web.gathering import ADDRESS_VARIABLE, gathered
from smsevents.web.protocol import LimitedHttpProtocol


def serve(settings: Settings, workers: int) -> None:
    """Serve an existing database until the process is told to stop."""
    with ExitStack() as stack:
        os.environ.pop(ADDRESS_VARIABLE, None)
        if workers > 1:
            stack.enter_context(gathered())
        for name in ("database", "host", "port"):
            os.environ[variable_of(name)] = str(getattr(settings, name))  # workers read their settings there
        configure_logs(settings.log_format, settings.log_level)
        # uvicorn ends by raising the signal that stopped it once more: clean up then too
        signal.signal(signal.SIGTERM, _stop)
        if settings.upkeep != "off":
            stack.enter_context(kept(settings.database, settings.log_format))
        uvicorn.run(
            "smsevents.web.app:create_app",
            factory=True,
            host=settings.host,
            port=settings.port,
            workers=workers,
            loop="uvloop",
            http=LimitedHttpProtocol,
            ws="none",
            lifespan="on",
            log_config=None,
            access_log=False,
            proxy_headers=False,  # `note.begin_note` reads them, and only from proxies that are trusted
            server_header=False,
            timeout_graceful_shutdown=settings.shutdown_max_seconds,
        )


def _stop(*_: object) -> None:
    raise SystemExit(0)
