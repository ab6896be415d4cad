"""The export over HTTP: interval, lines, headers and both encodings, compared with a plain sorted set."""

from __future__ import annotations

import gzip
import json
import random
import subprocess
import zlib
from typing import TYPE_CHECKING, NamedTuple

import httpx
import pytest

from smsevents.clock.system import now_ms
from smsevents.log.recent import READ_AFTER_MISSES
from tests.support.lines import DAY_MS, HOUR_MS, MINUTE_MS, body_of, line, model
from tests.support.logs import opened_log, store

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.support.servers import Server, Shop

HISTORY_MS = 90 * DAY_MS
JSON_SEQ = "application/json-seq"
NDJSON = "application/x-ndjson"


class Filled(NamedTuple):
    """A shop with events that no test changes, its lines, and the time from which their dates count back."""

    shop: Shop
    lines: list[bytes]
    now: int


@pytest.fixture(scope="module")
def filled(server: Server) -> Filled:
    """Return a shop with events of both kinds over 80 days, including equal dates and awkward characters."""
    shop = server.shop()
    now = now_ms()
    lines = [
        line(shop.trackpoint, now - hours * HOUR_MS, user=f"{tie}-ž\u2028\\\x1e", node="VIP" if hours % 2 else None)
        for hours in range(0, 80 * 24, 5)
        for tie in range(2)
    ]
    assert shop.send(body_of(lines)).status_code == 200
    return Filled(shop, lines, now)


def with_curl(shop: Shop, body: str, *flags: str) -> bytes:
    """Make the call that the documentation shows."""
    command = ["curl", "-sS", "-d", body, "-H", f"X-Api-Key: {shop.key}", *flags, shop.export_url]
    return subprocess.run(command, check=True, capture_output=True, timeout=60).stdout


def raw_export(shop: Shop, interval: str = "{}", **headers: str) -> tuple[httpx.Headers, bytes]:
    """Export and return the headers and the raw bytes of the body."""
    with httpx.stream("POST", shop.export_url, content=interval, headers=shop.headers | headers, timeout=60) as got:
        assert got.status_code == 200
        return got.headers, b"".join(got.iter_raw())


def one_member(data: bytes) -> bytes:
    """Decompress a gzip body that must be exactly one complete member with nothing after it."""
    member = zlib.decompressobj(31)
    lines = member.decompress(data)
    assert member.eof
    assert member.unused_data == b""
    return lines


def interval_of(answer: httpx.Response) -> tuple[int, int]:
    """Return the effective interval of an export."""
    return int(answer.headers["X-Export-From"]), int(answer.headers["X-Export-To"])


@pytest.mark.parametrize("flags", [[], ["--compressed"], ["-H", "Content-Type: application/json"]])
def test_the_documented_call(filled: Filled, flags: list[str]) -> None:
    """The documented curl call, with or without compression and a Content-Type, returns the interval's lines."""
    start, end = filled.now - 20 * DAY_MS, filled.now - 3 * DAY_MS

    got = with_curl(filled.shop, f'{{"from":{start},"to":{end}}}', *flags)

    assert got == model(filled.lines, start, end)


@pytest.mark.parametrize("content_type", ["text/plain", "multipart/form-data", "application/gzip", "garbage", ""])
def test_the_content_type_is_ignored(filled: Filled, content_type: str) -> None:
    """Whatever Content-Type a request has, its body is read as JSON."""
    got = filled.shop.export(None, **{"Content-Type": content_type})

    assert got.content == model(filled.lines, 0, filled.now)


def test_gzip_is_one_whole_member(filled: Filled) -> None:
    """The raw gzip response passes `gzip -t` and is one member that holds the same lines."""
    headers, data = raw_export(filled.shop, **{"Accept-Encoding": "gzip"})

    assert headers["Content-Encoding"] == "gzip"
    assert subprocess.run(["gzip", "-t"], input=data, check=False, capture_output=True).returncode == 0
    assert one_member(data) == model(filled.lines, 0, filled.now)


@pytest.mark.parametrize("encoding", ["gzip", "identity"])
def test_headers(filled: Filled, encoding: str) -> None:
    """An export states its type, its interval and that it varies by encoding, and it is chunked."""
    headers, _ = raw_export(
        filled.shop, f'{{"from":{filled.now - 5},"to":{filled.now}}}', **{"Accept-Encoding": encoding}
    )

    assert headers["Content-Type"] == JSON_SEQ
    assert headers["Vary"] == "Accept-Encoding"
    assert headers["X-Export-From"] == str(filled.now - 5)
    assert headers["X-Export-To"] == str(filled.now)
    assert headers.get("Content-Encoding") == ("gzip" if encoding == "gzip" else None)
    assert headers["Transfer-Encoding"] == "chunked"
    assert "Content-Length" not in headers


