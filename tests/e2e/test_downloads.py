"""Downloads of events: the events of the export, as JSON lines and as CSV, under a name that says what they are."""

from __future__ import annotations

import csv
import io
import json
import random
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import urlencode
from zoneinfo import ZoneInfo

import httpx
import pytest

from smsevents.clock.system import now_ms
from smsevents.wire.events import STATUSES
from tests.support.databases import damage_newest_segment
from tests.support.events import canonical_of
from tests.support.filters import some_filters, varied_lines, wanted_of
from tests.support.lines import DAY_MS, MINUTE_MS, body_of, date_of, line, model
from tests.support.logs import store_segments
from tests.support.servers import PLAIN
from tests.support.wire import Wire, ask

if TYPE_CHECKING:
    from tests.support.servers import Server, Shop

PRAGUE = ZoneInfo("Europe/Prague")


class Filled(NamedTuple):
    """A shop with events that no test changes, and its lines in order."""

    shop: Shop
    lines: list[bytes]


@pytest.fixture(scope="module")
def filled(server: Server) -> Filled:
    """Return a shop with events of several campaigns over 20 days."""
    shop = server.shop()
    now = now_ms() - MINUTE_MS
    lines = varied_lines(random.Random(8), shop.trackpoint, 1500, now - 20 * DAY_MS, now)  # noqa: S311 -- invented
    assert shop.send(body_of(lines)).status_code == 200
    return Filled(shop, model(lines, 0, now).splitlines())


def get(shop: Shop, query: dict[str, Any] | None = None, *, encoding: str = "gzip", **more: Any) -> httpx.Response:
    """Download."""
    url = f"{shop.base}/shop/{shop.trackpoint}/sms-events"
    headers = shop.headers | {"Accept-Encoding": encoding}
    return httpx.get(url, params=(query or {}) | more, headers=headers, timeout=60, verify=PLAIN)


def cells_of(one: bytes) -> list[str]:
    """Return the cells of a row, but for its local times, by the JSON of a line."""
    event = json.loads(one)
    sms, source = event["smsEvent"], event["source"]
    node = source.get("node", {"id": "", "name": ""})
    return [
        *(str(sms["trackpoint"]), sms["userId"], sms["status"], str(sms["date"])),
        *(source["type"], source["campaign"]["id"], source["campaign"]["name"], node["id"], node["name"]),
        str(source["sendDate"]),
    ]


@pytest.mark.parametrize("seed", range(8))
def test_it_is_the_export_as_lines_and_as_csv(filled: Filled, seed: int) -> None:
    """For random filters and intervals, a download has the events that the export has, in its order, in each format."""
    chance = random.Random(seed)  # noqa: S311 -- invented data
    (chosen,) = some_filters(chance, filled.lines, 1, STATUSES)
    start, end = sorted(date_of(chance.choice(filled.lines)) for _ in range(2))
    expected = filled.shop.export({"from": start, "to": end, **chosen}).content
    asked = {"from": start, "to": end, **chosen}

    lines = get(filled.shop, asked)
    table = get(filled.shop, asked, format="csv", tz="Europe/Prague")
    plain = get(filled.shop, asked, format="csv", tz="Europe/Prague", encoding="identity")

    within = [one for one in filled.lines if start <= date_of(one) <= end]
    assert lines.content == expected == body_of(wanted_of(within, chosen))
    assert lines.headers["Content-Encoding"] == "gzip"
    assert table.content == plain.content
    head, *rows = list(csv.reader(io.StringIO(table.text, newline="")))
    assert [row[:3] + row[4:10] + row[11:] for row in rows] == list(map(cells_of, expected.splitlines()))
    for row in rows:
        for text, number in ((row[3], row[4]), (row[10], row[11])):
            assert datetime.fromisoformat(text) == datetime.fromtimestamp(int(number) / 1000, UTC)
            assert (
                datetime.fromisoformat(text).utcoffset()
                == datetime.fromtimestamp(int(number) / 1000, PRAGUE).utcoffset()
            )
    assert ",".join(head) == (
        "trackpoint,user_id,status,date,date_ms,source_type,campaign_id,campaign_name,node_id,node_name,"
        "send_date,send_date_ms"
    )


@pytest.mark.parametrize("seed", range(4))
def test_a_count_equals_its_download(filled: Filled, seed: int) -> None:
    """For the same interval, zone and filters, by ids or names, statistics count as many events as are downloaded."""
    chance = random.Random(seed)  # noqa: S311 -- invented data
    for chosen in some_filters(chance, filled.lines, 6, STATUSES):
        asked = {name: value for name, value in chosen.items() if name in {"campaign", "node", "type"}}
        asked |= {"from": "12d", "to": "2d", "tz": "Europe/Prague"}
        url = f"{filled.shop.base}/shop/{filled.shop.trackpoint}/sms-stats"

        counted = httpx.get(url, params=asked, headers=filled.shop.headers, timeout=60, verify=PLAIN).json()

        start, end = counted["from"], counted["to"]
        downloaded = get(filled.shop, asked | {"from": start, "to": end}).content
        assert counted["events"] == downloaded.count(b"\n")


