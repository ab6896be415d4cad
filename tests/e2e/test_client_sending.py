"""What the client sends and where: long imports, a wrong environment, and the clock of the server."""

from __future__ import annotations

import asyncio
import errno
import random
import socket
import tempfile
import threading
import time
from contextlib import contextmanager
from email.utils import formatdate
from typing import TYPE_CHECKING, Any

import pytest

from smsevents.client import (
    NEVER,
    AsyncClient,
    Client,
    ConfigurationError,
    RateLimited,
    ServerUnavailable,
    Timeouts,
    UnexpectedResponse,
    Unreachable,
)
from smsevents.wire.results import ImportResult
from tests.support.lines import line
from tests.support.servers import PLAIN
from tests.support.standin import Answer, StandIn

if TYPE_CHECKING:
    from collections.abc import Iterator

TRACKPOINT = 1001
START = 1_795_000_000_000
HASTY = Timeouts(connect_seconds=5, silence_seconds=0.9, send_seconds=5)
RECEIPT = b'{"received":%d,"expired":0}'


@contextmanager
def slow_reader(pauses: int, result: bytes | None) -> Iterator[str]:
    """Serve one import, reading its body in this many steps, and then send the result, if there is one."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        over = threading.Event()

        def serve() -> None:
            connection, _ = listener.accept()
            with connection:
                data = b""
                while b"\r\n\r\n" not in data:
                    data += connection.recv(4096)
                head, _, body = data.partition(b"\r\n\r\n")
                length = int(head.lower().partition(b"content-length:")[2].split(b"\r\n")[0])
                got = len(body)
                for step in range(1, pauses + 1):
                    time.sleep(0.1)
                    while got < length * step // pauses:
                        got += len(connection.recv(length * step // pauses - got))
                if result is None:
                    over.wait(20)
                    return
                connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(result), result))

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        finally:
            over.set()
            thread.join()


def random_lines(count: int) -> list[bytes]:
    """Return lines that compress poorly, so that they exceed the buffers of a connection."""
    chance = random.Random(1)  # noqa: S311 -- test data, not a secret
    return [line(TRACKPOINT, START + number, user=chance.randbytes(450).hex()) for number in range(count)]


def test_a_long_import_may_take_longer_than_the_server_may_be_silent() -> None:
    """With both clients, the response timeout starts once the request has been sent."""
    lines = random_lines(40_000)

    async def on_a_loop(url: str) -> ImportResult:
        """Import with the asynchronous client."""
        async with AsyncClient(TRACKPOINT, "key", url=url, retry=NEVER, timeouts=HASTY, ssl_context=PLAIN) as client:
            return await client.import_events(lines)

    with slow_reader(20, RECEIPT % len(lines)) as url, client_of(url) as client:
        assert client.import_events(lines).received == len(lines)
    with slow_reader(20, RECEIPT % len(lines)) as url:
        assert asyncio.run(on_a_loop(url)).received == len(lines)


def test_a_server_that_takes_an_import_and_says_nothing_is_given_up() -> None:
    """Once the request is sent, a server that stays silent for longer than the timeout is given up."""
    with (
        slow_reader(1, None) as url,
        client_of(url) as client,
        pytest.raises(Unreachable, match=r"not complete after 0\.9 seconds|ReadTimeout|timed out"),
    ):
        client.import_events(random_lines(10))


def client_of(url: str, **options: Any) -> Client:
    """Return a client that does not retry."""
    fixed: dict[str, Any] = {"retry": NEVER, "timeouts": HASTY, "ssl_context": PLAIN}
    return Client(TRACKPOINT, "key", url=url, **fixed | options)


@pytest.mark.parametrize("received", [0, 2])
def test_a_receipt_of_fewer_events_is_no_success(received: int) -> None:
    """An import of which the server received fewer events than were sent is an error; blank lines do not count."""
    items = [line(TRACKPOINT, START), b"", b" \n", line(TRACKPOINT, START + 1) + b"\n\n" + line(TRACKPOINT, START + 2)]
    with StandIn() as standin, client_of(standin.url) as client:
        standin.answers(Answer(tail=RECEIPT % received, content_type="application/json"))
        with pytest.raises(UnexpectedResponse, match=f"received {received} events, but 3 were sent"):
            client.import_events(items)
        standin.answers(Answer(tail=RECEIPT % 3, content_type="application/json"))
        assert client.import_events(items) == ImportResult(3, 0)


def test_a_full_folder_of_temporary_files_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """An import that does not fit into the temporary folder raises an error that says so, and nothing is sent."""

    class Full(tempfile.SpooledTemporaryFile[bytes]):
        def write(self, _data: Any) -> int:
            raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(tempfile, "SpooledTemporaryFile", Full)
    with StandIn() as standin, client_of(standin.url) as client:
        with pytest.raises(ConfigurationError, match=r"No space left.*Nothing was sent.*TMPDIR"):
            client.import_events([line(TRACKPOINT, START)])
        assert standin.requests == []


@pytest.mark.parametrize(
    "url", ["http://a..b", "http://.", f"http://{'a' * 70}.example", "http://h\x00st", "http://h/\tx"]
)
def test_what_cannot_be_an_address_is_told(url: str) -> None:
    """Impossible host names, and URLs with control characters, raise errors of the client."""
    with pytest.raises(ConfigurationError, match="address"), client_of(url) as client:
        list(client.export_lines())


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("HTTPS_PROXY", "ftp://proxy:secret@host"),
        ("HTTP_PROXY", "http://[::1"),
        ("ALL_PROXY", "socks5://user:secret@host:1080"),
        ("all_proxy", "socks4://host:1080"),
        ("SSL_CERT_FILE", "/not/there"),
        ("SSL_CERT_FILE", "/etc/hostname"),
        ("SSLKEYLOGFILE", "/not/there/keys"),
    ],
)
def test_a_wrong_variable_is_named(monkeypatch: pytest.MonkeyPatch, variable: str, value: str) -> None:
    """An environment variable that the HTTP library cannot use raises one error that names it and shows no password."""
    monkeypatch.setenv(variable, value)
    with pytest.raises(ConfigurationError, match=variable) as caught:
        Client(TRACKPOINT, "key", url="https://127.0.0.1:1")
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize("off_days", [-10, 10])
def test_a_date_to_wait_for_is_one_of_the_servers_clock(off_days: int) -> None:
    """A `Retry-After` date is interpreted by the server's clock, whatever the local clock says."""
    server_ms = START + off_days * 86_400_000
    with StandIn() as standin, client_of(standin.url, now_ms=lambda: START) as client:
        standin.now_ms = lambda: server_ms
        standin.answers(Answer(status=429, headers={"Retry-After": formatdate(server_ms / 1000 + 30, usegmt=True)}))
        with pytest.raises(RateLimited) as caught:
            list(client.export_lines())
    assert caught.value.retry_after_seconds == 30


