"""The filter on many lines at once: it keeps what decoding each line would keep."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from smsevents.client import Filter
from smsevents.wire.events import decode
from smsevents.wire.line_filter import KNOWN_SOURCES_MAX, LineFilter
from smsevents.wire.lines import NotLines
from tests.support.events import STATUSES, canonical_of, int64s, texts
from tests.support.filters import filter_of, filters, is_wanted, wanted_of
from tests.support.lines import body_of, line

if TYPE_CHECKING:
    from collections.abc import Iterable

    from smsevents.wire.event_filter import EventFilter

# texts that look like the parts of a line, so that a search which trusts one of them would be wrong
TRAPS = [
    "a",
    "b",
    "",
    'a","name":"b"},"',
    '"userId":"a","status":',
    '"status":"DELIVERED","date":',
    '"campaign":{"id":"a",',
    '"source":',
    ',"sendDate":1}}',
    "a\\",
    "\u2028",
    "ž\n",
    "DELIVERED",
    "flow",
    '{"smsEvent":{"trackpoint":',
]
words = st.sampled_from(TRAPS) | texts
times = st.integers(-3, 3) | st.sampled_from([1_790_000_000_000, 1_790_000_000_001, 1_790_100_000_000]) | int64s
named = st.fixed_dictionaries({"id": words, "name": words})
events = st.fixed_dictionaries(
    {
        "smsEvent": st.fixed_dictionaries(
            {
                "trackpoint": st.just(7),
                "userId": words.filter(bool),
                "status": st.sampled_from(STATUSES),
                "date": times,
            }
        ),
        "source": st.fixed_dictionaries({"type": st.just("one-off"), "campaign": named, "sendDate": times})
        | st.fixed_dictionaries({"type": st.just("flow"), "campaign": named, "node": named, "sendDate": times}),
    }
)
some_lines = st.lists(events.map(canonical_of), max_size=25)


def kept(wanted: EventFilter, lines: Iterable[bytes]) -> list[bytes]:
    """Return the lines that the filter keeps of a block."""
    return LineFilter(wanted).keep(body_of(lines)).splitlines()


@settings(max_examples=200)
@given(some_lines, st.data())
def test_it_keeps_what_a_plain_model_keeps(lines: list[bytes], data: st.DataObject) -> None:
    """Whatever texts and times there are, the lines kept are those that match by their JSON, in order."""
    values = [value for one in lines for value in texts_in(one)]
    chosen = data.draw(filters(words | st.sampled_from(values) if values else words, times))
    wanted = filter_of(chosen)

    line_filter = LineFilter(wanted)
    found = [line_filter.keep(body_of(lines)) for _ in range(2)]  # a filter learns how many lines match

    assert found == [body_of(wanted_of(lines, chosen))] * 2
    assert [wanted.matches(decode(one)[0]) for one in lines] == [is_wanted(one, chosen) for one in lines]
    assert bool(wanted) == bool(chosen)


def texts_in(one: bytes) -> list[str]:
    """Return the user, and the ids and names of the source of a line."""
    event = decode(one)[0]
    node = getattr(event.source, "node", event.source.campaign)
    return [event.smsEvent.userId, event.source.campaign.id, event.source.campaign.name, node.id, node.name]


@given(some_lines, filters(st.sampled_from(TRAPS), st.integers(1_790_000_000_000, 1_790_000_000_003)))
def test_client_and_server_mean_the_same(lines: list[bytes], chosen: dict[str, Any]) -> None:
    """The client's filter with the same members keeps the same events as that of the server."""
    known = {"status": STATUSES, "type": ["flow", "one-off"]}
    for name, values in known.items():
        given_values = [chosen[name]] if isinstance(chosen.get(name), str) else chosen.get(name, [])
        chosen = {**chosen, name: [one for one in given_values if one in values]}
    chosen = {name: value for name, value in chosen.items() if value != []}
    matches = Filter(**chosen).predicate()

    assert kept(filter_of(chosen), lines) == [one for one in lines if matches(decode(one)[0])]


runs = st.lists(st.tuples(st.booleans(), st.integers(1, 60), st.integers(0, 900)), min_size=1, max_size=8)


@settings(max_examples=60)
@given(runs)
def test_runs_of_lines_end_where_a_plain_model_says(some: list[tuple[bool, int, int]]) -> None:
    """Of any runs of lines with and without a campaign, of any lengths, exactly those with it are kept, in order."""
    lines: list[bytes] = []
    for is_wanted_run, count, characters in some:
        campaign = "wanted" if is_wanted_run else "other"
        lines += [line(7, 1_790_000_000_000, "u" * (characters % 97) + f"{n}", campaign=campaign) for n in range(count)]
        lines += [line(7, 1_790_000_000_000, "u" * characters, campaign=campaign)]

    assert kept(filter_of({"campaign": "wanted"}), lines) == wanted_of(lines, {"campaign": "wanted"})


def test_more_sources_than_are_remembered() -> None:
    """With more sources than it remembers, a filter still keeps what it should."""
    lines = [
        line(7, 1_790_000_000_000 + number, campaign=f"c{number % 1500}", node="n")
        for number in range(3 * KNOWN_SOURCES_MAX)
    ]
    chosen = {"campaign": ["c1", "c1499"], "node": "n"}

    assert kept(filter_of(chosen), lines) == wanted_of(lines, chosen)


@pytest.mark.parametrize(
    ("chosen", "lines"),
    [
        ({"status": "DELIVERED"}, b'{"status":"DELIVERED","date":1'),
        ({"campaign": "a"}, b'"name":"a"},"\n'),
        ({"campaign": "a"}, b'"name":"a"},"source":{},"sendDate":\n'),
        ({"sentFrom": 1}, b"garbage\n"),
        ({"userId": ["u"] + [str(number) for number in range(20)]}, b"garbage\n"),
    ],
)
def test_lines_that_are_no_events_are_an_error(chosen: dict[str, Any], lines: bytes) -> None:
    """Damaged lines are reported where the filter looks at them, and are never taken for events."""
    with pytest.raises(NotLines):
        LineFilter(filter_of(chosen)).keep(lines)
