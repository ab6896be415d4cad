"""The client against everything that goes wrong: what came is never taken for more than it is."""

from __future__ import annotations

import asyncio
import gzip as gzip_module
import os
import pickle
import random
import shutil
import socket
import ssl
import subprocess
import threading
from email.utils import formatdate
from typing import TYPE_CHECKING, Any

import pytest

from smsevents.client import (
    NEVER,
    AsyncClient,
    BadLine,
    BadRequest,
    Client,
    ClientError,
    Forbidden,
    ImportResult,
    IncompleteExport,
    RateLimited,
    Refused,
    RefusedLine,
    RefusedLines,
    Retry,
    ServerFault,
    ServerUnavailable,
    Timeouts,
    TruncatedStream,
    Unauthorized,
    UnexpectedResponse,
    Unreachable,
)
from smsevents.clock.system import now_ms
from smsevents.errors import SmsEventsError
from tests.support.lines import body_of, line
from tests.support.servers import PLAIN, Server, free_port
from tests.support.standin import Answer, StandIn

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

TRACKPOINT = 1001
START = 1_700_000_000_000
NOW_MS = 1_760_000_000_000
LINES = [line(TRACKPOINT, START + index, user=f"{index * 7919}") for index in range(400)]
IMPATIENT = Timeouts(connect_seconds=5, silence_seconds=0.2)
CUTS = 200


class Sleeps(list[float]):
    """Waits that are noted instead of waited."""

    def __call__(self, seconds: float) -> None:
        """Note one."""
        self.append(seconds)

    async def on_a_loop(self, seconds: float) -> None:
        """Note one, for an asynchronous client."""
        self.append(seconds)


def client_of(standin: StandIn, sleeps: Sleeps | None = None, **options: Any) -> Client:
    """Make a client that does not wait, with a clock that stands still and no chance in its waits."""
    sleep = Sleeps() if sleeps is None else sleeps
    fixed: dict[str, Any] = {"sleep": sleep, "jitter": lambda: 0.0, "now_ms": lambda: NOW_MS, "ssl_context": PLAIN}
    return Client(TRACKPOINT, "sms_secret", url=standin.url, **fixed | options)


def read(client: Client) -> tuple[list[bytes], ClientError | None]:
    """Read an export once; give the lines that came, and the error, if there was one."""
    got: list[bytes] = []
    try:
        for one in client.export_lines():
            got.append(one)  # noqa: PERF402 -- what came before an error counts
    except ClientError as error:
        return got, error
    return got, None


@pytest.mark.parametrize("framing", ["chunked", "length"])
@pytest.mark.parametrize("gzip", [True, False])
def test_no_cut_is_taken_for_whole(standin: StandIn, framing: str, *, gzip: bool) -> None:
    """Wherever a stream is cut, the reader gets an error, and before it only lines that were sent, in order."""
    whole = Answer(lines=LINES, gzip=gzip, framing=framing, chunk_bytes=1500)  # type: ignore[arg-type]
    standin.answers(whole)
    with client_of(standin, retry=NEVER) as client:
        assert read(client) == (LINES, None)
        size = sum(map(len, whole.wire(standin.requests[0])[1]))
        chance = random.Random(5)  # noqa: S311 -- a test, not a secret
        cuts = {0, 1, size - 1, size - 2, size - 5, size - 8} | {chance.randrange(size) for _ in range(CUTS)}
        for cut_at in sorted(cuts):
            standin.answers(
                Answer(lines=LINES, gzip=gzip, framing=framing, chunk_bytes=1500, cut_at=cut_at)  # type: ignore[arg-type]
            )
            got, error = read(client)
            assert isinstance(error, TruncatedStream), cut_at
            assert got == LINES[: len(got)]
            assert error.lines == len(got)
            assert error.body_bytes <= cut_at


def test_no_cut_of_gzip_without_framing_is_taken_for_whole(standin: StandIn) -> None:
    """Where only the connection ends the body, the trailer of gzip tells a cut from a whole."""
    standin.answers(Answer(lines=LINES, gzip=True, framing="close"))
    with client_of(standin, retry=NEVER) as client:
        assert read(client) == (LINES, None)
        for cut_at in range(-40, 0):
            standin.answers(Answer(lines=LINES, gzip=True, framing="close", cut_at=cut_at))
            got, error = read(client)
            assert isinstance(error, TruncatedStream)
            assert got == LINES[: len(got)]


