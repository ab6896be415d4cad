"""Counting for several shops at the same time, and for clients that go away."""

from __future__ import annotations

import asyncio
import threading
from typing import TYPE_CHECKING, Any

import pytest

from smsevents.errors import ClientGone
from smsevents.stats.events import EventCounts
from smsevents.web import statistics
from tests.support.servers import add_shop
from tests.support.statistics_app import WAIT_MAX_SECONDS, Client, statistics_app

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from smsevents.stats.question import Question
    from smsevents.web.request_log import RequestLog

KINDS = {"": "count_events", "/delivery-time": "count_deliveries", "/messages": "count_messages"}


@pytest.fixture
def app(url: str) -> Iterator[RequestLog]:
    """Yield the paths of statistics."""
    with statistics_app(url) as (app, _):
        yield app


@pytest.mark.parametrize("kind", KINDS)
def test_a_count_ends_when_its_client_leaves(
    app: RequestLog, url: str, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    """A count that never ends by itself ends when the client closes the connection, and its thread serves the next."""
    shop = add_shop(url, 1, ("stats",))
    begun, ended = threading.Event(), threading.Event()

    def count(_database: object, _shop: int, _question: Question, check: Callable[[], None]) -> Any:
        begun.set()
        try:
            while True:
                check()
        except ClientGone:
            ended.set()
            raise

    async def leave() -> None:
        """Ask, go away, and ask again."""
        client = Client(app, shop, kind)
        running = asyncio.create_task(client.run())
        assert await asyncio.to_thread(begun.wait, WAIT_MAX_SECONDS)
        client.leaves.set()
        await running
        assert await asyncio.to_thread(ended.wait, WAIT_MAX_SECONDS)
        monkeypatch.undo()
        assert await Client(app, shop, kind).run() == 200

    monkeypatch.setattr(statistics, KINDS[kind], count)
    asyncio.run(leave())


def test_long_counts_of_one_shop_leave_a_thread_for_the_others(
    app: RequestLog, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While a shop counts for long, and asks for more, another shop has its numbers."""
    slow, other = add_shop(url, 1, ("stats",)), add_shop(url, 2, ("stats",))
    begun, goes_on = threading.Semaphore(0), threading.Event()

    def count(_database: object, shop: int, question: Question, _check: object) -> EventCounts:
        if shop == slow.trackpoint:
            begun.release()
            assert goes_on.wait(WAIT_MAX_SECONDS)
        return EventCounts(question)

    async def ask() -> list[int]:
        """Ask for the numbers of both shops."""
        waiting = [asyncio.create_task(Client(app, slow).run()) for _ in range(3)]
        assert await asyncio.to_thread(begun.acquire, timeout=WAIT_MAX_SECONDS)
        first = await Client(app, other).run()
        assert not any(one.done() for one in waiting)
        goes_on.set()
        return [first, *await asyncio.gather(*waiting)]

    monkeypatch.setattr(statistics, "count_events", count)
    assert asyncio.run(ask()) == [200] * 4
