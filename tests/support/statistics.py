"""A plain count of exported lines, with which statistics are compared."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass
from math import ceil
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable

    from smsevents.stats.question import Question

QUARTER_MS = 900_000
SILENT_MS = 72 * 3_600_000


def event_line(  # noqa: PLR0913 -- an event has that many parts
    trackpoint: int,
    date: int,
    sent: int,
    *,
    user: str = "u",
    status: str = "DELIVERED",
    campaign: tuple[str, str] = ("c", "Campaign"),
    node: tuple[str, str] | None = None,
) -> bytes:
    """Return a canonical line with a send date of its own; campaign and node are ids and names."""
    source: dict[str, Any] = {"type": "one-off" if node is None else "flow"}
    source["campaign"] = dict(zip(("id", "name"), campaign, strict=True))
    if node is not None:
        source["node"] = dict(zip(("id", "name"), node, strict=True))
    source["sendDate"] = sent
    sms = {"trackpoint": trackpoint, "userId": user, "status": status, "date": date}
    return json.dumps({"smsEvent": sms, "source": source}, ensure_ascii=False, separators=(",", ":")).encode()


@dataclass(frozen=True)
class Plain:
    """An event, read with a JSON parser."""

    user: str
    status: str
    date: int
    sent: int
    type: str
    campaign: tuple[str, str]
    node: tuple[str, str] | None

    @property
    def message(self) -> tuple[object, ...]:
        """What the events of a message share."""
        return (self.user, self.sent, self.type, self.campaign, self.node)


def plain(line: bytes) -> Plain:
    """Read a line."""
    read = json.loads(line)
    sms, source = read["smsEvent"], read["source"]
    node = source.get("node")
    return Plain(
        sms["userId"],
        sms["status"],
        sms["date"],
        source["sendDate"],
        source["type"],
        (source["campaign"]["id"], source["campaign"]["name"]),
        None if node is None else (node["id"], node["name"]),
    )


def is_wanted(event: Plain, question: Question, *, with_status: bool = True) -> bool:
    """Return whether an event is one that a question asks for, but for its interval."""
    wanted = question.wanted
    return (
        (not with_status or not wanted.statuses or event.status in wanted.statuses)
        and (not wanted.types or event.type in wanted.types)
        and (not wanted.campaigns or not wanted.campaigns.isdisjoint(event.campaign))
        and (not wanted.nodes or (event.node is not None and not wanted.nodes.isdisjoint(event.node)))
    )


def bucket_at(question: Question, time_ms: int) -> int:
    """Return the number of the bucket with a time, or -1."""
    for number, bucket in enumerate(question.buckets.all):
        if bucket.start <= time_ms <= bucket.end:
            return number
    return -1


def _ids(event: Plain, question: Question) -> tuple[object, ...]:
    return (
        event.type if "type" in question.by else None,
        event.campaign[0] if "campaign" in question.by else None,
        event.node[0] if "node" in question.by and event.node else None,
    )


def _names(events: Iterable[Plain], question: Question) -> dict[tuple[object, ...], tuple[str, str]]:
    """Return for each group the names of its newest events, to a quarter of an hour."""
    found: dict[tuple[object, ...], tuple[int, str, str]] = {}
    for event in events:
        key = _ids(event, question)
        this = (event.date // QUARTER_MS, event.campaign[1], event.node[1] if event.node else "")
        found[key] = max(found.get(key, this), this)
    return {key: (campaign, node) for key, (_, campaign, node) in found.items()}


def _members(
    group: tuple[Any, ...], question: Question, names: dict[tuple[object, ...], tuple[str, str]]
) -> dict[str, Any]:
    members: dict[str, Any] = {}
    kind, campaign, node = group[:3]
    if "type" in question.by:
        members["type"] = kind
    if len(group) > 3:
        return members | {"other": True}
    if "campaign" in question.by:
        members["campaign"] = {"id": campaign, "name": names[group][0]}
    if "node" in question.by:
        members["node"] = None if node is None else {"id": node, "name": names[group][1]}
    return members


def _kept(sizes: Counter[tuple[Any, ...]], question: Question) -> set[tuple[Any, ...]]:
    named = [group for group in sizes if group[1:] != (None, None)]
    in_order = sorted(named, key=lambda group: (-sizes[group], [one or "" for one in group]))
    return set(in_order if question.top is None else in_order[: question.top])


def _shown(group: tuple[Any, ...], kept: set[tuple[Any, ...]]) -> tuple[Any, ...]:
    return group if group in kept or group[1:] == (None, None) else (group[0], None, None, "other")


def axis_of(event: Plain, question: Question) -> int:
    """Return the time of an event on the axis of a question."""
    return event.date if question.at == "event" else event.sent


def plain_rows(lines: Iterable[bytes], question: Question) -> tuple[int, list[dict[str, Any]]]:
    """Return how many events a question asks for, and its rows in any order."""
    events = [one for one in map(plain, lines) if is_wanted(one, question)]
    events = [one for one in events if bucket_at(question, axis_of(one, question)) >= 0]
    names = _names(events, question)
    kept = _kept(Counter(_ids(one, question) for one in events), question)
    counts = Counter(
        (
            bucket_at(question, axis_of(one, question)),
            one.status if "status" in question.by else None,
            _shown(_ids(one, question), kept),
        )
        for one in events
    )
    rows = [
        {"bucket": bucket}
        | ({"status": status} if "status" in question.by else {})
        | _members(group, question, names)
        | {"events": count}
        for (bucket, status, group), count in counts.items()
    ]
    return len(events), rows


def plain_times(lines: Iterable[bytes], question: Question) -> list[int]:
    """Return how long each delivery took that a question asks for, sorted."""
    events = [one for one in map(plain, lines) if is_wanted(one, question) and one.status == "DELIVERED"]
    return sorted(one.date - one.sent for one in events if bucket_at(question, axis_of(one, question)) >= 0)


def plain_times_of_rows(lines: Iterable[bytes], question: Question) -> list[tuple[dict[str, Any], list[int]]]:
    """Return the rows of delivery times, each as its bucket and members, and the sorted times of its deliveries."""
    events = [one for one in map(plain, lines) if is_wanted(one, question) and one.status == "DELIVERED"]
    events = [one for one in events if bucket_at(question, axis_of(one, question)) >= 0]
    names = _names(events, question)
    kept = _kept(Counter(_ids(one, question) for one in events), question)
    rows: dict[tuple[int, tuple[Any, ...]], list[int]] = {}
    for one in events:
        key = bucket_at(question, axis_of(one, question)), _shown(_ids(one, question), kept)
        rows.setdefault(key, []).append(one.date - one.sent)
    return [
        ({"bucket": bucket} | _members(group, question, names), sorted(times))
        for (bucket, group), times in rows.items()
    ]


def nearest_rank(times: list[int], percent: int) -> int:
    """Return a percentile of sorted numbers."""
    return times[ceil(len(times) * percent / 100) - 1]


def state_of(events: list[Plain]) -> Plain:
    """Return the event that is the state of a message, by the rules of docs/api.md."""
    return max(events, key=lambda one: (one.status != "ACCEPTED", one.date, one.status == "DELIVERED", one.status))


def plain_messages(lines: Iterable[bytes], question: Question) -> list[dict[str, Any]]:
    """Return the rows of messages in any order."""
    events = [one for one in map(plain, lines) if is_wanted(one, question, with_status=False)]
    events = [one for one in events if bucket_at(question, axis_of(one, question)) >= 0]
    names = _names(events, question)
    found: dict[tuple[object, ...], list[Plain]] = {}
    for one in events:
        found.setdefault(one.message, []).append(one)
    wanted = question.wanted.statuses
    messages = [(state_of(of_message), of_message) for of_message in found.values()]
    messages = [one for one in messages if not wanted or one[0].status in wanted]
    kept = _kept(Counter(_ids(state, question) for state, _ in messages), question)
    rows: dict[tuple[Any, ...], Counter[str]] = {}
    old = question.now // QUARTER_MS * QUARTER_MS - SILENT_MS
    for state, of_message in messages:
        key = (bucket_at(question, axis_of(state, question)), _shown(_ids(state, question), kept))
        counts = rows.setdefault(key, Counter())
        counts["sent"] += 1
        counts["events"] += len(of_message)
        counts["attempted"] += state.status != "SKIPPED"
        counts["pending" if state.status == "ACCEPTED" else state.status.lower()] += 1
        counts["noReceipt"] += state.status == "ACCEPTED" and state.sent < old
    names_of_counts = (
        *("sent", "attempted", "delivered", "pending", "noReceipt"),
        *("skipped", "expired", "undeliverable", "rejected", "deleted", "events"),
    )
    return [
        {"bucket": bucket} | _members(group, question, names) | {name: counts[name] for name in names_of_counts}
        for (bucket, group), counts in rows.items()
    ]
