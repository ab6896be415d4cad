"""Filters: what they keep, held to a plain model over the JSON of lines, and what they refuse."""

from __future__ import annotations

import asyncio
import json
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from smsevents.client import ConfigurationError, Filter, TruncatedStream
from smsevents.client.filters import NO_FILTER, remembered
from tests.support.filters import is_interval, is_wanted
from tests.support.lines import line
from tests.support.pulling import batch_of

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Generator

    from smsevents.client.lines import Batch

START = 1_790_000_000_000
WORDS = ["a", "B", "b2c8", "3241", "", "VIP"]
STATUSES = ["DELIVERED", "ACCEPTED", "REJECTED"]

lines = st.lists(
    st.builds(
        line,
        st.just(7),
        st.integers(START, START + 20),
        user=st.sampled_from(["1", "2", "ž"]),
        status=st.sampled_from(STATUSES),
        campaign=st.sampled_from(WORDS),
        node=st.sampled_from(WORDS) | st.none(),
    ),
    max_size=30,
)


some_words = st.lists(st.sampled_from(WORDS), min_size=1, max_size=3)
times = st.integers(START - 305, START - 275)
members: st.SearchStrategy[dict[str, Any]] = st.fixed_dictionaries(
    {},
    optional={
        "status": st.lists(st.sampled_from(STATUSES), min_size=1),
        "campaign": some_words,
        "node": some_words,
        "type": st.lists(st.sampled_from(["flow", "one-off"]), min_size=1),
        "userId": st.lists(st.sampled_from(["1", "ž"]), min_size=1),
        "sentFrom": times,
        "sentTo": times,
    },
).filter(is_interval)


def batches_of(some: list[bytes], size: int = 7) -> Generator[Batch]:
    """Yield lines in batches, as the client does."""
    for start in range(0, len(some), size):
        yield batch_of(some[start : start + size])


async def later(batches: Generator[Batch]) -> AsyncGenerator[Batch]:
    """Yield batches from an asynchronous generator."""
    for batch in batches:
        yield batch


@given(lines, members)
def test_a_filter_keeps_what_a_plain_model_keeps(some: list[bytes], chosen: dict[str, Any]) -> None:
    """A filter keeps the matching lines, in order, in every form of a batch, blocking and on an event loop."""
    where = Filter(**chosen)
    expected = [one for one in some if is_wanted(one, chosen)]

    batches = list(where.batches(batches_of(some)))

    assert [one for batch in batches for one in batch.lines] == expected
    assert b"".join(batch.block for batch in batches) == b"".join(one + b"\n" for one in expected)
    assert [(len(batch.events), bool(batch.events)) for batch in batches] == [(len(b.lines), True) for b in batches]
    assert [one for batch in batches_of(some) for one in where.chooser()(batch.lines, batch.events)] == expected

    async def read() -> list[bytes]:
        """Return the lines kept on an event loop."""
        return [one async for batch in where.batches_async(later(batches_of(some))) for one in batch.lines]

    assert asyncio.run(read()) == expected


def parts_of(batch: Batch) -> list[tuple[object, ...]]:
    """Return the events of a batch by their parts, as its columns have them."""
    columns = batch.columns
    sources = [msgspec.structs.replace(columns.known[key], sendDate=0) for key in columns.sources]
    return list(zip(columns.users, columns.statuses, columns.dates, sources, columns.sent, strict=True))


@given(lines, members, st.booleans())
def test_a_filter_keeps_the_same_events_in_columns(
    some: list[bytes], chosen: dict[str, Any], is_canonical: bool
) -> None:
    """The columns of filtered batches are those of their lines, whether the lines were canonical or not."""
    if not is_canonical:
        some = [one.replace(b":", b": ") for one in some]

    for batch in Filter(**chosen).batches(batches_of(some)):
        assert batch.is_canonical == is_canonical
        assert len(batch) == len(batch.lines)
        assert parts_of(batch) == parts_of(batch_of(batch.lines))