def test_no_record_separator(filled: Filled) -> None:
    """No line contains the byte 0x1E, even if a user id does: the response consists only of lines and line feeds."""
    got = filled.shop.export().content

    assert b"\x1e" not in got
    assert b"\\u001e" in got


@pytest.mark.parametrize(
    ("start", "end", "chosen"),
    [(0, 0, 1), (0, 2, 3), (-1, 2, 3), (0, 3, 3), (1, 2, 2), (0, 1, 2), (3, 3, 0), (-1, -1, 0)],
)
@pytest.mark.parametrize("encoding", ["gzip", "identity"])
def test_both_edges_are_in_the_interval(server: Server, start: int, end: int, chosen: int, encoding: str) -> None:
    """An event at exactly `from` or `to` is exported; one that is a millisecond outside is not."""
    shop = server.shop()
    base = now_ms() - HOUR_MS
    lines = [line(shop.trackpoint, base + offset) for offset in range(3)]
    assert shop.send(body_of(lines)).status_code == 200

    got = shop.export({"from": base + start, "to": base + end}, **{"Accept-Encoding": encoding}).content

    assert got == model(lines, base + start, base + end)
    assert got.count(b"\n") == chosen


def effective(from_: int | None, to: int | None, now: int) -> tuple[int, int]:
    """Return the interval by the rules of the contract, written here in the form of its table."""
    if to is None:
        to = now if from_ is None else min(now, from_ + HISTORY_MS)
    if from_ is None:
        from_ = to - HISTORY_MS
    return max(from_, now - HISTORY_MS), to


@pytest.mark.parametrize(
    ("from_days", "to_days"),
    [
        (None, None),
        (-1, None),
        (-89, None),
        (-100, None),
        (-500, None),
        (1, None),
        (None, -1),
        (None, 1),
        (None, -100),
        (-200, -100),
        (-100, -1),
        (-2, -1),
        (-2, 5),
        (2, 5),
    ],
)
@pytest.mark.parametrize("spell_null", [True, False])
def test_the_defaulting_rules(filled: Filled, from_days: int | None, to_days: int | None, spell_null: bool) -> None:
    """Bounds that are omitted or null are filled in by the rules, and the lines are those of that interval."""
    from_ = None if from_days is None else filled.now + from_days * DAY_MS
    to = None if to_days is None else filled.now + to_days * DAY_MS
    sent = {name: bound for name, bound in (("from", from_), ("to", to)) if spell_null or bound is not None}

    before = effective(from_, to, now_ms())
    got = filled.shop.export(sent)
    after = effective(from_, to, now_ms())

    start, end = interval_of(got)
    assert before[0] <= start <= after[0]
    assert before[1] <= end <= after[1]
    assert got.content == model(filled.lines, start, end)
    if from_ is None and to is None:
        assert end - start == HISTORY_MS


@pytest.mark.parametrize("sent", [{"from": DAY_MS}, {"to": -91 * DAY_MS}, {"from": -200 * DAY_MS, "to": -95 * DAY_MS}])
def test_an_empty_interval_is_no_error(filled: Filled, sent: dict[str, int]) -> None:
    """An empty interval returns 200 and no bytes, or a complete empty member with gzip."""
    interval = json.dumps({name: filled.now + offset for name, offset in sent.items()})

    plain_headers, plain = raw_export(filled.shop, interval, **{"Accept-Encoding": "identity"})
    gzip_headers, data = raw_export(filled.shop, interval, **{"Accept-Encoding": "gzip"})

    assert plain == b""
    assert one_member(data) == b""
    assert subprocess.run(["gzip", "-t"], input=data, check=False, capture_output=True).returncode == 0
    assert plain_headers["Content-Type"] == gzip_headers["Content-Type"] == JSON_SEQ


@pytest.mark.parametrize("bound", [-(2**63), 2**63 - 1])
@pytest.mark.parametrize("name", ["from", "to"])
def test_bounds_of_64_bits(filled: Filled, name: str, bound: int) -> None:
    """The smallest and the largest 64-bit integers are valid bounds."""
    got = filled.shop.export({name: bound})

    assert got.status_code == 200
    assert got.content == model(filled.lines, *interval_of(got))


