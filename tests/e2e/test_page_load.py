"""The first load of the page at / in Chromium: its bytes, and the round trips to the first number."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from playwright.sync_api import expect

from smsevents.clock.system import now_ms
from smsevents.demo.generate import generate
from tests.support.page import ZONE

if TYPE_CHECKING:
    from collections.abc import Callable

    from playwright.sync_api import BrowserContext, Locator, Page, Route

    from tests.support.page import Desk
    from tests.support.servers import Server, Shop

pytest_plugins = ["tests.support.browser", "tests.support.page_fixtures"]

EVENTS = 17_000  # of a small shop in 90 days; the numbers grow with the campaigns, not with the events
LOADED_MAX_BYTES = 150_000
CONNECTIONS = 6  # that a browser opens to a server of HTTP/1.1
ICON = "/icon.svg"  # which nobody waits for
STEP_MS = 50
QUIET_STEPS = 16  # without another request: what can be requested by then is
STEPS_MAX = 600
TRIPS_MAX = 8


class Rounds:
    """Holds every response until nothing more is requested, and then lets all go on: each time is a round trip."""

    def __init__(self, page: Page) -> None:
        """Begin to hold what the page requests."""
        self.page = page
        self.held: list[Route] = []
        self.trips: list[list[str]] = []
        page.route("**/*", self._hold)

    def _hold(self, route: Route) -> None:
        if route.request.url.endswith(ICON):
            route.continue_()
        else:
            self.held.append(route)

    def until(self, shown: Locator) -> list[list[str]]:
        """Return the addresses that are requested in each round trip until an element is shown."""
        while self._is_more_requested(shown) and len(self.trips) < TRIPS_MAX:
            self.trips.append([route.request.url for route in self.held])
            for route in self.held:
                route.continue_()
            self.held.clear()
        self.page.unroute_all(behavior="ignoreErrors")
        return self.trips

    def _is_more_requested(self, shown: Locator) -> bool:
        """Wait until requests are held and no others follow, or an element is shown."""
        seen = quiet = 0
        for _ in range(STEPS_MAX):
            self.page.wait_for_timeout(STEP_MS)
            quiet = quiet + 1 if len(self.held) == seen else 0
            seen = len(self.held)
            if seen and quiet >= QUIET_STEPS:
                return True
            # before the page itself is there, nothing can be asked about it
            if self.trips and not seen and shown.is_visible():
                return False
        raise AssertionError(self.trips)


def opened(desk: Desk, context: BrowserContext) -> Rounds:
    """Follow a link to the page from this site, with nothing in the cache."""
    page = context.new_page()
    page.goto(f"{desk.shop.base}/health/live")
    rounds = Rounds(page)
    page.evaluate(f"setTimeout(() => location.assign('{desk.shop.base}/?tz={ZONE}'), 0)")
    return rounds


def test_the_first_number_comes_with_the_second_round_trip(desk: Desk) -> None:
    """A signed-in person sees numbers after the page and one more round trip, with the connections of HTTP/1.1 too."""
    rounds = opened(desk, desk.context())
    trips = rounds.until(rounds.page.locator(".tile .value").first)
    assert len(trips) == 2, trips
    [first] = [place for place, url in enumerate(trips[1]) if "/sms-stats/messages" in url and "step=1d&by=type" in url]
    assert first < CONNECTIONS, trips[1]
    assert len({*trips[1]}) == len(trips[1])


def test_the_sign_in_comes_with_the_second_round_trip(desk: Desk) -> None:
    """The same holds for the form of someone who is not signed in."""
    rounds = opened(desk, desk.context(signed_in=False))
    assert len(rounds.until(rounds.page.locator("#key"))) == 2


@pytest.mark.parametrize("path", ["", "docs"])
def test_the_first_load_is_small(server: Server, other_desk: Callable[[Shop], Desk], path: str) -> None:
    """All that comes over the wire until the page rests, the numbers included, is less than 150 kB."""
    shop = server.shop(("export", "import", "stats"))
    lines = generate(shop.trackpoint, events=EVENTS, days=90, seed=1, end_ms=now_ms())
    shop.send(b"".join(one + b"\n" for one in lines)).raise_for_status()
    page = other_desk(shop).context().new_page()
    wire = page.context.new_cdp_session(page)
    sizes: list[int] = []
    wire.on("Network.loadingFinished", lambda event: sizes.append(event["encodedDataLength"]))
    wire.send("Network.enable")
    page.goto(f"{shop.base}/{path}", wait_until="networkidle")
    expect(page.locator(".campaigns, #try form")).to_be_visible()
    assert len(sizes) > 3
    assert sum(sizes) < LOADED_MAX_BYTES, sizes
