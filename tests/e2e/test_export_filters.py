"""Filters of the export over HTTP: what they return, what they refuse, and that nothing else changes."""

from __future__ import annotations

import json
import random
import zlib
from typing import TYPE_CHECKING, Any, NamedTuple

import httpx
import pytest

from smsevents.clock.system import now_ms
from tests.support.databases import damage_newest_segment, query
from tests.support.filters import some_filters, varied_lines, wanted_of
from tests.support.lines import DAY_MS, MINUTE_MS, body_of, date_of, line, model
from tests.support.wire import Wire, ask

if TYPE_CHECKING:
    from tests.support.servers import Server, Shop

DOCUMENTED = {"content-type", "vary", "x-export-from", "x-export-to", "cache-control", "transfer-encoding"}
OF_THE_SERVER = {"date", "server", "x-request-id", "connection"}
EMPTY_BLOCK = b"\x03\x00"


class Filled(NamedTuple):
    """A shop with events that no test changes, and its distinct lines in order."""

    shop: Shop
    lines: list[bytes]


@pytest.fixture(scope="module")
def filled(server: Server) -> Filled:
    """Return a shop with events of several campaigns over 20 days, some of them imported twice."""
    shop = server.shop()
    chance = random.Random(5)  # noqa: S311 -- invented data
    now = now_ms() - MINUTE_MS
    lines = varied_lines(chance, shop.trackpoint, 3000, now - 20 * DAY_MS, now)
    for part in (lines[:2000], lines[1000:]):
        assert shop.send(body_of(part)).status_code == 200
    return Filled(shop, model(lines, 0, now).splitlines())


def raw(shop: Shop, request: dict[str, Any], encoding: str) -> tuple[httpx.Headers, bytes]:
    """Export, and return the headers and the raw bytes of the body."""
    headers = shop.headers | {"Accept-Encoding": encoding}
    with httpx.stream("POST", shop.export_url, json=request, headers=headers, timeout=60) as got:
        assert got.status_code == 200
        return got.headers, b"".join(got.iter_raw())


@pytest.mark.parametrize("encoding", ["gzip", "identity"])
def test_the_documented_call_is_as_before(server: Server, encoding: str) -> None:
    """Without a filter, the headers are those of the contract, and with gzip the stored bytes are sent as they are."""
    shop = server.shop()
    now = now_ms()
    lines = [line(shop.trackpoint, now - number) for number in range(50, 0, -1)]
    assert shop.send(body_of(lines)).status_code == 200

    headers, data = raw(shop, {"from": now - 100, "to": now}, encoding)

    added = {"content-encoding"} if encoding == "gzip" else set()
    assert set(headers) - OF_THE_SERVER == DOCUMENTED | added
    if encoding == "gzip":
        ((stored,),) = query(server.path, "SELECT data FROM segments WHERE trackpoint = ?", shop.trackpoint)
        trailer = zlib.crc32(body_of(lines)).to_bytes(4, "little") + len(body_of(lines)).to_bytes(4, "little")
        assert data == b"\x1f\x8b\x08" + bytes(6) + b"\xff" + stored + EMPTY_BLOCK + trailer
    else:
        assert data == body_of(lines)


@pytest.mark.parametrize("seed", range(12))
def test_a_filtered_export_is_the_full_one_without_the_other_lines(filled: Filled, seed: int) -> None:
    """For random filters and intervals, gzip and plain hold the matching lines of the full export, in its order."""
    chance = random.Random(seed)  # noqa: S311 -- invented data
    (chosen,) = some_filters(chance, filled.lines, 1)
    start, end = sorted(date_of(chance.choice(filled.lines)) for _ in range(2))
    expected = body_of(wanted_of((one for one in filled.lines if start <= date_of(one) <= end), chosen))

    headers, plain = raw(filled.shop, {"from": start, "to": end, **chosen}, "identity")
    _, packed = raw(filled.shop, {"from": start, "to": end, **chosen}, "gzip")

    member = zlib.decompressobj(31)
    assert plain == expected
    assert member.decompress(packed) == expected
    assert (member.eof, member.unused_data) == (True, b"")
    flagged = {"x-export-warning"} if "SENT" in chosen.get("status", []) else set()
    assert set(headers) - OF_THE_SERVER == DOCUMENTED | flagged
    assert (headers["X-Export-From"], headers["X-Export-To"]) == (str(start), str(end))


