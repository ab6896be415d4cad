"""Statistics over HTTP: the contract, and that every number is that of the export of the same interval."""

from __future__ import annotations

import csv
import io
from collections import Counter
from datetime import datetime
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

import httpx
import pytest

from smsevents.clock.system import now_ms
from smsevents.demo.generate import generate
from smsevents.web.problems import MEDIA_TYPE
from tests.support.lines import DAY_MS, HOUR_MS, body_of
from tests.support.servers import PLAIN
from tests.support.statistics import event_line, plain, state_of

if TYPE_CHECKING:
    from tests.support.servers import Server, Shop

PARTS = ["status", "type", "campaign", "node"]
KINDS = ["", "/delivery-time", "/messages"]


def get(shop: Shop, kind: str = "", headers: dict[str, str] | None = None, **given: Any) -> httpx.Response:
    """Ask for statistics."""
    url = f"{shop.base}/shop/{shop.trackpoint}/sms-stats{kind}"
    params = {name.rstrip("_"): value for name, value in given.items()}
    return httpx.get(url, params=params, headers=shop.headers | (headers or {}), timeout=60, verify=PLAIN)


def asked(shop: Shop, kind: str = "", **given: Any) -> dict[str, Any]:
    """Return the body of statistics."""
    response = get(shop, kind, **given)
    assert response.status_code == 200, response.text
    body: dict[str, Any] = response.json()
    return body


@pytest.fixture(scope="module")
def shop(server: Server) -> Shop:
    """Return a shop with some thousand events of 40 days, some of them sent twice, of which most are compacted."""
    made = server.shop()
    now = now_ms()
    lines = list(generate(made.trackpoint, events=6000, days=40, seed=5, end_ms=now - HOUR_MS, by_arrival=True))
    for start in range(0, 6000, 1500):
        assert made.send(body_of(lines[start : start + 1800])).status_code == 200
    server.command("compact", str(made.trackpoint))
    assert made.send(body_of(lines[::100])).status_code == 200
    return made


def exported(shop: Shop, start: int, end: int) -> list[bytes]:
    """Return the lines of an export."""
    return shop.export({"from": start, "to": end}).content.split(b"\n")[:-1]


@pytest.mark.parametrize("zone", ["UTC", "Europe/Prague", "Asia/Kathmandu"])
@pytest.mark.parametrize("step", ["all", "1d", "1w"])
def test_counts_of_events_are_those_of_the_export(shop: Shop, zone: str, step: str) -> None:
    """Each row has the events of its bucket, status, type, campaign and node in the export of the interval."""
    start, end = now_ms() - 33 * DAY_MS + 12345, now_ms() - DAY_MS
    body = asked(shop, from_=start, to=end, tz=zone, step=step, by=",".join(PARTS))
    events = [plain(line) for line in exported(shop, start, end)]

    assert (body["from"], body["to"], body["timeZone"], body["at"]) == (start, end, zone, "event")
    assert body["by"] == PARTS
    assert body["events"] == len(events)
    assert body["buckets"][0]["from"] == start
    assert body["buckets"][-1]["to"] == end
    local = ZoneInfo(zone)

    def key(event: Any) -> tuple[Any, ...]:
        day = datetime.fromtimestamp(event.date / 1000, local).date()
        names = {"all": "", "1d": day.isoformat(), "1w": str(day.isocalendar()[:2])}
        return (names[step], event.status, event.type, event.campaign[0], event.node and event.node[0])

    expected = Counter(key(event) for event in events)
    found = Counter[tuple[Any, ...]]()
    for row in body["rows"]:
        day = datetime.fromtimestamp(body["buckets"][row["bucket"]]["from"] / 1000, local).date()
        names = {"all": "", "1d": day.isoformat(), "1w": str(day.isocalendar()[:2])}
        node = row["node"] and row["node"]["id"]
        found[names[step], row["status"], row["type"], row["campaign"]["id"], node] += row["events"]
    assert found == expected


def test_events_by_the_time_of_sending(shop: Shop) -> None:
    """With the axis `send`, the events count whose send date is in the interval, whenever they happened."""
    start, end = now_ms() - 20 * DAY_MS, now_ms() - 10 * DAY_MS
    everything = [plain(line) for line in shop.export().content.split(b"\n")[:-1]]
    body = asked(shop, from_=start, to=end, at="send", by="status")
    expected = Counter(event.status for event in everything if start <= event.sent <= end)
    assert {row["status"]: row["events"] for row in body["rows"]} == expected
    assert sum(expected.values()) == body["events"]


