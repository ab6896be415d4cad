"""The server process: uvicorn, with one worker or several."""

from __future__ import annotations

import os
import signal
import tempfile
from contextlib import ExitStack

import uvicorn

from smsevents.errors import SettingError
from smsevents.logs import configure_logs
from smsevents.settings import Settings, variable_of
from smsevents.upkeep.keeper import kept
from smsevents.web.metrics import MULTIPROCESS_DIRECTORY
from smsevents.web.protocol import LimitedHttpProtocol


def serve(settings: Settings, workers: int) -> None:
    """Serve an existing database until the process is told to stop."""
    with ExitStack() as stack:
        if workers > 1:
            os.environ.setdefault(MULTIPROCESS_DIRECTORY, stack.enter_context(_metrics_folder()))
        for name in ("database", "host", "port"):
            os.environ[variable_of(name)] = str(getattr(settings, name))  # workers read their settings there
        configure_logs(settings.log_format)
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
            server_header=False,
            timeout_graceful_shutdown=settings.shutdown_max_seconds,
        )


def _metrics_folder() -> tempfile.TemporaryDirectory[str]:
    """Create the folder that several workers add up their numbers in. Raises `SettingError`."""
    try:
        return tempfile.TemporaryDirectory(prefix="smsevents-metrics-")
    except OSError as error:
        raise SettingError(
            f"`serve` with several workers needs a folder for temporary files: {error.strerror or error}."
            " Set TMPDIR to a folder that can be written, or serve with one worker."
        ) from error


def _stop(*_: object) -> None:
    raise SystemExit(0)
