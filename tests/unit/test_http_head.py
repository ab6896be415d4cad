"""The head of a request: what is read, what is refused, and that nothing is read in two ways."""

from __future__ import annotations

import h11
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from smsevents.errors import HeadTooLarge, MalformedRequest
from smsevents.web.connection.head import HEADERS_MAX, Head, check_unfinished, parse_head

METHODS = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE"]


def head_of(*lines: bytes, first: bytes = b"POST /path HTTP/1.1", host: bytes | None = b"x") -> Head:
    """Read a head of some lines."""
    return parse_head(b"\r\n".join([first, *([] if host is None else [b"Host: " + host]), *lines]))


@pytest.mark.parametrize(
    ("first", "path", "query", "is_http_1_0"),
    [
        (b"GET / HTTP/1.1", "/", b"", False),
        (b"GET /a%20b?c=d%20?e HTTP/1.1", "/a b", b"c=d%20?e", False),
        (b"GET /a HTTP/1.0", "/a", b"", True),
        (b"GET /a HTTP/1.9", "/a", b"", False),
        (b"GET http://host:80/a?b HTTP/1.1", "/a", b"b", False),
        (b"GET HTTPS://host HTTP/1.1", "/", b"", False),
        (b"GET http://host?b HTTP/1.1", "/", b"b", False),
        (b"OPTIONS * HTTP/1.1", "*", b"", False),
        (b"GET /shop/7%2Fusers%2fu1/%75sers HTTP/1.1", "/shop/7%2Fusers%2Fu1/users", b"", False),
        (b"GET //a//b HTTP/1.1", "//a//b", b"", False),
        (b"GET /%ff%zz HTTP/1.1", "/\ufffd%zz", b"", False),
    ],
)
def test_request_lines_that_are_read(first: bytes, path: str, query: bytes, is_http_1_0: bool) -> None:
    """A request line of any form of RFC 9112 gives its path, decoded but for escaped slashes, and its query."""
    head = head_of(first=first)

    assert (head.path, head.query, head.is_http_1_0) == (path, query, is_http_1_0)


@pytest.mark.parametrize(
    "first",
    [
        b"",
        b"GET",
        b"GET /",
        b"GET / ",
        b"GET  / HTTP/1.1",
        b"GET / HTTP/1.1 ",
        b" GET / HTTP/1.1",
        b"GET\t/ HTTP/1.1",
        b"GET / HTTP/1.1\r",
        b"GET / http/1.1",
        b"GET / HTTP/1",
        b"GET / HTTP/01.1",
        b"GET / HTTP/1.10",
        b"GET / HTTP/0.9",
        b"GET / HTTP/2.0",
        b"PRI * HTTP/2.0",
        b"GET / XTTP/1.1",
        b"get / HTTP/1.1",
        b"FOO / HTTP/1.1",
        b"G(T / HTTP/1.1",
        b"GET path HTTP/1.1",
        b"GET ?a HTTP/1.1",
        b"GET * HTTP/1.1",
        b"GET /a#b HTTP/1.1",
        b"GET /a\x00 HTTP/1.1",
        b"GET /a\x7f HTTP/1.1",
        b"GET /\xc3\xa9 HTTP/1.1",
        b"GET ftp://host/ HTTP/1.1",
        b"GET http:///a HTTP/1.1",
        b"GET http://:80/a HTTP/1.1",
        b"GET http://a@b/ HTTP/1.1",
        b"CONNECT host:80 HTTP/1.1",
        b"GET /\r\nA: b HTTP/1.1",
    ],
)
def test_request_lines_that_are_refused(first: bytes) -> None:
    """A request line that is not one of HTTP/1.x with a known method is refused."""
    with pytest.raises(MalformedRequest, match="HTTP"):
        head_of(first=first)


