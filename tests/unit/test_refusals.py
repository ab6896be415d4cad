"""What is sent instead of lines of events is named, in the words of the place that it comes from."""

from __future__ import annotations

import bz2
import gzip
import json
import lzma
import zipfile
import zlib
from io import BytesIO
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from smsevents.errors import InvalidLines, InvalidRequest
from smsevents.log.refusals import BODY, FILE, Origin
from smsevents.wire.events import STATUSES, NotAnEvent, NotJson, decode
from smsevents.wire.file_formats import START_MAX_BYTES, format_of
from smsevents.wire.reasons import nearest, shown
from tests.support.ingests import ingesting
from tests.support.lines import body_of, line

if TYPE_CHECKING:
    from smsevents.log.ingest import Ingest

NOW = 1_790_000_000_000
LINES = body_of(line(7, NOW - number, user=f"user {number}") for number in range(50))
GZIP = gzip.compress(LINES, mtime=0)


def zipped() -> bytes:
    """Return a zip archive with the lines in it."""
    out = BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("events.jsonl", LINES)
    return out.getvalue()


FORM = b'--x1\r\nContent-Disposition: form-data; name="file"; filename="e.jsonl"\r\n\r\n' + LINES + b"--x1--\r\n"
SENT = {
    "UTF-16": (LINES.decode().encode("utf-16"), "UTF-16"),
    "UTF-16 without a mark": (LINES.decode().encode("utf-16-le"), "UTF-16"),
    "big-endian UTF-16": (LINES.decode().encode("utf-16-be"), "UTF-16"),
    "UTF-32": (LINES.decode().encode("utf-32"), "UTF-32"),
    "zip": (zipped(), "a zip archive"),
    "zstd": (b"\x28\xb5\x2f\xfd" + LINES, "zstd"),
    "bzip2": (bz2.compress(LINES), "bzip2"),
    "xz": (lzma.compress(LINES), "xz"),
    "zlib": (zlib.compress(LINES), "zlib"),
    "Parquet": (b"PAR1" + bytes(100), "Parquet"),
    "form with a file": (FORM, "multipart/form-data"),
    "percent-encoded": (b"%7B%22smsEvent%22%3A", "percent-encoded"),
    "HTML": (b"\n<!doctype html><title>502 Bad Gateway</title>\n", "HTML"),
    "CSV": (b"trackpoint,user_id,status\n7,1,DELIVERED\n", "CSV"),
}


def feed_all(ingest: Ingest, body: bytes, size: int) -> None:
    """Feed a body to its end, in parts of a size."""
    for start in range(0, len(body), size):
        ingest.feed(body[start : start + size])
    ingest.finish()


def refusal_of(body: bytes, *, inflate: bool = False, origin: Origin = BODY, size: int = 1 << 20) -> InvalidRequest:
    """Take in a body that must be refused. Return the refusal. Nothing is handed on."""
    with ingesting(7, NOW, gzip=inflate, lines_max_mib=64, origin=origin) as ingest:
        with pytest.raises(InvalidRequest) as refusal:
            feed_all(ingest, body, size)
        assert list(ingest.segments()) == []
    assert "Nothing was stored" in str(refusal.value)
    return refusal.value


@pytest.mark.parametrize("size", [1, 1 << 20])
@pytest.mark.parametrize("origin", [BODY, FILE])
@pytest.mark.parametrize(("body", "name"), SENT.values(), ids=SENT)
def test_another_format_is_named(body: bytes, name: str, origin: Origin, size: int) -> None:
    """What a tool made of the lines is named instead of its first bad byte, wherever it comes from, in any chunking."""
    refusal = refusal_of(body, origin=origin, size=size)

    assert not isinstance(refusal, InvalidLines)
    assert name in str(refusal)
    assert f"The {origin.name} is" in str(refusal)


@pytest.mark.parametrize(("body", "name"), SENT.values(), ids=SENT)
def test_another_format_within_gzip_is_named(body: bytes, name: str) -> None:
    """What gzip holds instead of lines is named too."""
    assert name in str(refusal_of(gzip.compress(body), inflate=True))


@pytest.mark.parametrize("size", [1, 1 << 20])
def test_gzip_that_was_not_announced_is_named(size: int) -> None:
    """A gzip body without its header is refused with the header to send."""
    assert "is gzip; send it with the header Content-Encoding: gzip" in str(refusal_of(GZIP, size=size))


@pytest.mark.parametrize("origin", [BODY, FILE])
def test_gzip_within_gzip_is_named(origin: Origin) -> None:
    """Lines that were compressed twice are refused as that."""
    assert "compressed with gzip twice" in str(refusal_of(gzip.compress(GZIP), inflate=True, origin=origin))


@pytest.mark.parametrize("size", [1, 7, 1 << 20])
@pytest.mark.parametrize(
    ("body", "told"),
    [
        (GZIP[:-8] + bytes(4) + GZIP[-4:], "its checksum does not match"),
        (GZIP[:-4] + bytes(4), "its checksum does not match"),
        (GZIP[:-1], "truncated"),
        (GZIP[:1], "truncated"),
        (GZIP + b"\0\0\0", "other bytes follow its end"),
        (GZIP + LINES, "other bytes follow its end"),
        (LINES, "is not gzip: it does not begin as gzip"),
        (b"{", "is not gzip: it does not begin as gzip"),
    ],
)
def test_broken_gzip_is_told_apart(body: bytes, told: str, size: int) -> None:
    """A wrong checksum, a truncated stream, bytes after the end and no gzip at all have different messages."""
    assert told in str(refusal_of(body, inflate=True, size=size))


