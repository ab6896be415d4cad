"""Filters of an export, and the model that their results are compared with."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from hypothesis import strategies as st

from smsevents.wire.event_filter import EventFilter
from tests.support.events import STATUSES, canonical_of

if TYPE_CHECKING:
    import random
    from collections.abc import Iterable, Sequence

TEXT_MEMBERS = ("status", "campaign", "node", "type", "userId")


def is_wanted(one: bytes, chosen: dict[str, Any]) -> bool:
    """Return whether a line matches the members of a request, by its JSON alone."""
    event = json.loads(one)
    sms, source = event["smsEvent"], event["source"]
    held = {
        "status": {sms["status"]},
        "userId": {sms["userId"]},
        "type": {source["type"]},
        "campaign": set(source["campaign"].values()),
        "node": set(source.get("node", {}).values()),
    }
    asked = {
        name: {values} if isinstance(values, str) else set(values)
        for name, values in chosen.items()
        if name in held and values is not None
    }
    sent = source["sendDate"]
    start, end = chosen.get("sentFrom"), chosen.get("sentTo")
    return all(held[name] & values for name, values in asked.items()) and (
        (start is None or start <= sent) and (end is None or sent <= end)
    )


def wanted_of(lines: Iterable[bytes], chosen: dict[str, Any]) -> list[bytes]:
    """Return the lines that match."""
    return [one for one in lines if is_wanted(one, chosen)]


def filter_of(chosen: dict[str, Any]) -> EventFilter:
    """Return the filter of the members of a request."""
    members: dict[str, Any] = {
        name: value if name in {"sentFrom", "sentTo"} else frozenset([value] if isinstance(value, str) else value)
        for name, value in chosen.items()
    }
    return EventFilter(**members)


def is_interval(chosen: dict[str, Any]) -> bool:
    """Return whether `sentFrom` is not after `sentTo`."""
    return "sentFrom" not in chosen or "sentTo" not in chosen or bool(chosen["sentFrom"] <= chosen["sentTo"])


def filters(words: st.SearchStrategy[str], times: st.SearchStrategy[int]) -> st.SearchStrategy[dict[str, Any]]:
    """Return members of requests: texts out of `words`, alone or several, and times of sending out of `times`."""
    some = words | st.lists(words, min_size=1, max_size=12)
    statuses = st.sampled_from([*STATUSES, "SENT"])
    types = st.sampled_from(["flow", "one-off", "sms"])
    optional = {
        "status": statuses | st.lists(statuses, min_size=1),
        "campaign": some,
        "node": some,
        "type": types | st.lists(types, min_size=1),
        "userId": some,
        "sentFrom": times,
        "sentTo": times,
    }
    return st.fixed_dictionaries({}, optional=optional).filter(is_interval)


CAMPAIGNS = [("c1", "Welcome"), ("c2", "Black Friday"), ("c3", "c1"), ("c4", "Retention")]
NODES = [("n1", "First"), ("n2", "Second"), ("n3", "n1")]


def varied_lines(chance: random.Random, trackpoint: int, count: int, start: int, end: int) -> list[bytes]:
    """Return lines at random times of a closed interval, of several campaigns and nodes; some lines may be equal."""
    lines = []
    for _ in range(count):
        date = chance.randint(start, end)
        campaign = chance.choice(CAMPAIGNS)
        source: dict[str, Any] = {"type": "one-off", "campaign": {"id": campaign[0], "name": campaign[1]}}
        if campaign in CAMPAIGNS[::2]:
            node = chance.choice(NODES)
            source |= {"type": "flow", "node": {"id": node[0], "name": node[1]}}
        source["sendDate"] = date - chance.choice([0, 300, 5000, 86_400_000, -7])
        sms = {"trackpoint": trackpoint, "userId": f"u{chance.randint(1, 12)}", "status": chance.choice(STATUSES)}
        lines.append(canonical_of({"smsEvent": sms | {"date": date}, "source": source}))
    return lines


def some_filters(
    chance: random.Random, lines: list[bytes], count: int, statuses: Sequence[str] = (*STATUSES, "SENT")
) -> list[dict[str, Any]]:
    """Return random members of requests; most of them match some of the lines. `statuses` is what is drawn from."""
    words = {
        "status": [*statuses],
        "campaign": [text for one in CAMPAIGNS for text in one] + ["none"],
        "node": [text for one in NODES for text in one],
        "type": ["flow", "one-off"],
        "userId": [f"u{number}" for number in range(1, 14)],
    }
    found: list[dict[str, Any]] = []
    while len(found) < count:
        chosen: dict[str, Any] = {
            name: chance.sample(some, chance.randint(1, min(3, len(some))))
            for name, some in words.items()
            if chance.random() < 0.3
        }
        times = sorted(json.loads(chance.choice(lines))["source"]["sendDate"] for _ in range(2))
        chosen |= {
            name: time for name, time in zip(("sentFrom", "sentTo"), times, strict=True) if chance.random() < 0.3
        }
        if chosen:
            found.append(chosen)
    return found
