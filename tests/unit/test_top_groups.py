"""Which groups get rows of their own."""

from __future__ import annotations

from smsevents.stats.grouping import Group, largest


def test_events_without_a_node_take_no_place_of_a_node() -> None:
    """With `by=node&top=1`, the largest node is named, even if most events are of one-off campaigns."""
    one_off, small, large = Group(), Group(node="s"), Group(node="l")
    assert largest({one_off: 100, small: 1, large: 5}, 1) == {large}
