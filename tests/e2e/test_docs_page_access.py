"""Accessibility of the page at /docs: by keyboard, on any screen, in light and dark, with or without a clipboard."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from playwright.sync_api import Page, expect

from smsevents.clock.system import now_ms
from smsevents.web.openapi import description
from tests.support.docs_page import recent_lines, run_export
from tests.support.lines import body_of, line

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.support.servers import Server

pytest_plugins = ["tests.support.browser"]

CONTRAST_MIN = 4.5

# The visible texts whose contrast with their background is too low (WCAG 2, contrast ratio).
FAINT_TEXTS = """(least) => {
    const parts = (color) => color.match(/[\\d.]+/g).map(Number);
    const linear = (byte) => (byte /= 255) <= 0.04045 ? byte / 12.92 : ((byte + 0.055) / 1.055) ** 2.4;
    const light = ([r, g, b]) => 0.2126 * linear(r) + 0.7152 * linear(g) + 0.0722 * linear(b);
    const behind = (element) => {
        const color = parts(getComputedStyle(element).backgroundColor);
        return color[3] === 0 ? behind(element.parentElement) : color;
    };
    const ratio = (element) => {
        const [a, b] = [light(parts(getComputedStyle(element).color)), light(behind(element))];
        return (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
    };
    const texts = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
    const faint = [];
    while (texts.nextNode()) {
        const [text, element] = [texts.currentNode.data.trim(), texts.currentNode.parentElement];
        if (text && element.checkVisibility() && !element.disabled && ratio(element) < least) faint.push(text);
    }
    return faint;
}"""


def test_the_keyboard_is_enough(server: Server, open_page: Callable[..., Page]) -> None:
    """With the keyboard alone and the focus always visible, a reader can skip the links and run an export."""
    shop = server.shop()
    shop.send(body_of(recent_lines(shop, 2)))
    page = open_page()
    expect(page.locator("#operations section")).to_have_count(len(description(0)["paths"]))
    page.keyboard.press("Tab")
    expect(page.get_by_role("link", name="Skip to the content")).to_be_focused()
    page.keyboard.press("Enter")
    for label, text in [("Trackpoint", str(shop.trackpoint)), ("API key", shop.key)]:
        page.keyboard.press("Tab")
        expect(page.get_by_label(label)).to_be_focused()
        assert page.evaluate("getComputedStyle(document.activeElement).outlineStyle") == "solid"
        page.keyboard.type(text)
    page.get_by_role("button", name="Run").focus()
    page.keyboard.press("Enter")
    expect(page.locator("#state")).to_have_text("Done: 2 lines.")
    expect(page.get_by_role("button", name="Run")).to_be_focused()
    expect(page.get_by_role("status").filter(has_text="Done")).to_have_attribute("aria-live", "polite")


def test_copy_copies(server: Server, open_page: Callable[..., Page]) -> None:
    """Copy puts the command into the clipboard and says so."""
    page = open_page(permissions=["clipboard-read", "clipboard-write"])
    page.get_by_role("button", name="Copy").nth(1).click()
    expect(page.get_by_text("Copied")).to_be_visible()
    copied = page.evaluate("navigator.clipboard.readText()")
    assert copied == page.locator(".command code").nth(1).inner_text()
    assert f"{server.base}/shop/" in copied


def test_copy_selects_where_there_is_no_clipboard(open_page: Callable[..., Page]) -> None:
    """Plain HTTP has no clipboard access: the command is selected, and the reader is told to copy it."""
    page = open_page(script="Object.defineProperty(Navigator.prototype, 'clipboard', { value: undefined })")
    page.get_by_role("button", name="Copy").first.click()
    expect(page.get_by_text("Selected: copy it")).to_be_visible()
    assert page.evaluate("getSelection().toString()") == page.locator(".command code").first.inner_text()


@pytest.mark.parametrize("colors", ["light", "dark"])
@pytest.mark.parametrize("width", [360, 1280])
def test_it_fits_and_can_be_read(server: Server, open_page: Callable[..., Page], colors: str, width: int) -> None:
    """On phones and wide screens, in light and dark, nothing overflows sideways and all text has enough contrast."""
    shop = server.shop()
    shop.send(body_of([*recent_lines(shop, 11), line(shop.trackpoint, now_ms(), "u" * 1000)]))
    page = open_page(color_scheme=colors, viewport={"width": width, "height": 800})
    expect(page.locator("#operations section")).to_have_count(len(description(0)["paths"]))
    page.evaluate("for (const details of document.querySelectorAll('details')) details.open = true")
    for key, told in [(shop.key, "Done"), ("wrong", "Unauthorized")]:
        run_export(page, shop.trackpoint, key)
        expect(page.locator("#state")).to_contain_text(told)
        expect(page.locator("#state")).to_be_in_viewport()
        assert page.evaluate("document.documentElement.scrollWidth") == width
        assert page.evaluate(FAINT_TEXTS, CONTRAST_MIN) == []
