"""Events to send, and the model that responses are compared with."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import random
    from collections.abc import Iterable


MINUTE_MS = 60_000
HOUR_MS = 60 * MINUTE_MS
DAY_MS = 24 * HOUR_MS


def line(  # noqa: PLR0913 -- an event has that many parts
    trackpoint: int,
    date: int,
    user: str = "123456",
    status: str = "DELIVERED",
    *,
    campaign: str = "Black Friday",
    node: str | None = None,
) -> bytes:
    """Return the canonical line of an event, written here without the code that is tested."""
    source: dict[str, Any] = {"type": "one-off" if node is None else "flow"}
    source["campaign"] = {"id": "b2c8", "name": campaign}
    if node is not None:
        source["node"] = {"id": "3241", "name": node}
    source["sendDate"] = date - 300
    event = {
        "smsEvent": {"trackpoint": trackpoint, "userId": user, "status": status, "date": date},
        "source": source,
    }
    text = json.dumps(event, ensure_ascii=False, separators=(",", ":"))
    for character in "\u0085\u2028\u2029":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return text.encode()


def date_of(one: bytes) -> int:
    """Return the date of a line, in Unix milliseconds."""
    date: int = json.loads(one)["smsEvent"]["date"]
    return date


def body_of(lines: Iterable[bytes]) -> bytes:
    """Return lines as sent on the wire."""
    return b"".join(one + b"\n" for one in lines)


def model(lines: Iterable[bytes], start: int, end: int) -> bytes:
    """Return the expected export of a closed interval: a plain sorted set."""
    chosen = {(date_of(one), one) for one in lines if start <= date_of(one) <= end}
    return body_of(one for _, one in sorted(chosen))


def random_lines(chance: random.Random, trackpoint: int, count: int, start: int, end: int) -> list[bytes]:
    """Return distinct lines at random times of a closed interval, half of them of a flow."""
    return [
        line(
            trackpoint,
            chance.randint(start, end),
            user=f"{chance.getrandbits(40):x}",
            node="Retention VIP" if chance.random() < 0.5 else None,
        )
        for _ in range(count)
    ]