def test_what_cannot_be_told_from_a_cut_is_not_taken(standin: StandIn) -> None:
    """Plain lines that only the connection ends are refused, unless the caller says that he bears it."""
    standin.answers(Answer(lines=LINES, framing="close"))

    with client_of(standin) as client:
        got, error = read(client)
    assert isinstance(error, UnexpectedResponse)
    assert got == []
    assert "accept_unframed" in str(error)
    with client_of(standin, accept_unframed=True) as client:
        assert read(client) == (LINES, None)


def test_a_cut_is_told_on_an_event_loop_too(standin: StandIn) -> None:
    """The asynchronous client raises the same, after the same lines, and waits by its own sleep."""
    sleeps = Sleeps()
    standin.answers(Answer(status=503), Answer(lines=LINES, chunk_bytes=1500, cut_at=-5))
    got: list[bytes] = []

    async def run() -> None:
        """Read until the cut."""
        async with AsyncClient(
            TRACKPOINT, "k", url=standin.url, ssl_context=PLAIN, sleep=sleeps.on_a_loop, jitter=lambda: 0.5
        ) as client:
            async for one in client.export_lines():
                got.append(one)  # noqa: PERF401 -- what came before an error counts

    with pytest.raises(TruncatedStream):
        asyncio.run(run())
    assert got == LINES
    assert sleeps == [0.75]


def test_a_last_line_without_its_end_is_a_cut(standin: StandIn) -> None:
    """A body that ends well but within a line, or without the last line feed, is no whole export."""
    for tail in (LINES[9], LINES[9][:50], b"{"):
        standin.answers(Answer(lines=LINES[:9], tail=tail))
        with client_of(standin) as client:
            got, error = read(client)
        assert isinstance(error, TruncatedStream)
        assert (got, error.lines) == (LINES[:9], 9)


def test_damaged_gzip_is_no_export(standin: StandIn) -> None:
    """A gzip stream with one wrong byte, or with something behind it, is an error, whatever its framing says."""
    packed = gzip_module.compress(body_of(LINES), 1, mtime=0)
    headers = {"Content-Encoding": "gzip"}
    for at in [*range(3), *range(10, len(packed) - 8, 97), *range(len(packed) - 8, len(packed))]:
        wrong = packed[:at] + bytes([packed[at] ^ 0x10]) + packed[at + 1 :]
        standin.answers(Answer(tail=wrong, headers=headers))
        with client_of(standin, retry=NEVER) as client:
            _, error = read(client)
        assert isinstance(error, IncompleteExport), at
    standin.answers(Answer(tail=packed + b"\nError: timeout\n", headers=headers))
    with client_of(standin, retry=NEVER) as client:
        assert isinstance(read(client)[1], TruncatedStream)


def test_gzip_of_several_members_is_read(standin: StandIn) -> None:
    """Several gzip members one behind the other are one export, as RFC 1952 has it."""
    packed = b"".join(gzip_module.compress(body_of(LINES[at : at + 100])) for at in range(0, 400, 100))
    standin.answers(Answer(tail=packed, headers={"Content-Encoding": "gzip"}, chunk_bytes=1000))
    with client_of(standin) as client:
        assert read(client) == (LINES, None)


ERROR_TEXTS = {
    "a text": b"terminated early\n",
    "a text without an end": b"terminated early",
    "an error object": b'{"error":"internal"}\n',
    "an error object without an end": b'{"exception":"Code: 241"}',
    "an array": b"[]\n",
    "null": b"null\n",
    "a page": b"<html><body>502 Bad Gateway</body></html>\n",
    "no UTF-8": b"\xff\xfe\n",
    "another shop": line(7, START) + b"\n",
    "an unknown status": line(TRACKPOINT, START, status="SENT") + b"\n",
    "two events on a line": LINES[0] + LINES[1] + b"\n",
    "an event on two lines": LINES[0].replace(b',"source"', b',\n"source"') + b"\n",
    "nested too deep": b"[" * 100_000 + b"\n",
    "endless": b"x" * 300_000,
    "endless blanks": b" " * 300_000,
}


@pytest.mark.parametrize("text", ERROR_TEXTS.values(), ids=ERROR_TEXTS)
@pytest.mark.parametrize("before", [0, 1, 250])
@pytest.mark.parametrize("after", [0, 5])
def test_an_error_text_within_an_export_is_told(standin: StandIn, text: bytes, before: int, after: int) -> None:
    """What is no event is an error with its number, and never skipped; the lines before it are given."""
    if after and not text.endswith(b"\n"):
        text += b"\n"
    standin.answers(Answer(lines=LINES[:before], tail=text + body_of(LINES[:after]), chunk_bytes=40_000))
    with client_of(standin) as client:
        got, error = read(client)

    assert got == LINES[:before]
    assert isinstance(error, BadLine)
    assert error.line == before + 1
    assert f"Line {before + 1}" in str(error)
    assert len(error.text) <= 120
    assert len(standin.requests) == 1


