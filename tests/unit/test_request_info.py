"""What the log learns of a request: who, why, and nothing of what was sent."""

from __future__ import annotations

import json
import logging
from typing import TYPE_CHECKING, Any

import pytest
import structlog
from hypothesis import given
from hypothesis import strategies as st

from smsevents.errors import InvalidLines, InvalidRequest, RefusedLine, SmsEventsError, TooManyAtOnce, Unauthorized
from smsevents.logging_config import configure_logging
from smsevents.networks import parse_networks
from smsevents.web.request_info import RequestInfo, begin_info, info_of

if TYPE_CHECKING:
    from collections.abc import Iterator

TRUSTED = parse_networks("X", "10.0.0.0/8")


def scope(*headers: tuple[str, str], peer: str | None = "10.0.0.1") -> dict[str, Any]:
    """Return what the server reports about a request."""
    return {
        "client": None if peer is None else (peer, 4711),
        "headers": [(name.encode(), value.encode()) for name, value in headers],
    }


def test_an_id_of_a_trusted_proxy_is_taken_over() -> None:
    """An id from a trusted proxy is kept, so that both logs name the request alike."""
    asked = scope(("x-request-id", "f00-BA4:7/x+=@._"), ("x-forwarded-for", "198.51.100.7"))
    note = begin_info(asked, TRUSTED)
    assert (note.request_id, note.client) == ("f00-BA4:7/x+=@._", "198.51.100.7")
    assert info_of(asked) is note


@pytest.mark.parametrize("given_id", ["", "a b", "a\x1b[31m", 'a"b', "ä", "x" * 129, "-x"])
def test_an_id_that_could_be_more_than_an_id_is_replaced(given_id: str) -> None:
    """What is not an id, and any id from somebody who is not trusted, is replaced by one of our own."""
    made = begin_info(scope(("x-request-id", given_id)), TRUSTED).request_id
    assert made != given_id
    assert len(made) == 16
    assert begin_info(scope(("x-request-id", "good"), peer="192.0.2.1"), TRUSTED).request_id != "good"
    assert begin_info(scope(("x-request-id", "good")), ()).request_id != "good"
    assert begin_info(scope(peer=None), TRUSTED).client is None


@pytest.mark.parametrize(
    ("error", "reason", "detail"),
    [
        (
            Unauthorized("The API key f6c4 was revoked. Send one."),
            "unauthorized",
            "The API key f6c4 was revoked. Send one.",
        ),
        (TooManyAtOnce("The server's places are taken."), "too_many_at_once", "The server's places are taken."),
        (InvalidRequest("unknown field `u1 o'x`"), "invalid_request", "unknown field …"),
        (InvalidRequest("'u1' is not a trackpoint"), "invalid_request", "…"),
        (
            InvalidLines([RefusedLine(3, "`userId` u1"), RefusedLine(7, "u1")], malformed=False, more=True),
            "invalid_lines",
            "lines 3, 7 and perhaps more",
        ),
    ],
)
def test_a_refusal_has_a_reason_without_what_was_sent(error: SmsEventsError, reason: str, detail: str) -> None:
    """The reason is the kind of the error; the detail ends where the client's own words begin."""
    note = RequestInfo("id", None)
    note.refused(error)
    assert (note.reason, note.detail) == (reason, detail)


@given(sent=st.text(min_size=1))
def test_no_text_of_a_client_is_noted(sent: str) -> None:
    """Whatever a client sent, quoted in any of our ways, the detail is the same."""
    for quoted in (f"`{sent}`", repr(sent), f'"{sent}"'):
        note = RequestInfo("id", None)
        note.refused(InvalidRequest(f"Object contains unknown field {quoted}, at {sent}"))
        assert note.detail == "Object contains unknown field …"


@pytest.fixture
def logging_as_before() -> Iterator[None]:
    """Put the loggers back as they were."""
    root, server = logging.getLogger(), logging.getLogger("uvicorn.error")
    before = root.handlers[:], root.level, server.filters[:]
    yield
    root.handlers[:], root.level, server.filters[:] = before[0], before[1], before[2]
    structlog.reset_defaults()


@pytest.mark.usefixtures("logging_as_before")
@pytest.mark.parametrize("log_format", ["json", "console"])
def test_control_characters_are_written_as_escapes(capsys: pytest.CaptureFixture[str], log_format: str) -> None:
    """No text, ours or the HTTP server's, can begin a line of its own, colour a terminal or turn its direction."""
    configure_logging(log_format)
    hostile = "a\x1b[31m\r\nb\u2028c\u202ed\x9be"
    structlog.get_logger().info("said", text=hostile)
    logging.getLogger("uvicorn.error").warning("said %s", hostile)
    written = capsys.readouterr().err
    assert written.count("\n") == 2
    for character in "\r\u2028\u202e\x9b":
        assert character not in written
    if log_format == "json":
        assert "\x1b" not in written
        assert json.loads(written.splitlines()[0])["text"] == "a\\u001b[31m\\u000d\\u000ab\\u2028c\\u202ed\\u009be"
    assert "\x1b[31m\\" not in written


@pytest.mark.usefixtures("logging_as_before")
@pytest.mark.parametrize(("level", "said"), [("debug", 4), ("info", 3), ("warning", 2), ("error", 1)])
def test_the_level_is_the_least_that_is_logged(capsys: pytest.CaptureFixture[str], level: str, said: int) -> None:
    """Of one line at each level those from the level on are logged."""
    configure_logging("json", level)
    log = structlog.get_logger()
    for name in ("debug", "info", "warning", "error"):
        getattr(log, name)("said")
    assert capsys.readouterr().err.count("said") == said
