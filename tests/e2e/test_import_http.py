"""The import over HTTP: what is stored, what is refused as a whole, and what remains after a broken client."""

from __future__ import annotations

import gzip
import json
import os
import random
import socket
import struct
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from smsevents.clock.system import now_ms
from tests.support.lines import DAY_MS, HOUR_MS, MINUTE_MS, body_of, line, model
from tests.support.logs import opened_log, store
from tests.support.servers import Server, Shop, eventually

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

LARGE_LINES = 40_000


def lines_of(shop: Shop, count: int, end: int) -> list[bytes]:
    """Return lines a second apart, the last of them at `end`."""
    return [line(shop.trackpoint, end - index * 1000, user=f"user{index}") for index in range(count)]


def spelled(one: bytes, **changes: Any) -> dict[str, Any]:
    """Return a line as a value, with members of `smsEvent` changed."""
    event: dict[str, Any] = json.loads(one)
    event["smsEvent"] |= changes
    return event


def in_parts(body: bytes, size: int) -> Iterator[bytes]:
    """Yield a body in parts, which httpx sends chunked."""
    for start in range(0, len(body), size):
        yield body[start : start + size]


@pytest.mark.parametrize("coding", [None, "identity", "gzip", "x-gzip", "GZIP", " gzip "])
@pytest.mark.parametrize("chunked", [False, True])
def test_content_encodings(server: Server, coding: str | None, chunked: bool) -> None:
    """Plain and gzip lines, under each name of gzip, with a length or chunked, are all exported."""
    shop = server.shop()
    now = now_ms()
    lines = lines_of(shop, 50, now)
    body = gzip.compress(body_of(lines)) if coding and "gzip" in coding.lower() else body_of(lines)
    headers = shop.headers | ({"Content-Encoding": coding.strip()} if coding else {})

    got = httpx.post(shop.import_url, content=in_parts(body, 100) if chunked else body, headers=headers)

    assert got.status_code == 200
    assert got.headers["Content-Type"] == "application/json"
    assert got.content == b'{"received":50,"expired":0}'
    assert shop.export().content == model(lines, 0, now)


def test_several_gzip_members(server: Server) -> None:
    """Concatenated gzip files, including an empty one, are read to the end of the last."""
    shop = server.shop()
    now = now_ms()
    lines = lines_of(shop, 30, now)
    cut = 1234  # within a line
    body = b"".join(map(gzip.compress, (body_of(lines)[:cut], b"", body_of(lines)[cut:])))

    assert shop.send(body, **{"Content-Encoding": "gzip"}).json() == {"received": 30, "expired": 0}

    assert shop.export().content == model(lines, 0, now)


@pytest.mark.parametrize("body", [b"", b"\n", b"\r\n \t\n\n"])
def test_a_body_without_lines(server: Server, body: bytes) -> None:
    """A body without lines is a valid import of no events."""
    shop = server.shop()

    assert shop.send(body).json() == {"received": 0, "expired": 0}

    assert shop.export().content == b""


def test_blank_lines_and_line_ends(server: Server) -> None:
    """Blank lines, CRLF and a last line without an end are all accepted."""
    shop = server.shop()
    now = now_ms()
    lines = lines_of(shop, 3, now)

    got = shop.send(b"\n\r\n" + lines[0] + b"\r\n\n  \n" + lines[1] + b"\n\t\r\n" + lines[2])

    assert got.json() == {"received": 3, "expired": 0}
    assert shop.export().content == model(lines, 0, now)


@pytest.mark.parametrize(
    "respell",
    [
        lambda event: json.dumps(event, indent=None, separators=(" ,\t", " : ")),
        lambda event: json.dumps(event, ensure_ascii=True),
        lambda event: json.dumps(event, ensure_ascii=False),
        lambda event: json.dumps({key: event[key] for key in reversed(event)}, sort_keys=False),
        lambda event: json.dumps(event, sort_keys=True).replace("/", "\\/"),
        lambda event: json.dumps(event).replace('"userId"', '"\\u0075serId"'),
    ],
)
def test_any_spelling_is_one_event(server: Server, respell: Callable[[dict[str, Any]], str]) -> None:
    """However JSON spells an event, it is the same event and is stored in its canonical form."""
    shop = server.shop()
    now = now_ms()
    canonical = line(shop.trackpoint, now, user='ž/"\\\u2028\u2029\u0085\U0001f600\x00', node="V/P")

    assert shop.send(respell(json.loads(canonical)).encode()).json() == {"received": 1, "expired": 0}
    assert shop.send(canonical).json() == {"received": 1, "expired": 0}

    assert shop.export().content == canonical + b"\n"


