"""A count outlives any number of replaced packs, as an export does."""

from __future__ import annotations

from typing import TYPE_CHECKING

from smsevents.stats import parts
from smsevents.stats.parts import Parts, Use
from smsevents.storage.memory import MemoryStore
from smsevents.upkeep.erasure import erase
from smsevents.wire.window import Window
from tests.support.lines import DAY_MS
from tests.support.logs import FEW_LINES, Held
from tests.support.statistics import event_line

if TYPE_CHECKING:
    import pytest


def test_a_count_outlives_many_erasures(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """More packs are replaced and deleted while it counts than it may find gone in one place."""
    monkeypatch.setattr(parts, "LOADED_MAX_BYTES", 1)
    held = Held(url, MemoryStore())
    held.put(
        event_line(held.trackpoint, held.now - (65 - day) * DAY_MS + n, held.now - 66 * DAY_MS, user=f"u{n}")
        for day in range(60)
        for n in range(12)
    )
    held.compact(FEW_LINES)
    held.pack(FEW_LINES)
    kept = 0
    for number, (_, lines) in enumerate(
        Parts(held.database, held.trackpoint, Window(0, held.now), lambda _: Use.LINES)
    ):
        assert lines is not None
        kept += lines.count(b'"userId":"u11"')
        if number < 10:
            erase(held.database, held.trackpoint, [f"u{number}"], held.now, block=False)
            held.pack(FEW_LINES)
            held.collect()
    held.database.close()
    assert kept == 60
