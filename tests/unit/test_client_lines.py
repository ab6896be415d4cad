"""From chunks to lines to events, held to plain models: wherever chunks end, and whatever stands in a line."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from smsevents.client.lines import BatchChecker, Splitter
from smsevents.wire import events
from tests.support.lines import body_of, line

TRACKPOINT = 4541245641234564
START = 1_700_000_000_000


@st.composite
def chunked(draw: st.DrawFn) -> list[bytes]:
    """Draw a body in chunks with arbitrary borders."""
    body = b"".join(draw(st.lists(st.sampled_from([b"\n", b"\r", b"\x1e", b"{}", b"\xe2\x80\xa8", b"abc"]))))
    borders = sorted(draw(st.lists(st.integers(0, len(body)))))
    return [body[start:end] for start, end in zip([0, *borders], [*borders, len(body)], strict=True)]


@given(chunked())
def test_blocks_are_the_lines_wherever_chunks_end(chunks: list[bytes]) -> None:
    """However a body is cut into chunks, its blocks and its rest are those of `split` at line feeds."""
    splitter = Splitter()
    blocks = [splitter.feed(chunk) for chunk in chunks]
    *lines, rest = b"".join(chunks).split(b"\n")

    assert b"".join(blocks) == body_of(lines)
    assert all(not block or block.endswith(b"\n") for block in blocks)
    assert splitter.rest == rest


GOOD = line(TRACKPOINT, START, user="x")
PIECES = [
    GOOD,
    line(TRACKPOINT, START, node="VIP"),
    b" " + GOOD,
    GOOD + b"\r",
    b"\x1e" + GOOD,
    b"",
    b"  ",
    GOOD + GOOD,
    GOOD + b" " + GOOD,
    GOOD.replace(b",", b", "),
    GOOD[:40],
    GOOD[40:],
    GOOD.replace(b'"source"', b'"sauce"'),
    line(7, START),
    b"{}",
    b"[" + GOOD + b"]",
    b"terminated early",
    b"\xff",
    b"{" * 2000,
    b" " * 70_000 + GOOD,
]


@given(
    st.lists(st.sampled_from(PIECES) | st.just(GOOD), max_size=12), st.lists(st.booleans(), min_size=12, max_size=12)
)
def test_checking_blocks_is_checking_lines(pieces: list[bytes], joined: list[bool]) -> None:
    """What is good, what is bad and its number are the same for one block as for a block a line, by a plain model."""
    blocks: list[bytes] = []
    for piece, joins in zip(pieces, joined, strict=False):
        if blocks and joins:
            blocks[-1] += piece + b"\n"
        else:
            blocks.append(piece + b"\n")
    checker = BatchChecker(TRACKPOINT)
    got: list[bytes] = []
    bad_line = None
    for block in blocks:
        batch, bad = checker.check(block)
        assert [events.decode(one)[0] for one in batch.lines] == batch.events
        got += batch.lines
        if bad:
            bad_line = bad.line
            break

    expected: list[bytes] = []
    expected_bad = None
    for number, piece in enumerate(pieces, 1):
        one = piece.removeprefix(b"\x1e")
        if not one.strip():
            continue
        if len(one) > 65536 or not is_event(one):
            expected_bad = number
            break
        expected.append(one)
    assert (got, bad_line) == (expected, expected_bad)


def is_event(text: bytes) -> bool:
    """Return whether a line is an event of the shop, by the plain rules of the wire model."""
    try:
        return events.decode(text)[0].smsEvent.trackpoint == TRACKPOINT
    except (events.NotJson, events.NotAnEvent):
        return False
