"""Requests that are almost right, over raw sockets: seeded, so that a run can be repeated, and bounded."""

from __future__ import annotations

import gzip
import random
import re
import socket
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from smsevents.clock.system import now_ms
from tests.support.lines import line

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.support.servers import Shop

SILENCE_MAX_SECONDS = 30
CLIENTS = 4
_STATUS = re.compile(rb"HTTP/1\.1 ([0-9]{3}) [A-Z]")

METHODS = [
    b"GET",
    b"HEAD",
    b"POST",
    b"PUT",
    b"PATCH",
    b"DELETE",
    b"OPTIONS",
    b"TRACE",
    b"CONNECT",
    b"PRI",
    b"get",
    b"F",
]
VERSIONS = [b"HTTP/1.1"] * 12 + [
    b"HTTP/1.0",
    b"HTTP/1.0",
    b"HTTP/1.2",
    b"HTTP/2.0",
    b"HTTP/0.9",
    b"HTTP/1",
    b"http/1.1",
    b"",
]
HEADERS = [
    b"Connection: close",
    b"Connection: keep-alive, Upgrade",
    b"Upgrade: h2c",
    b"Upgrade: websocket",
    b"HTTP2-Settings: AAMAAABkAAQAAP__",
    b"Expect: 100-continue",
    b"Expect: 200-ok",
    b"Accept: application/x-ndjson;q=0.5, */*;q=nan",
    b'Accept: a;b="c,d;e", application/json-seq',
    b"Accept-Encoding: gzip",
    b"Accept-Encoding: gzip;q=0, *",
    b"Content-Encoding: gzip",
    b"Content-Encoding: br, identity",
    b"Content-Type: multipart/form-data; boundary=\xff",
    b"Cookie: a=b; c",
    b"Range: bytes=0-",
    b"X-Forwarded-For: ::1, unknown, 1.2.3.4:5",
    b"X-Forwarded-Proto: \xff",
    b'Forwarded: for="[::1]"',
    b"Host: other",
    b"Host: [",
    b"X-Api-Key: sms_000000000000_0000000000000000000000000000000000000000000",
    b"A:",
    b"A : b",
    b" folded",
    b"\xc3\xa9: \xc3\xa9",
    b"Te: trailers",
    b"Trailer: X-Api-Key",
    b"Content-Length: 0",
    b"Content-Length: 99999999999999999999",
    b"Transfer-Encoding: chunked",
    b"Transfer-Encoding: gzip, chunked",
    b"X: " + b"y" * 9000,
]
TOKENS = [
    b"\r\n",
    b"\n",
    b"\r",
    b"\x00",
    b" ",
    b"\t",
    b":",
    b"0",
    b"\xff",
    b"%2F",
    b"%00",
    b"0\r\n\r\n",
    b"GET / HTTP/1.1\r\n",
]


@dataclass
class Findings:
    """The results of a run."""

    requests: int = 0
    statuses: dict[int, int] = field(default_factory=dict)
    unanswered: list[bytes] = field(default_factory=list)  # where the server was silent for too long
    failed: list[bytes] = field(default_factory=list)  # requests that got a 5xx response

    def add(self, other: Findings) -> None:
        """Add the results of another run."""
        self.requests += other.requests
        self.unanswered += other.unanswered
        self.failed += other.failed
        for status, count in other.statuses.items():
            self.statuses[status] = self.statuses.get(status, 0) + count


