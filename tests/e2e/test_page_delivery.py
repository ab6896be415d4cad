"""The time to deliver on the page at /: over time it equals the API and the export, and it is used like the bars."""

from __future__ import annotations

import csv
import json
import re
from typing import TYPE_CHECKING, Any

import httpx
import pytest
from playwright.sync_api import Locator, Page, expect

from tests.support import statistics_model as model
from tests.support.axe import violations
from tests.support.page import ZONE, Desk, month
from tests.support.servers import PLAIN

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.support.servers import Shop

pytest_plugins = ["tests.support.browser", "tests.support.page_fixtures"]

POINTS = "Points of the chart"
BARS = 30
AXIS_PX = 48


def panel(page: Page, name: str = "Time to deliver by day") -> Locator:
    """Return the panel when its numbers are there."""
    found = page.get_by_role("region", name=name)
    expect(found.locator(".figures-table")).to_be_attached()
    expect(page.locator(".is-old")).to_have_count(0)
    return found


def table_of(page: Page) -> list[list[str]]:
    """Return the texts of the table, each row from its interval to 95 %; the last row is the total."""
    found = panel(page)
    expect(found.locator("tfoot td").first).to_be_visible()
    rows = found.locator("tbody tr, tfoot tr").all()
    return [row.locator("th, td").all_inner_texts() for row in rows]


def of_api(desk: Desk, **given: Any) -> dict[str, Any]:
    """Return what the API says about the complete history."""
    url = f"{desk.shop.base}/shop/{desk.shop.trackpoint}/sms-stats/delivery-time"
    answer = httpx.get(url, params={"tz": ZONE, **given}, headers=desk.shop.headers, verify=PLAIN)
    body: dict[str, Any] = answer.raise_for_status().json()
    return body


@pytest.mark.parametrize("at", ["send", "event"])
def test_the_table_equals_the_api_and_the_export(desk: Desk, at: str) -> None:
    """Each day has its deliveries of the export, and the percentiles of the API, as the total has."""
    page = desk.page(f"?at={at}&delivery=over-time&table=delivery")
    rows = table_of(page)
    start = page.evaluate(
        """async () => {
            const { startOf, addDays, dayOf } = await import("./page/period.js");
            return startOf("Europe/Prague", addDays(dayOf("Europe/Prague", Date.now()), -29));
        }"""
    )
    body = of_api(desk, at=at, step="1d", **{"from": start})
    figures = {row["bucket"]: row for row in body["rows"]}
    names = page.evaluate(
        """async (all) => {
            const { duration } = (await import("./page/format.js")).formats("en", "Europe/Prague");
            return all.map((one) => one === null ? "\u2013" : duration(one));
        }""",
        [figures.get(bucket, {}).get(name) for bucket in range(len(body["buckets"])) for name in ("medianMs", "p95Ms")]
        + [body["medianMs"], body["p95Ms"]],
    )
    assert [text for row in rows for text in row[2:]] == names

    delivered = [event for event in desk.events() if event["smsEvent"]["status"] == "DELIVERED"]
    by_day = model.events_by_status(delivered, month(at=at, step="1d"))
    expected = {row["bucket"]: row["events"] for row in by_day["rows"]}
    counts = [int(row[1].replace(",", "")) for row in rows]
    assert counts[:-1] == [expected.get(bucket, 0) for bucket in range(len(by_day["buckets"]))]
    assert counts[-1] == len(delivered)


def test_the_file_has_the_same_rows(desk: Desk) -> None:
    """The CSV of the panel has a row for each day with deliveries, and its name says what it is."""
    page = desk.page("?delivery=over-time&table=delivery")
    rows = table_of(page)
    with page.expect_download() as saved:
        panel(page).get_by_role("link", name="Download CSV").click()
    assert re.match(r"sms-delivery-time-by-day-\d+-.*-Europe-Prague\.csv", saved.value.suggested_filename)
    with saved.value.path().open(newline="") as file:
        counts = [int(row["deliveries"]) for row in csv.DictReader(file)]
    assert counts == [int(row[1].replace(",", "")) for row in rows[:-1] if row[1] != "0"]


