"""The server: impossible events are refused, odd intervals are flagged, and an unwritable database is not ready."""

from __future__ import annotations

import errno
import gzip
import json
from typing import TYPE_CHECKING

import httpx
import pytest

from smsevents.clock.system import now_ms
from tests.support.forbidden import full_disk, not_writable
from tests.support.lines import DAY_MS, body_of, line, model
from tests.support.logs import store_segments
from tests.support.servers import STILL, Server

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

YEAR_2000 = 946_684_800_000
YEAR_2100 = 4_102_444_800_000
OPERATOR = ("smsevents ", "`smsevents", "chown", "docs/")


def detail_of(got: httpx.Response, status: int) -> str:
    """Return the detail of a problem with a given status."""
    assert got.status_code == status, got.text
    assert got.headers["Content-Type"] == "application/problem+json"
    detail: str = got.json()["detail"]
    return detail


def sent_at(trackpoint: int, date: int, sent: int) -> bytes:
    """Return a line with a date and a send date."""
    return line(trackpoint, date).replace(b'"sendDate":%d' % (date - 300), b'"sendDate":%d' % sent)


@pytest.mark.parametrize("field", ["date", "sendDate"])
@pytest.mark.parametrize(
    ("factor", "unit"), [(0.001, "seconds?"), (1000, "microseconds?"), (1_000_000, "nanoseconds?"), (0, "2000 to 2099")]
)
def test_an_impossible_time_is_refused(server: Server, field: str, factor: float, unit: str) -> None:
    """An invalid time, or one in another unit, is 422 with the field and the unit, and nothing is stored."""
    shop = server.shop()
    now = now_ms()
    wrong = int(now * factor)
    bad = sent_at(shop.trackpoint, wrong, now) if field == "date" else sent_at(shop.trackpoint, now, wrong)

    got = shop.send(body_of([line(shop.trackpoint, now), bad]))

    detail = detail_of(got, 422)
    assert unit in detail
    assert f"`{field}` {wrong}" in detail
    assert got.json()["errors"][0]["line"] == 2
    assert not any(word in detail for word in ("--skip", *OPERATOR))
    assert shop.export().content == b""


@pytest.mark.parametrize("date", [YEAR_2000, YEAR_2000 + 1])
def test_a_replay_of_old_events_is_good(server: Server, date: int) -> None:
    """Events older than the history, back to 2000, are accepted with 200 and counted as expired."""
    shop = server.shop()

    got = shop.send(sent_at(shop.trackpoint, date, date))

    assert (got.status_code, got.json()) == (200, {"received": 1, "expired": 1})


@pytest.mark.parametrize("user", ["\0", " ", "\t", "\u00a0", "\u200b"])
def test_an_impossible_user_id_is_refused(server: Server, user: str) -> None:
    """A user id without a visible character is 422."""
    shop = server.shop()

    detail = detail_of(shop.send(line(shop.trackpoint, now_ms(), user=user)), 422)

    assert "`userId`" in detail
    assert shop.export().content == b""


def test_a_misspelt_status_is_told(server: Server) -> None:
    """`DELIVRD`, as SMPP receipts spell it, is 422 with the intended status and the list of all statuses."""
    shop = server.shop()

    detail = detail_of(shop.send(line(shop.trackpoint, now_ms(), status="DELIVRD")), 422)

    assert "did you mean DELIVERED?" in detail
    assert "UNDELIVERABLE" in detail


FORMATS: dict[str, tuple[Callable[[bytes], bytes], dict[str, str], str]] = {
    "UTF-16": (lambda body: body.decode().encode("utf-16"), {}, "UTF-16"),
    "gzip without its header": (gzip.compress, {}, "send it with the header Content-Encoding: gzip"),
    "gzip twice": (lambda body: gzip.compress(gzip.compress(body)), {"Content-Encoding": "gzip"}, "twice"),
    "wrong checksum": (
        lambda body: gzip.compress(body)[:-8] + bytes(4) + gzip.compress(body)[-4:],
        {"Content-Encoding": "gzip"},
        "checksum",
    ),
    "not gzip": (lambda body: body, {"Content-Encoding": "gzip"}, "is not gzip"),
}


@pytest.mark.parametrize("form", FORMATS)
def test_a_body_of_another_format_is_named(server: Server, form: str) -> None:
    """If the lines were changed on the way, the 400 names what they became, and nothing is stored."""
    spoil, headers, name = FORMATS[form]
    shop = server.shop()

    got = shop.send(spoil(body_of([line(shop.trackpoint, now_ms())])), **headers)

    assert name in detail_of(got, 400)
    assert shop.export().content == b""


@pytest.mark.parametrize(
    ("body", "name"),
    [(gzip.compress(b"{}", mtime=0), "gzip"), ("{}".encode("utf-16"), "UTF-16"), (b"from=1&to=2", "JSON")],
)
def test_a_request_of_another_format_is_named(server: Server, body: bytes, name: str) -> None:
    """If the body of an export request was changed on the way, the 400 names what it became."""
    shop = server.shop()

    detail = detail_of(httpx.post(shop.export_url, content=body, headers=shop.headers), 400)

    assert f"The body is {name}" in detail or f"is not valid {name}" in detail or f"text in {name}" in detail


