"""The pace of an export: to whom the reading thread sends directly, in what pages, and to how many at a time."""

from __future__ import annotations

from smsevents.segments.merge import PAGE_HELD_MAX_BYTES
from smsevents.web.export_pace import EXPORT_DIRECT_MAX_SECONDS, EXPORT_FAST_PAGE_BYTES, ExportPace, Slots, Step

DIRECT = Step(is_direct=True, page_max_bytes=EXPORT_FAST_PAGE_BYTES)
SHOP = 1
IN_MESSAGES = Step(is_direct=False, page_max_bytes=PAGE_HELD_MAX_BYTES)


def test_a_client_that_keeps_up_is_sent_to_directly() -> None:
    """A client gets large pages, sent directly, except after a chunk that it took too long for."""
    pace = ExportPace(Slots(1), SHOP)
    for seconds, expected in (
        (0.0, DIRECT),
        (EXPORT_DIRECT_MAX_SECONDS / 2, DIRECT),
        (EXPORT_DIRECT_MAX_SECONDS, IN_MESSAGES),
        (60.0, IN_MESSAGES),
        (EXPORT_DIRECT_MAX_SECONDS / 2, DIRECT),
    ):
        pace.sent(seconds)
        with pace.step() as step:
            assert step == expected


def test_as_many_are_sent_to_directly_as_there_are_slots() -> None:
    """However many clients keep up, no more are sent to directly than there are slots; each is free again after it."""
    slots = Slots(2)
    first, second, third = (ExportPace(slots, SHOP + number) for number in range(3))
    with first.step() as one, second.step() as two:
        assert (one, two) == (DIRECT, DIRECT)
        with third.step() as three:
            assert three == IN_MESSAGES
    with third.step() as three:
        assert three == DIRECT


def test_one_shop_does_not_take_all_slots() -> None:
    """A shop has no more slots than its share, and another shop has what is left."""
    slots = Slots(3, of_shop=2)
    first, second, third = (ExportPace(slots, SHOP) for _ in range(3))
    with first.step() as one, second.step() as two, third.step() as three, ExportPace(slots, SHOP + 1).step() as other:
        assert (one, two, three, other) == (DIRECT, DIRECT, IN_MESSAGES, DIRECT)
    with third.step() as three:
        assert three == DIRECT


def test_a_slot_is_free_again_after_a_fault() -> None:
    """A step that ends with an error returns its slot."""
    slots = Slots(1)
    pace = ExportPace(slots, SHOP)
    for _ in range(3):
        try:
            with pace.step() as step:
                assert step == DIRECT
                raise TimeoutError
        except TimeoutError:
            pass
