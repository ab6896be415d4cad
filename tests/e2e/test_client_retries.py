"""What the client retries, how long it waits first, and what it leaves to its caller."""

from __future__ import annotations

import gzip as gzip_module
import threading
from email.utils import formatdate

import pytest

from smsevents.client import (
    NEVER,
    ImportResult,
    RateLimited,
    Retry,
    ServerUnavailable,
    Timeouts,
    TruncatedStream,
    Unreachable,
)
from tests.support.client_reads import LINES, NOW_MS, TRACKPOINT, Sleeps, client_of, read
from tests.support.lines import body_of
from tests.support.standin import Answer, StandIn

IMPATIENT = Timeouts(connect_seconds=5, silence_seconds=0.2)


def test_what_passes_is_tried_again(standin: StandIn) -> None:
    """Before the first line, temporary failures are retried with growing waits, and then the export is complete."""
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
    """After the last attempt the last error is raised; waits are bounded, and jitter shortens them by at most half."""
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
    """`Retry-After` in seconds or as a date is waited out in full; any other value is ignored."""
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
    """A wait over the limit is neither waited out nor shortened: the error says how long it is."""
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
    """After the first line, a truncation is left to the caller: nothing is requested or returned twice."""
    standin.answers(Answer(lines=LINES, chunk_bytes=1500, cut_at=20_000), Answer(lines=LINES))
    sleeps = Sleeps()
    with client_of(standin, sleeps) as client:
        got, error = read(client)
    assert isinstance(error, TruncatedStream)
    assert 0 < len(got) < len(LINES)
    assert (sleeps, len(standin.requests)) == ([], 1)


def test_silence_is_bounded_and_the_whole_is_not(standin: StandIn) -> None:
    """A server that goes silent before or within its response is given up; one that is merely slow is waited for."""
    standin.answers(Answer(lines=LINES, chunk_bytes=8000, pause_seconds=0.2))
    with client_of(standin, timeouts=Timeouts(silence_seconds=1.5)) as client:
        assert read(client) == (LINES, None)  # the whole response takes longer than that

    standin.answers(Answer(lines=LINES, silent_at=30_000))
    with client_of(standin, timeouts=IMPATIENT) as client:
        got, error = read(client)
    assert isinstance(error, TruncatedStream)
    assert got == LINES[: len(got)] != []

    standin.answers(lambda _: Answer(drop=bool(threading.Event().wait(0.6)) or True))
    with client_of(standin, timeouts=IMPATIENT, retry=NEVER) as client:
        assert isinstance(read(client)[1], Unreachable)


def test_an_import_is_sent_again_as_it_was(standin: StandIn) -> None:
    """After a temporary failure the same bytes are sent again, even if the events could be read only once."""
    result = Answer(tail=b'{"received":400,"expired":0}', content_type="application/json")
    standin.answers(Answer(status=503, headers={"Retry-After": "2"}), Answer(drop=True), result)
    sleeps = Sleeps()
    with client_of(standin, sleeps) as client:
        assert client.import_events(iter(LINES)) == ImportResult(400, 0)
    assert sleeps == [2.0, 2.0]
    assert {gzip_module.decompress(request.body) for request in standin.requests} == {body_of(LINES)}
    assert {request.path for request in standin.requests} == {f"/shop/{TRACKPOINT}/import-sms-events"}