@pytest.mark.parametrize(
    "chosen",
    [
        {"status": "SENT"},
        {"status": "delivered"},
        {"type": "sms"},
        {"campaign": ""},
        {"node": ["none", "at all"]},
        {"userId": 'u1","status":"DELIVERED'},
        {"sentTo": 0},
        {"sentFrom": 2**63 - 1},
        {"campaign": "c2", "node": "n1"},
    ],
)
def test_a_filter_that_no_event_matches_is_an_empty_export(filled: Filled, chosen: dict[str, Any]) -> None:
    """A value that no event has is not an error: the export is complete and empty."""
    _, plain = raw(filled.shop, chosen, "identity")
    _, packed = raw(filled.shop, chosen, "gzip")

    assert plain == b""
    assert zlib.decompress(packed, 31) == b""


def test_members_that_are_null_filter_nothing(filled: Filled) -> None:
    """A filter that is null is the same as an omitted one."""
    nothing = dict.fromkeys(["status", "campaign", "node", "type", "userId", "sentFrom", "sentTo"])

    assert filled.shop.export(nothing).content == filled.shop.export().content == body_of(filled.lines)


@pytest.mark.parametrize(
    ("body", "place", "advice"),
    [
        ('{"status": 7}', "`$.status`", "an array of at least one string"),
        ('{"campaign": []}', "`$.campaign`", "an array of at least one string"),
        ('{"node": ["a", null]}', "`$.node[1]`", "an array of at least one string"),
        ('{"userId": {"id": "a"}}', "`$.userId`", "an array of at least one string"),
        ('{"type": true}', "`$.type`", "an array of at least one string"),
        ('{"sentFrom": "2026-11-25"}', "`$.sentFrom`", "Unix milliseconds"),
        ('{"sentTo": 1.5}', "`$.sentTo`", "Unix milliseconds"),
        ('{"sentFrom": 2, "sentTo": 1}', "`sentFrom` (2) is after `sentTo` (1)", "Send the earlier time"),
        ('{"campain": "a"}', "`campain`", "did you mean campaign?"),
        ('{"status": "A", "status": "B"}', "`status` stands twice", "once"),
        ('{"from": 1, "to": 2, "from": 3}', "`from` stands twice", "once"),
        ('{"userId": "\\ud800"}', "is not valid JSON", ""),
    ],
)
def test_a_malformed_filter_is_refused(filled: Filled, body: str, place: str, advice: str) -> None:
    """A member that cannot be a filter is 400, and the problem names it and says what to send."""
    got = httpx.post(filled.shop.export_url, content=body, headers=filled.shop.headers, timeout=60)

    assert got.status_code == 400
    assert got.headers["Content-Type"] == "application/problem+json"
    assert place in got.json()["detail"]
    assert advice in got.json()["detail"]


@pytest.mark.parametrize("name", ["from", "status", "campaign", "userId", "sentTo"])
def test_a_filter_in_the_url_is_refused(filled: Filled, name: str) -> None:
    """A member in the query string would have no effect, so it is 400 instead of an export of everything."""
    got = httpx.post(filled.shop.export_url, params={name: "x"}, json={}, headers=filled.shop.headers, timeout=60)

    assert got.status_code == 400
    assert f"'{name}' is in the URL" in got.json()["detail"]


