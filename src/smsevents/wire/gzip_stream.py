"""Inflates a gzip stream as it arrives, in runs of a bounded size, and checks that it is complete (RFC 1952)."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from smsevents.wire.deflate import isal_zlib
from smsevents.wire.file_formats import GZIP

if TYPE_CHECKING:
    from collections.abc import Iterator

INFLATE_RUN_MAX_BYTES = 256 * 1024

_library_prefix = re.compile(r"Error -?[0-9]+ (?:while decompressing data: )?")

GZIP_WBITS = 31  # zlib's wbits for a gzip header and trailer


class NotGzip(ValueError):
    """The bytes do not begin as a gzip stream does."""


class DamagedGzip(NotGzip):
    """The bytes begin as a gzip stream does, but are damaged later. The text says what is wrong."""


class TruncatedGzip(DamagedGzip):
    """The stream ends before it is complete."""


class Inflater:
    """Inflates a gzip stream, of one member or several, in runs of at most `run_max_bytes`."""

    def __init__(self, run_max_bytes: int = INFLATE_RUN_MAX_BYTES) -> None:
        self._run_max_bytes = run_max_bytes
        self._member = isal_zlib.decompressobj(GZIP_WBITS)
        self._start = b""  # of the member: shows whether it is gzip
        self._members = 0  # the number of complete members before this one

    def feed(self, data: bytes) -> Iterator[bytes]:
        """Yield the runs that the next bytes inflate to. Raises `NotGzip` or `DamagedGzip`."""
        pending = bool(data)
        while pending:
            if self._member.eof:
                self._members += 1
                self._start = b""
                self._member = isal_zlib.decompressobj(GZIP_WBITS)
            self._start += data[: len(GZIP) - len(self._start)]
            try:
                run = self._member.decompress(data, self._run_max_bytes)
            except isal_zlib.error as error:  # type: ignore[misc]  # its stub says that it is an instance
                raise self._error(str(error)) from error
            data = self._member.unused_data if self._member.eof else self._member.unconsumed_tail
            # after a full run, there may be more output that needs no further input
            pending = bool(data) or (len(run) == self._run_max_bytes and not self._member.eof)
            given = [run]
            del run  # only the caller holds it then, and may ask for the next run much later
            yield given.pop()

    def finish(self) -> None:
        """Take the end of the stream. Raises `NotGzip`, `DamagedGzip` or `TruncatedGzip`."""
        if self.is_whole:
            return
        if not GZIP.startswith(self._start):
            raise self._error("wrapper")
        raise TruncatedGzip("it was cut before its trailer")

    def _error(self, text: str) -> NotGzip:
        """Return the error for a text of the library, such as `Error -6 Incorrect checksum found`."""
        if "checksum" in text or "data check" in text or "length check" in text:
            return DamagedGzip("its checksum does not match what it holds")
        if not GZIP.startswith(self._start):
            return DamagedGzip("other bytes follow its end") if self._members else NotGzip("it does not begin as gzip")
        return DamagedGzip(_library_prefix.sub("", text).lower())

    @property
    def is_whole(self) -> bool:
        """Whether the stream may end here: after the trailer of a member."""
        return bool(self._member.eof)
