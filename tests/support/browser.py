"""Fixtures of the tests that open the page at /docs in Chromium.

A plugin of pytest, so that only these tests import Playwright.
"""

from __future__ import annotations

import os
import shutil
from typing import TYPE_CHECKING, Any

import pytest
from playwright.sync_api import Browser, Page, expect, sync_playwright

from tests.support.docs_page import StandIn

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.support.servers import Server

CHROMIUM_NAMES = ["chromium", "chromium-browser", "google-chrome"]
CHROMIUM_FLAGS = [
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
WAIT_MS = 30_000


def chromium_path() -> str:
    """Find Chromium; without it, skip the test, but fail in CI."""
    found = next(filter(None, map(shutil.which, CHROMIUM_NAMES)), None)
    if found is None:
        end = pytest.fail if "CI" in os.environ else pytest.skip
        end("Chromium is not installed; `make test` installs it where it may")
    return found


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Yield a headless Chromium, for this module only: Playwright's event loop bars `asyncio.run` while it is there."""
    expect.set_options(timeout=WAIT_MS)
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=chromium_path(), args=CHROMIUM_FLAGS)
        yield chromium
        chromium.close()


@pytest.fixture
def open_page(browser: Browser, server: Server) -> Iterator[Callable[..., Page]]:
    """Yield a function that opens the page in a fresh profile. No script may fail or ask another host."""
    contexts = []
    faults: list[str] = []

    def open_it(base: str = server.base, *, query: str = "?lang=en", script: str = "", **options: Any) -> Page:
        context = browser.new_context(**options)
        contexts.append(context)
        context.set_default_timeout(WAIT_MS)
        context.add_init_script(script)
        page = context.new_page()
        page.on("pageerror", lambda error: faults.append(str(error)))
        page.on("request", lambda asked: None if asked.url.startswith(f"{base}/") else faults.append(asked.url))
        page.goto(f"{base}/docs{query}")
        return page

    yield open_it
    for context in contexts:
        context.close()
    assert faults == []


@pytest.fixture
def stand_in(server: Server) -> Iterator[StandIn]:
    """Yield a server whose exports go wrong."""
    running = StandIn(server.base)
    yield running
    running.stop()