@pytest.mark.parametrize(
    "body", [gzip.compress(GZIP, mtime=0), GZIP[:-1], b"{}\n{}", *(body for body, _ in SENT.values())]
)
def test_each_place_has_its_own_words(body: bytes) -> None:
    """A message for a command's file does not mention headers or bodies, and one for a request no options or files."""
    inflate = body.startswith(b"\x1f\x8b")
    of_file = str(refusal_of(body, inflate=inflate, origin=FILE))
    of_body = str(refusal_of(body, inflate=inflate, origin=BODY))

    assert not any(word in of_file for word in ("Content-Encoding", "header", "body", "`errors`"))
    assert not any(word in of_body for word in ("--", "option", "below"))


@given(start=st.binary(max_size=START_MAX_BYTES))
def test_any_bytes_are_known_or_not(start: bytes) -> None:
    """Whatever bytes come first, they are named or not, without an error; lines of events are never named."""
    found = format_of(start)
    assert found is None or found
    assert format_of(LINES[: len(start)] if len(start) != 1 else b"{") is None


def status(name: str) -> bytes:
    """Return a line with a status."""
    return line(7, NOW, status=name)


@pytest.mark.parametrize(
    ("sent", "meant"),
    [
        ("DELIVRD", "DELIVERED"),
        ("delivered", "DELIVERED"),
        ("Delivered ", "DELIVERED"),
        ("UNDELIV", "UNDELIVERABLE"),
        ("REJECTD", "REJECTED"),
        ("ACCEPTD", "ACCEPTED"),
        ("EXPIRD", "EXPIRED"),
    ],
)
def test_a_misspelt_status_is_told_what_was_meant(sent: str, meant: str) -> None:
    """An unknown status is refused with the nearest one and with all that there are."""
    with pytest.raises(NotAnEvent) as refusal:
        decode(status(sent))
    assert f"did you mean {meant}?" in str(refusal.value)
    assert all(name in str(refusal.value) for name in STATUSES)


def test_a_status_like_no_other_lists_all() -> None:
    """A status that is like no other is refused with all that there are, without a guess."""
    with pytest.raises(NotAnEvent) as refusal:
        decode(status("42"))
    assert "did you mean" not in str(refusal.value)
    assert all(name in str(refusal.value) for name in STATUSES)


GOOD = line(7, NOW, node="VIP")


@pytest.mark.parametrize(
    ("sent", "told"),
    [
        (GOOD.replace(b'"flow"', b'"Flow"'), "did you mean flow?"),
        (GOOD.replace(b'"flow"', b'"oneoff"'), "did you mean one-off?"),
        (GOOD.replace(b'"userId"', b'"userID"'), "did you mean userId?"),
        (GOOD.replace(b'"sendDate"', b'"senddate"'), "did you mean sendDate?"),
        (b"[" + GOOD + b"]", "give each object a line of its own"),
        (GOOD.replace(str(NOW).encode(), b"1.79e12"), "write an integer"),
        (GOOD.replace(str(NOW).encode(), b"1790000000000.0"), "write an integer"),
        (json.dumps({"type": "about:blank", "title": "Forbidden", "status": 403}).encode(), "the error of a server"),
    ],
)
def test_a_near_miss_is_told_what_was_meant(sent: bytes, told: str) -> None:
    """A wrong name, an array, a float and a saved error are refused with what would be right."""
    with pytest.raises(NotAnEvent) as refusal:
        decode(sent)
    assert told in str(refusal.value)


def test_two_objects_on_a_line_are_told() -> None:
    """Lines that lost their line feeds, as `curl -d` takes them out, are refused as more than one on a line."""
    with pytest.raises(NotJson, match="a line holds one object"):
        decode(GOOD + GOOD)


def test_an_object_on_several_lines_is_told() -> None:
    """An object that is spread over lines, as `jq .` prints it, is refused with what a line must be."""
    refusal = refusal_of(json.dumps(json.loads(GOOD), indent=2).encode())
    assert "Line 1: not JSON: input data was truncated; an object begins and ends on one line" in str(refusal)


def test_what_was_sent_is_shown_short_and_harmless() -> None:
    """A value that is quoted in a refusal is shortened, and its control characters are escaped."""
    with pytest.raises(NotAnEvent) as refusal:
        decode(status("\x1b[2J" + "x" * 5000))
    assert len(str(refusal.value)) < 500
    assert "\x1b" not in str(refusal.value)
    assert "at `$.smsEvent.status`" in str(refusal.value)


@given(text=st.text())
def test_anything_can_be_shown(text: str) -> None:
    """Any text is shown with printable characters only, and a short printable one as it is."""
    assert shown(text).isprintable()
    if text.isprintable() and len(text) <= 280:
        assert shown(text) == text


@given(name=st.sampled_from(STATUSES))
def test_a_name_is_nearest_to_itself(name: str) -> None:
    """Each name is the nearest to itself, in any case of its letters."""
    assert nearest(name, STATUSES) == nearest(name.lower(), STATUSES) == name
