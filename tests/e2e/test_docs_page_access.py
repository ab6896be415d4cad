"""Access to the page at /docs: by keyboard, on any screen, in light and dark, on paper, without a clipboard."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from playwright.sync_api import Page, expect

from smsevents.clock.system import now_ms
from tests.support.axe import violations
from tests.support.docs_page import recent_lines
from tests.support.lines import body_of, line

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.support.servers import Server

pytest_plugins = ["tests.support.browser"]


def test_the_keyboard_is_enough(server: Server, open_page: Callable[..., Page]) -> None:
    """With the keyboard alone and the focus always visible, a reader can skip the links and run an export."""
    shop = server.shop()
    shop.send(body_of(recent_lines(shop, 2)))
    page = open_page()
    expect(page.locator("#try form")).to_be_visible()
    page.keyboard.press("Tab")
    expect(page.get_by_role("link", name="Skip to the content")).to_be_focused()
    page.keyboard.press("Enter")
    for label, text in [("Trackpoint", str(shop.trackpoint)), ("API key", shop.key)]:
        while not page.get_by_label(label).evaluate("element => element === document.activeElement"):
            page.keyboard.press("Tab")
            assert page.evaluate("getComputedStyle(document.activeElement).outlineStyle") == "solid"
        page.keyboard.type(text)
    page.get_by_role("button", name="Run").focus()
    page.keyboard.press("Enter")
    expect(page.locator("#outcome")).to_contain_text("Complete: 2 lines.")
    expect(page.get_by_role("button", name="Run")).to_be_focused()
    expect(page.get_by_role("status").filter(has_text="Complete")).to_be_visible()
    page.keyboard.press("Tab")  # past Stop, which is disabled
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    expect(page.locator(".lines li")).to_have_count(2)


def test_copy_copies(server: Server, open_page: Callable[..., Page]) -> None:
    """Copy puts the command into the clipboard and says so."""
    page = open_page(permissions=["clipboard-read", "clipboard-write"])
    page.get_by_role("button", name="Copy").nth(2).click()
    expect(page.get_by_text("Copied")).to_be_visible()
    copied = page.evaluate("navigator.clipboard.readText()")
    assert copied == page.locator("main > pre > .language-sh").nth(1).inner_text()
    assert f"{server.base}/shop/" in copied


def test_copy_selects_where_there_is_no_clipboard(open_page: Callable[..., Page]) -> None:
    """Plain HTTP has no clipboard access: the command is selected, and the reader is told to copy it."""
    page = open_page(script="Object.defineProperty(Navigator.prototype, 'clipboard', { value: undefined })")
    page.get_by_role("button", name="Copy").first.click()
    expect(page.get_by_text("Selected: copy it")).to_be_visible()
    assert page.evaluate("getSelection().toString()") == page.locator("main pre > code").first.inner_text()


@pytest.mark.parametrize(
    ("language", "colors", "checked"),
    [("en", "light", {"good": 1280, "bad": 390}), ("cs", "dark", {"good": 390, "bad": 1280})],
)
def test_it_fits_and_axe_finds_nothing(
    server: Server, open_page: Callable[..., Page], language: str, colors: str, checked: dict[str, int]
) -> None:
    """On every screen nothing overflows sideways, and the rules of WCAG 2.2 AA that a program can check are kept."""
    shop = server.shop()
    shop.send(body_of([*recent_lines(shop, 11), line(shop.trackpoint, now_ms(), "u" * 1000)]))
    page = open_page(query=f"?lang={language}", color_scheme=colors)
    for key, outcome in [(shop.key, "good"), ("wrong", "bad")]:
        page.locator("#try-trackpoint").fill(str(shop.trackpoint))
        page.locator("#try-key").fill(key)
        page.locator("#try .primary").click()
        expect(page.locator(f"#outcome.{outcome}")).to_be_visible()
        for width in (320, 390, 700, 920, 1280, 2560):
            page.set_viewport_size({"width": width, "height": 900})
            assert page.evaluate("document.documentElement.scrollWidth") == width
            if width == checked[outcome]:
                page.evaluate("scrollTo(0, 0)")  # else the sticky bar covers a part of whatever link is below it
                assert violations(page) == []


def test_the_list_of_sections_on_a_phone(open_page: Callable[..., Page]) -> None:
    """On a phone a bar stays on top: it names the section in view, opens the list, and hides nothing that has focus."""
    page = open_page(query="?lang=cs", viewport={"width": 390, "height": 800})
    bar = page.locator("#contents-button")
    contents = page.locator("#contents")
    page.locator("#errors").evaluate("element => element.scrollIntoView()")
    expect(bar).to_be_in_viewport()
    expect(bar).to_contain_text("Obsah: Chyby")
    expect(contents).to_be_hidden()
    bar.focus()
    page.keyboard.press("Enter")
    expect(contents).to_be_visible()
    assert violations(page) == []
    page.keyboard.press("Escape")
    expect(contents).to_be_hidden()
    expect(bar).to_be_focused()
    page.keyboard.press("Enter")
    contents.get_by_role("link", name="Filtry").click()
    expect(contents).to_be_hidden()
    top = page.locator("#filters").evaluate("element => element.getBoundingClientRect().top")
    assert top >= bar.evaluate("element => element.getBoundingClientRect().bottom")


def test_the_colours_can_be_chosen_and_are_those_of_the_page(open_page: Callable[..., Page]) -> None:
    """The scheme follows the system until the person chooses; the choice is kept, for the page at / as well."""
    page = open_page(color_scheme="dark")
    background = "getComputedStyle(document.body).backgroundColor"
    assert page.evaluate(background) == "rgb(15, 21, 28)"
    page.get_by_role("button", name="Colours: as the system").click()
    assert page.evaluate(background) == "rgb(246, 247, 249)"
    page.reload()
    expect(page.get_by_role("button", name="Colours: light")).to_be_visible()
    assert page.evaluate("localStorage.getItem('smsevents-theme')") == "light"


def test_on_paper(open_page: Callable[..., Page]) -> None:
    """Printed from a dark screen, the page is light, with the complete reference and without controls."""
    page = open_page(color_scheme="dark")
    expect(page.locator("#try form")).to_be_visible()
    page.emulate_media(media="print", color_scheme="dark")
    assert (
        page.evaluate("getComputedStyle(document.querySelector('main > pre')).backgroundColor") == "rgb(255, 255, 255)"
    )
    for control in (".contents", ".settings", "#try form", ".copy"):
        expect(page.locator(control).first).to_be_hidden()
    expect(page.get_by_role("heading", name="Errors")).to_be_visible()
    assert page.pdf().startswith(b"%PDF")