@pytest.mark.parametrize(
    "line",
    [
        b"A : b",
        b" A: b",
        b"\tA: b",
        b"A",
        b": b",
        b"A: b\nC: d",
        b"A: b\r",
        b"A: b\rc",
        b"A: \x00",
        b"A: \x7f",
        b"A\x00: b",
        b"A b: c",
        b"\xc3\xa9: b",
        b"",
        b"Host: y",
        b"host: x",
        b"Content-Length: 1\r\nContent-Length: 1",
        b"Content-Length: 1, 1",
        b"Content-Length: +1",
        b"Content-Length: -1",
        b"Content-Length: 0x1",
        b"Content-Length: 1_0",
        b"Content-Length: 1 0",
        b"Content-Length: 1.0",
        b"Content-Length: \xb2",
        b"Content-Length:",
        b"Content-Length: " + b"9" * 19,
        b"Content-Length: 1\r\nTransfer-Encoding: chunked",
        b"Transfer-Encoding: gzip",
        b"Transfer-Encoding: gzip, chunked",
        b"Transfer-Encoding: chunked, gzip",
        b"Transfer-Encoding: chunked, chunked",
        b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked",
        b"Transfer-Encoding: identity",
        b"Transfer-Encoding: xchunked",
        b"Transfer-Encoding:",
        b"Transfer-Encoding: \x0bchunked",
        b"Expect: 200-ok",
    ],
)
def test_headers_that_are_refused(line: bytes) -> None:
    """A header that is not what HTTP/1.1 allows, or that two programs could read in two ways, is refused."""
    with pytest.raises(MalformedRequest, match=r"HTTP|header"):
        head_of(line)


@pytest.mark.parametrize("host", [b"x", b"x:80", b"", b"[::1]:80", b"a_b.example", b"127.0.0.1:", b"x%41"])
def test_hosts_that_are_read(host: bytes) -> None:
    """A Host is a name or an address with an optional port, or empty."""
    assert head_of(host=host).headers[0] == (b"host", host)


@pytest.mark.parametrize("host", [b"a b", b"a,b", b"a/b", b"a:b", b"[::1", b"a@b", b"x:80:90", b"\xc3\xa9", b'"'])
def test_hosts_that_are_refused(host: bytes) -> None:
    """What cannot be a host is refused (RFC 9112, section 3.2)."""
    if host == b"a,b":  # RFC 3986 allows the comma in a name
        head_of(host=host)
        return
    with pytest.raises(MalformedRequest, match="Host"):
        head_of(host=host)


def test_the_host_is_required_from_http_1_1_on() -> None:
    """HTTP/1.0 may do without a Host, HTTP/1.1 may not."""
    assert head_of(first=b"GET / HTTP/1.0", host=None).headers == []
    with pytest.raises(MalformedRequest, match="no Host"):
        head_of(host=None)


@pytest.mark.parametrize(
    ("line", "length"),
    [
        (b"A: b", 0),
        (b"Content-Length: 0", 0),
        (b"Content-Length:17  ", 17),
        (b"content-length: 000017", 17),
        (b"Content-Length: " + b"0" * 5000 + b"2", 2),
        (b"Content-Length: " + b"9" * 18, 10**18 - 1),
        (b"Transfer-Encoding: Chunked \t", None),
    ],
)
def test_the_length_of_the_body(line: bytes, length: int | None) -> None:
    """The body has the announced length, however many zeros stand before it, or comes in chunks."""
    assert head_of(line).length == length


def test_transfer_encoding_is_refused_in_http_1_0() -> None:
    """HTTP/1.0 knows no chunks: whether a proxy saw them nobody can tell."""
    with pytest.raises(MalformedRequest, match=r"HTTP/1\.0"):
        head_of(b"Transfer-Encoding: chunked", first=b"POST / HTTP/1.0")


@pytest.mark.parametrize(
    ("first", "line", "keep_alive"),
    [
        (b"GET / HTTP/1.1", b"A: b", True),
        (b"GET / HTTP/1.1", b"Connection: upgrade, CLOSE", False),
        (b"GET / HTTP/1.1", b"Connection: keep-alive\r\nConnection: ,close", False),
        (b"GET / HTTP/1.1", b"Connection: closed", True),
        (b"GET / HTTP/1.0", b"Connection: keep-alive", False),
    ],
)
def test_whether_the_connection_is_kept(first: bytes, line: bytes, keep_alive: bool) -> None:
    """HTTP/1.1 keeps the connection unless a member of Connection is `close`; HTTP/1.0 closes it."""
    assert head_of(line, first=first).keep_alive is keep_alive


