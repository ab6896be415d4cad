"""Client errors: refusals, responses of another kind, and servers that cannot be reached or trusted."""

from __future__ import annotations

import os
import pickle
import shutil
import socket
import ssl
import subprocess
import threading
from typing import TYPE_CHECKING

import pytest

from smsevents.client import (
    NEVER,
    BadLine,
    BadRequest,
    Client,
    ClientError,
    Forbidden,
    RateLimited,
    Refused,
    RefusedLine,
    RefusedLines,
    ServerFault,
    ServerUnavailable,
    TruncatedStream,
    Unauthorized,
    UnexpectedResponse,
    Unreachable,
)
from smsevents.clock.system import now_ms
from smsevents.errors import SmsEventsError
from tests.support.client_reads import LINES, Sleeps, client_of, read
from tests.support.lines import line
from tests.support.servers import PLAIN, Server, free_port
from tests.support.standin import Answer, StandIn

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

STATUSES = {
    400: BadRequest,
    401: Unauthorized,
    403: Forbidden,
    404: BadRequest,
    405: BadRequest,
    413: BadRequest,
    418: BadRequest,
    422: BadRequest,
    429: RateLimited,
    500: ServerFault,
    501: ServerFault,
    502: ServerUnavailable,
    503: ServerUnavailable,
    504: ServerUnavailable,
}


@pytest.mark.parametrize("status", STATUSES)
@pytest.mark.parametrize("gzip", [True, False])
def test_statuses_become_errors(standin: StandIn, status: int, *, gzip: bool) -> None:
    """On either call, each status raises its own error with the server's text and without the key."""
    tail = b'{"type":"about:blank","title":"x","status":1,"detail":"Mend the thing."}'
    standin.answers(Answer(status=status, tail=tail, content_type="application/problem+json", gzip=gzip))
    with client_of(standin, retry=NEVER) as client:
        for call in (lambda: list(client.export()), lambda: client.import_events(LINES)):
            with pytest.raises(Refused) as caught:
                call()
            assert type(caught.value) is STATUSES[status]
            assert (caught.value.status, caught.value.detail) == (status, "Mend the thing.")
            assert "Mend the thing." in str(caught.value)
            assert "secret" not in str(caught.value)


