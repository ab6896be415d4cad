"""Writes that are joined: one call for all that wait, and one that is refused takes no other with it."""

from __future__ import annotations

from concurrent.futures import Future
from contextlib import closing
from typing import TYPE_CHECKING

import pytest

from smsevents.catalog import Database, open_catalog
from smsevents.catalog.shops import Shop, all_shops, insert_shop
from smsevents.errors import StoreUnavailable, UnknownShop
from tests.unit.test_joining import WAIT_MAX_SECONDS, held_writer

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from contextlib import ExitStack

    from sqlalchemy import Connection


class Adding:
    """Adds shops, by joined writes. One with a number that is divisible by 3 is refused, one by 5 raises."""

    def __init__(self, database: Database) -> None:
        """Add to a database."""
        self.database = database
        self.calls: list[list[int]] = []
        self.committed: list[bool] = []

    def submit(self, number: int) -> Future[None]:
        """Hand in one shop."""
        outcome: Future[None] = Future()
        self.database.submit_joined(self._add, number, outcome)
        return outcome

    def _add(self, connection: Connection, numbers: Sequence[int], held: ExitStack) -> list[Exception | None]:
        self.calls.append(list(numbers))
        held.push(lambda kind, *_: self.committed.append(kind is None))
        for number in numbers:
            if number % 3:
                insert_shop(connection, Shop(number, "", 1))
            if number % 5 == 0:
                raise ValueError(number)
        return [None if number % 3 else UnknownShop(f"There is no shop {number}.") for number in numbers]

    @property
    def shops(self) -> list[int]:
        """The shops that there are."""
        with self.database.read() as connection:
            return [shop.trackpoint for shop in all_shops(connection)]


@pytest.fixture
def adding(url: str) -> Iterator[Adding]:
    """Yield joined writes into a new database."""
    with closing(open_catalog(url)) as database:
        yield Adding(database)


def told(waiting: Sequence[Future[None]]) -> list[type[BaseException] | None]:
    """Return the kinds of errors that writes ended with."""
    errors = [one.exception(WAIT_MAX_SECONDS) for one in waiting]
    return [None if error is None else type(error) for error in errors]


def test_all_that_wait_are_one_call(adding: Adding) -> None:
    """Items that wait for the same commit are written by one call, which refuses some of them without an error."""
    with held_writer(adding.database):
        waiting = [adding.submit(number) for number in (1, 2, 3, 4)]
        other = adding.database.submit(lambda connection: insert_shop(connection, Shop(7, "", 1)))
    assert told(waiting) == [None, None, UnknownShop, None]
    other.result(WAIT_MAX_SECONDS)
    assert adding.calls == [[1, 2, 3, 4]]
    assert adding.committed == [True]
    assert adding.shops == [1, 2, 4, 7]


def test_an_item_that_raises_takes_no_other_with_it(adding: Adding) -> None:
    """If the call raises, nothing of it stays, and then each item is written by itself: only that one is refused."""
    with held_writer(adding.database):
        waiting = [adding.submit(number) for number in (1, 5, 3, 2)]
        other = adding.database.submit(lambda connection: insert_shop(connection, Shop(7, "", 1)))
    assert told(waiting) == [None, ValueError, UnknownShop, None]
    other.result(WAIT_MAX_SECONDS)
    assert adding.calls == [[1, 5, 3, 2], [1], [5], [3], [2]]
    assert adding.committed == [False, True, True, True, True]
    assert adding.shops == [1, 2, 7]


def test_an_error_of_the_database_refuses_all(adding: Adding) -> None:
    """If the database refuses a statement, nothing of the transaction is stored, and every caller is told."""
    adding.submit(1).result(WAIT_MAX_SECONDS)
    with held_writer(adding.database):
        waiting = [adding.submit(number) for number in (2, 1, 4)]  # the second one exists
    assert told(waiting) == [StoreUnavailable] * 3
    assert adding.committed == [True, False]
    assert adding.shops == [1]
    adding.submit(2).result(WAIT_MAX_SECONDS)
    assert adding.shops == [1, 2]
