"""Access to the page at /: by keyboard, by screen reader, on any screen, in light and dark, and on paper."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest
from playwright.sync_api import Page, expect

from tests.support.axe import violations

if TYPE_CHECKING:
    from tests.support.page import Desk

pytest_plugins = ["tests.support.browser", "tests.support.page_fixtures"]

CAMPAIGN = pytest.mark.campaign
VIEWS = {
    "sign-in": "",
    "numbers": "",
    "tables": "?table=series&table=delivery&unit=events",
    "over-time": "?delivery=over-time",
    "over-time-table": "?delivery=over-time&table=delivery&lang=cs",
    "empty": "?campaign=none",
}


def ready(page: Page) -> Page:
    """Wait until the page shows its numbers and return it."""
    page.locator(".campaigns, .empty, #key").first.wait_for()
    expect(page.locator(".is-old")).to_have_count(0)
    return page


@pytest.mark.parametrize(
    ("view", "scheme"),
    [
        ("sign-in", "dark"),
        ("numbers", "light"),
        ("tables", "dark"),
        ("over-time", "dark"),
        ("over-time-table", "light"),
        pytest.param("over-time", "light", marks=CAMPAIGN),
        pytest.param("numbers", "dark", marks=CAMPAIGN),
        pytest.param("tables", "light", marks=CAMPAIGN),
        pytest.param("empty", "light", marks=CAMPAIGN),
    ],
)
def test_axe_finds_nothing(desk: Desk, view: str, scheme: str) -> None:
    """Every view conforms to the rules of WCAG 2.2 AA that a program can check, contrast included, in both schemes."""
    page = ready(desk.page(VIEWS[view], signed_in=view != "sign-in", color_scheme=scheme))
    assert violations(page) == []


def test_axe_finds_nothing_in_the_dialogs(desk: Desk) -> None:
    """The same holds for each dialog, on a phone and in Czech."""
    page = ready(desk.page("?lang=cs&at=event", viewport={"width": 390, "height": 800}))
    for name in ("Vlastní…", "odpovídá tomuto exportu", "Co čísla znamenají"):
        page.get_by_role("button", name=name).first.click()
        expect(page.get_by_role("dialog")).to_be_visible()
        assert violations(page) == []
        page.keyboard.press("Escape")
        expect(page.get_by_role("dialog")).to_have_count(0)


@pytest.mark.parametrize(
    "query", ["?lang=cs", "?lang=en&table=series&table=delivery&days=90", "?lang=cs&delivery=over-time&days=90"]
)
def test_nothing_scrolls_sideways(desk: Desk, query: str) -> None:
    """On every screen the page is as wide as the screen, and no text of a chart is smaller than 11 pixels."""
    page = ready(desk.page(query))
    for width in (320, 390, 768, 1000, 1280, 2560):
        page.set_viewport_size({"width": width, "height": 900})
        expect(page.locator(".chart svg").first).to_be_attached()
        # a chart is drawn again a moment after the width has changed
        page.wait_for_function("width => document.documentElement.scrollWidth === width", arg=width)
    sizes = page.locator(".chart text").evaluate_all(
        "all => all.map((one) => parseFloat(getComputedStyle(one).fontSize))"
    )
    assert all(size >= 11 for size in sizes)


@pytest.mark.parametrize("language", ["en", "cs"])
def test_a_phone_has_two_rows_on_top(desk: Desk, language: str) -> None:
    """On a phone, the bar on top has the shop with a menu, and the periods; the menu has the rest, signing out too."""
    page = ready(desk.page(f"?lang={language}", viewport={"width": 390, "height": 844}))
    menu = page.get_by_role("button", name="Menu" if language == "en" else "Nabídka")
    sign_out = page.get_by_role("button", name="Sign out" if language == "en" else "Odhlásit")
    expect(menu).to_be_visible()
    heights = [page.locator(place).bounding_box()["height"] for place in (".menu", ".presets")]  # type: ignore[index]

    assert page.locator(".top").bounding_box()["height"] < sum(heights) + 32  # type: ignore[index]
    expect(sign_out).to_be_hidden()
    menu.click()
    expect(menu).to_have_attribute("aria-expanded", "true")
    expect(sign_out).to_be_visible()
    assert violations(page) == []
    page.get_by_role("button", name="Colours" if language == "en" else "Barvy").focus()
    page.keyboard.press("Escape")
    expect(sign_out).to_be_hidden()
    page.set_viewport_size({"width": 1280, "height": 900})
    expect(menu).to_be_hidden()
    expect(sign_out).to_be_visible()


def test_the_trend_is_beside_its_numbers(desk: Desk) -> None:
    """The line of each trend is in the middle of its row, at the height of the numbers."""
    page = ready(desk.page())
    off = page.locator(".campaigns tbody tr:has(.spark)").evaluate_all(
        """rows => rows.map((row) => {
            const middle = (one) => one.getBoundingClientRect().top + one.getBoundingClientRect().height / 2;
            return Math.abs(middle(row.querySelector(".spark path")) - middle(row));
        })"""
    )

    assert off
    assert max(off) <= 2


def test_a_phone_shows_every_figure_of_a_campaign(desk: Desk) -> None:
    """On a phone, each campaign has the figures that the table has, each with its name."""
    page = ready(desk.page(viewport={"width": 390, "height": 844}))
    row = page.locator(".campaigns tbody tr").first
    labels = row.locator("td[data-label]:visible").evaluate_all("all => all.map((one) => one.dataset.label)")

    assert labels == ["Share", "Delivery rate", "Failed", "Pending"]
    expect(row.locator(".sent")).to_be_visible()


def test_the_chart_by_keyboard(desk: Desk) -> None:
    """The chart is one stop: arrows speak the figures of a bar, Shift selects, Enter zooms in, and back zooms out."""
    page = ready(desk.page())
    chart = page.get_by_role("slider", name="Bars of the chart")
    chart.focus()
    bars = int(chart.get_attribute("aria-valuemax") or 0)
    page.keyboard.press("Home")
    expect(chart).to_have_attribute("aria-valuenow", "1")
    page.keyboard.press("End")
    page.keyboard.press("ArrowLeft")
    expect(chart).to_have_attribute("aria-valuenow", str(bars - 1))
    expect(chart).to_have_attribute("aria-valuetext", re.compile(r"^\w{3},? \d+ \w+: (Delivered|0)"))
    page.keyboard.press("Shift+ArrowLeft")
    page.keyboard.press("Shift+ArrowLeft")
    expect(page.locator(".selection")).to_be_visible()
    page.keyboard.press("Enter")

    expect(page).to_have_url(re.compile(r"from=.*&to="))
    expect(page.get_by_role("button", name="Custom…")).to_have_attribute("aria-pressed", "true")
    expect(chart).to_have_attribute("aria-valuemax", re.compile(r"^(3|7[0-4])$"))
    page.go_back()
    expect(chart).to_have_attribute("aria-valuemax", str(bars))


def test_the_chart_by_pointer(desk: Desk) -> None:
    """Hovering shows the figures of a bar; dragging across bars zooms in on exactly these days."""
    page = ready(desk.page())
    box = page.locator(".chart-keys").bounding_box()
    assert box is not None
    bars = 30
    band = (box["width"] - 48) / bars
    page.mouse.move(box["x"] + band * 10.5, box["y"] + 100)
    expect(page.locator(".tip")).to_contain_text("Total")
    page.mouse.down()
    page.mouse.move(box["x"] + band * 13.5, box["y"] + 100, steps=4)
    page.mouse.up()
    expect(page).to_have_url(re.compile("from="))
    days = page.evaluate(
        """() => { const q = new URLSearchParams(location.search);
            return (Date.parse(q.get("to")) + 1 - Date.parse(q.get("from"))) / 864e5; }"""
    )
    assert days == 4


def test_everything_by_keyboard(desk: Desk) -> None:
    """Each control can be reached with Tab, in the order of the page, and shows where the focus is."""
    page = ready(desk.page())
    seen = []
    for _ in range(80):
        page.keyboard.press("Tab")
        name, outline = page.evaluate(
            """() => { const e = document.activeElement;
                if (e === document.body) return [null, ""];
                const name = e.ariaLabel || e.textContent.trim().slice(0, 30) || e.id;
                return [name, getComputedStyle(e).outlineStyle]; }"""
        )
        if name is None:  # after the last stop comes the browser itself
            break
        assert outline != "none", name
        seen.append(name)
    assert seen[0] == "Skip to the numbers"
    for name in ("7 days", "Custom…", "Time zone", "Sign out", "Count by", "Unit", "Bars of the chart", "Table"):
        assert name in seen


def test_the_skip_link_leads_to_the_numbers(desk: Desk) -> None:
    """The first stop skips the bar on top."""
    page = ready(desk.page())
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    assert page.evaluate("document.activeElement.id") == "numbers"


def test_the_colours_can_be_chosen(desk: Desk) -> None:
    """The scheme follows the system until the person chooses, and the choice outlives a reload."""
    page = ready(desk.page(color_scheme="dark"))
    background = "getComputedStyle(document.body).backgroundColor"
    assert page.evaluate(background) == "rgb(15, 21, 28)"
    page.get_by_role("button", name="Colours: as the system").click()
    assert page.evaluate(background) == "rgb(246, 247, 249)"
    page.reload()
    ready(page)
    expect(page.get_by_role("button", name="Colours: light")).to_be_visible()
    assert page.evaluate(background) == "rgb(246, 247, 249)"


def test_on_paper(desk: Desk) -> None:
    """Printed from a dark screen, the page is light, without controls, with its tables open, and fits the sheet."""
    page = ready(desk.page(color_scheme="dark"))
    page.emulate_media(media="print", color_scheme="dark")
    assert page.evaluate("getComputedStyle(document.querySelector('.card')).backgroundColor") == "rgb(255, 255, 255)"
    for control in (".presets", ".settings", ".controls", ".chart-keys"):
        expect(page.locator(control).first).to_be_hidden()
    expect(page.locator(".figures-table").first).to_be_visible()
    expect(page.locator(".context .on-paper")).to_have_text("by time sent")
    assert page.pdf().startswith(b"%PDF")


def test_motion_is_not_forced(desk: Desk) -> None:
    """With reduced motion nothing moves by itself."""
    page = ready(desk.page(reduced_motion="reduce"))
    moving = page.evaluate(
        """() => [...document.querySelectorAll("*")].map((element) => getComputedStyle(element)).filter(
            (style) => style.transitionDuration !== "0s" || style.animationName !== "none").length"""
    )
    assert moving == 0
