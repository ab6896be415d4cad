"""Compare HTTP servers for Python on what a request may be and on speed: docs/decisions/001-server-library.md.

    uv run --group bench --with granian --with hypercorn python -m bench.servers [--rounds 3] [--seconds 3]

Each serves the same small ASGI application, one worker each. Each case is bytes on a socket and the one right outcome.
"""

from __future__ import annotations

import argparse
import os
import re
import selectors
import socket
import statistics
import subprocess
import sys
import time
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

MIB = 1024 * 1024
OK = 200
SLOW_PIECES = 12
PIECE = b"x" * (256 * 1024)
STATUS = re.compile(rb"HTTP/1\.1 ([0-9]{3})")
UVICORN = ["-m", "uvicorn", "bench.servers:application", "--log-level", "critical", "--ws", "none", "--loop", "uvloop"]
SERVERS = {
    "uvicorn, httptools": [*UVICORN, "--http", "httptools", "--port"],
    "uvicorn, h11": [*UVICORN, "--http", "h11", "--port"],
    "granian": ["-m", "granian", "--interface", "asgi", "--no-log", "bench.servers:application", "--port"],
    "hypercorn": ["-m", "hypercorn", "bench.servers:application", "-k", "uvloop", "--log-level", "CRITICAL", "-b"],
    "uvicorn, own connection": ["-m", "bench.servers", "--own"],
}


async def application(scope: Any, receive: Any, send: Any) -> None:  # noqa: ANN401 -- ASGI
    """Tell how long the body was; under /stream/N send N pieces, under /slow with pauses."""
    import asyncio  # noqa: PLC0415 -- for the servers alone

    if scope["type"] == "lifespan":
        while True:
            kind = (await receive())["type"]
            await send({"type": f"{kind}.complete"})
            if kind == "lifespan.shutdown":
                return
    received = 0
    more = True
    while more:
        message = await receive()
        received += len(message.get("body", b""))
        more = message.get("more_body", False)
    path = scope["path"]
    if path.startswith(("/stream", "/slow")):
        await send({"type": "http.response.start", "status": 200, "headers": []})
        for _ in range(int(path.rsplit("/", 1)[1])):
            await send({"type": "http.response.body", "body": PIECE, "more_body": True})
            if path.startswith("/slow"):
                await asyncio.sleep(0.05)
        await send({"type": "http.response.body", "body": b"", "more_body": False})
        return
    body = b"%d" % received
    headers = [(b"content-length", b"%d" % len(body))]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body})


