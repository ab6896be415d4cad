"""Shops with settled days whose messages are kept, and what is kept of them."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from smsevents.catalog import sent_days
from smsevents.catalog.message_days import all_kept_days
from smsevents.segments.selection import Selection
from smsevents.segments.splice import unpack
from smsevents.stats.messages import count_messages
from tests.support.counting import SIZES, asked, backfill, filled, keep_days, last_days
from tests.support.statistics import plain_messages

if TYPE_CHECKING:
    from smsevents.stats.messages import MessageCounts
    from smsevents.stats.question import Question
    from tests.support.logs import Held

DAYS = 20


def of_sending(held: Held, selection: Selection = Selection(), **parts: Any) -> Question:  # noqa: B008 -- it is immutable
    """Return a question about all messages of the last days, by the day."""
    question = replace(asked(held, selection), window=last_days(held, DAYS + 1), at="send", step="1d")
    return replace(question, **parts)


def settled(held: Held) -> int:
    """Import events of some days, merge them, and keep their messages. Return how many days are kept."""
    filled(held, days=DAYS)
    held.compact(SIZES)
    backfill(held)
    return keep_days(held.database, held.trackpoint, held.now)


def kept_numbers(held: Held) -> set[int]:
    """Return the days that were counted from what is stored."""
    with held.database.read() as connection:
        holdings = sent_days.holdings_of(held.database, connection, held.trackpoint, lambda: None)
        bases = sent_days.bases_of(holdings)
        kept = all_kept_days(connection, held.trackpoint)
    return {day for day, one in kept.items() if day in bases and one.is_of(bases[day].digest)}


def count(held: Held, question: Question) -> MessageCounts:
    """Count messages, and compare them with those of an export."""
    found = count_messages(held.database, held.trackpoint, question)
    exported = b"".join(unpack(held.log.read(held.trackpoint, question.log_window))).split(b"\n")[:-1]
    sent = sum(row["sent"] for row in plain_messages(exported, question))
    assert found.total().sent == sent
    return found