def test_an_error_text_cannot_steer_a_terminal(standin: StandIn) -> None:
    """What a foreign server sent is shown without control characters, on one line."""
    standin.answers(Answer(tail=b"\x1b[2J\x07boom\x00\xe2\x80\xae\n"))
    with client_of(standin) as client:
        _, error = read(client)
    assert isinstance(error, BadLine)
    assert error.text.startswith("[2J boom")
    assert str(error).isprintable()


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
    """Each status is the error of its kind, with what the server said, on either call, and without the key."""
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
    """An answer of another kind is an error that shows what it is, at once."""
    standin.answers(answer)
    with client_of(standin) as client:
        got, error = read(client)
    assert isinstance(error, UnexpectedResponse)
    assert said in str(error)
    assert got == []
    assert len(standin.requests) == 1


def test_what_passes_is_tried_again(standin: StandIn) -> None:
    """Before the first line all that may pass is waited for, longer each time, and then the export is whole."""
    standin.answers(
        Answer(drop=True),
        Answer(status=502, tail=b"<html>", content_type="text/html"),
        Answer(status=503),
        Answer(lines=LINES, cut_at=0),
        Answer(lines=LINES),
    )
    sleeps = Sleeps()
    with client_of(standin, sleeps) as client:
        assert read(client) == (LINES, None)
    assert sleeps == [1.0, 2.0, 4.0, 8.0]


def test_trying_again_ends(standin: StandIn) -> None:
    """After the last try the last error is raised; waits are bounded and shortened by chance, by half at most."""
    standin.answers(Answer(status=503))
    sleeps = Sleeps()
    policy = Retry(tries_max=8, first_wait_seconds=2, wait_max_seconds=10)
    with client_of(standin, sleeps, retry=policy, jitter=lambda: 1.0) as client:
        assert isinstance(read(client)[1], ServerUnavailable)
    assert sleeps == [1.0, 2.0, 4.0, 5.0, 5.0, 5.0, 5.0]
    assert len(standin.requests) == 8


@pytest.mark.parametrize(
    ("header", "wait", "told"),
    [
        ("7", 7.0, 7.0),
        ("0", 1.0, 0.0),
        (formatdate(NOW_MS / 1000 + 30, usegmt=True), 30.0, 30.0),
        (formatdate(NOW_MS / 1000 - 30, usegmt=True), 1.0, 0.0),
        ("soon", 1.0, None),
        ("-5", 1.0, None),
        ("300", 300.0, 300.0),
    ],
)
def test_retry_after_is_kept_to(standin: StandIn, header: str, wait: float, told: float | None) -> None:
    """Seconds and dates are waited for, no less than told; what is neither is as if it were not there."""
    standin.now_ms = lambda: NOW_MS
    standin.answers(Answer(status=429, headers={"Retry-After": header}), Answer(lines=LINES))
    sleeps = Sleeps()
    with client_of(standin, sleeps) as client:
        assert read(client) == (LINES, None)
    assert sleeps == [wait]

    standin.answers(Answer(status=429, headers={"Retry-After": header}))
    with client_of(standin, retry=NEVER) as client:
        error = read(client)[1]
    assert isinstance(error, RateLimited)
    assert error.retry_after_seconds == told


@pytest.mark.parametrize("header", ["301", "99999999999999999999", formatdate(NOW_MS / 1000 + 86400, usegmt=True)])
def test_a_long_retry_after_is_left_to_the_caller(standin: StandIn, header: str) -> None:
    """A wait over the cap is not slept through, nor cut short: the error says how long it is."""
    standin.now_ms = lambda: NOW_MS
    standin.answers(Answer(status=503, headers={"Retry-After": header}))
    sleeps = Sleeps()
    with client_of(standin, sleeps) as client:
        error = read(client)[1]
    assert isinstance(error, ServerUnavailable)
    assert error.retry_after_seconds is not None
    assert error.retry_after_seconds > 300
    assert (sleeps, len(standin.requests)) == ([], 1)


