"""A plain model of the statistics: every event in memory, counted with the simplest code.

It also serves the endpoints to the page in a browser (`serve_statistics`), so that tests of the page may choose the
numbers.
"""

from __future__ import annotations

import json
from collections import defaultdict
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, urlsplit
from zoneinfo import ZoneInfo

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from playwright.sync_api import BrowserContext, Route

STATES = {
    "DELIVERED": "delivered",
    "ACCEPTED": "pending",
    "SKIPPED": "skipped",
    "EXPIRED": "expired",
    "UNDELIVERABLE": "undeliverable",
    "REJECTED": "rejected",
    "DELETED": "deleted",
}
COUNTS = ("sent", "attempted", "delivered", "pending", "noReceipt", *list(STATES.values())[2:])
NO_RECEIPT_MS = 72 * 3_600_000


@dataclass(frozen=True)
class Query:
    """A query of the statistics, as the page sends it."""

    start: int
    end: int
    zone: str
    at: str
    step: str
    by: tuple[str, ...]
    filters: dict[str, list[str]]
    now: int

    @classmethod
    def of(cls, url: str, now: int) -> Query:
        """Read the query of an address."""
        asked = parse_qs(urlsplit(url).query)

        def one(name: str, fallback: str) -> str:
            return asked.get(name, [fallback])[0]

        return cls(
            _ms(one("from", "2026-01-01T00:00:00+00:00")),
            _ms(one("to", "2099-01-01T00:00:00+00:00")),
            one("tz", "UTC"),
            one("at", "send" if "/messages" in url else "event"),
            one("step", "all"),
            tuple(name for name in one("by", "").split(",") if name),
            {name: asked[name] for name in ("status", "type", "campaign", "node") if name in asked},
            now,
        )

    def selected(self, events: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
        """Return the events in the interval that the filters let through."""
        return [event for event in events if self.start <= self.time(event) <= self.end and self._matches(event)]

    def time(self, event: dict[str, Any]) -> int:
        """Return the time of an event on the axis."""
        return int(event["source"]["sendDate"] if self.at == "send" else event["smsEvent"]["date"])

    def _matches(self, event: dict[str, Any]) -> bool:
        facts = {
            "status": event["smsEvent"]["status"],
            "type": event["source"]["type"],
            "campaign": event["source"]["campaign"]["id"],
            "node": event["source"].get("node", {}).get("id"),
        }
        return all(facts[name] in values for name, values in self.filters.items())

    def buckets(self) -> list[dict[str, Any]]:
        """Return the buckets, by stepping local time."""
        if self.step == "all":
            return [{"from": self.start, "to": self.end, "complete": self.end < self.now}]
        found = []
        begin = _floor(self.start, self.step, self.zone)
        while begin <= self.end:
            after = _next(begin, self.step, self.zone)
            cut = begin < self.start or after - 1 > self.end or after > self.now
            found.append({"from": max(begin, self.start), "to": min(after - 1, self.end), "complete": not cut})
            begin = after
        return found


def _ms(text: str) -> int:
    return round(datetime.fromisoformat(text).timestamp() * 1000)


def _local(ms: int, zone: str) -> datetime:
    return datetime.fromtimestamp(ms // 1000, UTC).astimezone(ZoneInfo(zone))


def _at(day: datetime) -> int:
    return round(day.timestamp()) * 1000


def _floor(ms: int, step: str, zone: str) -> int:
    local = _local(ms, zone).replace(microsecond=0)
    if step == "15m":
        return ms - ms % 900_000
    if step == "1h":
        return ms - ms % 3_600_000
    day = local.replace(hour=0, minute=0, second=0)
    if step == "1w":
        day -= timedelta(days=day.weekday())
    return _at(day.replace(day=1) if step == "1M" else day)


def _next(ms: int, step: str, zone: str) -> int:
    if step in {"15m", "1h"}:
        return ms + {"15m": 900_000, "1h": 3_600_000}[step]
    local = _local(ms, zone)
    if step == "1M":
        return _at((local.replace(day=28) + timedelta(days=7)).replace(day=1))
    return _at(local + timedelta(days=7 if step == "1w" else 1))


def events_by_status(events: list[dict[str, Any]], query: Query) -> dict[str, Any]:
    """Return the response of `sms-stats`."""
    buckets = query.buckets()
    counted: dict[tuple[int, tuple[Any, ...]], int] = defaultdict(int)
    selected = query.selected(events)
    for event in selected:
        counted[_bucket_of(buckets, query.time(event)), _group(event, query.by)] += 1
    rows = [{"bucket": bucket, **dict(group), "events": n} for (bucket, group), n in counted.items()]
    return _head(query) | {"events": len(selected), "buckets": buckets, "rows": [_plain(row) for row in rows]}


def messages(events: list[dict[str, Any]], query: Query) -> dict[str, Any]:
    """Return the response of `sms-stats/messages`."""
    buckets = query.buckets()
    selected = query.selected(events)
    found: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for event in selected:
        found[json.dumps([event["smsEvent"]["userId"], event["source"]], sort_keys=True)].append(event)
    rows: dict[tuple[int, tuple[Any, ...]], dict[str, int]] = defaultdict(lambda: dict.fromkeys((*COUNTS, "events"), 0))
    total = dict.fromkeys(COUNTS, 0)
    for its in found.values():
        newest = max(its, key=lambda event: (event["smsEvent"]["date"], event["smsEvent"]["status"] != "ACCEPTED"))
        state = STATES[newest["smsEvent"]["status"]]
        row = rows[_bucket_of(buckets, query.time(newest)), _group(newest, query.by)]
        names = ["sent", state, *(["attempted"] if state != "skipped" else [])]
        if state == "pending" and newest["source"]["sendDate"] < query.now - NO_RECEIPT_MS:
            names.append("noReceipt")
        for name in names:
            row[name] += 1
            total[name] += 1
        row["events"] += len(its)
    listed = [_plain({"bucket": bucket, **dict(group), **counts}) for (bucket, group), counts in rows.items()]
    return _head(query) | {"events": len(selected), "total": total, "buckets": buckets, "rows": listed}


def delivery_time(events: list[dict[str, Any]], query: Query) -> dict[str, Any]:
    """Return the response of `sms-stats/delivery-time`."""
    delivered = [event for event in query.selected(events) if event["smsEvent"]["status"] == "DELIVERED"]
    took = sorted(map(_took, delivered))
    buckets = query.buckets()
    rows: dict[int, list[int]] = defaultdict(list)
    for event in delivered:
        rows[_bucket_of(buckets, query.time(event))].append(_took(event))
    edges = sorted({0, *(round(2 ** (quarter / 4)) for quarter in range(4, 120))})
    histogram = [{"fromMs": a, "toMs": b, "deliveries": sum(a <= one < b for one in took)} for a, b in pairwise(edges)]
    return {
        **_head(query),
        **_figures(took),
        "histogram": histogram,
        "buckets": buckets,
        "rows": [{"bucket": bucket} | _figures(sorted(times)) for bucket, times in sorted(rows.items())],
    }


def _took(event: dict[str, Any]) -> int:
    return int(event["smsEvent"]["date"] - event["source"]["sendDate"])


def _figures(took: list[int]) -> dict[str, int | None]:
    def quantile(share: float) -> int | None:
        return took[min(len(took) - 1, int(share * len(took)))] if took else None

    return {
        "deliveries": len(took),
        **{
            name: sum(one <= most for one in took)
            for name, most in (("within10s", 10_000), ("within1m", 60_000), ("within1h", 3_600_000))
        },
        "medianMs": quantile(0.5),
        "p90Ms": quantile(0.9),
        "p95Ms": quantile(0.95),
    }


def _head(query: Query) -> dict[str, Any]:
    return {
        "from": query.start,
        "to": query.end,
        "timeZone": query.zone,
        "at": query.at,
        "step": query.step,
        "by": list(query.by),
        "asOf": query.now,
    }


def _bucket_of(buckets: list[dict[str, Any]], ms: int) -> int:
    return next(index for index, bucket in enumerate(buckets) if bucket["from"] <= ms <= bucket["to"])


def _group(event: dict[str, Any], by: tuple[str, ...]) -> tuple[Any, ...]:
    source = event["source"]
    facts = {
        "status": event["smsEvent"]["status"],
        "type": source["type"],
        "campaign": json.dumps(source["campaign"]),
        "node": json.dumps(source.get("node")),
    }
    return tuple((name, facts[name]) for name in by)


def _plain(row: dict[str, Any]) -> dict[str, Any]:
    read = {name: json.loads(value) if name in {"campaign", "node"} else value for name, value in row.items()}
    return {name: value for name, value in read.items() if value is not None}


def serve_statistics(context: BrowserContext, lines: Callable[[], Iterable[bytes]], now: Callable[[], int]) -> None:
    """Let the model respond to the requests for statistics of a browser."""
    answers = {"sms-stats": events_by_status, "messages": messages, "delivery-time": delivery_time}

    def respond(route: Route) -> None:
        name = urlsplit(route.request.url).path.rsplit("/", 1)[1]
        events = [json.loads(line) for line in lines()]
        route.fulfill(json=answers[name](events, Query.of(route.request.url, now())))

    context.route("**/sms-stats**", respond)
    context.route("**/sms-stats/**", respond)