def test_filters_and_top(shop: Shop) -> None:
    """Filters may be repeated, and all groups beyond the largest are one row with `other`."""
    whole = asked(shop, by="campaign")
    sizes = sorted((row["events"] for row in whole["rows"]), reverse=True)
    top = asked(shop, by="campaign", top=2)
    assert sorted((row["events"] for row in top["rows"]), reverse=True) == sorted(
        [*sizes[:2], sum(sizes[2:])], reverse=True
    )
    assert [set(row) for row in top["rows"] if "other" in row] == [{"bucket", "other", "events"}]

    one, two = (row["campaign"]["id"] for row in whole["rows"][:2])
    some = asked(shop, campaign=[one, two], status=["DELIVERED", "ACCEPTED"], by="campaign,status")
    assert {row["campaign"]["id"] for row in some["rows"]} == {one, two}
    assert {row["status"] for row in some["rows"]} == {"DELIVERED", "ACCEPTED"}


def test_delivery_times(shop: Shop) -> None:
    """The histogram has each delivery once, shares are exact, and the median is within its bucket."""
    body = asked(shop, "/delivery-time", from_="40d")
    events = [plain(line) for line in exported(shop, body["from"], body["to"])]
    times = sorted(event.date - event.sent for event in events if event.status == "DELIVERED")

    assert body["deliveries"] == len(times) == sum(one["deliveries"] for one in body["histogram"])
    for name, within in {"within10s": 10_000, "within1m": 60_000, "within1h": HOUR_MS}.items():
        assert body[name] == sum(took <= within for took in times)
    middle = times[(len(times) - 1) // 2]
    [bucket] = [one for one in body["histogram"] if one["fromMs"] <= middle <= one["toMs"]]
    assert bucket["fromMs"] <= body["medianMs"] <= bucket["toMs"]
    assert body["medianMs"] <= body["p90Ms"] <= body["p95Ms"]


@pytest.mark.parametrize("at", ["event", "send"])
def test_delivery_times_of_each_day(shop: Shop, at: str) -> None:
    """Each row has the deliveries of its local day and campaign, as many as the export has, as JSON and as CSV."""
    given: dict[str, Any] = {
        "from_": "40d",
        "to": "yesterday",
        "tz": "Europe/Prague",
        "at": at,
        "step": "1d",
        "by": "campaign",
    }
    body = asked(shop, "/delivery-time", **given)
    local = ZoneInfo("Europe/Prague")

    def day_of(time_ms: int) -> str:
        return datetime.fromtimestamp(time_ms / 1000, local).date().isoformat()

    expected: dict[tuple[str, str], list[int]] = {}
    for event in (plain(line) for line in shop.export().content.split(b"\n")[:-1]):
        time = event.date if at == "event" else event.sent
        if event.status == "DELIVERED" and body["from"] <= time <= body["to"]:
            expected.setdefault((day_of(time), event.campaign[0]), []).append(event.date - event.sent)

    found = {(day_of(body["buckets"][row["bucket"]]["from"]), row["campaign"]["id"]): row for row in body["rows"]}
    assert {key: row["deliveries"] for key, row in found.items()} == {key: len(all_) for key, all_ in expected.items()}
    for key, row in found.items():
        assert row["within1m"] == sum(took <= 60_000 for took in expected[key])
        middle = sorted(expected[key])[(len(expected[key]) - 1) // 2]
        assert abs(row["medianMs"] - middle) <= max(1, middle * 0.2)  # within the same bar
        assert row["medianMs"] <= row["p90Ms"] <= row["p95Ms"]
    for name in ("deliveries", "within10s", "within1m", "within1h"):
        assert sum(row[name] for row in body["rows"]) == body[name]
    table = csv.DictReader(io.StringIO(get(shop, "/delivery-time", format="csv", **given).text))
    assert [(one["campaign_id"], one["deliveries"], one["p95_ms"]) for one in table] == [
        (row["campaign"]["id"], str(row["deliveries"]), str(row["p95Ms"])) for row in body["rows"]
    ]


def test_messages(shop: Shop) -> None:
    """The messages that were sent in the interval count by their state, which later events decide, too."""
    body = asked(shop, "/messages", from_="20d", by="type")
    messages: dict[Any, list[Any]] = {}
    for event in (plain(line) for line in shop.export().content.split(b"\n")[:-1]):
        if body["from"] <= event.sent <= body["to"]:
            messages.setdefault(event.message, []).append(event)
    states = Counter(state_of(events).status for events in messages.values())

    total = body["total"]
    assert body["at"] == "send"
    assert total["sent"] == len(messages)
    assert total["pending"] == states["ACCEPTED"]
    assert total["attempted"] == len(messages) - states["SKIPPED"]
    names = ["DELIVERED", "SKIPPED", "EXPIRED", "UNDELIVERABLE", "REJECTED", "DELETED"]
    assert {name: total[name.lower()] for name in names} == {name: states[name] for name in names}
    assert body["events"] == total["events"] == sum(map(len, messages.values()))
    for name in total:
        assert sum(row[name] for row in body["rows"]) == total[name]


@pytest.mark.parametrize("kind", KINDS)
def test_an_etag_changes_with_the_log(server: Server, kind: str) -> None:
    """The same question has no body the second time, until the log of the shop changes in the interval."""
    shop, other = server.shop(), server.shop()
    now = now_ms()
    for one in (shop, other):
        one.send(body_of([event_line(one.trackpoint, now - HOUR_MS, now - HOUR_MS)]))
    interval: dict[str, Any] = {"from_": now - DAY_MS, "to": now - 1}
    first = get(shop, kind, **interval)
    tag = first.headers["etag"]
    assert first.headers["cache-control"] == "private, no-cache"

    again = get(shop, kind, headers={"If-None-Match": f'"x", {tag}'}, **interval)
    assert (again.status_code, again.content, again.headers["etag"]) == (304, b"", tag)
    assert get(shop, kind, **interval, tz="Europe/Prague").headers["etag"] != tag
    assert get(other, kind, **interval).headers["etag"] != tag
    assert get(shop, kind, **interval, format="csv").headers["etag"] != tag

    shop.send(body_of([event_line(shop.trackpoint, now - HOUR_MS, now - HOUR_MS, user="later")]))
    changed = get(shop, kind, headers={"If-None-Match": tag}, **interval)
    assert changed.status_code == 200
    assert changed.headers["etag"] != tag


@pytest.mark.parametrize(
    ("kind", "grouped", "name"),
    [
        ("", {}, "sms-stats"),
        ("", {"step": "1h", "by": "status"}, "sms-stats-by-hour-status"),
        ("/messages", {"step": "1d"}, "sms-messages-by-day"),
        ("/messages", {"by": "type,campaign,node"}, "sms-messages-by-campaign-node"),
        ("/messages", {"step": "1M", "by": "type"}, "sms-messages-by-month-type"),
        ("/delivery-time", {}, "sms-delivery-time"),
        ("/delivery-time", {"step": "1w", "by": "type"}, "sms-delivery-time-by-week-type"),
    ],
)
def test_the_name_of_a_csv_says_what_its_rows_are(shop: Shop, kind: str, grouped: dict[str, Any], name: str) -> None:
    """Files of the same shop and days that are grouped differently have different names."""
    response = get(shop, kind, from_="2026-11-01", to="2026-11-02", format="csv", **grouped)

    file = f"{name}-{shop.trackpoint}-2026-11-01-2026-11-02-UTC.csv"
    assert response.headers["content-disposition"] == f'attachment; filename="{file}"'


@pytest.mark.parametrize("kind", KINDS)
def test_csv_has_the_rows(shop: Shop, kind: str) -> None:
    """As CSV, each row has local times with their offset, Unix milliseconds beside them, and the same numbers."""
    given = {"from_": "10d", "tz": "Europe/Prague", "step": "1d", "by": "type,campaign,node"}
    body = asked(shop, kind, **given)
    response = get(shop, kind, headers={"Accept": "text/csv"}, **given)
    rows = list(csv.DictReader(io.StringIO(response.text)))

    assert response.headers["content-type"].startswith("text/csv")
    assert "Europe-Prague.csv" in response.headers["content-disposition"]
    assert len(rows) == len(body["rows"])
    for row, expected in zip(rows, body["rows"], strict=True):
        bucket = body["buckets"][expected["bucket"]]
        if expected["bucket"]:  # the first one begins at the moment of the request
            assert int(row["from_ms"]) == bucket["from"]
        local = datetime.fromtimestamp(int(row["from_ms"]) / 1000, ZoneInfo("Europe/Prague"))
        assert row["from"] == local.isoformat(timespec="milliseconds")
        assert row["campaign_id"] == expected["campaign"]["id"]
        assert row["node_name"] == (expected["node"]["name"] if expected["node"] else "")


def test_an_empty_interval_has_no_buckets(shop: Shop) -> None:
    """An interval before the history is allowed: it has no buckets and no events."""
    body = asked(shop, from_="2001-01-01", to="2001-01-02", step="1d")
    assert (body["events"], body["buckets"], body["rows"]) == (0, [], [])
    assert asked(shop, "/messages", from_="2001-01-01", to="2001-01-02")["total"]["sent"] == 0
    times = asked(shop, "/delivery-time", from_="2001-01-01", to="2001-01-02")
    assert (times["medianMs"], times["histogram"], times["buckets"], times["rows"]) == (None, [], [], [])


@pytest.mark.parametrize(
    ("kind", "given", "told"),
    [
        ("", {"tz": "Prague"}, "Europe/Prague"),
        ("", {"at": "sent"}, "event, send"),
        ("", {"step": "2h"}, "15m, 1h, 1d, 1w, 1M, all"),
        ("", {"by": "status,user"}, "'user'"),
        ("", {"status": "SENT"}, "DELIVERED"),
        ("", {"type": "one"}, "one-off"),
        ("", {"from": "x"}, "`from` 'x' is not a time"),
        ("", {"from": "1790000000"}, "in seconds"),
        ("", {"from": "today", "to": "yesterday"}, "is after `to`"),
        ("", {"from": ["today", "yesterday"]}, "Send it once"),
        ("", {"to": ""}, "`to` is empty"),
        ("", {"step": "15m", "from": "80d"}, "longer step"),
        ("", {"top": "5"}, "`by` campaign or node"),
        ("", {"top": "0", "by": "node"}, "`top` '0'"),
        ("", {"format": "xml"}, "json, csv"),
        ("", {"campaign": "x" * 1025}, "1024"),
        ("", {"user": "1"}, "Unknown parameter 'user'"),
        ("/delivery-time", {"step": "2h"}, "15m, 1h, 1d, 1w, 1M, all"),
        ("/delivery-time", {"step": "15m", "from": "80d"}, "longer step"),
        ("/delivery-time", {"by": "status"}, "type, campaign, node"),
        ("/messages", {"by": "status"}, "type, campaign, node"),
    ],
)
def test_bad_questions_are_refused(shop: Shop, kind: str, given: dict[str, Any], told: str) -> None:
    """A question that cannot be answered is a 400 that names the parameter and what it takes."""
    response = get(shop, kind, **given)
    assert response.status_code == 400
    assert response.headers["content-type"] == MEDIA_TYPE
    assert told in response.json()["detail"]


@pytest.mark.parametrize("kind", KINDS)
def test_a_parameter_that_is_not_utf8_is_refused(shop: Shop, kind: str) -> None:
    """Bytes that cannot be decoded are a 400, not a fault of the server."""
    url = f"{shop.base}/shop/{shop.trackpoint}/sms-stats{kind}?campaign=%FF"
    response = httpx.get(url, headers=shop.headers, timeout=60, verify=PLAIN)
    assert response.status_code == 400
    assert "UTF-8" in response.json()["detail"]


@pytest.mark.parametrize("kind", KINDS)
def test_scopes(server: Server, kind: str) -> None:
    """A key with the scope `stats` or `export` may count, and nothing of the shop is told to any other key."""
    shop = server.shop(("stats",))
    assert get(shop, kind).status_code == 200
    assert shop.export().status_code == 403
    assert get(server.shop(("export",)), kind).status_code == 200
    other = server.shop(("import", "admin"))
    refused = get(other, kind)
    assert refused.status_code == 403
    assert "`stats` or `export`" in refused.json()["detail"]
    foreign = get(shop, kind, headers=other.headers)
    assert (foreign.status_code, foreign.json()) == (403, refused.json())
    assert get(shop, kind, headers={"X-Api-Key": ""}).status_code == 401


@pytest.mark.parametrize("kind", KINDS)
def test_large_responses_are_compressed(server: Server, kind: str) -> None:
    """A client that accepts gzip gets the same numbers compressed, if they are long, and under the same ETag."""
    shop = server.shop(("import", "stats"))
    fixed = {"from": str(now_ms() - 80 * 86_400_000), "to": str(now_ms() - 86_400_000), "step": "1d"}
    plain = get(shop, kind, {"Accept-Encoding": "identity"}, **fixed)
    packed = get(shop, kind, {"Accept-Encoding": "gzip"}, **fixed)
    assert "content-encoding" not in plain.headers
    assert packed.headers.get("content-encoding", "identity") == ("gzip" if len(plain.content) >= 1024 else "identity")
    assert {name: value for name, value in packed.json().items() if name != "asOf"} == {
        name: value for name, value in plain.json().items() if name != "asOf"
    }
    assert packed.headers["etag"] == plain.headers["etag"]
    assert packed.headers["vary"] == "Accept, Accept-Encoding"
