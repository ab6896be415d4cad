"""The page at / in a real browser: what it shows equals the export, and its address holds what it shows."""

from __future__ import annotations

import csv
import json
import re
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import httpx
import pytest
from playwright.sync_api import Page, expect

from tests.support import statistics_model as model
from tests.support.page import Desk, month

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.support.servers import Shop

pytest_plugins = ["tests.support.browser", "tests.support.page_fixtures"]

FAILURES = ("undeliverable", "expired", "rejected", "deleted")


def tile(page: Page, name: str) -> str:
    """Return the value of a tile."""
    return page.locator(".tile", has=page.get_by_text(name, exact=True)).locator(".value").inner_text()


def funnel(page: Page) -> dict[str, int]:
    """Return the figures of the funnel by their names."""
    expect(page.locator(".funnel")).to_be_visible()
    expect(page.locator(".is-old")).to_have_count(0)
    rows = page.locator(".funnel > div").all()
    return {row.locator("dt").inner_text(): number(row.locator("dd.number").first.inner_text()) for row in rows}


def number(text: str) -> int:
    """Return a number as English writes it."""
    return int(text.replace(",", ""))


def shown_events(page: Page) -> int:
    """Return the number of events in the context line."""
    expect(page.locator(".context")).to_contain_text("events,")
    text = page.locator(".context").inner_text()
    found = re.search(r"([\d,]+) events", text)
    assert found, text
    return number(found[1])


@pytest.mark.parametrize("at", ["send", "event"])
def test_the_panels_equal_the_export(desk: Desk, at: str) -> None:
    """Tiles, funnel and the number of events are what one counts in the exported lines, on both axes."""
    page = desk.page(f"?at={at}")
    expected = model.messages(desk.events(), month(at=at))
    total = expected["total"]
    failed = sum(total[name] for name in FAILURES)
    expect(page.locator(".campaigns")).to_be_visible()

    figures = funnel(page)
    names = ("Sent", "Attempted", "Delivered", "Pending", "Skipped")
    assert {name: figures[name] for name in names} == {name: total[name.lower()] for name in names}
    assert figures["Failed"] == failed
    assert (number(tile(page, "Delivered")), number(tile(page, "Failed"))) == (total["delivered"], failed)
    assert number(tile(page, "Pending")) == total["pending"]
    assert tile(page, "Delivery rate") == f"{total['delivered'] / total['attempted'] * 100:.1f}%"
    assert shown_events(page) == expected["events"]
    assert f"{total['sent']:,} messages from {expected['events']:,} events" in page.inner_text("main")


def test_the_table_equals_the_export(desk: Desk) -> None:
    """Each campaign, flow and step has the numbers of its messages; sorting and searching change the order alone."""
    page = desk.page()
    rows = model.messages(desk.events(), month(by=("type", "campaign", "node")))["rows"]
    expect(page.locator(".campaigns")).to_be_visible()
    expected: dict[str, int] = {}
    for row in rows:
        for one in (row["campaign"]["id"], row.get("node", {}).get("id")):
            if one:
                expected[one] = expected.get(one, 0) + row["sent"]

    found = page.locator(".campaigns tbody tr").evaluate_all(
        """rows => rows.map((row) => {
            const query = new URL(row.querySelector("a").href).searchParams;
            const sent = row.querySelector(".sent").textContent.replace(/,/g, "");
            return [query.get("node") ?? query.get("campaign"), sent];
        })"""
    )
    assert {one: int(sent) for one, sent in found} == expected

    page.get_by_role("button", name="Failed").click()
    failed = page.locator(".campaigns tbody tr:not(.inner) td:nth-child(6)").all_inner_texts()
    assert [number(one) for one in failed] == sorted(map(number, failed), reverse=True)
    page.get_by_role("searchbox").fill("cart 24")
    expect(page.locator(".campaigns tbody tr")).to_have_count(2)
    page.get_by_role("searchbox").fill("no such name")
    expect(page.get_by_text("No campaign or flow matches “no such name”.")).to_be_visible()


