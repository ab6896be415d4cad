"""Signing in to the page at / in a real browser: by key, by ticket, and what ends a session."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from playwright.sync_api import expect

from smsevents.accounts.access import Access
from smsevents.accounts.sessions import Sessions
from smsevents.catalog import open_catalog

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.support.page import Desk
    from tests.support.servers import Server, Shop

pytest_plugins = ["tests.support.browser", "tests.support.page_fixtures"]


def test_a_key_signs_in_and_a_click_signs_out(desk: Desk) -> None:
    """With the key the numbers appear and stay after a reload; signing out ends that. The key is stored nowhere."""
    page = desk.page(signed_in=False)
    expect(page.get_by_label("API key")).to_be_focused()
    page.get_by_label("API key").fill(f" {desk.shop.key} ")
    page.keyboard.press("Enter")
    expect(page.locator(".campaigns")).to_be_visible()
    expect(page.locator("main")).to_be_focused()
    assert desk.shop.key not in page.evaluate(
        "JSON.stringify({ ...localStorage, ...sessionStorage }) + document.cookie"
    )
    assert desk.shop.key not in page.url

    page.reload()
    expect(page.locator(".campaigns")).to_be_visible()
    page.get_by_role("button", name="Sign out").click()
    expect(page.get_by_label("API key")).to_be_visible()
    page.reload()
    expect(page.get_by_label("API key")).to_be_visible()
    assert page.context.cookies() == []


def test_a_wrong_key_is_said_at_the_field(page_shop: Shop, other_desk: Callable[..., Desk]) -> None:
    """A wrong key, and one that cannot read, leave the person at the field with the reason."""
    page = other_desk(page_shop).page(signed_in=False)
    page.get_by_label("API key").fill("sms_wrong")
    page.get_by_role("button", name="Sign in").click()
    expect(page.get_by_role("alert")).to_contain_text("This key is not valid")
    expect(page.get_by_label("API key")).to_be_focused()
    expect(page.get_by_label("API key")).to_have_value("sms_wrong")


def test_a_key_without_rights_is_told_which_it_needs(server: Server, other_desk: Callable[..., Desk]) -> None:
    """A key that only imports is refused with the scopes that it would need."""
    shop = server.shop(("import",))
    page = other_desk(shop).page(signed_in=False)
    page.get_by_label("API key").fill(shop.key)
    page.get_by_role("button", name="Sign in").click()
    expect(page.get_by_role("alert")).to_contain_text("with the scope stats or export")


def test_a_session_that_ended_asks_again_and_keeps_the_place(page_shop: Shop, other_desk: Callable[..., Desk]) -> None:
    """When the session ends while the page is open, the person signs in again and sees what they were looking at."""
    desk = other_desk(page_shop)
    page = desk.page("?days=7&at=event")
    expect(page.locator(".campaigns")).to_be_visible()
    page.context.clear_cookies()
    page.get_by_role("button", name="Refresh").click()
    expect(page.get_by_text("Your session has ended.")).to_be_visible()
    page.get_by_label("API key").fill(desk.shop.key)
    page.keyboard.press("Enter")
    expect(page.get_by_role("button", name="7 days")).to_have_attribute("aria-pressed", "true")
    assert "at=event" in page.url


def test_a_ticket_signs_in_once(page_shop: Shop, server: Server, other_desk: Callable[..., Desk]) -> None:
    """The address with a ticket signs in without a key, once, and the ticket leaves the address before it is used."""
    database = open_catalog(server.url)
    ticket = Sessions(database, Access(database)).issue_ticket(page_shop.key)
    database.close()
    desk = other_desk(page_shop)

    page = desk.page(f"#ticket={ticket}", signed_in=False)
    expect(page.locator(".campaigns")).to_be_visible()
    assert re.search("ticket", page.url) is None
    assert desk.faults == []
    again = desk.page(f"#ticket={ticket}", signed_in=False)
    expect(again.get_by_text("This address has been used already")).to_be_visible()


def test_a_key_for_numbers_alone_cannot_export(server: Server, other_desk: Callable[..., Desk]) -> None:
    """With the scope `stats` the numbers are shown; the export says which scope it would need instead of failing."""
    shop = server.shop(("stats",))
    page = other_desk(shop).page("?at=event")
    page.get_by_role("button", name="equal to this export").first.click()
    expect(page.get_by_text("with the scope export")).to_be_visible()
    expect(page.get_by_role("button", name="Download JSON Lines", exact=True)).to_have_count(0)
    expect(page.locator(".command")).to_have_count(0)
