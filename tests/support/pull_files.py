"""Shared by the tests of pulled files: a shop, its lines, and the entries expected of them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hypothesis import strategies as st

from smsevents.client.pull.lines import EntryChecker
from smsevents.wire.events import decode
from smsevents.wire.lines import Entry
from tests.support.events import canonical_of, sources, texts

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from smsevents.wire.lines import Entry

TRACKPOINT = 7
END = 2**62

sms_events = st.fixed_dictionaries(
    {
        "trackpoint": st.just(TRACKPOINT),
        "userId": texts.filter(bool),
        "status": st.sampled_from(["DELIVERED", "ACCEPTED", "SKIPPED"]),
        "date": st.integers(0, 9) | st.integers(0, END),
    }
)
lines = st.fixed_dictionaries({"smsEvent": sms_events, "source": sources}).map(canonical_of)


def entry(one: bytes) -> Entry:
    """Return the entry of a canonical line."""
    return decode(one)[0].smsEvent.date, one


def model(some: Iterable[bytes]) -> list[Entry]:
    """Return the entries expected of lines: a plain sorted set."""
    return sorted({entry(one) for one in some})


def flat(batches: Iterator[list[Entry]]) -> list[Entry]:
    """Concatenate batches."""
    return [one for batch in batches for one in batch]


def checker(start: int = 0, end: int = END) -> EntryChecker:
    """Return a checker for one stream or file."""
    return EntryChecker(TRACKPOINT, start, end)
