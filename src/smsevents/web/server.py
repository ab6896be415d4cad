"""The server process: uvicorn, with one worker or several."""

from __future__ import annotations

import os
import signal
import sys
from contextlib import ExitStack, suppress
from typing import TYPE_CHECKING

import uvicorn
from uvicorn.config import STARTUP_FAILURE

from smsevents.catalog.dialects import hand_down_identity
from smsevents.logging_config import configure_logging
from smsevents.settings import Settings, variable_of
from smsevents.web.connection.protocol import HttpConnection
from smsevents.web.connection.registry import raise_file_limit
from smsevents.web.gathering import ADDRESS_VARIABLE, gathered
from smsevents.web.listen import BACKLOG_CONNECTIONS
from smsevents.web.processes import ServerProcesses
from smsevents.worker.worker import kept

if TYPE_CHECKING:
    from socket import socket


def serve(settings: Settings, workers: int, sockets: list[socket]) -> None:
    """Serve an existing database on sockets that already listen, until the process is told to stop."""
    with ExitStack() as stack:
        os.environ.pop(ADDRESS_VARIABLE, None)
        if workers > 1:
            stack.enter_context(gathered())
        for name in ("database", "host", "port"):
            os.environ[variable_of(name)] = str(getattr(settings, name))  # where workers read their settings
        hand_down_identity(settings.database)
        configure_logging(settings.log_format, settings.log_level)
        raise_file_limit()
        asked = _StopAsked()
        signal.signal(signal.SIGTERM, asked)
        if settings.upkeep != "off":
            stack.enter_context(kept(settings.database, settings.log_format))
        config = uvicorn.Config(
            "smsevents.web.app:create_app",
            factory=True,
            workers=workers,
            loop="uvloop",
            http=HttpConnection,
            ws="none",
            lifespan="on",
            log_config=None,
            access_log=False,
            proxy_headers=False,  # `request_info.begin_info` reads them, and only from trusted proxies
            server_header=False,
            backlog=BACKLOG_CONNECTIONS,
            timeout_graceful_shutdown=settings.shutdown_max_seconds,
        )
        if not _run(config, sockets, asked):
            sys.exit(STARTUP_FAILURE)


def _run(config: uvicorn.Config, sockets: list[socket], asked: _StopAsked) -> bool:
    """Serve on sockets. Return whether serving began at all."""
    if config.workers > 1:
        supervisor = ServerProcesses(config, sockets)
        if asked.is_set:
            supervisor.should_exit.set()
        supervisor.run()
        return not supervisor.failed
    _stop_when_the_terminal_closes()
    server = uvicorn.Server(config)
    asked.stop(server)
    with suppress(KeyboardInterrupt):  # raised again after the stop that it requested
        server.run(sockets)
    return server.started


class _StopAsked:
    """Handles SIGTERM while uvicorn does not: before it serves, and when it raises the signal again at its end.

    The handler only sets a flag. An exception in a signal handler appears wherever the interpreter is at that moment,
    for example in the callback of a weak reference. There it is printed and ignored, and the server would keep running.
    """

    def __init__(self) -> None:
        self.is_set = False
        self._server: uvicorn.Server | None = None

    def __call__(self, *_: object) -> None:
        self.is_set = True
        if self._server is not None:
            self._server.should_exit = True

    def stop(self, server: uvicorn.Server) -> None:
        """Stop this server when a stop is requested, or at once if it already was."""
        self._server = server
        server.should_exit = self.is_set or server.should_exit


def _stop_when_the_terminal_closes() -> None:
    """Treat SIGHUP as SIGTERM, unless the parent set it to be ignored, as `nohup` does."""
    if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:
        signal.signal(signal.SIGHUP, lambda *_: signal.raise_signal(signal.SIGTERM))
