"""The wire model: the canonical line, every spelling that leads to it, and every line that is refused."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from smsevents.wire.events import Event, NotAnEvent, NotJson, decode, decode_block, encode, encode_lines
from smsevents.wire.limits import LINE_MAX_BYTES
from tests.support.events import INT64_MAX, canonical_of, events, spelled, texts
from tests.support.lines import body_of

DEEP = 10_000

FLOW: dict[str, Any] = {
    "smsEvent": {"trackpoint": 7, "userId": "123456", "status": "DELIVERED", "date": 1673753160310},
    "source": {
        "type": "flow",
        "campaign": {"id": "cd43", "name": "Retention"},
        "node": {"id": "3241", "name": "Retention VIP SMS"},
        "sendDate": 1673753160010,
    },
}
FLOW_LINE = (
    b'{"smsEvent":{"trackpoint":7,"userId":"123456","status":"DELIVERED","date":1673753160310},'
    b'"source":{"type":"flow","campaign":{"id":"cd43","name":"Retention"},'
    b'"node":{"id":"3241","name":"Retention VIP SMS"},"sendDate":1673753160010}}'
)
ONE_OFF_LINE = (
    b'{"smsEvent":{"trackpoint":7,"userId":"123456","status":"DELIVERED","date":1673753160310},'
    b'"source":{"type":"one-off","campaign":{"id":"b2c8","name":"Black Friday"},"sendDate":1673753160010}}'
)


def test_the_examples_of_the_contract_are_canonical() -> None:
    """The documented lines, one of a flow and one of a one-off, are their own canonical form byte by byte."""
    for line in (FLOW_LINE, ONE_OFF_LINE):
        assert decode(line)[1] == line
    assert canonical_of(FLOW) == FLOW_LINE


@settings(max_examples=200, deadline=None)
@given(data=events, pick=st.data())
def test_every_spelling_gives_the_same_canonical_line(data: dict[str, Any], pick: st.DataObject) -> None:
    """Any JSON spelling of an event is read as that event, and its canonical line is the one written by hand."""
    spelling = pick.draw(spelled(data)).encode()
    event, line = decode(spelling)
    assert line == canonical_of(data)
    assert encode(event) == line


@settings(max_examples=200, deadline=None)
@given(data=events)
def test_the_canonical_line_is_one_line_of_the_same_data(data: dict[str, Any]) -> None:
    """The canonical line reads back as the same data, is canonical itself, and is one line for every client."""
    line = canonical_of(data)
    event, again = decode(line)
    assert again == encode(event) == line
    assert json.loads(again) == data
    assert len(again.decode().splitlines()) == 1
    assert len(again.splitlines()) == 1


def test_only_what_ends_lines_is_escaped() -> None:
    """Letters beyond ASCII stay as they are, and U+0085, U+2028 and U+2029 are written as escapes."""
    user = "Žluťoučký \U0001f600 \x7f/\u0085\u2028\u2029\\n"
    line = decode(json.dumps(at("smsEvent.userId", user)).encode())[1]
    assert '"Žluťoučký \U0001f600 \x7f/\\u0085\\u2028\\u2029\\\\n"'.encode() in line
    assert json.loads(line)["smsEvent"]["userId"] == user


def at(path: str, value: Any, data: dict[str, Any] | None = None) -> dict[str, Any]:
    """Return the flow event, or `data`, with one value replaced."""
    copy: dict[str, Any] = json.loads(json.dumps(FLOW if data is None else data))
    *parents, name = path.split(".")
    inner = copy
    for parent in parents:
        inner = inner[parent]
    inner[name] = value
    return copy


def without(path: str) -> dict[str, Any]:
    """Return the flow event with one field left out."""
    copy = at(path, None)
    *parents, name = path.split(".")
    inner = copy
    for parent in parents:
        inner = inner[parent]
    del inner[name]
    return copy


LEAVES = ["smsEvent.trackpoint", "smsEvent.userId", "smsEvent.status", "smsEvent.date", "source.sendDate"]
LEAVES += [f"source.{part}.{name}" for part in ("campaign", "node") for name in ("id", "name")]
PLACES = [*LEAVES, "smsEvent", "source", "source.type", "source.campaign", "source.node"]
OBJECTS = ["smsEvent", "source", "source.campaign", "source.node"]
NUMBERS = ["smsEvent.trackpoint", "smsEvent.date", "source.sendDate"]
TEXTS = [path for path in LEAVES if path not in NUMBERS and path != "smsEvent.status"]

WRONG_NUMBERS: list[Any] = [True, False, 1.0, 1.5, "1", "", 2**63, -(2**63) - 1]
WRONG_TEXTS: list[Any] = [1, True, {}, "x" * 1025, "\U0001f600" * 1025]
WRONG_STATUSES: list[Any] = ["delivered", "UNKNOWN", "", "DELIVERED ", 1]
WRONG_TYPES: list[Any] = ["Flow", "oneoff", "", 1]

NOT_EVENTS: list[tuple[str, dict[str, Any]]] = [
    *((path, at(path, None)) for path in PLACES),
    *((path.rpartition(".")[2], without(path)) for path in PLACES),
    *((path, at(path, [])) for path in PLACES),
    *(("colour", at(f"{path}.colour", "red")) for path in OBJECTS),
    ("colour", {**FLOW, "colour": "red"}),
    *((path, at(path, wrong)) for path in NUMBERS for wrong in WRONG_NUMBERS),
    *((path, at(path, wrong)) for path in TEXTS for wrong in WRONG_TEXTS),
    *(("smsEvent.trackpoint", at("smsEvent.trackpoint", wrong)) for wrong in (0, -1, 2**64, 10**400)),
    *(("smsEvent.status", at("smsEvent.status", wrong)) for wrong in WRONG_STATUSES),
    ("smsEvent.userId", at("smsEvent.userId", "")),
    *(("source.type", at("source.type", wrong)) for wrong in WRONG_TYPES),
    ("node", at("source.type", "one-off")),
]


@pytest.mark.parametrize(("place", "data"), NOT_EVENTS)
def test_json_that_is_no_event_is_refused_with_its_place(place: str, data: dict[str, Any]) -> None:
    """A wrong, missing or unknown field, an unknown status and a number out of range are named by their place."""
    with pytest.raises(NotAnEvent) as refusal:
        decode(json.dumps(data, ensure_ascii=False).encode())
    assert place in str(refusal.value)


@pytest.mark.parametrize("path", TEXTS)
def test_a_text_of_1024_characters_is_good(path: str) -> None:
    """The limit counts characters, not bytes: all texts keep 1,024 of them, however they are spelled."""
    for one in ("x", "\U0001f600", "\u0001", "\u2028"):
        data = at(path, one * 1024)
        assert decode(json.dumps(data).encode())[1] == canonical_of(data)


def test_the_longest_event_in_its_longest_spelling_is_good() -> None:
    """An event whose five texts are all full, each character spelled in 12 bytes, fits into a line."""
    data = FLOW
    for path in TEXTS:
        data = at(path, "\U0001f600" * 1024, data)
    spelling = json.dumps(data).encode()
    assert len(spelling) > 5 * 1024 * 12
    assert decode(spelling)[1] == canonical_of(data)


@pytest.mark.parametrize(("path", "value"), [(path, n) for path in NUMBERS for n in (1, INT64_MAX)])
def test_numbers_at_their_ends_are_good(path: str, value: int) -> None:
    """The least and the greatest number of 64 bits are kept exactly."""
    assert json.loads(decode(json.dumps(at(path, value)).encode())[1]) == at(path, value)


REPEATED = [
    (b'"smsEvent":', b'"smsEvent":{"trackpoint":7,"userId":"1","status":"DELIVERED","date":1},"smsEvent":', "smsEvent"),
    (b'"userId":', b'"userId":"other","userId":', "userId"),
    (b'"userId":', b'"userId":"123456","userId":', "userId"),
    (b'"userId":', b'"\\u0075serId":"other" ,"userId"\t:', "userId"),
    (b'"type":', b'"type":"flow","type":', "type"),
    (b'{"id":"cd43"', b'{"\\u0069d":"cd42","id":"cd43"', "id"),
    (b'{"id":"cd43"', b'{"id" : "\\":","id":"cd43"', "id"),
    (b'{"id":"3241"', b'{"id":"3240","id":"3241"', "id"),
    (b'"Retention VIP SMS"', b'"a","name":"b"', "name"),
    (b'"sendDate":', b'"sendDate":1,"sendDate":', "sendDate"),
]


@pytest.mark.parametrize(("old", "new", "name"), REPEATED)
def test_a_key_that_stands_twice_is_refused(old: bytes, new: bytes, name: str) -> None:
    """A repeated key is refused at every level, with the same value or another, even if an escape hides it."""
    line = FLOW_LINE.replace(old, new, 1)
    assert line != FLOW_LINE
    with pytest.raises(NotAnEvent, match=f"`{name}` stands twice"):
        decode(line)


@pytest.mark.parametrize("user", ['":', '":"x","userId":', '"\t:', '{"userId":1}', "\\", '\\":'])
def test_a_text_that_looks_like_keys_is_only_text(user: str) -> None:
    """A text that contains what looks like keys is kept unchanged, in any spelling."""
    data = at("smsEvent.userId", user)
    for spelling in (json.dumps(data), json.dumps(data, indent=1), json.dumps(data, separators=(",", ":"))):
        assert decode(spelling.encode())[1] == canonical_of(data)


USER = b"123456"
NOT_JSON = {
    "empty": (b"", "truncated"),
    "cut": (FLOW_LINE[:-1], "truncated"),
    "two lines in one": (FLOW_LINE + FLOW_LINE, "trailing characters"),
    "trailing comma": (FLOW_LINE[:-1] + b",}", f"byte {len(FLOW_LINE)}"),
    "lone high surrogate": (FLOW_LINE.replace(USER, b"\\ud800"), "surrogate"),
    "lone low surrogate": (FLOW_LINE.replace(USER, b"\\udc00"), "surrogate"),
    "surrogate in UTF-8": (FLOW_LINE.replace(USER, b"\xed\xa0\x80"), f"byte {FLOW_LINE.index(USER)} "),
    "broken UTF-8": (FLOW_LINE.replace(USER, b"\xff"), f"byte {FLOW_LINE.index(USER)} "),
    "overlong UTF-8": (FLOW_LINE.replace(USER, b"\xc0\xaf"), f"byte {FLOW_LINE.index(USER)} "),
    "broken UTF-8 in an unknown key": (FLOW_LINE.replace(b"userId", b"user\xff"), "not UTF-8"),
    "Latin-1": (FLOW_LINE.replace(USER, "\u017elu\u0165".encode("cp1250")), "not UTF-8"),
    "byte order mark": (b"\xef\xbb\xbf" + FLOW_LINE, "byte order mark"),
    "record separator": (b"\x1e" + FLOW_LINE, "record separator"),
    "UTF-16": (FLOW_LINE.decode().encode("utf-16"), "byte 0"),
    "raw control character": (FLOW_LINE.replace(USER, b"1\t2"), f"byte {FLOW_LINE.index(USER) + 1}"),
    "NaN": (FLOW_LINE.replace(b"1673753160310", b"NaN"), f"byte {FLOW_LINE.index(b'1673753160310')}"),
    "Infinity": (FLOW_LINE.replace(b"1673753160310", b"Infinity"), f"byte {FLOW_LINE.index(b'1673753160310')}"),
    "leading zero": (FLOW_LINE.replace(b"1673753160310", b"01"), f"byte {FLOW_LINE.index(b'1673753160310') + 1}"),
    "single quotes": (FLOW_LINE.replace(b'"', b"'"), "byte 1"),
    "comment": (FLOW_LINE + b" // why", "trailing characters"),
}


@pytest.mark.parametrize(("line", "place"), NOT_JSON.values(), ids=NOT_JSON)
def test_what_is_no_json_is_refused_with_its_place(line: bytes, place: str) -> None:
    """A line that is not JSON or not UTF-8 is refused as such, and the text says where or what to fix."""
    with pytest.raises(NotJson) as refusal:
        decode(line)
    assert place in str(refusal.value)


@pytest.mark.parametrize("number", ["9" * 5000, "1e999", "-1e999", "1" + "0" * 400, "0." + "1" * 5000])
@pytest.mark.parametrize("path", NUMBERS)
def test_a_huge_number_is_refused_with_its_place(path: str, number: str) -> None:
    """A number of thousands of digits, or beyond every float, is refused, and the text names its field."""
    line = json.dumps(at(path, "HERE")).replace('"HERE"', number).encode()
    with pytest.raises((NotJson, NotAnEvent)) as refusal:
        decode(line)
    assert path in str(refusal.value)


def nested(line: bytes, old: bytes, opened: bytes, closed: bytes) -> bytes:
    """Return the line with one value replaced by one that is nested DEEP."""
    return line.replace(old, opened * DEEP + b"1" + closed * DEEP, 1)


DEEPLY_NESTED = {
    "alone": b"[" * DEEP + b"]" * DEEP,
    "never closed": b"[" * DEEP,
    "for a text": nested(FLOW_LINE, b'"123456"', b"[", b"]"),
    "for an object": nested(FLOW_LINE, b'{"id":"cd43","name":"Retention"}', b'{"":', b"}"),
    "for the source": b'{"source":' + b"[" * DEEP + b"]" * DEEP + b"}",
    "in an unknown field": FLOW_LINE[:-1] + b',"x":' + b"[" * DEEP + b"]" * DEEP + b"}",
    "before the type of the source": FLOW_LINE.replace(b'"type":', b'"x":' + b"[" * DEEP + b"]" * DEEP + b',"type":'),
}


@pytest.mark.parametrize("line", DEEPLY_NESTED.values(), ids=DEEPLY_NESTED)
def test_deep_nesting_is_refused(line: bytes) -> None:
    """A line that is nested thousands of levels deep, wherever, is refused like any other bad line."""
    with pytest.raises((NotJson, NotAnEvent)):
        decode(line)


def test_a_line_that_no_event_needs_is_refused_by_its_length() -> None:
    """A valid event followed by white space up to 64 KiB is read; one byte more is refused with the limit."""
    limit = 64 * 1024
    assert decode(FLOW_LINE.ljust(limit))[1] == FLOW_LINE
    with pytest.raises(NotAnEvent, match=str(limit)):
        decode(FLOW_LINE.ljust(limit + 1))


def outcome(line: bytes) -> Event | None:
    """Read a line; check what holds for any bytes at all: a complete event, or a refusal with a message."""
    try:
        event, canonical = decode(line)
    except (NotJson, NotAnEvent) as refusal:
        event, canonical, reason = None, b"", str(refusal)
    else:
        reason = "none: it says the same as its canonical line"
        assert canonical == canonical_of(json.loads(line))
    assert reason
    return event


@settings(max_examples=300, deadline=None)
@given(line=st.binary(max_size=200) | st.text(max_size=100).map(str.encode))
@example(b"null")
@example(b"{}")
def test_any_bytes_are_an_event_or_refused(line: bytes) -> None:
    """Arbitrary bytes raise nothing but the two refusals."""
    assert outcome(line) is None


pieces = st.binary(max_size=6) | st.sampled_from([b"", b'"', b":", b",", b"{", b"}", b'"id":"x",', b"\\u", b" ", b"0"])


@pytest.mark.slow
@settings(max_examples=500, deadline=None)
@given(
    line=events.map(canonical_of),
    edits=st.lists(st.tuples(st.floats(0, 1), st.integers(0, 12), pieces), min_size=1, max_size=3),
)
def test_a_line_with_some_bytes_changed_is_an_event_or_refused(
    line: bytes, edits: list[tuple[float, int, bytes]]
) -> None:
    """A valid line with bytes cut out, put in or replaced is read as what it says now, or refused."""
    for where, removed, put_in in edits:
        start = int(where * len(line))
        line = line[:start] + put_in + line[start + removed :]
    outcome(line)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=5,
)


@settings(max_examples=300, deadline=None)
@given(path=st.sampled_from(PLACES), value=json_values)
def test_any_value_in_any_place_is_an_event_or_refused(path: str, value: Any) -> None:
    """Any JSON value in the place of any other is accepted only where it is one that the field may have."""
    event = outcome(json.dumps(at(path, value)).encode())
    if event is not None:
        assert isinstance(value, str if path in TEXTS or path == "smsEvent.status" else int)


canonical_lines = events.map(canonical_of)
respelled_lines = events.flatmap(spelled).map(lambda text: text.replace("\n", " ").encode())
repeated_lines = st.sampled_from([FLOW_LINE.replace(old, new, 1) for old, new, _ in REPEATED])
# a key that stands twice, beside a colon that is spelled as an escape: the number of colons is that of a good line
hidden_lines = st.sampled_from(
    [
        FLOW_LINE.replace(b'"userId":', b'"userId":"other","userId":', 1).replace(b"Retention VIP", escape, 1)
        for escape in (rb"\u003a", rb"\u003A")
    ]
)
odd_lines = st.sampled_from([b"", b" ", b"\r", b"{", b"1", FLOW_LINE + FLOW_LINE, b" " * LINE_MAX_BYTES + FLOW_LINE])
any_lines = canonical_lines | respelled_lines | repeated_lines | hidden_lines | odd_lines


@pytest.mark.slow
@settings(max_examples=300, deadline=None)
@given(lines=st.lists(any_lines, min_size=1, max_size=8) | st.lists(canonical_lines | respelled_lines, min_size=1))
def test_a_block_gives_what_its_lines_give_one_by_one(lines: list[bytes]) -> None:
    """Many lines read at once are the same events and lines as one by one, and none of them slips through as good."""
    found = decode_block(body_of(lines))
    if found is not None:
        assert list(zip(*found, strict=True)) == [decode(one) for one in lines]


@settings(deadline=None)
@given(lines=st.lists(canonical_lines, min_size=1))
def test_canonical_lines_are_read_at_once(lines: list[bytes]) -> None:
    """Lines as an export writes them never need to be checked one by one."""
    found = decode_block(body_of(lines))
    assert found is not None
    assert found[1] == lines


def test_respelled_lines_are_read_at_once() -> None:
    """Lines as common JSON writers spell them, with colons in their texts, are read at once too."""
    data = at("source.campaign.name", "Sale: 50 %")
    spellings = [json.dumps(data), json.dumps(data, sort_keys=True), json.dumps(data, ensure_ascii=False) + "\r"]
    found = decode_block(body_of(one.encode() for one in spellings))
    assert found is not None
    assert found[1] == [canonical_of(data)] * len(spellings)


@pytest.mark.parametrize("old", ["two on a line", "one on two lines"])
def test_a_block_whose_lines_are_no_objects_of_their_own_is_not_read_at_once(old: str) -> None:
    """Line feeds alone part events: two on one line, or one on two lines, are left to be refused by their numbers."""
    place = FLOW_LINE.index(b',"source"')
    broken = {
        "two on a line": FLOW_LINE + FLOW_LINE,
        "one on two lines": FLOW_LINE[:place] + b"\n" + FLOW_LINE[place:],
    }
    assert decode_block(FLOW_LINE + b"\n" + broken[old] + b"\n") is None


@given(st.lists(events, max_size=5))
def test_lines_of_many_events_are_those_of_each(some: list[dict[str, Any]]) -> None:
    """Encoding events at once gives the canonical line of each, one after the other."""
    lines = [canonical_of(one) for one in some]

    assert encode_lines([decode(line)[0] for line in lines]) == b"".join(line + b"\n" for line in lines)