def test_expired_lines_are_counted_and_dropped(server: Server) -> None:
    """Lines older than the history are counted as received and expired; the other lines of the body are stored."""
    shop = server.shop()
    now = now_ms()
    young = [line(shop.trackpoint, now - 90 * DAY_MS + MINUTE_MS), line(shop.trackpoint, now)]
    old = [
        line(shop.trackpoint, date)
        for date in (now - 90 * DAY_MS - MINUTE_MS, 946_684_800_300, 1_000_000_000_000, now - 200 * DAY_MS)
    ]

    got = shop.send(body_of([old[0], young[0], *old[1:], young[1]]))

    assert got.json() == {"received": 6, "expired": 4}
    assert shop.export().content == model(young, 0, now)


def test_sending_again_changes_nothing(server: Server) -> None:
    """Sending the same body again, in part or in another order, changes no byte of the export."""
    shop = server.shop()
    now = now_ms()
    lines = lines_of(shop, 200, now)

    for body in (lines, lines, lines[50:90], lines[::-1], lines + lines):
        assert shop.send(body_of(body)).json() == {"received": len(body), "expired": 0}

    assert shop.export().content == model(lines, 0, now)


BAD_LINES = [
    (b"{", 400, "not JSON"),
    (b"\x1e{}", 400, "record separator"),
    (b"\xef\xbb\xbf{}", 400, "byte order mark"),
    (b'{"smsEvent":"\xff"}', 400, ""),
    (b"[" * 60_000, 400, "nested"),
    (b"null", 422, "object"),
    (b"[]", 422, "object"),
    (b"{}", 422, "smsEvent"),
    (b" " * 66_000 + b"{}", 422, "65536"),
    (b'"' + b"x" * 70_000, 422, "65536"),
]


@pytest.mark.parametrize(("bad", "status", "told"), BAD_LINES)
@pytest.mark.parametrize("coding", ["identity", "gzip"])
def test_one_bad_line_and_nothing_is_stored(server: Server, bad: bytes, status: int, told: str, coding: str) -> None:
    """A malformed line is reported by its number, counting blank lines, and no line of the body is stored."""
    shop = server.shop()
    now = now_ms()
    lines = lines_of(shop, 3, now)
    assert shop.send(lines[0]).status_code == 200
    body = lines[1] + b"\n\n" + bad + b"\n" + lines[2] + b"\n"

    got = shop.send(gzip.compress(body) if coding == "gzip" else body, **{"Content-Encoding": coding})

    assert got.status_code == status
    assert [error["line"] for error in got.json()["errors"]] == [3]
    assert told in got.json()["errors"][0]["reason"]
    assert "Line 3" in got.json()["detail"]
    assert shop.export().content == lines[0] + b"\n"


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"trackpoint": 5}, "the import is for"),
        ({"trackpoint": "5"}, "$.smsEvent.trackpoint"),
        ({"trackpoint": 0}, "$.smsEvent.trackpoint"),
        ({"userId": ""}, "$.smsEvent.userId"),
        ({"userId": 7}, "$.smsEvent.userId"),
        ({"userId": "x" * 1025}, "$.smsEvent.userId"),
        ({"status": "SENT"}, "$.smsEvent.status"),
        ({"status": "delivered"}, "$.smsEvent.status"),
        ({"status": None}, "$.smsEvent.status"),
        ({"date": "1"}, "$.smsEvent.date"),
        ({"date": 1.5}, "$.smsEvent.date"),
        ({"date": 2**63}, "$.smsEvent.date"),
        ({"extra": 1}, "extra"),
    ],
)
def test_a_line_that_is_no_event_is_refused(server: Server, changes: dict[str, Any], told: str) -> None:
    """JSON that is not a valid event is a 422 that names the field, and nothing of the body is stored."""
    shop = server.shop()
    now = now_ms()
    lines = lines_of(shop, 2, now)
    bad = json.dumps(spelled(lines[0], **changes)).encode()

    got = shop.send(body_of([lines[0], bad, lines[1]]))

    assert got.status_code == 422
    assert [error["line"] for error in got.json()["errors"]] == [2]
    assert told in got.json()["errors"][0]["reason"]
    assert shop.export().content == b""


