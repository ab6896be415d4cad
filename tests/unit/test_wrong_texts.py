"""What a person sends by mistake is named as what it is: tables, arrays, texts within texts, names of no characters."""

from __future__ import annotations

import base64
import gzip
import json
from typing import TYPE_CHECKING

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from smsevents.accounts.access import Access
from smsevents.catalog import open_catalog
from smsevents.errors import InvalidRequest, TimeInDoubt
from smsevents.log.plausible import decode_possible, why_impossible
from smsevents.log.refusals import FILE
from smsevents.wire.events import NotAnEvent, NotJson, decode
from smsevents.wire.file_formats import format_of
from tests.support.ingests import ingesting
from tests.support.lines import line

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from smsevents.catalog import Database

NOW = 1_790_000_000_000
GOOD = line(7, NOW)
OBJECT = json.loads(GOOD)
DAY_MS = 24 * 60 * 60 * 1000


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    """Open a new database."""
    database = open_catalog(f"sqlite:///{tmp_path / 'log.db'}")
    yield database
    database.close()


@pytest.mark.parametrize(
    ("start", "named"),
    [
        (b"user_id,status,date\n1,DELIVERED,1\n", "CSV"),
        (b'"user id";"status"\r\n"1";"DELIVERED"\r\n', "CSV"),
        (b"\xef\xbb\xbfuser\tstatus\n", "CSV"),
        (json.dumps([OBJECT], indent=2).encode(), "a JSON array"),
        (b"[\n" + GOOD + b",\n" + GOOD + b"\n]\n", "a JSON array"),
        (base64.b64encode(gzip.compress(GOOD, mtime=0)), "base64"),
        (base64.encodebytes(GOOD), "base64"),
    ],
)
def test_tables_arrays_and_base64_are_named(start: bytes, named: str) -> None:
    """A table, an array that is spread over lines, and base64 are named as what they are."""
    assert named in str(format_of(start))


@pytest.mark.parametrize("start", [GOOD, b"{", b"[]", b"", b"nonsense\n", b"curl: (7) Failed to connect\n", b"1, 2"])
def test_other_text_is_not_taken_for_a_table(start: bytes) -> None:
    """Lines of JSON and texts without columns are not taken for tables, arrays or base64."""
    assert format_of(start) is None


@pytest.mark.parametrize(
    ("sent", "told"),
    [
        (json.dumps(OBJECT["smsEvent"]).encode(), "unknown field `trackpoint`; it does not belong there"),
        (json.dumps(json.dumps(OBJECT)).encode(), "leave out the quotes around the object"),
    ],
)
def test_what_is_right_elsewhere_is_not_a_misspelling(sent: bytes, told: str) -> None:
    """A known name at a wrong place, and an object within quotes, are refused with what is wrong about them."""
    with pytest.raises(NotAnEvent) as refusal:
        decode(sent)
    assert told in str(refusal.value)
    assert "did you mean" not in str(refusal.value)


def test_a_dictionary_of_python_is_told_about_quotes() -> None:
    """An object with single quotes, as Python prints it, is refused with the quotes that JSON has."""
    with pytest.raises(NotJson, match="double quotes"):
        decode(str(OBJECT).encode())


@pytest.mark.parametrize("user", ["\u3164", "\u2800", "\u115f\u1160", "\ufe0f", "\U000e0101", "\u034f \u200b"])
def test_a_user_id_of_fillers_is_blank(user: str) -> None:
    """A user id of characters that show nothing, whatever their category, is as impossible as one of spaces."""
    text = line(7, NOW, user=user)

    assert "blank" in str(why_impossible(decode(text)[0]))
    assert decode_possible(text + b"\n") is None


@given(users=st.lists(st.text(st.characters(codec="utf-8"), min_size=1, max_size=4), min_size=1, max_size=5))
@example(users=['"', "\\", " a"])
@example(users=["a", " ", "\x7f"])
@example(users=["a b", "\x01"])
def test_a_block_is_taken_at_once_only_if_each_user_can_be_seen(users: list[str]) -> None:
    """A block of lines is possible if and only if each of its lines is."""
    lines = [line(7, NOW, user=user) for user in users]
    canonical = [decode(one)[1] for one in lines]
    is_possible = all(why_impossible(decode(one)[0]) is None for one in lines)

    assert (decode_possible(b"".join(one + b"\n" for one in canonical)) is not None) == is_possible


@pytest.mark.parametrize("text", ["\udcff", "x" * 1025])
def test_names_that_cannot_be_kept_are_refused(database: Database, text: str) -> None:
    """A name or label that is not UTF-8, or far too long, is refused with a reason, and nothing is stored."""
    access = Access(database)
    access.add_shop(1, "x" * 1024)

    with pytest.raises(InvalidRequest, match="name of the shop"):
        access.add_shop(2, text)
    with pytest.raises(InvalidRequest, match="label"):
        access.create_key(1, ["export"], label=text)

    assert [shop.trackpoint for shop in access.shops()] == [1]
    assert access.keys(1) == []


def test_who_runs_the_command_is_not_sent_to_the_operator() -> None:
    """A file of the future, by a clock in doubt, is refused with what the one who runs the command can do."""
    with ingesting(7, NOW - 100 * DAY_MS, gzip=False, lines_max_mib=1, origin=FILE, in_doubt=True) as ingest:
        ingest.feed(GOOD + b"\n")
        with pytest.raises(TimeInDoubt) as refusal:
            ingest.finish()

    assert "this machine's clock" in str(refusal.value)
    assert "smsevents expire --force" in str(refusal.value)
    assert "operator" not in str(refusal.value)
