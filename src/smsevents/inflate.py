"""Inflates a gzip stream as it arrives, in runs of a bounded size, and checks that it is whole (RFC 1952)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from isal import isal_zlib

from smsevents.settings import INFLATE_RUN_MAX_BYTES

if TYPE_CHECKING:
    from collections.abc import Iterator

_GZIP = 31  # zlib's wbits for a gzip header and trailer


class NotGzip(ValueError):
    """The bytes are no gzip stream, or what was inflated does not match the checksum in its trailer."""


class Inflater:
    """Inflates a gzip stream, of one member or several, in runs of at most INFLATE_RUN_MAX_BYTES."""

    def __init__(self) -> None:
        self._member = isal_zlib.decompressobj(_GZIP)

    def feed(self, data: bytes) -> Iterator[bytes]:
        """Give the runs that the next bytes inflate to. Raises `NotGzip`."""
        pending = bool(data)
        while pending:
            if self._member.eof:
                self._member = isal_zlib.decompressobj(_GZIP)
            try:
                run = self._member.decompress(data, INFLATE_RUN_MAX_BYTES)
            except isal_zlib.IsalError as error:  # type: ignore[misc]  # its stub says that it is an instance
                raise NotGzip(str(error)) from error
            data = self._member.unused_data if self._member.eof else self._member.unconsumed_tail
            # a full run may leave output behind that needs no more input
            pending = bool(data) or (len(run) == INFLATE_RUN_MAX_BYTES and not self._member.eof)
            yield run

    @property
    def is_whole(self) -> bool:
        """Whether the stream may end here: behind the trailer of a member."""
        return bool(self._member.eof)