def test_events_older_than_the_history_are_never_exported(server: Server) -> None:
    """An event more than 90 days old is not exported, even if it is on disk and was requested."""
    shop = server.shop()
    now = now_ms()
    old = [line(shop.trackpoint, now - HISTORY_MS - offset, user=str(offset)) for offset in (0, 1, DAY_MS, 5 * DAY_MS)]
    young = [line(shop.trackpoint, now - HISTORY_MS + MINUTE_MS + offset) for offset in (0, HOUR_MS)]
    with opened_log(server.url, now - 10 * DAY_MS) as log:
        store(log, shop.trackpoint, old + young)

    assert shop.export({"from": now - 200 * DAY_MS, "to": now}).content == model(young, 0, now)
    assert shop.export({"to": now}).content == model(young, 0, now)
    assert shop.export({"from": now - 91 * DAY_MS, "to": now - HISTORY_MS}).content == b""


def test_order_ties_and_duplicates(server: Server) -> None:
    """Shuffled lines with many ties are sorted by date, then by bytes, and duplicates from any import are removed."""
    shop = server.shop()
    now = now_ms()
    chance = random.Random(3)  # noqa: S311 -- invented data
    lines = [
        line(shop.trackpoint, now - chance.randrange(40), user=chance.choice(["a", "A", "ž", "9", "10"]), status=status)
        for status in ("DELIVERED", "ACCEPTED", "EXPIRED", "DELETED", "UNDELIVERABLE", "REJECTED", "SKIPPED")
        for _ in range(60)
    ]
    for part in (lines[:200], lines[100:], lines[::-1]):
        assert shop.send(body_of(part)).status_code == 200

    assert shop.export().content == model(lines, 0, now)
    assert shop.export({"from": now - 20, "to": now - 10}).content == model(lines, now - 20, now - 10)


def test_late_lines_land_in_place(server: Server) -> None:
    """Older lines that arrive later are placed by their date."""
    shop = server.shop()
    now = now_ms()
    first = [line(shop.trackpoint, now - offset * MINUTE_MS) for offset in range(0, 100, 2)]
    late = [line(shop.trackpoint, now - offset * MINUTE_MS) for offset in range(99, 0, -2)]
    assert shop.send(body_of(first)).status_code == 200
    for one in late[:5]:
        assert shop.send(one).status_code == 200
    assert shop.send(body_of(late[5:])).status_code == 200

    assert shop.export().content == model(first + late, 0, now)


@pytest.mark.parametrize(
    ("accepted", "is_gzip"),
    [
        ("gzip", True),
        ("GZIP", True),
        ("x-gzip", True),
        ("*", True),
        ("gzip, deflate, br, zstd", True),
        ("br;q=1.0, gzip;q=0.8, *;q=0.1", True),
        ("gzip;q=0.5", True),
        ("gzip;q=0.001", True),
        ("gzip , identity", True),
        ("identity;q=0, *", True),
        ("identity;q=0.4,gzip;q=0.5", True),
        ("", False),
        ("identity", False),
        ("gzip;q=0", False),
        ("gzip;q=0.000", False),
        ("gzip;q=0, *", False),
        ("*;q=0", False),
        ("identity;q=1,gzip;q=0.5", False),
        ("identity, *;q=0.5", False),
        ("br, deflate", False),
        ("garbage", False),
        ("gzip;q=abc", False),
        (";;;,,=;q", False),
    ],
)
def test_accept_encoding(filled: Filled, accepted: str, is_gzip: bool) -> None:
    """The response is gzip exactly when the client prefers it, and holds the same lines either way."""
    headers, data = raw_export(filled.shop, **{"Accept-Encoding": accepted})

    assert headers.get("Content-Encoding") == ("gzip" if is_gzip else None)
    assert headers["Vary"] == "Accept-Encoding"
    assert (one_member(data) if is_gzip else data) == model(filled.lines, 0, filled.now)