def test_a_name_says_what_the_file_is(filled: Filled) -> None:
    """The name has the shop, the local days and the zone, and the headers say that it is a file."""
    got = get(filled.shop, {"from": "2026-11-01", "to": "2026-11-24"}, tz="Europe/Prague", format="csv-excel-cs")
    lines = get(filled.shop, {"from": "2026-11-01", "to": "2026-11-24"})

    name = f"sms-events-{filled.shop.trackpoint}-2026-11-01-to-2026-11-24"
    assert got.headers["Content-Disposition"] == f'attachment; filename="{name}-Europe-Prague-excel.csv"'
    assert got.headers["Content-Type"] == "text/csv; charset=utf-8; header=present"
    assert lines.headers["Content-Disposition"] == f'attachment; filename="{name}-UTC.jsonl"'
    assert lines.headers["Content-Type"] == "application/x-ndjson"
    assert lines.headers["X-Content-Type-Options"] == "nosniff"
    start = datetime(2026, 11, 1, tzinfo=PRAGUE)
    assert got.headers["X-Export-To"] == str(int((start + timedelta(days=24)).timestamp() * 1000) - 1)


def test_days_are_those_of_the_zone(filled: Filled) -> None:
    """A day is a local one, from its first to its last millisecond, for dates and for times of sending."""
    day = (datetime.now(PRAGUE) - timedelta(days=3)).date().isoformat()

    def is_of_the_day(milliseconds: int) -> bool:
        return datetime.fromtimestamp(milliseconds / 1000, PRAGUE).date().isoformat() == day

    dated = get(filled.shop, {"from": day, "to": day}, tz="Europe/Prague").content
    sent = get(filled.shop, sentFrom=day, sentTo=day, tz="Europe/Prague").content

    assert dated == body_of(one for one in filled.lines if is_of_the_day(date_of(one)))
    assert sent == body_of(one for one in filled.lines if is_of_the_day(json.loads(one)["source"]["sendDate"]))
    assert dated
    assert sent


AWKWARD = [
    ('=HYPERLINK("http://x";1)', '\'=HYPERLINK("http://x";1)', '\'=HYPERLINK("http://x";1)'),
    ("@cmd", "'@cmd", "'@cmd"),
    ("-1+1", "'-1+1", '="-1+1"'),
    ("+420777123456", "+420777123456", '="+420777123456"'),
    ("\t=1", "'\t=1", "'\t=1"),
    ("\uff1d1", "'\uff1d1", "'\uff1d1"),
    ("00420", "00420", '="00420"'),
    ("1234567890123456", "1234567890123456", '="1234567890123456"'),
    ("3E10", "3E10", '="3E10"'),
    ("1-2", "1-2", '="1-2"'),
    ("24", "24", "24"),
    ('Příliš; "žluťoučký", kůň', 'Příliš; "žluťoučký", kůň', 'Příliš; "žluťoučký", kůň'),
    ("two\nlines", "two\nlines", "two\nlines"),
    ("\u2028", "\u2028", "\u2028"),
]


def test_texts_survive_spreadsheets(server: Server) -> None:
    """No text becomes a formula, Excel changes none, and every other text is as it is in the event."""
    shop = server.shop()
    now = now_ms() - MINUTE_MS
    lines = [
        canonical_of(
            {
                "smsEvent": {
                    "trackpoint": shop.trackpoint,
                    "userId": f"u{number}",
                    "status": "DELIVERED",
                    "date": now + number,
                },
                "source": {"type": "one-off", "campaign": {"id": text, "name": text}, "sendDate": now},
            }
        )
        for number, (text, _, _) in enumerate(AWKWARD)
    ]
    assert shop.send(body_of(lines)).status_code == 200

    for format_, delimiter, place in (("csv", ",", 1), ("csv-excel-cs", ";", 2)):
        text = get(shop, format=format_).content.decode()
        assert text.startswith("\ufeff" if place == 2 else "trackpoint,")
        _, *rows = list(csv.reader(io.StringIO(text.removeprefix("\ufeff"), newline=""), delimiter=delimiter))
        assert [row[6] for row in rows] == [row[7] for row in rows] == [one[place] for one in AWKWARD]


def test_excel_in_czech_reads_the_times(server: Server) -> None:
    """In the file for Excel, times are local, in the Czech form, without leading zeros of day and month."""
    shop = server.shop()
    date = int(datetime(2026, 11, 3, 4, 5, 6, 789000, tzinfo=PRAGUE).timestamp() * 1000)
    assert shop.send(line(shop.trackpoint, date)).status_code == 200

    text = get(shop, format="csv-excel-cs", tz="Europe/Prague").content.decode()

    row = text.splitlines()[1].split(";")
    assert row[3:5] == ["3.11.2026 04:05:06", str(date)]
    assert text.count("\r\n") == 2


