"""A proxy before PostgreSQL that loses the response to a commit, as a network or a server that fails right then."""

from __future__ import annotations

import select
import socket
import threading
from contextlib import suppress

CHUNK_BYTES = 64 * 1024


class CuttingProxy:
    """Passes connections on to a port. Once it is `armed`, it closes one after the server has done its commit."""

    def __init__(self, port: int) -> None:
        """Listen on a free port, in threads that end with this process."""
        self._server_port = port
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self.armed = threading.Event()
        self.cut = threading.Event()
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        """Accept no more connections."""
        self._listener.close()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                threading.Thread(target=self._pass_on, args=(client,), daemon=True).start()

    def _pass_on(self, client: socket.socket) -> None:
        with client, socket.create_connection(("127.0.0.1", self._server_port)) as server, suppress(OSError):
            while True:
                ready, _, _ = select.select([client, server], [], [])
                for one in ready:
                    data = one.recv(CHUNK_BYTES)
                    if not data:
                        return
                    if one is client and b"COMMIT\0" in data and self.armed.is_set():
                        self.armed.clear()
                        server.sendall(data)
                        server.recv(CHUNK_BYTES)  # it is committed now
                        self.cut.set()
                        return
                    (server if one is client else client).sendall(data)