def test_stored_impossible_events_are_exported(server: Server) -> None:
    """Impossible events that earlier versions accepted are exported unchanged, plain and in gzip, with new events."""
    shop = server.shop()
    now = now_ms()
    old = [sent_at(shop.trackpoint, now - 9, now * 1_000_000), line(shop.trackpoint, now - 8, user="\0")]
    store_segments(server.url, shop.trackpoint, [[(json.loads(one)["smsEvent"]["date"], one) for one in old]])
    new = line(shop.trackpoint, now - 7)
    assert shop.send(new).status_code == 200

    assert shop.export().content == model([*old, new], 0, now)
    assert shop.export(None, **{"Accept-Encoding": "gzip"}).content == model([*old, new], 0, now)


@pytest.mark.parametrize(
    ("interval", "told"),
    [
        ({"from": 1795305600, "to": 1795478400}, "ends before the year 2000 (is it in seconds?)"),
        ({"from": 1795305600}, "ends before the year 2000 (is it in seconds?)"),
        ({"to": 1795478400}, "ends before the year 2000 (is it in seconds?)"),
        ({"from": 0}, "ends before the year 2000"),
        ({"to": -(2**63)}, "ends before the year 2000"),
        ({"to": YEAR_2000 - 1}, "ends before the year 2000"),
        ({"from": 1795305600000000}, "begins after the year 2099 (is it in microseconds?)"),
        ({"from": 2**63 - 1}, "begins after the year 2099"),
    ],
)
def test_an_interval_without_any_event_says_so(server: Server, interval: dict[str, int], told: str) -> None:
    """An interval before 2000 or after 2099 is valid and empty, and a header says what is odd about it."""
    got = server.shop().export(interval)

    assert (got.status_code, got.content) == (200, b"")
    assert told in got.headers["X-Export-Warning"]


@pytest.mark.parametrize(
    "interval", [{}, {"from": 0, "to": 4_000_000_000_000}, {"to": YEAR_2000}, {"from": -5, "to": 2**63 - 1}]
)
def test_an_interval_that_may_hold_events_says_nothing(server: Server, interval: dict[str, int]) -> None:
    """`"from": 0` with a `to` requests the history up to `to`, without a warning."""
    shop = server.shop()
    event = line(shop.trackpoint, now_ms() - DAY_MS)
    assert shop.send(event).status_code == 200

    got = shop.export(interval)

    assert got.status_code == 200
    assert "X-Export-Warning" not in got.headers
    assert got.content == (b"" if interval == {"to": YEAR_2000} else event + b"\n")


@pytest.mark.parametrize("action", ["export", "import"])
def test_a_shop_is_told_no_command(server: Server, action: str) -> None:
    """401 and 403 tell a shop whom to ask, and never name a command of the operator."""
    shop, other = server.shop(), server.shop()
    url = f"{shop.base}/shop/{shop.trackpoint}/{action}-sms-events"
    refused = [
        httpx.post(url, content=b"{}"),
        httpx.post(url, content=b"{}", headers=other.headers),
    ]
    for got, status in zip(refused, (401, 403), strict=True):
        assert not any(word in detail_of(got, status) for word in OPERATOR)


@pytest.fixture
def breakable(tmp_path: Path) -> Iterator[Server]:
    """Yield a dedicated server whose database changes only when the test changes it."""
    running = Server(tmp_path, settings=STILL)
    yield running
    running.stop()


def ready(server: Server) -> httpx.Response:
    """Request the readiness of the server."""
    return httpx.get(f"{server.base}/health/ready")


@pytest.mark.parametrize("name", ["log.db", "log.db-wal"])
def test_a_database_that_cannot_be_written_is_not_ready(breakable: Server, tmp_path: Path, name: str) -> None:
    """While a file of the database cannot be written the server is alive but not ready; later it is ready again."""
    shop = breakable.shop()
    event = line(shop.trackpoint, now_ms())
    assert shop.send(event).status_code == 200
    assert ready(breakable).status_code == 200

    with not_writable(tmp_path / name):
        detail = detail_of(ready(breakable), 503)
        assert httpx.get(f"{breakable.base}/health/live").status_code == 200
    assert "database" in detail
    assert str(tmp_path) not in detail
    assert "Make it writable" in breakable.log_path.read_text()

    assert ready(breakable).status_code == 200
    assert shop.export().content == event + b"\n"


def fill(filler: Path) -> None:
    """Write to a file until the disk is full."""
    with filler.open("wb", buffering=0) as file:
        try:
            while True:
                file.write(bytes(4096))
        except OSError as error:
            assert error.errno == errno.ENOSPC  # noqa: PT017 -- any other error fails the test


def test_a_server_on_a_full_disk_is_not_ready(tmp_path: Path) -> None:
    """After a write found no space the server is not ready, exports continue, and with space it is ready again."""
    folder = tmp_path / "disk"
    folder.mkdir()
    with full_disk(folder, "6m"):
        running = Server(folder, settings=STILL)
        try:
            shop = running.shop()
            event = line(shop.trackpoint, now_ms())
            assert shop.send(event).status_code == 200
            filler = folder / "filler"
            fill(filler)
            big = body_of(line(shop.trackpoint, now_ms(), user=f"{number:0900}") for number in range(2000))
            refused = shop.send(big)
            detail = detail_of(ready(running), 503)
            exported = shop.export().content
            filler.unlink()
            again = ready(running)
        finally:
            running.stop()
    assert not any(word in detail_of(refused, 507) for word in OPERATOR)
    assert "no room" in detail
    assert exported == event + b"\n"
    assert again.status_code == 200
