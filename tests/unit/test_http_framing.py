"""Bodies on the wire: by length and in chunks, however their bytes are cut."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from smsevents.errors import HeadTooLarge, MalformedRequest
from smsevents.web.connection.framing import (
    CHUNK_LINE_MAX_BYTES,
    CHUNK_OVERHEAD_MAX_BYTES,
    TRAILERS_MAX_BYTES,
    ChunkedBody,
    LengthBody,
    RequestBody,
)


def fed(body: RequestBody, parts: list[bytes]) -> tuple[bytes, bytes]:
    """Feed parts. Return the body and the bytes that followed it."""
    pieces: list[bytes] = []
    for number, part in enumerate(parts):
        some, rest = body.feed(part)
        pieces += some
        if body.done:
            return b"".join(pieces), rest + b"".join(parts[number + 1 :])
        assert rest == b""
    return b"".join(pieces), b""


def cut(data: bytes, places: set[int]) -> list[bytes]:
    """Cut bytes at places."""
    marks = [0, *sorted(place for place in places if 0 < place < len(data)), len(data)]
    return [data[start:end] for start, end in itertools.pairwise(marks)]


places = st.sets(st.integers(1, 200), max_size=20)


@given(st.binary(min_size=1, max_size=100), st.binary(max_size=30), places)
def test_a_body_by_length(content: bytes, after: bytes, where: set[int]) -> None:
    """Of what comes the announced length is the body, and all that follows is not."""
    body = LengthBody(len(content))

    assert fed(body, cut(content + after, where)) == (content, after)
    assert body.done


@given(
    st.lists(st.binary(min_size=1, max_size=20), max_size=8),
    st.sampled_from([b"", b";a", b' ; a="b c"', b";\t"]),
    st.sampled_from([b"", b"A: b\r\n", b"A:\r\nB: c\r\n"]),
    st.binary(max_size=30),
    places,
)
def test_a_body_in_chunks(
    chunks: list[bytes], extension: bytes, trailers: bytes, after: bytes, where: set[int]
) -> None:
    """Chunks give what was put into them, whatever extensions and trailers go with them; what follows is not theirs."""
    data = b"".join(b"%x%b\r\n%b\r\n" % (len(one), extension, one) for one in chunks)
    body = ChunkedBody()

    assert fed(body, cut(data + b"0\r\n" + trailers + b"\r\n" + after, where)) == (b"".join(chunks), after)
    assert body.done


@given(st.lists(st.binary(min_size=1, max_size=20), max_size=5), st.integers(1, 40), places)
def test_a_truncated_body_is_not_done(chunks: list[bytes], missing: int, where: set[int]) -> None:
    """A body in chunks that lacks any of its last bytes is not complete."""
    data = b"".join(b"%x\r\n%b\r\n" % (len(one), one) for one in chunks) + b"0\r\n\r\n"
    body = ChunkedBody()

    fed(body, cut(data[:-missing], where)) if missing < len(data) else None

    assert not body.done


BAD = {
    "no size": b"\r\n",
    "no hexadecimal": b"g\r\n",
    "sign": b"+5\r\nhello\r\n",
    "prefix": b"0x5\r\nhello\r\n",
    "underscore": b"1_0\r\n",
    "space before": b" 5\r\nhello\r\n",
    "space after": b"5 \r\nhello\r\n",
    "more digits than a length has": b"0000000000000005\r\nhello\r\n",
    "bare line feed": b"5\nhello\r\n",
    "bare line feed after the data": b"5\r\nhello\n",
    "longer than announced": b"5\r\nhello!\r\n",
    "shorter than announced": b"6\r\nhello\r\n0\r\n\r\n",
    "carriage return in an extension": b"5;a\rb\r\nhello\r\n",
    "control character in an extension": b"5;\x00\r\nhello\r\n",
    "trailer without a colon": b"0\r\nabc\r\n\r\n",
    "folded trailer": b"0\r\nA: b\r\n c\r\n\r\n",
    "trailer with a bare line feed": b"0\r\nA: b\n\r\n",
    "end with a bare line feed": b"0\r\n\n",
}


@pytest.mark.parametrize("kind", BAD)
def test_bad_chunks_are_refused(kind: str) -> None:
    """Chunks that are not what RFC 9112 says are refused, at once or byte by byte."""
    for parts in ([BAD[kind]], [bytes([byte]) for byte in BAD[kind]]):
        with pytest.raises(MalformedRequest, match="HTTP"):
            fed(ChunkedBody(), parts)


def test_trailers_are_bounded() -> None:
    """Trailers over the limit are refused, in one line or in many, and those within it are not."""
    for one in (b"a: b\r\n", b"a: " + b"b" * TRAILERS_MAX_BYTES):
        with pytest.raises(HeadTooLarge, match=f"{TRAILERS_MAX_BYTES} bytes"):
            fed(ChunkedBody(), [b"0\r\n", *[one] * TRAILERS_MAX_BYTES])

    body = ChunkedBody()
    fed(body, [b"0\r\n" + b"a: b\r\n" * (TRAILERS_MAX_BYTES // 6 - 2) + b"\r\n"])
    assert body.done


def test_what_chunks_bring_beside_their_data_is_bounded() -> None:
    """A long extension, and many short ones over little data, are refused; chunks of one byte are not."""
    with pytest.raises(MalformedRequest, match=f"{CHUNK_LINE_MAX_BYTES} bytes"):
        fed(ChunkedBody(), [b"5;" + b"a" * CHUNK_LINE_MAX_BYTES])
    with pytest.raises(MalformedRequest, match="more extensions than data"):
        fed(ChunkedBody(), [b"1;" + b"a" * 100 + b"\r\nx\r\n"] * CHUNK_OVERHEAD_MAX_BYTES)

    content, _ = fed(ChunkedBody(), [b"1\r\nx\r\n"] * CHUNK_OVERHEAD_MAX_BYTES + [b"0\r\n\r\n"])
    assert content == b"x" * CHUNK_OVERHEAD_MAX_BYTES
