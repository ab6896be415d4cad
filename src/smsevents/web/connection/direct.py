"""The body of a large response, sent by the thread that reads it.

A thread that hands data to the event loop waits until the loop has sent it, and the two wake each other for every page.
Here the thread gives its data to the system, and the event loop waits only if a client takes it slower than that.

The thread has a descriptor of its own for the socket. The event loop may close the connection at any time, and the
number of its descriptor is then given to the next connection, which must not receive these bytes.
"""

from __future__ import annotations

import asyncio
import threading
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import socket
    from collections.abc import Sequence

PARTS_SENT_MAX = 1024  # in one call; Linux takes no more

EXTENSION = (
    "smsevents.direct_body"  # in the extensions of an ASGI scope: opens the body of its response, or returns None
)


class DirectBody:
    """Sends pieces of a body. As long as it has unsent bytes, nothing else may be sent on the connection.

    One thread at a time calls `send`, or the event loop calls `flushed`. `close` may be called at any time, in the
    event loop.
    """

    def __init__(self, own: socket.socket, *, is_chunked: bool) -> None:
        """Send through a socket that does not block, which is closed at the end. Create it in the event loop."""
        self._socket = own
        self._is_chunked = is_chunked
        self._loop = asyncio.get_running_loop()
        self._lock = threading.Lock()  # held for each call of the system, so that `close` cannot come in between
        self._is_closed = False
        self._unsent: list[memoryview] = []
        self._unsent_body_bytes = 0  # of the parts that `_unsent` has, or the rest of
        self._news = asyncio.Event()
        self.body_bytes = 0
        """How many bytes of the body the system took, of the parts that it took completely."""

    def send(self, parts: Sequence[bytes]) -> bool:
        """Send parts, which are not empty. Return whether the system took all of them; `flushed` sends what is left.

        Raises `ConnectionError` if the connection has ended.
        """
        size = sum(map(len, parts))
        self._unsent_body_bytes = size
        framed = [b"%x\r\n" % size, *parts, b"\r\n"] if self._is_chunked else parts
        self._unsent = [memoryview(part) for part in framed]
        return self._flush()

    async def flushed(self) -> None:
        """Send what is left, as fast as the client reads. Raises `ConnectionError` if the connection has ended."""
        if self._flush():
            return
        handle = self._socket.fileno()
        self._loop.add_writer(handle, self._news.set)
        try:
            while not self._flush():
                self._news.clear()
                await self._news.wait()
        finally:
            if not self._is_closed:
                self._loop.remove_writer(handle)

    def close(self) -> None:
        """Close the descriptor. The connection continues to exist; unsent bytes are dropped."""
        with self._lock:
            if self._is_closed:
                return
            self._is_closed = True
            self._loop.remove_writer(self._socket.fileno())
            self._socket.close()
        self._unsent = []
        self._news.set()

    def _flush(self) -> bool:
        while True:
            with self._lock:
                if self._is_closed:
                    raise ConnectionAbortedError
                if not self._unsent:
                    self.body_bytes += self._unsent_body_bytes
                    self._unsent_body_bytes = 0
                    return True
                try:
                    sent = self._socket.sendmsg(self._unsent[:PARTS_SENT_MAX])
                except BlockingIOError:
                    return False
                except OSError as error:  # whatever the network says: nothing more can be sent
                    raise ConnectionAbortedError from error
                self._unsent = _after(self._unsent, sent)


def _after(parts: list[memoryview], sent_bytes: int) -> list[memoryview]:
    """Return what follows the first bytes of parts."""
    for place, part in enumerate(parts):
        if sent_bytes < len(part):
            return [part[sent_bytes:], *parts[place + 1 :]]
        sent_bytes -= len(part)
    return []