def test_what_was_begun_is_not_begun_again(standin: StandIn) -> None:
    """After the first line a cut is the caller's: nothing is asked again, so nothing comes twice."""
    standin.answers(Answer(lines=LINES, chunk_bytes=1500, cut_at=20_000), Answer(lines=LINES))
    sleeps = Sleeps()
    with client_of(standin, sleeps) as client:
        got, error = read(client)
    assert isinstance(error, TruncatedStream)
    assert 0 < len(got) < len(LINES)
    assert (sleeps, len(standin.requests)) == ([], 1)


def test_silence_is_bounded_and_the_whole_is_not(standin: StandIn) -> None:
    """A server that goes silent is left, before its answer and within it; one that only is slow is waited for."""
    standin.answers(Answer(lines=LINES, chunk_bytes=8000, pause_seconds=0.2))
    with client_of(standin, timeouts=Timeouts(silence_seconds=1.5)) as client:
        assert read(client) == (LINES, None)  # it takes longer than that in all

    standin.answers(Answer(lines=LINES, silent_at=30_000))
    with client_of(standin, timeouts=IMPATIENT) as client:
        got, error = read(client)
    assert isinstance(error, TruncatedStream)
    assert got == LINES[: len(got)] != []

    standin.answers(lambda _: Answer(drop=bool(threading.Event().wait(0.6)) or True))
    with client_of(standin, timeouts=IMPATIENT, retry=NEVER) as client:
        assert isinstance(read(client)[1], Unreachable)


def test_nobody_listens() -> None:
    """A server that is not there is tried again and then told, with its address."""
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
    """Give the port of a TLS server whose certificate nobody signed."""
    if shutil.which("openssl") is None:
        assert "CI" not in os.environ, "CI must have openssl"
        pytest.skip("openssl is not installed; `make test` installs it where it may")
    command = "openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=localhost -keyout key.pem -out cert.pem"
    subprocess.run(command.split(), cwd=tmp_path, check=True, capture_output=True, timeout=60)
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(tmp_path / "cert.pem", tmp_path / "key.pem")
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def accept() -> None:
            """Shake hands until the test is over."""
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
    """A server that cannot be trusted gets no key and no second try."""
    sleeps = Sleeps()
    with (
        Client(7, "sms_secret", url=f"https://localhost:{untrusted}", sleep=sleeps) as client,
        pytest.raises(Unreachable, match="not trusted") as caught,
    ):
        list(client.export())
    assert caught.value.permanent
    assert sleeps == []


def test_an_import_is_sent_again_as_it_was(standin: StandIn) -> None:
    """What passes is tried again with the same bytes, though the events could be read only once."""
    result = Answer(tail=b'{"received":400,"expired":0}', content_type="application/json")
    standin.answers(Answer(status=503, headers={"Retry-After": "2"}), Answer(drop=True), result)
    sleeps = Sleeps()
    with client_of(standin, sleeps) as client:
        assert client.import_events(iter(LINES)) == ImportResult(400, 0)
    assert sleeps == [2.0, 2.0]
    assert {gzip_module.decompress(request.body) for request in standin.requests} == {body_of(LINES)}
    assert {request.path for request in standin.requests} == {f"/shop/{TRACKPOINT}/import-sms-events"}


@pytest.mark.parametrize("tail", [b"", b"<html>", b'{"received":"x"}', b"\xff"])
def test_an_import_without_a_receipt_is_no_import(standin: StandIn, tail: bytes) -> None:
    """An answer 200 that is no receipt is an error: nobody said that the events are kept."""
    standin.answers(Answer(tail=tail, content_type="application/json"))
    with client_of(standin) as client, pytest.raises(UnexpectedResponse):
        client.import_events(LINES)


def test_refused_lines_are_named(server: Server) -> None:
    """A real server stores nothing of an import with bad lines, and the error has their numbers and reasons."""
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
    """A wrong key, another shop and a scope that is missing are told apart."""
    shop, other = server.shop(), server.shop(("export",))
    for key, kind in [("sms_wrong", Unauthorized), (other.key, Forbidden)]:
        with Client(shop.trackpoint, key, url=shop.base, ssl_context=PLAIN) as client, pytest.raises(kind):
            list(client.export())
    with Client(other.trackpoint, other.key, url=shop.base, ssl_context=PLAIN) as client:
        assert list(client.export()) == []
        with pytest.raises(Forbidden):
            client.import_events([])


def test_errors_have_one_root_and_can_be_sent_between_processes() -> None:
    """All errors are of one tree, which is of the package's tree, and survive a process pool."""
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