def test_the_series_equals_the_export(desk: Desk) -> None:
    """The table of the chart has each day's events by status, in the zone of the page, and their sums."""
    page = desk.page("?unit=events&table=series&at=event")
    expected = model.events_by_status(desk.events(), month(at="event", by=("status",)))
    sums = {row["status"]: row["events"] for row in expected["rows"]}
    by_day = model.events_by_status(desk.events(), month(at="event", step="1d"))

    expect(page.locator(".figures-table tfoot td").first).to_be_visible()  # the texts below are read without waiting
    foot = [number(one) for one in page.locator(".figures-table tfoot td").all_inner_texts()][:7]
    rows = page.locator(".figures-table").first.locator("tbody tr").all()
    totals = [sum(map(number, row.locator("td").all_inner_texts())) for row in rows]

    names = ("DELIVERED", "ACCEPTED", "UNDELIVERABLE", "EXPIRED", "REJECTED", "DELETED", "SKIPPED")
    assert foot == [sums.get(name, 0) for name in names]
    assert [one for one in totals if one] == [
        row["events"] for row in sorted(by_day["rows"], key=lambda r: r["bucket"])
    ]


def test_the_export_of_the_page_has_as_many_lines(desk: Desk) -> None:
    """The export behind a number can be saved from the page: it has exactly as many lines as the number says."""
    page = desk.page("?at=event")
    count = shown_events(page)
    page.get_by_role("button", name="equal to this export").first.click()
    with page.expect_download() as saved:
        page.get_by_role("button", name="Download JSON Lines", exact=True).click()

    lines = saved.value.path().read_bytes().splitlines()
    assert len(lines) == count == len(desk.events())
    assert all(json.loads(line)["smsEvent"]["trackpoint"] == desk.shop.trackpoint for line in lines)
    expect(page.get_by_text("That is exactly the number shown.")).to_be_visible()


@pytest.mark.parametrize("query", ["", "?type=flow&at=event"])
def test_the_export_by_time_sent_or_with_a_filter(desk: Desk, query: str) -> None:
    """By time sent or with a filter, the export is equal too, if the server can filter exports; else the page says so.

    The same events as CSV have a row each.
    """
    described = httpx.get(f"{desk.shop.base}/openapi.json").json()["paths"]
    body = described["/shop/{trackpointId}/export-sms-events"]["post"]["requestBody"]["content"]["application/json"]
    page = desk.page(query)
    count = shown_events(page)
    page.get_by_role("button", name="equal to this export").first.click()
    if "sentFrom" not in body["schema"]["properties"]:
        expect(page.get_by_text("This server cannot filter exports.")).to_be_visible()
        return
    with page.expect_download() as saved:
        page.get_by_role("button", name="Download JSON Lines", exact=True).click()
    assert len(saved.value.path().read_bytes().splitlines()) == count
    expect(page.get_by_text("That is exactly the number shown.")).to_be_visible()
    with page.expect_download() as table:
        page.get_by_role("link", name="CSV", exact=True).click()
    with table.value.path().open(newline="") as rows:
        assert len(list(csv.reader(rows))) == 1 + count


def test_a_campaign_leads_to_its_own_numbers(desk: Desk) -> None:
    """A click on a name filters every panel by it; the filter can be taken away, and the back button undoes it."""
    page = desk.page()
    before = funnel(page)
    link = page.locator(".campaigns tbody tr:not(.inner) a").first
    name, campaign = link.inner_text(), re.findall(r"campaign=([^&]+)", link.get_attribute("href") or "")[0]
    link.click()

    expect(page.get_by_role("button", name=re.compile(rf"Remove the filter .*{re.escape(name)}"))).to_be_visible()
    expected = model.messages(desk.events(), month(filters={"campaign": [campaign]}))["total"]
    expect(page.locator(".funnel dd.number").first).to_have_text(f"{expected['sent']:,}")
    assert funnel(page)["Delivered"] == expected["delivered"]
    page.get_by_role("button", name=re.compile(rf"Remove the filter .*{re.escape(name)}")).click()
    expect(page.locator(".funnel dd.number").first).to_have_text(f"{before['Sent']:,}")
    page.go_back()
    expect(page.get_by_role("button", name=re.compile(rf"Remove the filter .*{re.escape(name)}"))).to_be_visible()
    page.go_back()
    expect(page.get_by_role("button", name=re.compile(rf"Remove the filter .*{re.escape(name)}"))).to_have_count(0)


