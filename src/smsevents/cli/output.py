"""Standard output that says what is wrong with it: a full disk or a closed descriptor is one line, not a traceback.

What a command prints is its work, so what cannot be printed is a failure. The errors of other files are told apart
from those of the output here, at the only place where its bytes pass.
"""

from __future__ import annotations

import io
import os
import sys
from typing import TYPE_CHECKING

from smsevents.errors import SmsEventsError

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer

_STDOUT = 1


class OutputFailed(SmsEventsError):
    """Standard output cannot be written."""


class OutputClosed(OutputFailed):
    """Nobody reads standard output any more: the other end of the pipe was closed, as `head` does."""


class _Output(io.FileIO):
    """The descriptor of standard output."""

    def write(self, data: ReadableBuffer, /) -> int:
        """Write, as the base class does. Raises `OutputFailed`, or `OutputClosed` for a closed pipe."""
        try:
            return super().write(data)
        except BrokenPipeError as error:
            raise OutputClosed("Standard output was closed.") from error
        except OSError as error:
            raise OutputFailed(
                f"Standard output cannot be written: {error.strerror}. What was written of it is not complete."
            ) from error


class _NoOutput(io.RawIOBase):
    """In the place of a standard output that was closed before the command began."""

    def writable(self) -> bool:
        """Take bytes, to refuse them."""
        return True

    def write(self, _data: ReadableBuffer, /) -> int:
        """Refuse what is written. Raises `OutputFailed`."""
        raise OutputFailed("Standard output is closed. Send it to a file or a pipe, or to /dev/null.")


def guard() -> None:
    """Let what is written to standard output from now on raise `OutputFailed` where it cannot be written."""
    if sys.stdout is None:
        # its number must not go to the next file that is opened, which prints would damage
        os.open(os.devnull, os.O_WRONLY)
        raw: io.RawIOBase = _NoOutput()
        sys.stdout = io.TextIOWrapper(io.BufferedWriter(raw), encoding="utf-8", write_through=True)
        return
    sys.stdout.flush()
    sys.stdout = io.TextIOWrapper(
        io.BufferedWriter(_Output(_STDOUT, "wb", closefd=False)),
        encoding=sys.stdout.encoding,
        errors=sys.stdout.errors,
        line_buffering=sys.stdout.isatty() or getattr(sys.stdout, "write_through", False),  # as python -u asks for
    )


def flush() -> None:
    """Write what is held. Raises `OutputFailed`."""
    if sys.stdout is not None:
        sys.stdout.flush()


def drop() -> None:
    """Let nothing that is still held be written any more: it would fail once more when Python ends."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), _STDOUT)
    sys.stdout = None  # as where it was closed from the start
