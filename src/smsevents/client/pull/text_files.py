"""Files of text that are being written, plain or as gzip."""

from __future__ import annotations

from typing import IO, TYPE_CHECKING, Generic

from smsevents.client.pull.drafts import Rows_contra
from smsevents.wire.deflate import isal_zlib
from smsevents.wire.gzip_stream import GZIP_WBITS

if TYPE_CHECKING:
    from collections.abc import Callable

GZIP_LEVEL = 1  # isal's: within a few percent of its higher levels in size, and twice as fast


class Plain:
    """Writes bytes as they are."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file

    def write(self, data: bytes) -> None:
        """Write bytes."""
        self._file.write(data)

    def finish(self) -> None:
        """Write nothing: the end is where the bytes end."""


class Gzip:
    """Compresses bytes into one gzip member. Deflate runs outside Python's global lock."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self._compressor = isal_zlib.compressobj(GZIP_LEVEL, isal_zlib.DEFLATED, GZIP_WBITS)

    def write(self, data: bytes) -> None:
        """Write bytes."""
        self._file.write(self._compressor.compress(data))

    def finish(self) -> None:
        """Write the end of the member."""
        self._file.write(self._compressor.flush())


class TextWriter(Generic[Rows_contra]):
    """Writes rows as bytes."""

    def __init__(self, out: Plain | Gzip, text_of: Callable[[Rows_contra], bytes], start: bytes = b"") -> None:
        self._out = out
        self._text_of = text_of
        if start:
            out.write(start)

    def add(self, rows: Rows_contra, /) -> None:
        """Write rows."""
        self._out.write(self._text_of(rows))

    def finish(self) -> None:
        """Write the end."""
        self._out.finish()

    def close(self) -> None:
        """Free nothing."""