def test_the_address_holds_what_is_shown(desk: Desk) -> None:
    """Period, axis, step and zone are in the address; opened by somebody elsewhere it shows the same."""
    page = desk.page()
    expect(page).to_have_url(re.compile(r"\?tz=Europe%2FPrague$"))
    page.get_by_role("button", name="90 days").click()
    page.get_by_label("Count by").select_option("event")
    page.get_by_label("Step", exact=True).select_option("1w")
    expect(page.get_by_role("heading", name="Messages by week")).to_be_visible()
    expect(page.locator(".is-old")).to_have_count(0)
    heading, figures = page.locator("h1").inner_text(), funnel(page)

    other = desk.page(page.url.removeprefix(f"{desk.shop.base}/"), timezone_id="America/New_York")
    expect(other.get_by_role("heading", name="Messages by week")).to_be_visible()
    assert (other.locator("h1").inner_text(), funnel(other)) == (heading, figures)
    page.go_back()
    expect(page.get_by_role("heading", name="Messages by day")).to_be_visible()
    page.go_back()
    expect(page.get_by_label("Count by")).to_have_value("send")
    page.go_back()
    expect(page.get_by_role("button", name="30 days")).to_have_attribute("aria-pressed", "true")


def test_days_can_be_chosen(desk: Desk) -> None:
    """Custom days are both in the period, and the numbers are those of these days in the zone of the page."""
    page = desk.page()
    today = page.evaluate("new Date().toLocaleDateString('sv', { timeZone: 'Europe/Prague' })")
    page.get_by_role("button", name="Custom…").click()
    first = page.evaluate("(d) => new Date(Date.parse(d) - 6 * 864e5).toISOString().slice(0, 10)", today)
    last = page.evaluate("(d) => new Date(Date.parse(d) - 2 * 864e5).toISOString().slice(0, 10)", today)
    page.get_by_label("From").fill(first)
    page.get_by_label("To", exact=True).fill(last)
    page.get_by_role("button", name="Apply").click()

    expect(page).to_have_url(re.compile(rf"from={first}&to={last}"))
    start, end = page.evaluate(
        """async ([first, last]) => {
            const { startOf, addDays } = await import("./page/period.js");
            return [startOf("Europe/Prague", first), startOf("Europe/Prague", addDays(last, 1)) - 1];
        }""",
        [first, last],
    )
    expected = model.messages(desk.events(), month(start=start, end=end))["total"]
    expect(page.locator(".funnel dd.number").first).to_have_text(f"{expected['sent']:,}")


def test_days_of_23_and_25_hours(desk: Desk) -> None:
    """A day begins at its midnight also where the clocks change that day, or change at midnight itself."""
    begins = desk.page().evaluate(
        """async () => {
            const { startOf } = await import("./page/period.js");
            const days = ["03-29", "03-30", "10-25", "10-26"].map((day) => ["Europe/Prague", `2026-${day}`]);
            days.push(["Asia/Kathmandu", "2026-01-01"], ["Africa/Cairo", "2026-04-24"]);
            return days.map(([zone, day]) => new Date(startOf(zone, day)).toISOString());
        }"""
    )
    assert begins == [
        "2026-03-28T23:00:00.000Z",
        "2026-03-29T22:00:00.000Z",
        "2026-10-24T22:00:00.000Z",
        "2026-10-25T23:00:00.000Z",
        "2025-12-31T18:15:00.000Z",
        "2026-04-23T22:00:00.000Z",
    ]


def test_the_page_in_czech(desk: Desk) -> None:
    """In Czech the texts, numbers, plurals and dates are Czech, and the address keeps the language."""
    page = desk.page()
    total = model.messages(desk.events(), month())
    page.get_by_role("button", name="Česky").click()

    expect(page.locator("html")).to_have_attribute("lang", "cs")
    expect(page.get_by_role("heading", name="Jak zprávy dopadly")).to_be_visible()
    share = f"{total['total']['delivered'] / total['total']['attempted'] * 100:.1f}".replace(".", ",")
    assert tile(page, "Míra doručení") == f"{share}\u00a0%"
    assert re.search(
        r"[\d\u00a0]+\u00a0(událost|události|událostí), odpovídá tomuto exportu", page.inner_text(".context")
    )
    assert page.url.endswith("lang=cs")
    for english in ("Sent", "Delivered", "messages", "Campaign "):
        assert english not in page.inner_text("main")
    expect(desk.page(locale="sk-SK").get_by_role("heading", name="Jak zprávy dopadly")).to_be_visible()