@contextmanager
def serving(name: str) -> Iterator[tuple[int, int]]:
    """Run a server; give its port and the process to be measured."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    address = f"127.0.0.1:{port}" if name == "hypercorn" else str(port)
    process = subprocess.Popen([sys.executable, *SERVERS[name], address], stderr=subprocess.DEVNULL)
    try:
        for _ in range(200):
            with suppress(OSError), connected(port):
                break
            time.sleep(0.05)
        yield port, process.pid
    finally:
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def connected(port: int) -> socket.socket:
    """Connect."""
    return socket.create_connection(("127.0.0.1", port), timeout=3)


def talk(port: int, *sends: bytes, seconds: float = 1.5, pause: float = 0.1) -> bytes:
    """Send bytes, with pauses between them, and give all that comes until the end or for some time."""
    received = b""
    with connected(port) as client, suppress(OSError):
        for number, data in enumerate(sends):
            if number:
                time.sleep(pause)
            client.sendall(data)
        deadline = time.monotonic() + seconds
        while (left := deadline - time.monotonic()) > 0:
            client.settimeout(left)
            part = client.recv(MIB)
            if not part:
                break
            received += part
    return received


def request(head: str, body: bytes = b"", line: str = "POST / HTTP/1.1", host: str = "Host: x\r\n") -> bytes:
    """Give a request; without a `Content-Length` unless `head` has one."""
    return f"{line}\r\n{host}{head}\r\n".encode() + body


def statuses(data: bytes) -> list[int]:
    """Tell which status lines came."""
    return [int(status) for status in STATUS.findall(data)]


UPGRADE = "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\n"
SOCKET = "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: eA==\r\n"


def is_five(data: bytes) -> bool:
    """Tell whether the one response says that five bytes came."""
    return statuses(data) == [200] and data.endswith(b"5")


def is_refused(data: bytes) -> bool:
    """Tell whether the one response is a 400."""
    return statuses(data) == [400]


CASES: dict[str, tuple[tuple[bytes, ...], Callable[[bytes], bool]]] = {
    "h2c offer, body with length": ((request(UPGRADE + "Content-Length: 5\r\n", b"hello"),), is_five),
    "h2c offer, body in chunks": (
        (request(UPGRADE + "Transfer-Encoding: chunked\r\n", b"5\r\nhello\r\n0\r\n\r\n"),),
        lambda data: statuses(data) == [200] and b"5" in data.split(b"\r\n\r\n", 1)[1],
    ),
    "h2c offer, body comes later": ((request(UPGRADE + "Content-Length: 5\r\n"), b"hello"), is_five),
    "websocket offer, body with length": ((request(SOCKET + "Content-Length: 5\r\n", b"hello"),), is_five),
    "CR LF between requests": (
        (request("Content-Length: 5\r\n", b"hello\r\n\r\n"), request("Content-Length: 5\r\n", b"hello")),
        lambda data: statuses(data) == [200, 200],
    ),
    "HTTP/1.0 without chunks": (
        (request("", line="GET /stream/2 HTTP/1.0"),),
        lambda data: statuses(data) == [200] and b"chunked" not in data[:400].lower() and len(data) > 2 * len(PIECE),
    ),
    "garbage during a response": (
        (request("", line=f"GET /slow/{SLOW_PIECES} HTTP/1.1"), b"garbage\r\n\r\n"),
        lambda data: statuses(data.split(b"\r\n0\r\n\r\n")[0]) == [200] and data.count(PIECE) == SLOW_PIECES,
    ),
    "no Host": ((request("", host="", line="GET / HTTP/1.1"),), is_refused),
    "two Hosts": ((request("Host: y\r\n", line="GET / HTTP/1.1"),), is_refused),
    "length and chunks": (
        (request("Content-Length: 5\r\nTransfer-Encoding: chunked\r\n", b"0\r\n\r\n"),),
        is_refused,
    ),
    "length of 5,000 digits": (
        (request(f"Content-Length: {'0' * 5000}5\r\n", b"hello"),),
        lambda data: is_five(data) or is_refused(data),
    ),
    "bare line feeds": ((b"GET / HTTP/1.1\nHost: x\n\n",), is_refused),
    "folded header": ((request("A: b\r\n c\r\n", line="GET / HTTP/1.1"),), is_refused),
    "space before the colon": ((request("Content-Length : 5\r\n", b"hello"),), is_refused),
    "4 MiB of trailers": (
        (request("Transfer-Encoding: chunked\r\n", b"0\r\n" + b"a: xxx\r\n" * (MIB // 2) + b"\r\n"),),
        lambda data: OK not in statuses(data),
    ),
    "half a body, then the end": ((request("Content-Length: 5\r\n", b"he"),), lambda data: OK not in statuses(data)),
}


def used(pid: int) -> tuple[float, float]:
    """Tell the memory that a process and its children hold, in MiB, and the processor seconds that they took."""
    pages = ticks = 0
    for other in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            fields = (other / "stat").read_text().rsplit(")", 1)[1].split()
            if int(other.name) == pid or int(fields[1]) == pid:
                ticks += int(fields[11]) + int(fields[12])
                pages += int(fields[21])
    return pages * os.sysconf("SC_PAGE_SIZE") / MIB, ticks / os.sysconf("SC_CLK_TCK")


def growth(port: int, pid: int, clients: int, data: bytes, times: int) -> float:
    """Send without reading from many clients; give by how much the server's memory grew at most."""
    before = peak = used(pid)[0]
    opened = []
    for _ in range(clients):
        client = connected(port)
        client.settimeout(1)
        opened.append(client)
        with suppress(OSError):
            for _ in range(times):
                client.sendall(data)
    time.sleep(0.5)
    peak = max(peak, used(pid)[0])
    for client in opened:
        client.close()
    return peak - before


