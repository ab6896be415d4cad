"""A proxy in front of a store of S3 that passes requests on, and does to some of them what networks do."""

from __future__ import annotations

import http.client
import socket
import threading
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Literal, TypeAlias

from smsevents.catalog.markers import MARKER_KEY

if TYPE_CHECKING:
    from types import TracebackType
    from typing import Self

Fault: TypeAlias = Literal[
    "500",
    "503",
    "404",
    "reset",
    "stall",
    "truncated",
    "short range",
    "flipped",
    "lost response",
    "held",
    "unread",
    "partial",
    "",
]
FAULTS: tuple[Fault, ...] = ("500", "503", "reset", "stall", "truncated", "short range", "flipped")

_SLOW_DOWN = b"<Error><Code>SlowDown</Code><Message>Reduce your request rate.</Message></Error>"
_NO_KEY = b"<Error><Code>NoSuchKey</Code><Message>There is no such key.</Message></Error>"
_PARTIAL = b"<DeleteResult><Error>%s<Code>InternalError</Code><Message>no</Message></Error></DeleteResult>"
_FRAMING = {"content-length", "connection", "transfer-encoding", "date", "server"}
_ANSWERS = {"500": (500, b""), "503": (503, _SLOW_DOWN), "404": (404, _NO_KEY)}


class FaultyProxy:
    """The proxy, and the requests that it received."""

    def __init__(self, endpoint: str, host: str = "127.0.0.1") -> None:
        """Listen at an address of this host, and pass everything on to an endpoint."""
        self.upstream = endpoint.partition("://")[2]
        self.requests: list[tuple[str, str, str]] = []  # method, path and range
        self._method, self._marker, self._path_end = "", False, ""
        self._fault: Fault = ""
        self._at: int | None = None
        self._number = 0
        self._lock = threading.Lock()
        self.released = threading.Event()  # what is held, or stalls, goes on
        self._server = ThreadingHTTPServer((host, 0), type("_", (_Handler,), {"proxy": self}))
        self._server.daemon_threads = True
        self.endpoint = f"http://{host}:{self._server.server_address[1]}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True)
        self._thread.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.released.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def on(
        self, method: str, fault: Fault, *, number: int | None = None, marker: bool = False, path_end: str = ""
    ) -> None:
        """Do something to the request of a method and number, beginning with 0, or to all of them (None).

        Requests for the marker of the store count only if `marker` is true, and only those whose path ends in
        `path_end`.
        """
        with self._lock:
            self.requests.clear()
            self._number = 0
            self._method, self._fault, self._at, self._marker = method, fault, number, marker
            self._path_end = path_end

    def well(self) -> None:
        """Pass everything on as it is, from now on."""
        with self._lock:
            self.requests.clear()
            self._method = ""

    def next_fault(self, method: str, path: str, asked: str) -> Fault:
        """Note a request, and return what happens to it."""
        with self._lock:
            self.requests.append((method, path, asked))
            if method != self._method or (path.endswith(MARKER_KEY) and not self._marker):
                return ""
            if not path.partition("?")[0].endswith(self._path_end):
                return ""
            self._number += 1
            return self._fault if self._at in {None, self._number - 1} else ""


class _Handler(BaseHTTPRequestHandler):
    """Passes one connection on."""

    protocol_version = "HTTP/1.1"
    proxy: FaultyProxy

    def _pass(self) -> None:
        fault = self.proxy.next_fault(self.command, self.path, self.headers.get("Range", ""))
        if fault == "unread":  # so most of a large body stays with the client
            self.proxy.released.wait()
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        if fault in _ANSWERS:
            status, text = _ANSWERS[fault]
            self._send(status, {}, text)
        elif fault == "partial":
            key = body[body.index(b"<Key>") : body.index(b"</Key>") + len(b"</Key>")]
            self._send(200, {}, _PARTIAL % key)
        elif fault == "reset":
            self._abort()
        else:
            if fault == "held":
                self.proxy.released.wait()
            self._send_spoilt(fault, body)

    do_GET = do_PUT = do_POST = do_DELETE = do_HEAD = _pass  # noqa: N815 -- as the library calls them

    def _send_spoilt(self, fault: Fault, body: bytes) -> None:
        status, headers, data = self._upstream(body)
        if fault == "lost response":
            self._abort()
        elif fault in {"truncated", "stall"}:
            self._send(status, headers, data[: len(data) // 2], claimed=len(data))
            if fault == "stall":
                self.proxy.released.wait()
            self.close_connection = True
        elif fault == "short range":
            start = int(self.headers["Range"].partition("=")[2].partition("-")[0])
            total = headers["Content-Range"].rpartition("/")[2]
            headers["Content-Range"] = f"bytes {start}-{start + len(data) // 2 - 1}/{total}"
            self._send(status, headers, data[: len(data) // 2])
        elif fault == "flipped":
            at = len(data) // 2
            self._send(status, headers, data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :])
        else:
            self._send(status, headers, data)

    def _upstream(self, body: bytes) -> tuple[int, dict[str, str], bytes]:
        connection = http.client.HTTPConnection(self.proxy.upstream, timeout=60)
        try:
            connection.putrequest(self.command, self.path, skip_host=True, skip_accept_encoding=True)
            for name, value in self.headers.items():
                connection.putheader(name, value)  # also `Host`, which is signed
            connection.endheaders(body)
            found = connection.getresponse()
            headers = {name: value for name, value in found.getheaders() if name.lower() not in _FRAMING}
            return found.status, headers, found.read()
        finally:
            connection.close()

    def _send(self, status: int, headers: dict[str, str], data: bytes, claimed: int | None = None) -> None:
        try:
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(data) if claimed is None else claimed))
            self.end_headers()
            self.wfile.write(data)
            self.wfile.flush()
        except OSError:
            self.close_connection = True  # the client has gone

    def _abort(self) -> None:
        self.close_connection = True
        with suppress(OSError):  # the client went first
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
            self.connection.shutdown(socket.SHUT_RDWR)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 -- its name in the library
        """Say nothing."""

    def handle(self) -> None:
        """Pass on what comes until the client goes away."""
        with suppress(OSError):
            super().handle()