@pytest.mark.parametrize("status", sorted(set(STATUSES) - {429, 502, 503, 504}))
def test_what_stays_wrong_is_not_tried_again(standin: StandIn, status: int) -> None:
    """An error that the same request would meet again is raised at once."""
    standin.answers(Answer(status=status))
    sleeps = Sleeps()
    with client_of(standin, sleeps) as client:
        assert isinstance(read(client)[1], Refused)
    assert (len(standin.requests), sleeps) == (1, [])


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (Answer(status=301, headers={"Location": "https://other/"}), "https://other/"),
        (Answer(status=204, framing="length"), "204"),
        (Answer(status=206, lines=LINES), "206"),
        (Answer(tail=b"<html>Sign in</html>", content_type="text/html; charset=utf-8"), "<html>Sign in</html>"),
        (Answer(tail=b"<html>Sign in</html>", content_type="text/html", gzip=True), "<html>Sign in</html>"),
        (Answer(lines=LINES, content_type="text/csv"), "text/csv"),
        (Answer(lines=LINES, headers={"Content-Encoding": "br"}), "'br'"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_is_no_export_is_not_read(standin: StandIn, answer: Answer, said: str) -> None:
    """A response of another kind raises an error at once that shows what was received."""
    standin.answers(answer)
    with client_of(standin) as client:
        got, error = read(client)
    assert isinstance(error, UnexpectedResponse)
    assert said in str(error)
    assert got == []
    assert len(standin.requests) == 1


def test_nobody_listens() -> None:
    """A server that cannot be reached is retried and then reported with its address."""
    sleeps = Sleeps()
    port = free_port()
    with (
        Client(7, "sms_secret", url=f"http://127.0.0.1:{port}", sleep=sleeps, ssl_context=PLAIN) as client,
        pytest.raises(Unreachable, match=f"http://127.0.0.1:{port}") as caught,
    ):
        list(client.export())
    assert len(sleeps) == 4
    assert not caught.value.permanent


@pytest.fixture
def untrusted(tmp_path: Path) -> Iterator[int]:
    """Yield the port of a TLS server whose certificate is not signed by a trusted authority."""
    if shutil.which("openssl") is None:
        assert "CI" not in os.environ, "CI must have openssl"
        pytest.skip("openssl is not installed; `make test` installs it where it may")
    command = "openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=localhost -keyout key.pem -out cert.pem"
    subprocess.run(command.split(), cwd=tmp_path, check=True, capture_output=True, timeout=60)
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(tmp_path / "cert.pem", tmp_path / "key.pem")
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def accept() -> None:
            """Perform TLS handshakes until the test is over."""
            while True:
                try:
                    connection, _ = listener.accept()
                except OSError:
                    return
                try:
                    context.wrap_socket(connection, server_side=True).close()
                except OSError:
                    connection.close()

        thread = threading.Thread(target=accept)
        thread.start()
        yield listener.getsockname()[1]
        listener.shutdown(socket.SHUT_RDWR)
        thread.join()


def test_a_certificate_that_nobody_signed_is_told_at_once(untrusted: int) -> None:
    """A server that cannot be trusted gets neither the key nor a second attempt."""
    sleeps = Sleeps()
    with (
        Client(7, "sms_secret", url=f"https://localhost:{untrusted}", sleep=sleeps) as client,
        pytest.raises(Unreachable, match="not trusted") as caught,
    ):
        list(client.export())
    assert caught.value.permanent
    assert sleeps == []


@pytest.mark.parametrize("tail", [b"", b"<html>", b'{"received":"x"}', b"\xff"])
def test_an_import_without_a_receipt_is_no_import(standin: StandIn, tail: bytes) -> None:
    """A 200 response without an import result is an error, because nothing confirms that the events were stored."""
    standin.answers(Answer(tail=tail, content_type="application/json"))
    with client_of(standin) as client, pytest.raises(UnexpectedResponse):
        client.import_events(LINES)


def test_refused_lines_are_named(server: Server) -> None:
    """A real server stores nothing of an import with invalid lines, and the error has their numbers and reasons."""
    shop = server.shop()
    good = line(shop.trackpoint, now_ms() - 1000)
    with Client(shop.trackpoint, shop.key, url=shop.base, ssl_context=PLAIN) as client:
        with pytest.raises(RefusedLines) as caught:
            client.import_events([good, b"hello", good, line(7, now_ms())])
        assert list(client.export_lines()) == []
    assert caught.value.lines == [
        RefusedLine(2, "not JSON: invalid character (byte 0)"),
        RefusedLine(4, f"`trackpoint` is 7, but the import is for {shop.trackpoint}"),
    ]
    assert (caught.value.status, caught.value.more) == (400, False)


def test_a_real_server_refuses_as_it_documents(server: Server) -> None:
    """A wrong key, another shop's key and a missing scope raise different errors."""
    shop, other = server.shop(), server.shop(("export",))
    for key, kind in [("sms_wrong", Unauthorized), (other.key, Forbidden)]:
        with Client(shop.trackpoint, key, url=shop.base, ssl_context=PLAIN) as client, pytest.raises(kind):
            list(client.export())
    with Client(other.trackpoint, other.key, url=shop.base, ssl_context=PLAIN) as client:
        assert list(client.export()) == []
        with pytest.raises(Forbidden):
            client.import_events([])


def test_errors_have_one_root_and_can_be_sent_between_processes() -> None:
    """All errors derive from the client's base error, which derives from the package's, and survive pickling."""
    assert issubclass(ClientError, SmsEventsError)
    for error in (
        TruncatedStream("reason", lines=1, body_bytes=2),
        BadLine(line=1, reason="r", text="t"),
        RateLimited("text", status=429, detail="d", retry_after_seconds=3),
        RefusedLines("text", status=422, detail="d", lines=[RefusedLine(1, "r")], more=True),
        Unreachable("text", permanent=True),
    ):
        again = pickle.loads(pickle.dumps(error))  # noqa: S301 -- our own bytes
        assert (type(again), str(again), vars(again)) == (type(error), str(error), vars(error))
