"""ETags of statistics: everything that changes the numbers changes them, and nothing else does."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from smsevents.wire.limits import DAY_MS, HOUR_MS
from tests.support.servers import Shop, add_shop
from tests.support.statistics_app import Client, statistics_app

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

NOW = 1_795_614_300_000  # 2026-11-25T13:45Z, the start of a quarter of an hour
KINDS = ["", "/delivery-time", "/messages"]


@pytest.fixture
def ask(url: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str, str, int], str]]:
    """Yield a function that asks for a kind, with a query, some time after NOW, and returns the ETag.

    The same question with that ETag has 304.
    """
    with statistics_app(url) as (app, state):
        shop: Shop = add_shop(url, 1, ("stats",))

        def ask(kind: str, query: str = "", after_ms: int = 0) -> str:
            monkeypatch.setattr(state.log, "now", lambda: NOW + after_ms)
            first = Client(app, shop, kind, query)
            assert asyncio.run(first.run()) == 200
            tag = first.headers["etag"]
            assert asyncio.run(Client(app, shop, kind, query, tag).run()) == 304
            return tag

        yield ask


DAY = f"from={NOW - DAY_MS}&to={NOW + DAY_MS}"


@pytest.mark.parametrize("kind", KINDS)
def test_each_parameter_has_an_etag_of_its_own(ask: Callable[..., str], kind: str) -> None:
    """No two questions that may have different numbers share an ETag."""
    queries = ["", "&at=send", "&at=event", "&tz=Europe/Prague", "&format=csv", "&type=flow", "&type=one-off"]
    queries += ["&status=DELIVERED", "&status=EXPIRED", "&campaign=a", "&campaign=b", "&node=a", "&node=b"]
    queries += ["&campaign=a&node=b", "&campaign=a&campaign=b"]
    queries += ["&step=1d", "&step=1h", "&by=campaign", "&by=node", "&by=campaign&top=1", "&by=campaign&top=2"]
    tags = {ask(kind, DAY + query) for query in queries}
    default = 1  # one of the two axes is the default
    assert len(tags) == len(queries) - default
    assert ask(kind, f"from={NOW - DAY_MS}&to={NOW + DAY_MS - 1}") not in tags
    assert ask(kind, DAY + "&campaign=b&campaign=a") == ask(kind, DAY + "&campaign=a&campaign=b")


@pytest.mark.parametrize("kind", KINDS)
def test_a_bucket_that_becomes_complete_changes_the_etag(ask: Callable[..., str], kind: str) -> None:
    """When the interval is over, its bucket is complete, which the body says unless it has no buckets."""
    query = f"from={NOW - HOUR_MS}&to={NOW + 1000}"
    before, after = ask(kind, query, 999), ask(kind, query, 2000)
    assert before == ask(kind, query, 500)
    assert before != after


def test_the_age_of_messages_changes_the_etag(ask: Callable[..., str]) -> None:
    """Messages become `noReceipt` by the quarter of an hour, so their ETag changes then; that of events does not."""
    quarter_ms = HOUR_MS // 4
    query = f"from={NOW - DAY_MS}&to={NOW - HOUR_MS}"
    assert ask("/messages", query, 0) == ask("/messages", query, quarter_ms - 1) != ask("/messages", query, quarter_ms)
    assert ask("", query, 0) == ask("", query, quarter_ms)


@pytest.mark.parametrize("kind", KINDS)
def test_a_fixed_interval_has_304_and_a_moving_one_has_not(ask: Callable[..., str], kind: str) -> None:
    """docs/api.md: `today` is the same interval all day, but one that ends now is a new one with each request."""
    assert ask(kind, "from=yesterday&to=today", 1) == ask(kind, "from=yesterday&to=today", 2)
    for query in ("", "from=7d", "from=7d&to=today", "from=yesterday"):
        assert ask(kind, query, 1) != ask(kind, query, 2)