def test_the_view_is_in_the_address(desk: Desk) -> None:
    """The choice of the view is in the address, back undoes it, and the other numbers are not requested again."""
    page = desk.page()
    panel(page, "Time to deliver")
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.get_by_label("View").select_option("Over time")
    expect(page).to_have_url(re.compile("delivery=over-time"))
    panel(page)
    assert len([one for one in asked if "/sms-stats" in one]) == 1, asked
    page.get_by_label("Step", exact=True).select_option("1w")
    panel(page, "Time to deliver by week")
    page.go_back()
    page.go_back()
    panel(page, "Time to deliver")
    expect(page.locator(".delivery-bars")).to_be_visible()


def test_a_link_asks_for_everything_at_once(desk: Desk) -> None:
    """Opened by its address, the view is requested once, with the step of the page."""
    asked: list[str] = []
    context = desk.context()
    context.on("request", lambda request: asked.append(request.url))
    panel(desk.page("?delivery=over-time", context=context))
    assert len([one for one in asked if "/delivery-time" in one and "step=1d" in one]) == 1


def test_the_lines_by_keyboard(desk: Desk) -> None:
    """The chart is one stop: arrows speak the figures of a point, Shift selects, and Enter zooms in all charts."""
    page = desk.page("?delivery=over-time")
    panel(page)
    chart = page.get_by_role("slider", name=POINTS)
    chart.focus()
    page.keyboard.press("Home")
    expect(chart).to_have_attribute("aria-valuenow", "1")
    page.keyboard.press("End")
    page.keyboard.press("ArrowLeft")
    expect(chart).to_have_attribute("aria-valuenow", str(BARS - 1))
    expect(chart).to_have_attribute("aria-valuetext", re.compile(r"95% within .+, Median .+, Delivered \d"))
    page.keyboard.press("Shift+ArrowLeft")
    page.keyboard.press("Shift+ArrowLeft")
    expect(page.locator(".selection")).to_be_visible()
    page.keyboard.press("Enter")
    expect(page).to_have_url(re.compile(r"from=.*&to="))
    for one in (POINTS, "Bars of the chart"):
        expect(page.get_by_role("slider", name=one)).to_have_attribute("aria-valuemax", re.compile(r"^(3|7[0-4])$"))
    page.go_back()
    expect(chart).to_have_attribute("aria-valuemax", str(BARS))


def test_the_lines_by_pointer(desk: Desk) -> None:
    """Hovering shows the figures of a point; dragging zooms in on exactly these days."""
    page = desk.page("?delivery=over-time")
    keys = panel(page).locator(".chart-keys")
    keys.scroll_into_view_if_needed()
    box = keys.bounding_box()
    assert box is not None
    band = (box["width"] - AXIS_PX) / BARS
    page.mouse.move(box["x"] + band * 10.5, box["y"] + 100)
    expect(page.locator(".tip")).to_contain_text("95% within")
    page.mouse.down()
    page.mouse.move(box["x"] + band * 13.5, box["y"] + 100, steps=4)
    page.mouse.up()
    expect(page).to_have_url(re.compile("from="))
    days = page.evaluate(
        """() => { const q = new URLSearchParams(location.search);
            return (Date.parse(q.get("to")) + 1 - Date.parse(q.get("from"))) / 864e5; }"""
    )
    assert days == 4


def slow_day(now: int) -> list[bytes]:
    """Return the deliveries of ten days, of which one took twenty times as long, and one day has none."""
    return [
        json.dumps(
            {
                "smsEvent": {
                    "trackpoint": 1,
                    "userId": f"u{number}",
                    "status": "DELIVERED",
                    "date": now - day * 86_400_000 + (100_000 if day == 4 else 5_000),
                },
                "source": {
                    "type": "one-off",
                    "campaign": {"id": "a", "name": "A"},
                    "sendDate": now - day * 86_400_000,
                },
            }
        ).encode()
        for day in range(1, 10)
        if day != 6
        for number in range(60)
    ]


