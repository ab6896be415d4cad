"""Fixtures of the tests that open the page at / in Chromium. A plugin of pytest, beside `tests.support.browser`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from smsevents.clock.system import now_ms
from smsevents.demo.generate import generate
from tests.support.page import Desk

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from playwright.sync_api import Browser

    from tests.support.servers import Server, Shop

DAYS = 25
EVENTS = 700


@pytest.fixture(scope="module")
def page_shop(server: Server) -> Shop:
    """Return a shop with invented events of the last days."""
    shop = server.shop(("export", "import", "stats"))
    end = now_ms() - 3_600_000
    lines = generate(shop.trackpoint, events=EVENTS, days=DAYS, seed=5, end_ms=end)
    shop.send(b"".join(one + b"\n" for one in lines)).raise_for_status()
    return shop


@pytest.fixture
def desk(browser: Browser, page_shop: Shop) -> Iterator[Desk]:
    """Yield a desk. After the test, no script may have failed, said anything on the console, or asked another host."""
    made = Desk(page_shop, browser)
    yield made
    for context in made.contexts:
        context.close()
    assert made.faults == []


@pytest.fixture
def other_desk(browser: Browser, server: Server) -> Iterator[Callable[[Shop], Desk]]:
    """Yield a function that makes a desk of another shop, whose faults are not checked."""
    made: list[Desk] = []

    def make(shop: Shop | None = None) -> Desk:
        made.append(Desk(shop or server.shop(("export", "import", "stats")), browser))
        return made[-1]

    yield make
    for one in made:
        for context in one.contexts:
            context.close()