@pytest.mark.parametrize(
    ("is_flow", "change", "told"),
    [
        (False, lambda source: source | {"node": {"id": "1", "name": "n"}}, "node"),
        (True, lambda source: {key: source[key] for key in source if key != "node"}, "node"),
        (True, lambda source: source | {"type": "one-off"}, "node"),
        (False, lambda source: source | {"type": "batch"}, "type"),
        (False, lambda source: source | {"campaign": {"id": "1"}}, "name"),
        (False, lambda source: source | {"sendDate": None}, "sendDate"),
    ],
)
def test_a_wrong_source_is_refused(
    server: Server, is_flow: bool, change: Callable[[dict[str, Any]], dict[str, Any]], told: str
) -> None:
    """A node on a one-off, none on a flow, and a source of another form are refused, and the field is named."""
    shop = server.shop()
    event = json.loads(line(shop.trackpoint, now_ms(), node="VIP" if is_flow else None))
    event["source"] = change(event["source"])

    got = shop.send(json.dumps(event).encode())

    assert got.status_code == 422
    assert told in got.json()["errors"][0]["reason"]
    assert shop.export().content == b""


def test_a_repeated_key_is_refused(server: Server) -> None:
    """A duplicate key in an object is refused, because parsers differ in which value they take."""
    shop = server.shop()
    one = line(shop.trackpoint, now_ms())

    got = shop.send(one.replace(b'"status":', b'"status":"REJECTED","status":'))

    assert got.status_code == 422
    assert "`status` stands twice" in got.json()["errors"][0]["reason"]
    assert shop.export().content == b""


def test_bad_lines_are_named_up_to_twenty(server: Server) -> None:
    """The response lists the first twenty invalid lines and says that reading stopped there; a mixed body is a 400."""
    shop = server.shop()
    good = line(shop.trackpoint, now_ms())

    few = shop.send(body_of([b"{}", good, b"{", b"{}"]))
    many = shop.send(body_of([good, *[b"{}"] * 100]))

    assert few.status_code == 400
    assert [error["line"] for error in few.json()["errors"]] == [1, 3, 4]
    assert few.json()["more"] is False
    assert many.status_code == 422
    assert [error["line"] for error in many.json()["errors"]] == list(range(2, 22))
    assert many.json()["more"] is True
    assert shop.export().content == b""


def test_a_day_ahead_is_the_most(server: Server) -> None:
    """A date up to 24 hours ahead of the server's clock is stored; a later one is refused with its body."""
    shop = server.shop()
    now = now_ms()
    near = line(shop.trackpoint, now + DAY_MS - MINUTE_MS)
    far = line(shop.trackpoint, now + DAY_MS + MINUTE_MS)

    assert shop.send(near).status_code == 200
    got = shop.send(body_of([line(shop.trackpoint, now), far]))

    assert got.status_code == 422
    assert "24 hours ahead" in got.json()["errors"][0]["reason"]
    assert shop.export({"to": now + 2 * DAY_MS}).content == near + b"\n"
    assert shop.export().content == b""


def test_small_imports_at_a_time_all_land(server: Server) -> None:
    """Fifty imports of one event each, sent concurrently by fifty clients, are all acknowledged and exported."""
    shop = server.shop()
    now = now_ms()
    lines = lines_of(shop, 50, now)

    with ThreadPoolExecutor(50) as clients:
        statuses = [got.status_code for got in clients.map(shop.send, lines)]

    assert statuses == [200] * 50
    assert shop.export().content == model(lines, 0, now)


def test_a_large_import_streams(server: Server) -> None:
    """Forty thousand shuffled lines, sent as chunked gzip, are all stored and exported in order."""
    shop = server.shop()
    now = now_ms()
    lines = lines_of(shop, LARGE_LINES, now)
    shuffled = lines.copy()
    random.Random(5).shuffle(shuffled)  # noqa: S311 -- invented data

    headers = shop.headers | {"Content-Encoding": "gzip"}
    body = in_parts(gzip.compress(body_of(shuffled)), 64 * 1024)
    got = httpx.post(shop.import_url, content=body, headers=headers, timeout=60)

    assert got.json() == {"received": LARGE_LINES, "expired": 0}
    assert shop.export().content == model(lines, 0, now)


def connected(server: Server) -> socket.socket:
    """Connect to a server with a small receive buffer, so that an unread response blocks it."""
    client = socket.socket()
    client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    client.settimeout(60)
    client.connect(("127.0.0.1", server.port))
    return client


def request_of(shop: Shop, action: str, *headers: str) -> bytes:
    """Return the head of a request as bytes."""
    head = [f"POST /shop/{shop.trackpoint}/{action} HTTP/1.1", "Host: localhost", f"X-Api-Key: {shop.key}", *headers]
    return "\r\n".join([*head, "", ""]).encode()


def reset(client: socket.socket) -> None:
    """Close a connection with a reset."""
    client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    client.close()