@pytest.mark.parametrize(
    ("first", "lines", "expects"),
    [
        (b"POST / HTTP/1.1", [b"Content-Length: 1", b"Expect: 100-Continue"], True),
        (b"POST / HTTP/1.1", [b"Transfer-Encoding: chunked", b"Expect: 100-continue"], True),
        (b"POST / HTTP/1.1", [b"Expect: 100-continue"], False),
        (b"POST / HTTP/1.0", [b"Content-Length: 1", b"Expect: 100-continue"], False),
        (b"POST / HTTP/1.1", [b"Content-Length: 1", b"Expect:"], False),
    ],
)
def test_who_waits_for_100_continue(first: bytes, lines: list[bytes], expects: bool) -> None:
    """A client of HTTP/1.1 that has a body to send may wait for `100 Continue`, in any case."""
    assert head_of(*lines, first=first).expects_continue is expects


def test_the_number_of_headers_is_bounded() -> None:
    """So many headers are read, and one more is refused."""
    lines = [b"a: b"] * (HEADERS_MAX - 1)  # and the Host

    assert len(head_of(*lines).headers) == HEADERS_MAX
    with pytest.raises(HeadTooLarge, match=f"more than {HEADERS_MAX} headers"):
        head_of(*lines, b"a: b")


likely = st.sampled_from([b"GET", b"POST", b"/", b"/a%2Fb", b"http://x/", b"?", b"#", b"HTTP/1.1", b"HTTP/1.0"])
likely |= st.sampled_from([b"Host: x", b"Content-Length: 5", b"Content-Length", b"Transfer-Encoding: chunked"])
likely |= st.sampled_from([b"chunked", b"Connection: close", b"Expect: 100-continue", b"a: b", b"0", b"5", b",", b":"])
likely |= st.sampled_from([b"\r\n", b"\n", b"\r", b"\t", b" ", b"\x00", b"\xff"])


@given(st.lists(likely | st.binary(max_size=3), max_size=25).map(b"".join))
@example(b"GET / HTTP/1.1\r\nHost: x\r\nContent-Length: 5")
def test_whatever_is_read_another_parser_reads_alike(data: bytes) -> None:
    """What is read as a head h11, which knows nothing of it, reads with the same target, headers and framing."""
    try:
        head = parse_head(data)
    except (MalformedRequest, HeadTooLarge):
        return
    other = h11.Connection(h11.SERVER)
    other.receive_data(data + b"\r\n\r\n")
    event = other.next_event()

    assert isinstance(event, h11.Request)
    assert event.method.decode() == head.method
    assert event.target in data
    assert list(event.headers) == [(name, value) for name, value in head.headers if name != b""]
    assert (b"transfer-encoding" in dict(event.headers)) == (head.length is None)
    if head.length:
        assert int(dict(event.headers)[b"content-length"]) == head.length


@given(
    st.sampled_from(METHODS),
    st.text("abc/%2F.?=&", max_size=20).map(lambda text: f"/{text}"),
    st.lists(st.tuples(st.text("abc-", min_size=1), st.text("abc ;=", max_size=10)), max_size=10),
    st.data(),
)
def test_a_good_head_is_not_refused_early(
    method: str, target: str, headers: list[tuple[str, str]], data: st.DataObject
) -> None:
    """A good head is read, and no beginning of it is refused, however its bytes are cut."""
    lines = [f"{method} {target} HTTP/1.1", "Host: x", *(f"{name}: {value}" for name, value in headers)]
    good = "\r\n".join(lines).encode() + b"\r\n\r\n"
    cuts = sorted(data.draw(st.sets(st.integers(1, len(good) - 1), max_size=5)))

    assert parse_head(good[:-4]).method == method
    looked_at = 0
    for cut in cuts:
        check_unfinished(bytearray(good[:cut]), looked_at)
        looked_at = cut


@pytest.mark.parametrize(
    "beginning",
    [
        b"\x16\x03\x01\x02\x00\x01",
        b"GET /\n",
        b"GET / HTTP/1.1\r\nA: b\n",
        b"GET / HTTP/1.1\rA",
        b"GET /\r\n",
        b"PRI * HTTP/2.0\r\n",
        b"FOO / HTTP/1.1\r\n",
        b"{}",
        b"\xff",
        b'{"smsEvent":',
    ],
)
def test_what_cannot_become_a_head_is_refused_at_once(beginning: bytes) -> None:
    """Bytes that no good head begins with are refused before its end, also when they come one by one."""
    with pytest.raises(MalformedRequest, match="HTTP"):
        check_unfinished(bytearray(beginning), 0)
    with pytest.raises(MalformedRequest, match="HTTP"):  # noqa: PT012 -- any of the calls may be the one
        for end in range(1, len(beginning) + 1):
            check_unfinished(bytearray(beginning[:end]), end - 1)