def test_a_slow_day_is_told_and_a_day_without_deliveries_is_a_gap(
    page_shop: Shop, other_desk: Callable[..., Desk]
) -> None:
    """The day whose median is far above that of the period is named; the line has no point on a day without any."""
    desk = other_desk(page_shop)
    lines = slow_day(month().now - 60_000)
    context = desk.context()
    model.serve_statistics(context, lambda: lines, lambda: month().now)
    page = desk.page("?delivery=over-time", context=context)
    found = panel(page)
    expect(
        found.get_by_text(re.compile(r": the median was ≈ 1\.7\smin; in the complete period it is ≈ 5\ss"))
    ).to_be_visible()
    path = found.locator(".spread-line.medianMs path").get_attribute("d") or ""
    assert path.count("M") == 2
    expect(found.locator(".spread-line.medianMs circle")).to_have_count(8)
    assert desk.faults == []


@pytest.mark.parametrize("view", ["histogram", "over-time"])
def test_nothing_delivered(page_shop: Shop, other_desk: Callable[..., Desk], view: str) -> None:
    """If there are messages but no deliveries, the panel says so, in both views."""
    desk = other_desk(page_shop)
    expired = [line.replace(b"DELIVERED", b"EXPIRED") for line in slow_day(month().now - 60_000)]
    context = desk.context()
    model.serve_statistics(context, lambda: expired, lambda: month().now)
    page = desk.page(f"?delivery={view}", context=context)
    expect(page.get_by_text("Nothing was delivered in this period.")).to_be_visible()
    assert desk.faults == []


def test_too_many_events_are_told_in_the_panel(page_shop: Shop, other_desk: Callable[..., Desk]) -> None:
    """If the server refuses to divide the deliveries, the panel says what it says, and the rest of the page stays."""
    desk = other_desk(page_shop)
    context = desk.context()
    problem = {"detail": "More than 5000000 events would have to be looked at."}
    context.route(re.compile(r"/delivery-time\?.*step="), lambda route: route.fulfill(status=400, json=problem))
    page = desk.page("?delivery=over-time", context=context)
    alert = page.get_by_role("region", name="Time to deliver by day").get_by_role("alert")
    expect(alert).to_contain_text(
        "More than 5000000 events would have to be looked at. Choose a shorter", use_inner_text=True
    )
    expect(page.locator(".tile").last).to_contain_text("≈")
    page.get_by_label("View").select_option("Distribution")
    expect(page.locator(".delivery-bars")).to_be_visible()


def test_axe_finds_nothing_on_a_phone(desk: Desk) -> None:
    """On a phone and in Czech, the lines conform to WCAG 2.2 AA, as far as a program can check it."""
    page = desk.page("?delivery=over-time&lang=cs", viewport={"width": 390, "height": 844})
    panel(page, "Doba doručení po dnech")
    assert violations(page) == []
    assert page.evaluate("document.documentElement.scrollWidth") == 390


def test_on_paper_and_in_czech(desk: Desk) -> None:
    """In Czech, the texts and numbers are Czech; on paper, the table is open below the lines."""
    page = desk.page("?delivery=over-time&lang=cs")
    found = panel(page, "Doba doručení po dnech")
    expect(found.locator(".legend")).to_contain_text("Medián")
    assert re.search(r"\d,\d\s(s|min)", found.locator(".figures-table").evaluate("one => one.textContent"))
    for english in ("Median", "within", "Over time", "Delivered"):
        assert english not in found.inner_text()
    page.emulate_media(media="print")
    expect(found.locator(".figures-table")).to_be_visible()
    expect(found.locator(".spread-line").first).to_be_visible()
    expect(found.locator(".controls")).to_be_hidden()
    assert desk.faults == []
