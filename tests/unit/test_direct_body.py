"""The body of a response that a thread sends itself."""

from __future__ import annotations

import asyncio
import socket
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, suppress

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from smsevents.web.connection.direct import DirectBody

BUFFER_BYTES = 4096  # small, so that most pieces do not fit at once
SIZES = st.lists(st.lists(st.integers(1, 20_000), min_size=1, max_size=4))  # of the parts of each piece


def pair() -> tuple[socket.socket, socket.socket]:
    """Return the two ends of a connection; the first does not block."""
    own, other = socket.socketpair()
    own.setblocking(False)
    own.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, BUFFER_BYTES)
    other.settimeout(60)
    return own, other


def received(other: socket.socket) -> bytes:
    """Read until the connection ends."""
    return b"".join(iter(lambda: other.recv(10_000), b""))


def framed(parts: list[bytes]) -> bytes:
    """Return a chunk as HTTP/1.1 frames it."""
    data = b"".join(parts)
    return b"%x\r\n%s\r\n" % (len(data), data)


@settings(deadline=None, max_examples=40)
@given(sizes=SIZES, is_chunked=st.booleans())
def test_all_pieces_arrive_in_order(sizes: list[list[int]], is_chunked: bool) -> None:
    """However little the system takes at once, the client receives each piece, framed if the response is chunked."""
    pieces = [[bytes([size % 251]) * size for size in parts] for parts in sizes]
    own, other = pair()

    async def send(threads: ThreadPoolExecutor) -> int:
        """Send each piece from a thread, then wait for the rest of it."""
        body = DirectBody(own, is_chunked=is_chunked)
        with closing(body):
            for parts in pieces:
                await asyncio.get_running_loop().run_in_executor(threads, body.send, parts)
                await body.flushed()
        return body.body_bytes

    with ThreadPoolExecutor(2) as threads, other:
        reading = threads.submit(received, other)
        sent = asyncio.run(send(threads))
        assert reading.result() == b"".join(framed(parts) if is_chunked else b"".join(parts) for parts in pieces)
    assert sent == sum(len(part) for parts in pieces for part in parts)


def test_a_thread_never_sends_to_the_next_connection() -> None:
    """Bytes sent while the body is closed never reach a connection that is given the same descriptor."""

    async def close_while_sending(barrier: threading.Barrier, threads: ThreadPoolExecutor) -> None:
        """Close a body that a thread sends, and open another connection at once."""
        own, other = pair()
        handle = own.fileno()
        body = DirectBody(own, is_chunked=True)

        def send() -> None:
            """Send until the body is closed."""
            barrier.wait()
            while True:
                body.send([b"secret"])

        sending = threads.submit(send)
        barrier.wait()
        body.close()
        own_2, other_2 = pair()
        with other, own_2, other_2:
            with pytest.raises(ConnectionError):
                sending.result(60)
            assert handle in {own_2.fileno(), other_2.fileno()}
            for one in (own_2, other_2):
                one.setblocking(False)
                with pytest.raises(BlockingIOError):
                    one.recv(1)

    with ThreadPoolExecutor(1) as threads:
        for _ in range(100):
            asyncio.run(close_while_sending(threading.Barrier(2), threads))


@pytest.mark.parametrize("by", ["client", "server"])
def test_an_end_wakes_what_waits_for_the_client(by: str) -> None:
    """If the client goes away, or the server closes the connection, waiting for the client ends with an error."""
    own, other = pair()

    async def wait() -> None:
        """Fill the buffer and wait, while the connection ends."""
        with closing(DirectBody(own, is_chunked=False)) as body:
            while body.send([b"x" * BUFFER_BYTES]):
                pass
            waiting = asyncio.ensure_future(body.flushed())
            await asyncio.sleep(0)
            (other if by == "client" else body).close()
            with pytest.raises(ConnectionError):
                await waiting
            with pytest.raises(ConnectionError):
                body.send([b"more"])

    asyncio.run(wait())
    with suppress(OSError):
        other.close()