@pytest.mark.parametrize("name", ["sentFrom", "sentTo"])
def test_a_time_in_seconds_is_flagged(filled: Filled, name: str) -> None:
    """A time of sending in seconds is a valid integer, so the export has a header that says what is wrong."""
    headers, _ = raw(filled.shop, {name: now_ms() // 1000}, "gzip")

    assert headers["X-Export-Warning"].startswith(f"{name} is not in the years 2000 to 2099 (is it in seconds?)")


@pytest.mark.parametrize(
    ("wanted", "warning"),
    [
        (
            {"status": "delivered"},
            "No event has the status 'delivered' (did you mean DELIVERED?). Send one of",
        ),
        ({"status": ["DELIVERED", "SENT"]}, "No event has the status 'SENT'. Send one of DELIVERED, ACCEPTED,"),
        ({"status": list("ABCDE")}, "No event has the status 'A', 'B', 'C' and 2 more. Send one of"),
        ({"status": "x" * 1000}, f"No event has the status '{'x' * 60}'. Send one of"),
        (
            {"type": "kampaň\r\nX-Other: 1"},
            r"No event has the type 'kampa\u0148\r\nX-Other: 1'. Send one of flow,",
        ),
        ({"status": "SENT", "type": "mail"}, "SKIPPED. No event has the type 'mail'. Send one of flow, one-off."),
    ],
)
def test_an_unknown_status_or_type_is_flagged(filled: Filled, wanted: dict[str, object], warning: str) -> None:
    """A status or type that no event has is valid and matches nothing, and a header names it and the known ones."""
    headers, body = raw(filled.shop, wanted, "identity")

    assert warning in headers["X-Export-Warning"]
    assert body == body_of(wanted_of(filled.lines, wanted))


def test_known_filters_are_not_flagged(filled: Filled) -> None:
    """A filter by statuses, types and times that events can have says nothing."""
    headers, _ = raw(filled.shop, {"status": ["DELIVERED", "SKIPPED"], "type": "flow", "sentTo": now_ms()}, "gzip")

    assert "X-Export-Warning" not in headers


def test_a_fault_truncates_a_filtered_export_recognizably(server: Server) -> None:
    """Damage after the first byte ends the connection without the last chunk, as for a full export."""
    shop = server.shop()
    now = now_ms()
    chance = random.Random(6)  # noqa: S311 -- users that hardly compress, so that each day is more than a page
    for days in (3, 2, 1):
        first = now - days * DAY_MS
        lines = [line(shop.trackpoint, first + number, user=chance.randbytes(200).hex()) for number in range(2000)]
        assert shop.send(body_of(lines)).status_code == 200
    damage_newest_segment(server.path, shop.trackpoint)

    body = json.dumps({"status": "DELIVERED"}).encode()
    with Wire(server.port) as wire:
        wire.send(ask("POST", f"/shop/{shop.trackpoint}/export-sms-events", f"X-Api-Key: {shop.key}", body=body))
        reply = wire.reply()

    assert reply.status == 200
    assert not reply.is_complete
    assert reply.body.startswith(b'{"smsEvent"')


def test_damage_at_the_start_has_a_status(server: Server) -> None:
    """Damage that is found before the first byte is a 500 that names the segment."""
    shop = server.shop()
    assert shop.send(line(shop.trackpoint, now_ms())).status_code == 200
    segment = damage_newest_segment(server.path, shop.trackpoint)

    got = shop.export({"status": "DELIVERED"})

    assert got.status_code == 500
    assert f"Segment {segment} is damaged" in got.json()["detail"]


def test_filtered_events_are_counted_as_sent(server: Server) -> None:
    """The metric of exported events counts the events that were sent, not those that were left out."""
    shop = server.shop()
    now = now_ms()
    lines = [
        line(shop.trackpoint, now - number, status=status)
        for number in range(10)
        for status in ("EXPIRED", "DELIVERED")
    ]
    assert shop.send(body_of(lines)).status_code == 200
    before = server.metric("smsevents_events_out_total")

    assert shop.export({"status": "EXPIRED"}).content.count(b"\n") == 10

    assert server.metric("smsevents_events_out_total") - before == 10