def rate(port: int, pid: int, data: bytes, end: bytes, *, clients: int, seconds: float) -> float:  # noqa: PLR0913
    """Tell how many requests get a response that ends so, for each second that the server's processes take.

    That says the same on a busy machine as on an idle one, as requests a second do not.
    """
    chooser = selectors.DefaultSelector()
    received: dict[socket.socket, bytes] = {}
    done = 0
    for _ in range(clients):
        client = connected(port)
        received[client] = b""
        chooser.register(client, selectors.EVENT_READ)
        client.sendall(data)
    started = time.perf_counter()
    before = used(pid)[1]
    while time.perf_counter() - started < seconds:
        for key, _ in chooser.select(1):
            one: Any = key.fileobj
            received[one] = received[one][-64:] + one.recv(MIB)
            if received[one].endswith(end):
                done += 1
                received[one] = b""
                one.sendall(data)
    spent = used(pid)[1] - before
    for client in received:
        client.close()
    return done / spent


def speeds(port: int, pid: int, seconds: float) -> list[float]:
    """Measure small exports and imports, large exports and large imports, in requests a processor second."""
    accepted = "Accept: */*\r\nAccept-Encoding: gzip\r\nUser-Agent: bench\r\nX-Api-Key: sms_0123456789\r\n"
    small = request(accepted + "Content-Length: 48\r\n", b"x" * 48)
    large = request(accepted + f"Content-Length: {8 * MIB}\r\n", b"x" * (8 * MIB))
    stream = request(accepted, line="GET /stream/128 HTTP/1.1")
    return [
        rate(port, pid, small, b"\r\n\r\n48", clients=8, seconds=seconds),
        rate(port, pid, large, b"%d" % (8 * MIB), clients=1, seconds=seconds),
        rate(port, pid, stream, b"\r\n0\r\n\r\n", clients=1, seconds=seconds),
    ]


def serve_with_own_connection(port: int) -> None:
    """Serve the application as `smsevents serve` does."""
    import uvicorn  # noqa: PLC0415 -- for the servers alone

    from smsevents.web.connection.protocol import HttpConnection  # noqa: PLC0415

    uvicorn.run(
        "bench.servers:application",
        port=port,
        http=HttpConnection,
        ws="none",
        loop="uvloop",
        log_config=None,
        workers=1,
    )


def main() -> None:
    """Print a table of the cases, one of the memory and one of the speeds."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=3)
    parser.add_argument("--own", type=int, metavar="PORT")
    options = parser.parse_args()
    if options.own:
        serve_with_own_connection(options.own)
        return
    rows: dict[str, list[str]] = {name: [] for name in CASES}
    rows |= {"growth, 8 × 20,000 pipelined GETs unread, MiB": [], "growth, 300 heads of 60 KB unfinished, MiB": []}
    for name in SERVERS:
        with serving(name) as (port, pid):
            for case, (sends, is_right) in CASES.items():
                rows[case].append("right" if is_right(talk(port, *sends)) else "wrong")
            get = request("", line="GET /stream/1 HTTP/1.1")
            many = growth(port, pid, 8, get * 1000, 20)
            rows["growth, 8 × 20,000 pipelined GETs unread, MiB"].append(f"{many:.0f}")
        with serving(name) as (port, pid):
            heads = growth(port, pid, 300, b"GET / HTTP/1.1\r\nHost: x\r\n" + b"a:\r\n" * 15_000, 1)
            rows["growth, 300 heads of 60 KB unfinished, MiB"].append(f"{heads:.0f}")
    taken: dict[str, list[list[float]]] = {name: [] for name in SERVERS}
    for _ in range(options.rounds):
        for name in SERVERS:
            with serving(name) as (port, pid):
                taken[name].append(speeds(port, pid, options.seconds))
    medians = {
        name: [statistics.median(column) for column in zip(*rounds, strict=True)] for name, rounds in taken.items()
    }
    first = medians["uvicorn, httptools"]
    for number, what in enumerate(["small requests", "bodies of 8 MiB", "responses of 32 MiB"]):
        rows[f"{what}, by uvicorn with httptools"] = [f"{m[number] / first[number]:.2f}" for m in medians.values()]
    rows["small requests a processor second"] = [f"{m[0]:.0f}" for m in medians.values()]
    print("| | " + " | ".join(SERVERS) + " |\n" + "|---" * (1 + len(SERVERS)) + "|")
    for what, values in rows.items():
        print(f"| {what} | {' | '.join(values)} |")


if __name__ == "__main__":
    main()
