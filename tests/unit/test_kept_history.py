"""As the history moves on, events leave the messages that are kept."""

from __future__ import annotations

from contextlib import closing
from dataclasses import replace
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from smsevents.accounts.access import Access
from smsevents.segments.splice import unpack
from smsevents.stats.messages import count_messages
from smsevents.stats.question import Question
from smsevents.storage.memory import MemoryStore
from smsevents.upkeep.retention import expire
from smsevents.wire.limits import DAY_MS, HOUR_MS
from smsevents.wire.window import Window, history_start
from tests.support.campaigns import few_or_many
from tests.support.counting import keep_days
from tests.support.logs import log_at, open_with, store
from tests.support.statistics import QUARTER_MS, event_line, plain_messages

# messages around the start of the history: hours from it to the sending, and from there to each event
old_messages = st.lists(
    st.tuples(st.integers(75, 140), st.lists(st.tuples(st.integers(-40, 50), st.booleans()), min_size=1, max_size=3)),
    min_size=1,
    max_size=12,
)


@pytest.mark.parametrize("examples", few_or_many(20, 1500))
def test_events_that_leave_the_history_leave_the_messages(url: str, examples: int) -> None:
    """As the history moves on, kept days say the same as a count of the events that are still in it."""
    with closing(open_with(url, MemoryStore())) as database:
        shops = iter(range(1, 100_000))

        @settings(max_examples=examples, deadline=None)
        @given(old_messages, st.lists(st.integers(70 * 4, 190 * 4), min_size=1, max_size=6), st.booleans())
        def check(messages: list[Any], quarters: list[int], is_expired: bool) -> None:
            held = _OldShop(database, next(shops))
            held.import_messages(messages)
            assert keep_days(database, held.trackpoint, held.now) > 0
            for quarter in sorted(quarters):
                held.now = held.begin + quarter * QUARTER_MS
                if is_expired:
                    expire(database, held.now)
                held.check()
                held.check(step="1d", by=("campaign",))

        check()


class _OldShop:
    """A shop whose events are nearly as old as the history."""

    def __init__(self, database: Any, trackpoint: int) -> None:
        self.database = database
        self.begin = self.now = 1_790_000_000_000 // DAY_MS * DAY_MS
        self.trackpoint = Access(database).add_shop(trackpoint, "").trackpoint
        self.log = log_at(database, lambda: self.now)

    def import_messages(self, messages: list[Any]) -> None:
        """Import events; those before the history are dropped, as always."""
        start = history_start(self.begin)
        lines = [
            event_line(
                self.trackpoint,
                start + (sent + after) * HOUR_MS,
                start + sent * HOUR_MS,
                user=f"u{number}",
                status="DELIVERED" if is_final else "ACCEPTED",
                campaign=(f"c{number % 2}", f"Name {number % 3}"),
            )
            for number, (sent, events) in enumerate(messages)
            for after, is_final in events
        ]
        store(self.log, self.trackpoint, lines)

    def check(self, **parts: Any) -> None:
        """Compare what is counted now with the events that are exported now."""
        window = Window(history_start(self.now), self.now)
        question = replace(Question(window, ZoneInfo("UTC"), "send", "all", self.now), **parts)
        found = count_messages(self.database, self.trackpoint, question)
        exported = b"".join(unpack(self.log.read(self.trackpoint, question.log_window))).split(b"\n")[:-1]
        rows = plain_messages(exported, question)
        assert sorted((row.bucket, row.sent, row.delivered, row.events) for row in found.rows()) == sorted(
            (row["bucket"], row["sent"], row["delivered"], row["events"]) for row in rows
        )
