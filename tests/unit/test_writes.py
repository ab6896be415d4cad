"""The one writer of a database: small writes share a commit, and large ones keep them waiting one at a time."""

from __future__ import annotations

import threading
from contextlib import closing
from typing import TYPE_CHECKING, Any

import pytest

from smsevents.catalog import Database, open_catalog
from smsevents.catalog.database import LARGE_WRITE_MIN_BYTES
from smsevents.errors import UnknownShop

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from concurrent.futures import Future

    from sqlalchemy import Connection

WAIT_MAX_SECONDS = 30


@pytest.fixture
def database(url: str) -> Iterator[Database]:
    """Yield a new database."""
    with closing(open_catalog(url)) as opened:
        yield opened


class Diary:
    """Writes that note when they ran."""

    def __init__(self) -> None:
        """Begin."""
        self.ran: list[str] = []

    def write(self, name: str) -> Callable[[Connection], str]:
        """Return a write with a name."""

        def run(_: Connection) -> str:
            self.ran.append(name)
            return name

        return run


class Held:
    """A write that lasts until it is let go."""

    def __init__(self) -> None:
        """Begin."""
        self.began, self.go_on = threading.Event(), threading.Event()

    def __call__(self, _: Connection) -> None:
        """Run."""
        self.began.set()
        assert self.go_on.wait(WAIT_MAX_SECONDS)


def test_small_writes_go_between_the_large_ones(database: Database) -> None:
    """Small writes wait for the large one that runs, and not for those that came before them and have not begun."""
    diary, first, large = Diary(), Held(), Held()
    waiting = [database.submit(first)]
    assert first.began.wait(WAIT_MAX_SECONDS)
    waiting.append(database.submit(large, LARGE_WRITE_MIN_BYTES))
    told = [database.submit(diary.write(f"large {number}"), LARGE_WRITE_MIN_BYTES) for number in range(3)]
    told += [database.submit(diary.write(f"small {number}"), LARGE_WRITE_MIN_BYTES - 1) for number in range(3)]
    first.go_on.set()
    assert large.began.wait(WAIT_MAX_SECONDS)
    told.append(database.submit(diary.write("small 3")))
    large.go_on.set()
    assert [one.result(WAIT_MAX_SECONDS) for one in told[:6]] == [
        f"{s} {n}" for s in ("large", "small") for n in range(3)
    ]
    assert told[6].result(WAIT_MAX_SECONDS) == "small 3"
    assert diary.ran == ["small 0", "small 1", "small 2", "small 3", "large 0", "large 1", "large 2"]
    assert [one.result() for one in waiting] == [None, None]


def test_medium_writes_share_a_transaction_after_the_small_ones(database: Database) -> None:
    """Medium writes that wait have one commit as long as they are not large together, and small ones come first."""
    diary, first = Diary(), Held()
    transactions: list[object] = []

    def medium(connection: Connection) -> None:
        transactions.append(connection.get_transaction())

    database.submit(first)
    assert first.began.wait(WAIT_MAX_SECONDS)
    told: list[Future[Any]] = [database.submit(medium, LARGE_WRITE_MIN_BYTES * 2 // 5, medium=True) for _ in range(4)]
    told.append(database.submit(diary.write("small"), 1))
    told[-1].add_done_callback(lambda _: diary.ran.append(f"{len(transactions)} before"))
    first.go_on.set()
    for one in told:
        one.result(WAIT_MAX_SECONDS)
    assert diary.ran == ["small", "0 before"]
    assert [transactions.count(one) for one in dict.fromkeys(transactions)] == [2, 2]


def test_a_large_write_that_is_refused_takes_no_other_with_it(database: Database) -> None:
    """The error of a large write is its caller's alone, and what waits after it is written."""

    def refuse(_: Connection) -> None:
        raise UnknownShop("There is no shop 7.")

    diary, first = Diary(), Held()
    database.submit(first)
    refused = database.submit(refuse, LARGE_WRITE_MIN_BYTES)
    others = [database.submit(diary.write(name), size) for name, size in (("a", LARGE_WRITE_MIN_BYTES), ("b", 0))]
    first.go_on.set()
    with pytest.raises(UnknownShop):
        refused.result(WAIT_MAX_SECONDS)
    assert [one.result(WAIT_MAX_SECONDS) for one in others] == ["a", "b"]


def test_closing_writes_what_waits_large_and_small(url: str) -> None:
    """A close waits until every write that was handed in is done."""
    diary, first = Diary(), Held()
    database = open_catalog(url)
    database.submit(first)
    assert first.began.wait(WAIT_MAX_SECONDS)
    for number in range(6):
        database.submit(diary.write(str(number)), LARGE_WRITE_MIN_BYTES * (number % 2))
    closer = threading.Thread(target=database.close)
    closer.start()
    first.go_on.set()
    closer.join(WAIT_MAX_SECONDS)
    assert not closer.is_alive()
    assert sorted(diary.ran) == [str(number) for number in range(6)]
