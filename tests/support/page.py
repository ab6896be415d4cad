"""The page at / in Chromium: a shop with events, and browsers that are signed in."""

from __future__ import annotations

import json
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import httpx

from smsevents.clock.system import now_ms
from tests.support.servers import PLAIN
from tests.support.statistics_model import Query

if TYPE_CHECKING:
    from playwright.sync_api import Browser, BrowserContext, Page

    from tests.support.servers import Shop

WAIT_MS = 30_000
ZONE = "Europe/Prague"


@dataclass
class Desk:
    """A shop with events, and browsers in which its page is open."""

    shop: Shop
    browser: Browser
    faults: list[str] = field(default_factory=list)
    contexts: list[BrowserContext] = field(default_factory=list)

    def context(self, *, signed_in: bool = True, **options: Any) -> BrowserContext:
        """Return a fresh profile, signed in or not. Whatever its pages do wrong ends up in `faults`."""
        made = self.browser.new_context(**{"locale": "en-GB", "timezone_id": ZONE} | options)
        made.set_default_timeout(WAIT_MS)
        self.contexts.append(made)
        if signed_in:
            answer = httpx.post(f"{self.shop.base}/session", json={"key": self.shop.key}, verify=PLAIN)
            made.add_cookies(
                [
                    {
                        "name": "smsevents",
                        "value": answer.cookies["smsevents"],
                        "url": f"{self.shop.base}/",
                        "httpOnly": True,
                    }
                ]
            )
            made.add_init_script("localStorage.setItem('smsevents-signed-in', '1')")
        return made

    def page(self, query: str = "", context: BrowserContext | None = None, **options: Any) -> Page:
        """Open the page with a query string, and wait for its numbers if it is signed in."""
        made = context or self.context(**options)
        page = made.new_page()
        page.on("pageerror", lambda error: self.faults.append(str(error)))
        page.on("console", lambda told: self.faults.append(told.text) if told.type in {"error", "warning"} else None)
        page.on("request", lambda asked: self._check(asked.url))
        page.goto(f"{self.shop.base}/{query}")
        page.locator("main").wait_for()
        return page

    def _check(self, url: str) -> None:
        if not url.startswith((f"{self.shop.base}/", "blob:", "data:")):
            self.faults.append(url)

    def events(self) -> list[dict[str, Any]]:
        """Return what an export returns, as values."""
        return [json.loads(line) for line in self.shop.export().content.splitlines()]


def month(**changes: Any) -> Query:
    """Return the query of all events of the desk, for the model."""
    now = now_ms()
    month_ago = now - 29 * 86_400_000
    whole = Query(start=month_ago, end=now, zone=ZONE, at="send", step="all", by=(), filters={}, now=now)
    return replace(whole, **changes)