@given(members)
def test_a_filter_survives_the_manifest(chosen: dict[str, Any]) -> None:
    """A filter is the same after it was written as JSON, and however its values are ordered and repeated."""
    where = Filter(**chosen)
    twice: dict[str, Any] = {
        name: [*value, *value[::-1]] if isinstance(value, list) else value for name, value in chosen.items()
    }

    assert msgspec.json.decode(msgspec.json.encode(where), type=Filter) == where
    assert Filter(**twice) == where
    assert bool(where) == bool(chosen)
    assert set(msgspec.json.decode(msgspec.json.encode(where))) == set(chosen)


def test_values_are_taken_as_people_write_them() -> None:
    """A single text counts as one value, a status in lower case as the status, a datetime as its milliseconds."""
    where = Filter(
        status="delivered", type="FLOW", campaign="Black Friday", sentFrom=datetime(2026, 11, 25, tzinfo=UTC)
    )

    assert where == Filter(status=["DELIVERED"], type=("flow",), campaign=["Black Friday"], sentFrom=1_795_564_800_000)
    assert str(where) == "status DELIVERED, campaign Black Friday, type flow, sentFrom 2026-11-25T00:00:00.000+00:00"


@pytest.mark.parametrize(
    ("chosen", "reason"),
    [
        (
            {"status": "DELIVRED"},
            "'DELIVRED' is not a status. Did you mean DELIVERED\\? Use one of DELIVERED",
        ),
        ({"status": ["SENT"]}, "'SENT' is not a status. Use one of DELIVERED"),
        ({"type": "oneoff"}, "'oneoff' is not a type. Did you mean one-off"),
        ({"status": []}, "empty list"),
        ({"userId": [7]}, "a text"),
        ({"sentFrom": 1_790_000_000}, "seconds"),
        ({"sentFrom": START + 1, "sentTo": START}, "after"),
        ({"sentFrom": datetime(2026, 11, 25)}, "no time zone"),  # noqa: DTZ001 -- that is what is refused
    ],
)
def test_what_cannot_be_meant_is_refused(chosen: dict[str, Any], reason: str) -> None:
    """An unknown status or type, an empty list and a bad time are refused, and the text says what to use."""
    with pytest.raises(ConfigurationError, match=reason):
        Filter(**chosen)


def test_an_error_of_the_stream_is_not_filtered() -> None:
    """A truncated stream raises through a filter that keeps nothing."""

    def broken() -> Generator[Batch]:
        yield from batches_of([line(7, START)])
        raise TruncatedStream("it ends in the middle of a line", lines=1, body_bytes=10)

    with pytest.raises(TruncatedStream):
        list(Filter(status="REJECTED").batches(broken()))


def test_a_state_remembers_its_filter() -> None:
    """A state keeps the filter of its first load, uses it if none is given, and refuses another one unchanged."""
    failed, delivered = Filter(status="REJECTED"), Filter(status="DELIVERED")
    state: dict[str, Any] = {}

    assert remembered(state, "place", failed, is_begun=False) == failed
    assert remembered(state, "place", None, is_begun=True) == failed
    assert remembered(state, "place", failed, is_begun=True) == failed
    kept = dict(state)
    with pytest.raises(ConfigurationError, match="status REJECTED, not status DELIVERED"):
        remembered(state, "place", delivered, is_begun=True)
    assert state == kept
    assert json.loads(json.dumps(state)) == {"place filter": {"status": ["REJECTED"]}}


def test_a_state_of_an_earlier_version_has_no_filter() -> None:
    """A state without a filter goes on without one, and refuses one."""
    state: dict[str, Any] = {"place": START}

    assert not remembered(state, "place", None, is_begun=True)
    with pytest.raises(ConfigurationError, match="all events, not status REJECTED"):
        remembered(state, "place", Filter(status="REJECTED"), is_begun=True)
    assert not remembered(state, "place", NO_FILTER, is_begun=True)
    assert state == {"place": START}