def fuzz(port: int, shop: Shop, seed: int, requests: int) -> Findings:
    """Send that many requests, from a few clients at the same time."""
    with ThreadPoolExecutor(CLIENTS) as pool:
        runs = [pool.submit(_fuzz, port, shop, f"{seed}/{number}", requests // CLIENTS) for number in range(CLIENTS)]
    total = Findings()
    for run in runs:
        total.add(run.result())
    return total


def _fuzz(port: int, shop: Shop, seed: str, requests: int) -> Findings:
    chance = random.Random(seed)  # noqa: S311 -- repeatable, not secret
    make = _Maker(chance, shop)
    findings = Findings()
    while findings.requests < requests:
        count = chance.choice([1, 1, 1, 2, 3])
        sent = b"".join(make.request() for _ in range(count))
        if chance.random() < 0.4:
            sent = make.damaged(sent)
        findings.requests += count
        try:
            received = _exchange(port, sent, chance)
        except TimeoutError:
            findings.unanswered.append(sent)
            continue
        for status in map(int, _STATUS.findall(received)):
            findings.statuses[status] = findings.statuses.get(status, 0) + 1
            if status >= 500:
                findings.failed.append(sent)
    return findings


def _exchange(port: int, sent: bytes, chance: random.Random) -> bytes:
    """Send bytes in one or two parts and end; return everything received. Raises `TimeoutError`."""
    received = b""
    with socket.create_connection(("127.0.0.1", port), timeout=SILENCE_MAX_SECONDS) as client:
        try:
            place = chance.randrange(len(sent) + 1) if chance.random() < 0.3 else len(sent)
            client.sendall(sent[:place])
            client.sendall(sent[place:])
            client.shutdown(socket.SHUT_WR)
            while part := client.recv(65_536):
                received += part
        except TimeoutError:
            raise
        except OSError:
            pass  # the server may close on whatever it does not like
    return received


class _Maker:
    """Makes random requests, most of them slightly wrong."""

    def __init__(self, chance: random.Random, shop: Shop) -> None:
        self._chance = chance
        self._key = b"X-Api-Key: " + shop.key.encode()
        self._trackpoint = shop.trackpoint
        base = b"/shop/%d/" % shop.trackpoint
        self._targets = [base + b"import-sms-events"] * 4 + [base + b"export-sms-events"] * 4
        self._targets += [
            base + b"users/nobody",
            base + b"%75sers/u1",
            b"/shop/7%2Fusers%2Fu1",
            base + b"users%2Fa/users/b",
        ]
        self._targets += [
            b"/docs",
            b"/docs/",
            b"/openapi.json",
            b"/metrics",
            b"/health/live",
            b"/health/ready",
            b"/",
            b"*",
        ]
        self._targets += [
            b"http://x/docs",
            b"http://",
            b"//",
            b"/%",
            b"/%ff",
            b"/\xff",
            b"/a#b",
            b"a",
            b"/shop/0/x",
            b"/%00",
        ]
        self._bodies: list[Callable[[], bytes]] = [
            lambda: b"{}",
            lambda: b'{"from": %d}' % chance.getrandbits(chance.choice([3, 40, 63, 70])),
            lambda: b'{"to": 1e400, "from": -0}',
            lambda: b"\n".join(self._line() for _ in range(chance.randrange(4))),
            lambda: gzip.compress(self._line()),
            lambda: self.damaged(gzip.compress(self._line())),
            lambda: self.damaged(self._line()),
            lambda: chance.randbytes(chance.randrange(200)),
            lambda: b"",
        ]

    def _line(self) -> bytes:
        return line(self._trackpoint, now_ms() - self._chance.randrange(10**9), user=f"u{self._chance.randrange(50)}")

    def request(self) -> bytes:
        """Return a request: usually a valid one with something added."""
        chance = self._chance
        method = chance.choice([b"POST", b"POST", b"GET", chance.choice(METHODS)])
        target = chance.choice(self._targets) + chance.choice(
            [b"", b"", b"", b"?a=b", b"?from=1", b"?%ff=&&", b"?block=true"]
        )
        headers = [b"Host: x"] if chance.random() < 0.95 else []
        headers += [self._key] if chance.random() < 0.8 else []
        headers += chance.sample(HEADERS, chance.choice([0, 0, 0, 1, 1, 2, 5]))
        if chance.random() < 0.01:
            headers += [b"a: b"] * chance.choice([100, 200, 5000])
        framing, body = self._framed(chance.choice(self._bodies)())
        headers += framing
        chance.shuffle(headers)
        return b"\r\n".join([method + b" " + target + b" " + chance.choice(VERSIONS), *headers, b"", body])

    def _framed(self, body: bytes) -> tuple[list[bytes], bytes]:
        """Return the header lines and the framed body, usually correct."""
        chance = self._chance
        kind = chance.random()
        if kind < 0.6:
            return [b"Content-Length: %d" % len(body)], body
        if kind < 0.65:
            return [b"Content-Length: %d" % max(0, len(body) + chance.choice([-3, -1, 1, 5]))], body
        if kind < 0.68:
            return [], body
        parts = [body[start : start + 7] for start in range(0, len(body), 7)] if chance.random() < 0.5 else [body]
        extension = chance.choice([b"", b"", b";a=b", b" ; a", b";" + b"x" * 300])
        trailers = chance.choice([b"", b"", b"", b"A: b\r\n", b"A\r\n", b"a: b\r\n" * chance.choice([5, 3000])])
        data = b"".join(b"%x%b\r\n%b\r\n" % (len(part), extension, part) for part in parts if part)
        data += b"0\r\n" + trailers + b"\r\n"
        return [b"Transfer-Encoding: chunked"], self.damaged(data) if chance.random() < 0.2 else data

    def damaged(self, data: bytes) -> bytes:
        """Change a few bytes: flip, remove, repeat or insert."""
        chance = self._chance
        changed = bytearray(data)
        for _ in range(chance.choice([1, 1, 2, 5])):
            place = chance.randrange(len(changed) + 1)
            kind = chance.randrange(5)
            if kind == 0 and place < len(changed):
                changed[place] ^= 1 << chance.randrange(8)
            elif kind == 1:
                del changed[place : place + chance.choice([1, 2, 20])]
            elif kind == 2:
                changed[place:place] = changed[place : place + 20]
            elif kind == 3:
                changed[place:place] = chance.choice(TOKENS)
            else:
                del changed[place:]
        return bytes(changed)