def test_a_long_wait_is_told_in_days() -> None:
    """A long wait is reported in a readable unit rather than in seconds."""
    with StandIn() as standin, client_of(standin.url) as client:
        standin.answers(Answer(status=503, headers={"Retry-After": "864000"}))
        with pytest.raises(ServerUnavailable, match="asks the client to wait 10 days"):
            list(client.export_lines())


@pytest.mark.parametrize("status", [408, 425])
def test_what_a_proxy_says_in_passing_is_tried_again(status: int) -> None:
    """A request that was rejected as too slow or too early is retried."""
    with (
        StandIn() as standin,
        Client(TRACKPOINT, "key", url=standin.url, sleep=lambda _: None, ssl_context=PLAIN) as client,
    ):
        standin.answers(Answer(status=status), Answer(lines=[line(TRACKPOINT, START)]))
        assert list(client.export_lines()) == [line(TRACKPOINT, START)]


@pytest.mark.parametrize(("unit", "parts"), [("microseconds", 1_000), ("nanoseconds", 1_000_000)])
@pytest.mark.parametrize("bound", ["from_", "to"])
def test_finer_units_are_refused(bound: str, unit: str, parts: int) -> None:
    """Microseconds and nanoseconds are refused before any request, with the correct number in the message."""
    interval: dict[str, Any] = {bound: START * parts}
    with client_of("http://127.0.0.1:1") as client, pytest.raises(ConfigurationError, match=f"{unit}.*{START}"):
        client.export_lines(**interval)
