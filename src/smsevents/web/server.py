"""The server process: uvicorn, with one worker or several."""

from __future__ import annotations

import multiprocessing
import os
import tempfile

import uvicorn

from smsevents.settings import Settings, variable_of
from smsevents.upkeep.keeper import keep
from smsevents.web.metrics import MULTIPROCESS_DIRECTORY
from smsevents.web.protocol import LimitedHttpProtocol


def serve(settings: Settings, workers: int) -> None:
    """Serve an existing database until the process is told to stop."""
    with tempfile.TemporaryDirectory(prefix="smsevents-metrics-") as directory:
        if workers > 1:
            os.environ.setdefault(MULTIPROCESS_DIRECTORY, directory)
        for name in ("database", "host", "port"):
            os.environ[variable_of(name)] = str(getattr(settings, name))  # workers read their settings there
        if settings.upkeep != "off":
            multiprocessing.get_context("spawn").Process(
                target=keep, args=(settings.database, settings.log_format), name="smsevents-keeper", daemon=True
            ).start()
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
            server_header=False,
            timeout_graceful_shutdown=settings.shutdown_max_seconds,
        )