@pytest.mark.parametrize(
    ("accepted", "media_type"),
    [
        (NDJSON, NDJSON),
        (f"text/html, {NDJSON};q=0.9", NDJSON),
        (f"{JSON_SEQ};q=0.1, {NDJSON}", NDJSON),
        (JSON_SEQ, JSON_SEQ),
        (f"{NDJSON};q=0.5, {JSON_SEQ}", JSON_SEQ),
        ("*/*", JSON_SEQ),
        ("application/*", JSON_SEQ),
        ("text/html", JSON_SEQ),
        ("", JSON_SEQ),
        ("/", JSON_SEQ),
        ("*/*;q=inf", JSON_SEQ),
        ("*/*;q=1e999", JSON_SEQ),
        (";;;", JSON_SEQ),
        (",,,", JSON_SEQ),
        ("application/", JSON_SEQ),
        ("a/b;q=;q=x;=", JSON_SEQ),
        ('(((/)))="', JSON_SEQ),
        (f"{NDJSON};charset=utf-8", NDJSON),
        (f"{NDJSON};q=0", JSON_SEQ),
        (f"{NDJSON};q=0, */*", JSON_SEQ),
    ],
)
def test_accept(filled: Filled, accepted: str, media_type: str) -> None:
    """Clients that accept `x-ndjson` get it, all others get `json-seq`, with the same bytes under either type."""
    got = filled.shop.export(Accept=accepted)

    assert got.headers["Content-Type"] == media_type
    assert got.content == model(filled.lines, 0, filled.now)


@pytest.mark.parametrize("encoding", ["gzip", "identity"])
def test_what_was_exported_can_be_imported(filled: Filled, encoding: str) -> None:
    """The raw response of an export is a valid import, and importing it into the same shop changes nothing."""
    _, data = raw_export(filled.shop, **{"Accept-Encoding": encoding})

    got = filled.shop.send(data, **{"Content-Encoding": encoding})

    assert got.json() == {"received": len(filled.lines), "expired": 0}
    assert filled.shop.export().content == model(filled.lines, 0, filled.now)


def test_a_copy_is_equal_after_a_whole_round(server: Server, filled: Filled) -> None:
    """Lines exported in two adjoining intervals and sent to a shop in reverse produce the same export again."""
    middle = filled.now - 30 * DAY_MS
    parts = [filled.shop.export({"to": middle}).content, filled.shop.export({"from": middle + 1}).content]
    other = server.shop()
    moved = [part.replace(b":%d," % filled.shop.trackpoint, b":%d," % other.trackpoint, -1) for part in parts[::-1]]

    for part in moved:
        assert other.send(gzip.compress(part), **{"Content-Encoding": "gzip"}).status_code == 200

    assert other.export().content == moved[1] + moved[0]


@pytest.mark.parametrize("method", ["GET", "HEAD", "PUT", "PATCH", "DELETE"])
@pytest.mark.parametrize("url_of", [lambda shop: shop.export_url, lambda shop: shop.import_url])
def test_only_post_is_allowed(filled: Filled, method: str, url_of: Callable[[Shop], str]) -> None:
    """Every other method gets 405 with `Allow` and a problem that names the right method."""
    got = httpx.request(method, url_of(filled.shop), headers=filled.shop.headers)

    assert got.status_code == 405
    assert "POST" in got.headers["Allow"]
    assert got.headers["Content-Type"] == "application/problem+json"
    if method != "HEAD":
        assert "POST" in got.json()["detail"]


def test_options_tells_what_is_allowed(filled: Filled) -> None:
    """OPTIONS gets a response without a body that names POST."""
    got = httpx.options(filled.shop.export_url)

    assert got.status_code == 204
    assert "POST" in got.headers["Allow"]
    assert got.content == b""


def test_polling_gives_what_the_log_has(server: Server) -> None:
    """A client that asks again and again gets the same lines, then those that came, and none of an erased user."""
    shop = server.shop(("export", "import", "admin"))
    now = now_ms()
    lines = [line(shop.trackpoint, now - seconds * 1000, user=f"user{seconds}") for seconds in range(1, 9)]
    assert shop.send(body_of(lines)).status_code == 200

    def polled() -> list[bytes]:
        """Export many times in both encodings and return the different results."""
        encodings = ["gzip", "identity"] * (max(READ_AFTER_MISSES) // 16)
        return list({shop.export({"from": now - HOUR_MS}, **{"Accept-Encoding": one}).content for one in encodings})

    assert polled() == [model(lines, 0, now)]
    late = line(shop.trackpoint, now - 4500, user="late")
    assert shop.send(body_of([late])).status_code == 200
    assert polled() == [model([*lines, late], 0, now)]
    erased = httpx.delete(f"{shop.base}/shop/{shop.trackpoint}/users/user3", headers=shop.headers, timeout=60)
    assert erased.status_code == 200
    assert polled() == [model([one for one in [*lines, late] if b'"user3"' not in one], 0, now)]