def test_an_empty_shop_says_what_to_do(other_desk: Callable[..., Desk]) -> None:
    """A shop without events is not shown as zeros: the page says so, and what to do first."""
    desk = other_desk()
    page = desk.page()
    expect(page.get_by_role("heading", name="No events in this period")).to_be_visible()
    expect(page.get_by_text("has to record events first")).to_be_visible()
    page.get_by_role("button", name="Show 90 days").click()
    expect(page).to_have_url(re.compile("days=90"))
    assert desk.faults == []


def test_a_server_that_is_away(page_shop: Shop, other_desk: Callable[..., Desk]) -> None:
    """If the server cannot be reached, the page says so instead of old or no numbers, and can try again."""
    desk = other_desk(page_shop)
    context = desk.context()
    context.route("**/sms-stats**", lambda route: route.abort())
    context.route("**/sms-stats/**", lambda route: route.abort())
    page = desk.page(context=context)
    expect(page.get_by_text("The server cannot be reached.")).to_be_visible()
    expect(page.locator(".tile")).to_have_count(0)
    context.unroute_all()
    page.get_by_role("button", name="Try again").click()
    expect(page.locator(".campaigns")).to_be_visible()


def test_one_panel_may_fail_alone(page_shop: Shop, other_desk: Callable[..., Desk]) -> None:
    """A problem of one panel is told in its place, in the server's words, and the other panels stay."""
    desk = other_desk(page_shop)
    context = desk.context()
    problem = {"detail": "More than 10,000 rows."}
    context.route("**/delivery-time**", lambda route: route.fulfill(status=400, json=problem))
    page = desk.page(context=context)
    panel = page.get_by_role("region", name="Time to deliver")
    expect(panel.get_by_role("alert")).to_contain_text(
        "More than 10,000 rows. Choose a shorter period", use_inner_text=True
    )
    expect(page.locator(".campaigns")).to_be_visible()
    assert tile(page, "Median time to deliver") == "\u2013"


def test_no_change_is_made_up(desk: Desk) -> None:
    """Without a complete period before, there is no change, only a note; with one, it says what it is compared with."""
    page = desk.page()  # the events begin 25 days ago
    expect(page.locator(".tiles").get_by_text("Nothing to compare with")).to_have_count(4)
    page.get_by_role("button", name="7 days", exact=True).click()
    expect(page.locator(".tile .hidden-text").first).to_have_text("vs previous 7 days")
    expect(page.locator(".compared")).to_have_text("Changes vs previous 7 days.")


def test_only_the_rate_and_the_median_are_judged(desk: Desk) -> None:
    """More or fewer messages is neither good nor bad, so the changes of counts have no colour."""
    page = desk.page("?days=7")
    tiles = page.locator(".tile")
    expect(page.locator(".compared")).to_be_visible()

    for name in ("Delivered", "Failed"):
        changed = tiles.filter(has=page.get_by_text(name, exact=True))
        expect(changed.locator(".neutral, .muted")).to_have_count(1)
        expect(changed.locator(".better, .worse")).to_have_count(0)
    for name in ("Delivery rate", "Median time to deliver"):
        changed = tiles.filter(has=page.get_by_text(name, exact=True))
        expect(changed.locator(".better, .worse, .muted")).to_have_count(1)
        expect(changed.locator(".neutral")).to_have_count(0)


def test_a_day_that_the_history_cuts_is_not_complete(desk: Desk) -> None:
    """If the history cuts the first day, it is said to be incomplete, and why; otherwise it is not."""
    day = (datetime.now(UTC) - timedelta(days=95)).date().isoformat()
    page = desk.page(f"?from={day}")
    notes = page.get_by_text("is not complete: the log reaches back 90 days.")

    expect(notes).to_have_count(1)
    page.get_by_role("button", name="90 days").click()
    expect(page.get_by_role("button", name="90 days")).to_have_attribute("aria-pressed", "true")
    expect(page.locator(".is-old")).to_have_count(0)
    expect(notes).to_have_count(0)


