"""A server that sends whatever bytes a test wants, for as long as the client listens.

    with Hostile(lambda: chain([HEAD], repeat(b"x"))) as hostile:
        ...

Each connection gets its own iterator of pieces, after the head of its request was read.
"""

from __future__ import annotations

import socket
import threading
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

READ_BYTES = 64 * 1024
SOCKET_MAX_SECONDS = 30


class Hostile:
    """The server: a thread for each connection, on a free port of this machine."""

    def __init__(self, pieces: Callable[[], Iterable[bytes]]) -> None:
        self._pieces = pieces
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=128)
        self._threads = [threading.Thread(target=self._accept, name="hostile")]
        self.over = threading.Event()
        self.port: int = self._listener.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        self.connections = 0

    def __enter__(self) -> Self:
        self._threads[0].start()
        return self

    def __exit__(self, *_: object) -> None:
        self.over.set()
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for thread in self._threads:
            thread.join()

    def _accept(self) -> None:
        while not self.over.is_set():
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            self.connections += 1
            thread = threading.Thread(target=self._serve, args=(connection,), name="hostile-connection")
            self._threads.append(thread)
            thread.start()

    def _serve(self, connection: socket.socket) -> None:
        with connection:
            connection.settimeout(SOCKET_MAX_SECONDS)
            try:
                connection.recv(READ_BYTES)
                for piece in self._pieces():
                    if self.over.is_set():
                        return
                    connection.sendall(piece)
                connection.shutdown(socket.SHUT_WR)
                while connection.recv(READ_BYTES):
                    pass
            except OSError:
                return  # the client closed the connection
