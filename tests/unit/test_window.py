"""The interval of an export: each rule of the contract as examples, and all of them as one property."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from smsevents.errors import InvalidRequest
from smsevents.wire.window import Window, history_start, resolve
from tests.support.lines import DAY_MS

NOW = 1_676_380_261_000
HISTORY = 90 * DAY_MS

EXAMPLES = {
    "both omitted": (None, None, NOW - HISTORY, NOW),
    "both sent": (NOW - 5 * DAY_MS, NOW - DAY_MS, NOW - 5 * DAY_MS, NOW - DAY_MS),
    "one millisecond": (NOW - DAY_MS, NOW - DAY_MS, NOW - DAY_MS, NOW - DAY_MS),
    "exactly now": (NOW, NOW, NOW, NOW),
    "to ahead of now is kept": (NOW - DAY_MS, NOW + DAY_MS, NOW - DAY_MS, NOW + DAY_MS),
    "both ahead of now are kept": (NOW + 1, NOW + DAY_MS, NOW + 1, NOW + DAY_MS),
    "from exactly where the history begins": (NOW - HISTORY, NOW, NOW - HISTORY, NOW),
    "from one millisecond before the history": (NOW - HISTORY - 1, NOW, NOW - HISTORY, NOW),
    "from long before the history": (-(2**63), NOW - DAY_MS, NOW - HISTORY, NOW - DAY_MS),
    "from zero, the epoch": (0, NOW, NOW - HISTORY, NOW),
    "from omitted, to now": (None, NOW, NOW - HISTORY, NOW),
    "from omitted, to in the past: 90 days before it are cut by the history": (
        None,
        NOW - DAY_MS,
        NOW - HISTORY,
        NOW - DAY_MS,
    ),
    "from omitted, to ahead: 90 days before it": (None, NOW + DAY_MS, NOW + DAY_MS - HISTORY, NOW + DAY_MS),
    "from omitted, to exactly where the history begins": (None, NOW - HISTORY, NOW - HISTORY, NOW - HISTORY),
    "to omitted, from yesterday": (NOW - DAY_MS, None, NOW - DAY_MS, NOW),
    "to omitted, from exactly 90 days ago": (NOW - HISTORY, None, NOW - HISTORY, NOW),
    "to omitted, from 91 days ago: 90 days after it as sent": (
        NOW - HISTORY - DAY_MS,
        None,
        NOW - HISTORY,
        NOW - DAY_MS,
    ),
    "to omitted, from exactly 180 days ago: one millisecond is left": (
        NOW - 2 * HISTORY,
        None,
        NOW - HISTORY,
        NOW - HISTORY,
    ),
    "to omitted, from now": (NOW, None, NOW, NOW),
}

EMPTY = {
    "from ahead of now, to omitted": (NOW + 1, None),
    "from far ahead, to omitted": (2**63 - 1, None),
    "to before the history": (None, NOW - HISTORY - 1),
    "to long before the history": (None, -(2**63)),
    "both before the history": (NOW - HISTORY - DAY_MS, NOW - HISTORY - 1),
    "to omitted, from more than 180 days ago": (NOW - 2 * HISTORY - 1, None),
    "to omitted, from zero": (0, None),
}


@pytest.mark.parametrize(("from_", "to", "start", "end"), EXAMPLES.values(), ids=EXAMPLES)
def test_the_interval_is_the_one_of_the_contract(from_: int | None, to: int | None, start: int, end: int) -> None:
    """Each rule of the table gives exactly the interval that it promises, and that interval is not empty."""
    window = resolve(from_, to, NOW)
    assert window == Window(start, end)
    assert not window.is_empty


@pytest.mark.parametrize(("from_", "to"), EMPTY.values(), ids=EMPTY)
def test_an_interval_that_holds_nothing_is_empty_and_no_error(from_: int | None, to: int | None) -> None:
    """A start in the future, or an end before the history, is answered with an empty interval."""
    window = resolve(from_, to, NOW)
    assert window.is_empty
    assert window.start > window.end


@pytest.mark.parametrize(
    ("from_", "to"),
    [
        (NOW, NOW - 1),
        (NOW - DAY_MS, NOW - 2 * DAY_MS),
        (NOW + 2, NOW + 1),
        (NOW - HISTORY - 1, NOW - HISTORY - 2),
        (2**63 - 1, -(2**63)),
    ],
)
def test_from_after_to_is_refused_with_both_named(from_: int, to: int) -> None:
    """`from` after `to`, as sent, is refused wherever the two lie, and the text names both."""
    with pytest.raises(InvalidRequest) as refusal:
        resolve(from_, to, NOW)
    assert f"`from` ({from_})" in str(refusal.value)
    assert f"`to` ({to})" in str(refusal.value)


def test_from_after_to_is_judged_as_sent() -> None:
    """An interval that is reversed only by the history is empty, not refused."""
    assert resolve(NOW - HISTORY - 2, NOW - HISTORY - 1, NOW).is_empty


@given(now=st.integers(0, 2**45))
def test_the_history_is_ninety_days(now: int) -> None:
    """The history begins exactly 90 days before now, in milliseconds."""
    assert history_start(now) == now - 90 * 24 * 60 * 60 * 1000


def is_exported(date: int, from_: int | None, to: int | None, now: int) -> bool:
    """Return by the rules as they are written, one condition each, whether an event of `date` is exported."""
    conditions = [date >= now - HISTORY]
    if from_ is not None:
        conditions.append(date >= from_)
    if to is not None:
        conditions.append(date <= to)
    if from_ is None:
        conditions.append(date >= (now if to is None else to) - HISTORY)
    if to is None:
        conditions.append(date <= now)
    if to is None and from_ is not None:
        conditions.append(date <= from_ + HISTORY)
    return all(conditions)


near_now = st.integers(NOW - 200 * DAY_MS, NOW + 100 * DAY_MS)
on_an_edge = st.builds(
    lambda days, step: NOW + days * DAY_MS + step, st.sampled_from([-180, -90, -1, 0, 1, 90]), st.integers(-2, 2)
)
bounds = st.none() | near_now | on_an_edge | st.integers(-(2**63), 2**63 - 1)


@settings(max_examples=300, deadline=None)
@given(from_=bounds, to=bounds, moved=st.integers(-2, 2) | st.integers(-HISTORY, HISTORY))
def test_an_event_is_in_the_interval_exactly_if_every_rule_lets_it(
    from_: int | None, to: int | None, moved: int
) -> None:
    """For whatever is sent, membership in the interval is the conjunction of the written rules."""
    if from_ is not None and to is not None and from_ > to:
        with pytest.raises(InvalidRequest):
            resolve(from_, to, NOW)
        return
    window = resolve(from_, to, NOW)
    for edge in (from_, to, window.start, window.end, NOW, NOW - HISTORY):
        date = (NOW if edge is None else edge) + moved
        assert (window.start <= date <= window.end) == is_exported(date, from_, to, NOW)