def test_files_of_the_panels_have_different_names(desk: Desk) -> None:
    """The CSV of the time series and that of the campaigns can be told apart by their names."""
    page = desk.page()
    links = page.get_by_role("link", name="Download CSV")
    expect(links).to_have_count(2)
    names = []
    for link in links.all():
        with page.expect_download() as saved:
            link.click()
        names.append(saved.value.suggested_filename)

    assert re.match(r"sms-messages-by-day-\d+-", names[0])
    assert re.match(r"sms-messages-by-campaign-node-\d+-", names[1])


def sent_by(campaign: str, name: str, days_ago: int, status: str = "DELIVERED", count: int = 60) -> list[bytes]:
    """Return messages of a one-off campaign that were sent some days ago."""
    time = month().now - days_ago * 86_400_000 - 60_000
    return [
        json.dumps(
            {
                "smsEvent": {"trackpoint": 1, "userId": f"x{number}", "status": status, "date": time},
                "source": {"type": "one-off", "campaign": {"id": campaign, "name": name}, "sendDate": time},
            }
        ).encode()
        for number in range(count)
    ]


def test_campaigns_of_one_name_can_be_told_apart(page_shop: Shop, other_desk: Callable[..., Desk]) -> None:
    """Where a name repeats, the first day of sending or else the id stands beside it, in the note as well."""
    desk = other_desk(page_shop)
    lines = sent_by("a1", "Sale", 9) + sent_by("b2", "Sale", 2, "EXPIRED") + sent_by("c3", "Other one", 3)
    context = desk.context()
    model.serve_statistics(context, lambda: lines, lambda: month().now)
    page = desk.page(context=context)
    hints = page.locator(".hint-of-name")
    days = [
        page.evaluate(
            """(ms) => new Date(ms).toLocaleDateString(
                "en-GB", { day: "numeric", month: "short", timeZone: "Europe/Prague" })""",
            month().now - ago * 86_400_000 - 60_000,
        )
        for ago in (9, 2)
    ]

    expect(hints).to_have_count(2)
    for name in page.locator(".campaigns tbody th", has=hints).all():
        assert (name.bounding_box() or {"height": 99})["height"] < 60, "the name is squeezed"
    assert sorted(hints.all_inner_texts()) == sorted(f"from {day}" for day in days)
    expect(page.get_by_text(f"“Sale” (from {days[1]}): 100.0% of its messages failed.")).to_be_visible()
    page.get_by_label("Count by").select_option("event")
    expect(hints.filter(has_text="from")).to_have_count(0)
    assert sorted(hints.all_inner_texts()) == ["a1", "b2"]
    assert desk.faults == []


def test_what_stands_out_is_computed(page_shop: Shop, other_desk: Callable[..., Desk]) -> None:
    """A campaign that failed far more often than the rest is named with its share, and linked; others are not."""
    desk = other_desk(page_shop)
    lines = desk.shop.export().content.splitlines()
    campaign = json.loads(lines[-1])["source"]["campaign"]
    spoilt = [one.replace(b'"DELIVERED"', b'"EXPIRED"') if campaign["id"].encode() in one else one for one in lines]
    spoilt += sent_by("bad", "Bad list", 0, "EXPIRED")
    context = desk.context()
    model.serve_statistics(context, lambda: spoilt, lambda: month().now)
    page = desk.page(context=context)
    expect(page.get_by_text("“Bad list”: 100.0% of its messages failed.")).to_be_visible()
    page.get_by_role("button", name="Show it").click()
    expect(page.get_by_role("button", name="Remove the filter Campaign: Bad list")).to_be_visible()
    assert desk.faults == []


def test_too_many_rows_are_asked_for_apart(page_shop: Shop, other_desk: Callable[..., Desk]) -> None:
    """If campaigns by day are more rows than the server sends, the series and the table are requested apart."""
    desk = other_desk(page_shop)
    context = desk.context()
    problem = {"detail": "More than 10,000 rows."}
    both = re.compile(r"/messages\?.*step=1d.*by=type")
    context.route(both, lambda route: route.fulfill(status=400, json=problem))
    page = desk.page(context=context)
    expect(page.locator(".campaigns")).to_be_visible()
    assert funnel(page) == funnel(desk.page())
