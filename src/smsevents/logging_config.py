"""The log: one line per event on standard error, as JSON or formatted for a terminal."""

from __future__ import annotations

import asyncio
import atexit
import json
import logging
import logging.config
import re
import sys
import threading
from contextlib import suppress
from typing import TYPE_CHECKING, ClassVar

import msgspec
import structlog

if TYPE_CHECKING:
    from structlog.typing import EventDict, Processor, WrappedLogger

# Characters that a terminal would interpret or that would make one line look like two: control characters, line
# separators, and marks that change the direction of writing.
_controls = re.compile("[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ufeff]")


def configure_logging(log_format: str, log_level: str = "info") -> None:
    """Write our log and the HTTP server's in one format: `json`, `console`, or `auto` (`console` on a terminal).

    `log_level` is the lowest level that is logged.
    """
    console = log_format == "console" or (log_format == "auto" and sys.stderr.isatty())
    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        _without_controls,
    ]
    renderer: Processor = structlog.dev.ConsoleRenderer() if console else structlog.processors.JSONRenderer()
    last: list[Processor] = [] if console else [structlog.processors.format_exc_info]
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *last, renderer],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(log_level.upper())
    server = logging.getLogger("uvicorn.error")
    server.filters[:] = [_said_already]
    atexit.register(_Lines().flush)
    # Our own lines do not go through `logging`, which would take a fifth of the time of a small export.
    structlog.configure(
        processors=[*shared, *last, structlog.dev.ConsoleRenderer() if console else _json],
        wrapper_class=structlog.make_filtering_bound_logger(logging.getLevelNamesMapping()[log_level.upper()]),
        logger_factory=_Lines,
        cache_logger_on_first_use=True,
    )


class _Lines:
    """Writes lines to standard error. As with `logging`, a line that cannot be written is dropped.

    Lines of an event loop, where writing would hold up everything, are written together once it has nothing else to do.
    """

    _lock = threading.Lock()
    _waiting: ClassVar[list[str]] = []

    def __init__(self, *_: object) -> None:
        """Write to what is standard error now."""
        self._stream = sys.stderr

    def info(self, line: str) -> None:
        """Write a line soon."""
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:
            self.msg(line)
            return
        with self._lock:
            self._waiting.append(line)
            is_first = len(self._waiting) == 1
        if is_first:
            loop.call_soon(self.flush)

    def msg(self, line: str) -> None:
        """Write a line now, after those that wait."""
        with self._lock:
            self._waiting.append(line)
        self.flush()

    def flush(self) -> None:
        """Write all lines that wait."""
        with suppress(OSError, ValueError), self._lock:
            if self._waiting:
                lines, self._waiting[:] = "\n".join([*self._waiting, ""]), []
                self._stream.write(lines)
                self._stream.flush()

    debug = info
    warning = error = critical = msg


def _json(_logger: WrappedLogger, _method: str, event: EventDict) -> str:
    try:
        return msgspec.json.encode(event, enc_hook=repr).decode()
    except (ValueError, OverflowError):  # a lone surrogate, an integer of more than 64 bits: rare, and slower
        return _encoder.encode(event)


_encoder = json.JSONEncoder(default=repr)


def _without_controls(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    """Replace control characters with escapes in every value, because texts may come from clients."""
    for name, value in event.items():
        if isinstance(value, str) and _controls.search(value):
            event[name] = _controls.sub(lambda found: f"\\u{ord(found[0]):04x}", value)
    return event


def _said_already(record: logging.LogRecord) -> bool:
    """Drop the HTTP server's line about a truncated response: our own line reports it, with the reason."""
    if record.exc_info and isinstance(record.exc_info[1], asyncio.CancelledError):
        return False
    return not str(record.msg).startswith(("ASGI callable returned without completing response", "Cancel %s running"))
