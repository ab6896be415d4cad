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
    "one-off",
    "type",
    "campaign",
    "id",
    '"node":{"id":"a",',
    'gn":{"id":"b",',
    'ype":"one-off"',
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


def sent_at(sent: int, *, user: str = "u", status: str = "DELIVERED", campaign: str = "c", node: str = "") -> bytes:
    """Return a line with these ids."""
    source: dict[str, Any] = {"type": "flow" if node else "one-off", "campaign": {"id": campaign, "name": "n"}}
    if node:
        source["node"] = {"id": node, "name": "n"}
    sms = {"trackpoint": 7, "userId": user, "status": status, "date": 1_790_000_000_000}
    return canonical_of({"smsEvent": sms, "source": {**source, "sendDate": sent}})


T = 1_790_000_000_000
KINDS = {
    "campaign": ({"campaign": ["a", "b"]}, [sent_at(T, campaign=one) for one in ("a", "b", "c")]),
    "one campaign": ({"campaign": "a"}, [sent_at(T, campaign="a"), sent_at(T, campaign="c", node="a")]),
    "node": ({"node": "a"}, [sent_at(T, node="a"), sent_at(T, node="b"), sent_at(T), sent_at(T, campaign="a")]),
    "nodes": ({"node": ["a", "b"]}, [sent_at(T, node="a"), sent_at(T, node="b"), sent_at(T, node="c")]),
    "node and campaign": ({"node": "a", "campaign": "c"}, [sent_at(T, node="a"), sent_at(T, node="a", campaign="d")]),
    "type": ({"type": "one-off"}, [sent_at(T), sent_at(T, node="one-off"), sent_at(T, campaign="one-off", node="a")]),
    "flow": ({"type": "flow"}, [sent_at(T), sent_at(T, node="a")]),
    "status": ({"status": "EXPIRED"}, [sent_at(T), sent_at(T, status="EXPIRED"), sent_at(T, user="EXPIRED")]),
    "user": ({"userId": ["u", "v"]}, [sent_at(T, user=one) for one in ("u", "v", "w", "uv")]),
    "sent": ({"sentFrom": T, "sentTo": T + 9}, [sent_at(T), sent_at(T + 9), sent_at(T + 10), sent_at(2 * T)]),
}
runs = st.lists(st.tuples(st.integers(0, 3), st.integers(1, 40)), min_size=1, max_size=8)


@pytest.mark.parametrize(("chosen", "kinds"), KINDS.values(), ids=KINDS)
@settings(max_examples=30)
@given(runs)
def test_runs_of_lines_end_where_a_plain_model_says(
    chosen: dict[str, Any], kinds: list[bytes], some: list[tuple[int, int]]
) -> None:
    """Of any runs of lines that a filter wants or not, exactly those that it wants are kept, in order."""
    lines = [kinds[kind % len(kinds)] for kind, count in some for _ in range(count)]

    assert kept(filter_of(chosen), lines) == wanted_of(lines, chosen)


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