def half_close(client: socket.socket) -> None:
    """Close the sending direction only, and close the connection when the server has closed the other."""
    client.shutdown(socket.SHUT_WR)
    while client.recv(4096):
        pass
    client.close()


def imports_ended(server: Server) -> float:
    """Return the number of imports that have ended, whether completed or not."""
    rows = httpx.get(f"{server.base}/metrics").text.splitlines()
    ours = [row for row in rows if row.startswith("smsevents_requests_total") and "/import-sms-events" in row]
    return sum(float(row.rsplit(" ", 1)[1]) for row in ours)


def half_sent(server: Server, shop: Shop, *, chunked: bool, end: Callable[[socket.socket], None]) -> None:
    """Send complete lines of an import but not the end of its body, then disconnect."""
    body = body_of(lines_of(shop, 20, now_ms()))
    client = connected(server)
    if chunked:
        client.sendall(request_of(shop, "import-sms-events", "Transfer-Encoding: chunked"))
        client.sendall(b"%x\r\n%s\r\n" % (len(body), body))
    else:
        client.sendall(request_of(shop, "import-sms-events", f"Content-Length: {len(body) + 1}") + body)
    end(client)


@pytest.mark.parametrize("chunked", [False, True])
@pytest.mark.parametrize("end", [socket.socket.close, reset, half_close])
def test_a_half_sent_body_stores_nothing(server: Server, chunked: bool, end: Callable[[socket.socket], None]) -> None:
    """A body that ends before its announced length, or without its last chunk, stores no events."""
    shop = server.shop()
    before = imports_ended(server)

    half_sent(server, shop, chunked=chunked, end=end)

    assert eventually(lambda: imports_ended(server) == before + 1)
    assert shop.export().content == b""
    assert httpx.get(f"{server.base}/health/ready").status_code == 200


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda body: body[:-1], "cut"),
        (lambda body: body[:-8], "cut"),
        (lambda body: body[:-100], "cut"),
        (lambda body: body[:-8] + b"\0" * 8, "gzip"),
        (lambda body: body + b"x", "gzip"),
        (lambda body: body[5:], "gzip"),
    ],
)
def test_a_broken_gzip_stream_stores_nothing(server: Server, change: Callable[[bytes], bytes], told: str) -> None:
    """A gzip stream that is truncated, or has a wrong checksum, trailing garbage or no header, stores nothing."""
    shop = server.shop()
    body = gzip.compress(body_of(lines_of(shop, 20, now_ms())))

    got = shop.send(change(body), **{"Content-Encoding": "gzip"})

    assert got.status_code == 400
    assert told in got.json()["detail"]
    assert shop.export().content == b""


def held_open(server: Server) -> list[str]:
    """Return the connections and the deleted files that the server's process holds open."""
    folder = f"/proc/{server.process.pid}/fd"
    found = []
    for number in os.listdir(folder):  # noqa: PTH208 -- names of a folder whose entries vanish while it is read
        try:
            found.append(os.readlink(f"{folder}/{number}"))  # noqa: PTH115 -- the same
        except FileNotFoundError:
            continue
    return [one for one in found if one.startswith("socket:") or one.endswith("(deleted)")]


def test_clients_that_go_away_leave_nothing_open(server: Server) -> None:
    """After clients disconnect during imports and exports, no connection, file or running export is left."""
    shop = server.shop()
    wide = [line(shop.trackpoint, now_ms() - index, user=f"{index}-" + "x" * 900) for index in range(12_000)]
    with opened_log(server.url) as log:
        store(log, shop.trackpoint, wide)
    assert eventually(lambda: server.metric("smsevents_exports_running") == 0)
    cut_before = server.metric("smsevents_exports_cut_total")
    open_before = len(held_open(server))

    for index in range(20):
        half_sent(server, shop, chunked=index % 2 == 0, end=reset if index % 4 < 2 else socket.socket.close)
        client = connected(server)
        client.sendall(request_of(shop, "export-sms-events", "Content-Length: 2") + b"{}")
        assert client.recv(100).startswith(b"HTTP/1.1 200")
        reset(client)

    assert eventually(lambda: server.metric("smsevents_exports_running") == 0)
    assert eventually(lambda: len(held_open(server)) <= open_before)
    assert eventually(lambda: server.metric("smsevents_exports_cut_total") == cut_before + 20)
    assert httpx.get(f"{server.base}/health/live").status_code == 200
    assert httpx.get(f"{server.base}/health/ready").status_code == 200
    assert shop.export({"from": now_ms() - HOUR_MS}).content == model(wide, 0, now_ms())
