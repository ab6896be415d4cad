"""Standard output with clear errors: a full disk or a closed descriptor prints one line, not a traceback.

The printed output is the result of a command, so a command that cannot print has failed. All output passes through
this module, so its errors can be distinguished from those of other files.
"""

from __future__ import annotations

import errno
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
    """The reader has closed its end of the pipe, as `head` does."""


class _Output(io.FileIO):
    """The descriptor of standard output."""

    def write(self, data: ReadableBuffer, /) -> int:
        """Write, as the base class does. Raises `OutputFailed`, or `OutputClosed` for a closed pipe."""
        try:
            return super().write(data)
        except BrokenPipeError as error:
            raise OutputClosed("Standard output was closed.") from error
        except OSError as error:
            if error.errno == errno.EINVAL and sys.platform == "win32":  # what Windows reports for a closed pipe
                raise OutputClosed("Standard output was closed.") from error
            raise OutputFailed(
                f"Standard output cannot be written: {error.strerror}. The output is incomplete."
            ) from error


class _NoOutput(io.RawIOBase):
    """Stands in for a standard output that was closed before the command began."""

    def writable(self) -> bool:
        """Return True, so that `write` is called and can raise."""
        return True

    def write(self, _data: ReadableBuffer, /) -> int:
        """Refuse the bytes. Raises `OutputFailed`."""
        raise OutputFailed("Standard output is closed. Redirect it to a file, a pipe or /dev/null.")


def guard() -> None:
    """Replace `sys.stdout`: from now on, a failing write raises `OutputFailed`."""
    if sys.stdout is None:
        # the next file opened must not get its number, or prints would damage that file
        os.open(os.devnull, os.O_WRONLY)
        raw: io.RawIOBase = _NoOutput()
        sys.stdout = io.TextIOWrapper(io.BufferedWriter(raw), encoding="utf-8", write_through=True)
        return
    sys.stdout.flush()
    if sys.platform == "win32" and sys.stdout.isatty():
        return  # Python writes to a console of Windows in its own way, and that is never full
    sys.stdout = io.TextIOWrapper(
        io.BufferedWriter(_Output(_STDOUT, "wb", closefd=False)),
        # JSON is always UTF-8; for files and pipes, Python on Windows would choose an old code page
        encoding="utf-8" if sys.platform == "win32" else sys.stdout.encoding,
        errors=sys.stdout.errors,
        line_buffering=sys.stdout.isatty() or getattr(sys.stdout, "write_through", False),  # as python -u asks for
    )


def flush() -> None:
    """Write the buffered output. Raises `OutputFailed`."""
    if sys.stdout is not None:
        sys.stdout.flush()


def drop() -> None:
    """Discard the buffered output: writing it would fail again when Python ends."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), _STDOUT)
    sys.stdout = None  # as if it had been closed from the start
