"""Many HTTP clients in one thread: they cost so little that the server is what is measured."""

import asyncio
import socket
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from http import HTTPStatus

import httptools
import uvloop

from bench.measure import CommandFailed, Figures, quantile

_READ_BYTES, _SEND_MAX_SECONDS = 256 * 1024, 1200


def post(path: str, headers: Mapping[str, str], body: bytes) -> bytes:
    """Return a request as it stands on the wire."""
    head = [f"POST {path} HTTP/1.1", "Host: 127.0.0.1", f"Content-Length: {len(body)}"]
    head += [f"{name}: {value}" for name, value in headers.items()]
    return "\r\n".join([*head, "", ""]).encode() + body


def send(port: int, requests: Iterator[bytes], clients: int, pause_seconds: float = 0.0) -> list[tuple[float, float]]:
    """Send requests by so many clients at a time, each on a connection that it keeps, until there are no more.

    A client sends its next request as soon as it has a response, or after a pause; with a pause, the clients start one
    after the other. Return, for each response, the milliseconds to the first byte of the body and to the last. Raises
    `CommandFailed` unless all are complete and 200.
    """
    times: list[tuple[float, float]] = []

    async def client(number: int) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        await asyncio.sleep(pause_seconds * number / clients)
        for request in requests:
            sent = time.perf_counter()
            writer.write(request)
            response = await _read(reader)
            times.append(((response.first - sent) * 1000, (response.last - sent) * 1000))
            if pause_seconds:
                await asyncio.sleep(pause_seconds)
        writer.close()

    async def work() -> None:
        async with asyncio.timeout(_SEND_MAX_SECONDS):
            await asyncio.gather(*map(client, range(clients)))

    uvloop.run(work())
    return times


class _Response:
    """What httptools calls while it parses a response."""

    first = last = 0.0

    def on_body(self, _: bytes) -> None:
        self.first = self.first or time.perf_counter()

    def on_message_complete(self) -> None:
        self.last = time.perf_counter()


async def _read(reader: asyncio.StreamReader) -> _Response:
    response = _Response()
    parser = httptools.HttpResponseParser(response)
    while not response.last:
        data = await reader.read(_READ_BYTES)
        parser.feed_data(data)
        if not data or (response.last and parser.get_status_code() != HTTPStatus.OK):
            raise CommandFailed(f"the server refused a request, or truncated its response: {data[-1000:]!r}")
    return response


def quantiles(times: Sequence[tuple[float, float]]) -> Figures:
    """Return the p50 and p99 of the times to the first byte and to the last."""
    ends = dict(zip(("first_byte", "last_byte"), zip(*times, strict=True), strict=True))
    shares = {"p50_ms": 0.5, "p99_ms": 0.99}
    return {f"{end}_{name}": quantile(ends[end], share) for end in ends for name, share in shares.items()}


@contextmanager
def slow_readers(port: int, request: bytes, readers: int) -> Iterator[list[socket.socket]]:
    """Have so many clients that requested something and do not read; yield their sockets, to read from slowly."""
    with ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(readers)]
        for connection in sockets:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)  # else the kernel reads for them
            connection.connect(("127.0.0.1", port))
            connection.sendall(request)
        yield sockets