def test_nothing_is_a_complete_file(filled: Filled) -> None:
    """A filter that no event matches gives an empty file, or the head line alone."""
    assert get(filled.shop, campaign="none").content == b""
    for format_ in ("csv", "csv-excel-cs"):
        for encoding in ("gzip", "identity"):
            got = get(filled.shop, campaign="none", format=format_, encoding=encoding)
            assert got.text.removeprefix("\ufeff").splitlines() == [got.text.removeprefix("\ufeff").strip()]


@pytest.mark.parametrize(
    ("query", "said"),
    [
        ("format=xlsx", "`format` 'xlsx' is unknown. Send one of jsonl, csv, csv-excel-cs."),
        ("status=delivered", "`status` 'delivered' is unknown. Send one of DELIVERED, ACCEPTED, EXPIRED,"),
        ("status=DELIVERED&status=SENT", "`status` 'SENT' is unknown. Send one of DELIVERED,"),
        ("status=", "`status` '' is unknown."),
        ("type=campaign", "`type` 'campaign' is unknown. Send one of flow, one-off."),
        ("tz=Prague", "`tz` 'Prague' is not a time zone."),
        ("from=yesterdaz", "`from` 'yesterdaz' is not a time."),
        ("sentTo=tomorrow-ish", "`sentTo` 'tomorrow-ish' is not a time."),
        ("sentFrom=1790000000", "`sentFrom` '1790000000' is not in the years 2000 to 2099"),
        ("from=2026-11-02&to=2026-11-01", "`from` '2026-11-02' is after `to` '2026-11-01'."),
        ("sentFrom=2026-11-02&sentTo=2026-11-01", "is after `sentTo`"),
        ("from=7d&from=6d", "`from` is in the URL 2 times."),
        ("tz=", "`tz` is empty."),
        ("campain=a", "Unknown parameter 'campain' in the URL."),
        ("userId=%ff", "The parameters in the URL are not UTF-8 (byte 7)."),
        (f"userId={'x' * 1025}", "`userId` has 1025 characters."),
    ],
)
def test_a_bad_parameter_is_named(filled: Filled, query: str, said: str) -> None:
    """A parameter that cannot be meant is a 400 that names it, and no file."""
    url = f"{filled.shop.base}/shop/{filled.shop.trackpoint}/sms-events?{query}"
    got = httpx.get(url, headers=filled.shop.headers, timeout=60, verify=PLAIN)

    assert got.status_code == 400
    assert got.headers["Content-Type"] == "application/problem+json"
    assert "Content-Disposition" not in got.headers
    assert said in got.json()["detail"]


def test_a_download_needs_the_right_to_export(server: Server, filled: Filled) -> None:
    """Without a key, with that of another shop, or without the scope `export`, there is no file."""
    statistics_only = server.shop(("stats", "import"))
    url = f"{filled.shop.base}/shop/{filled.shop.trackpoint}/sms-events"

    assert httpx.get(url, timeout=60, verify=PLAIN).status_code == 401
    assert httpx.get(url, headers=statistics_only.headers, timeout=60, verify=PLAIN).status_code == 403
    assert get(statistics_only).status_code == 403


@pytest.mark.parametrize("format_", ["jsonl", "csv"])
def test_a_truncated_download_breaks(server: Server, format_: str) -> None:
    """Damage after the first byte ends the connection without the last chunk, so that a browser reports it."""
    shop = server.shop()
    now = now_ms()
    chance = random.Random(6)  # noqa: S311 -- users that hardly compress, so that each day is more than a page
    for days in (3, 2, 1):
        first = now - days * DAY_MS
        lines = [line(shop.trackpoint, first + number, user=chance.randbytes(200).hex()) for number in range(2000)]
        assert shop.send(body_of(lines)).status_code == 200
    damage_newest_segment(server.path, shop.trackpoint)

    with Wire(server.port) as wire:
        path = f"/shop/{shop.trackpoint}/sms-events?{urlencode({'format': format_})}"
        wire.send(ask("GET", path, f"X-Api-Key: {shop.key}"))
        reply = wire.reply()

    assert (reply.status, reply.is_complete) == (200, False)
    assert len(reply.body) > 1000


def test_old_times_are_numbers_only(server: Server) -> None:
    """A time that no calendar of events has is an empty cell, and stands beside it as a number."""
    shop = server.shop()
    date = now_ms() - MINUTE_MS
    old = line(shop.trackpoint, date).replace(b'"sendDate":%d' % (date - 300), b'"sendDate":-5')
    store_segments(server.url, shop.trackpoint, [[(date, old)]])

    text = get(shop, format="csv").text

    assert text.splitlines()[1].endswith(",,-5")
