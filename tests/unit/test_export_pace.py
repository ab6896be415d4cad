"""The pace of an export: who is read ahead for, in what pages, and how many at a time."""

from __future__ import annotations

from smsevents.segments.merge import PAGE_HELD_MAX_BYTES
from smsevents.web.export_pace import EXPORT_AHEAD_MAX_SECONDS, EXPORT_FAST_PAGE_BYTES, ExportPace, Slots, Step

AHEAD = Step(is_ahead=True, page_max_bytes=EXPORT_FAST_PAGE_BYTES)
BEHIND = Step(is_ahead=False, page_max_bytes=PAGE_HELD_MAX_BYTES)


def test_a_client_that_keeps_up_is_read_ahead_for() -> None:
    """A client gets large pages, read ahead, from the first chunk on, except after a chunk that it read too slowly."""
    pace = ExportPace(Slots(1))
    for seconds, expected in (
        (0.0, AHEAD),
        (EXPORT_AHEAD_MAX_SECONDS / 2, AHEAD),
        (EXPORT_AHEAD_MAX_SECONDS, BEHIND),
        (60.0, BEHIND),
        (EXPORT_AHEAD_MAX_SECONDS / 2, AHEAD),
    ):
        pace.sent(seconds)
        with pace.step() as step:
            assert step == expected


def test_as_many_are_read_ahead_for_as_there_are_slots() -> None:
    """However many clients keep up, no more chunks are read ahead than there are slots; each is free again after it."""
    slots = Slots(2)
    first, second, third = (ExportPace(slots) for _ in range(3))
    with first.step() as one, second.step() as two:
        assert (one, two) == (AHEAD, AHEAD)
        with third.step() as three:
            assert three == BEHIND
    with third.step() as three:
        assert three == AHEAD


def test_a_slot_is_free_again_after_a_fault() -> None:
    """A step that ends with an error returns its slot."""
    slots = Slots(1)
    pace = ExportPace(slots)
    for _ in range(3):
        try:
            with pace.step() as step:
                assert step == AHEAD
                raise TimeoutError
        except TimeoutError:
            pass
