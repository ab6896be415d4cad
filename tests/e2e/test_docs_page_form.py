"""The form of the page at /docs in a real browser: what it sends, and what it shows of an export."""

from __future__ import annotations

import json
import os
import subprocess
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import httpx
import pytest
from playwright.sync_api import Page, expect

from tests.support.docs_page import (
    DEFAULT_LINES,
    FaultyAnswers,
    StandIn,
    figure,
    recent_lines,
    run_export,
    shown_lines,
)
from tests.support.lines import DAY_MS, body_of, date_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.support.page import Desk
    from tests.support.servers import Server

NONE = "\u2013"
pytest_plugins = ["tests.support.browser", "tests.support.page_fixtures"]


@pytest.mark.parametrize("count", [0, 1, DEFAULT_LINES])
def test_a_complete_export_is_shown_as_complete(server: Server, open_page: Callable[..., Page], count: int) -> None:
    """An export with at most the chosen lines is shown with all of them, its bytes and its interval, as complete."""
    shop = server.shop()
    lines = recent_lines(shop, count)
    assert shop.send(body_of(lines)).status_code == 200
    page = open_page()
    run_export(page, shop.trackpoint, shop.key)
    expect(page.locator("#outcome")).to_contain_text("Complete: ")
    assert figure(page, "Status") == "200 OK"
    assert figure(page, "Lines") == str(count)
    assert figure(page, "Bytes of lines").replace(",", "") == str(len(body_of(lines)))
    start, end = (int(figure(page, name).split()[0]) for name in ("X-Export-From", "X-Export-To"))
    assert end - start == 90 * DAY_MS
    assert (shown_lines(page) if count else []) == [one.decode() for one in lines]


def test_the_export_stops_after_the_chosen_lines(server: Server, open_page: Callable[..., Page]) -> None:
    """With more lines than chosen, the first ones are shown, and the page says that it stopped by itself."""
    shop = server.shop()
    lines = recent_lines(shop, 150)
    shop.send(body_of(lines))
    page = open_page()
    for chosen in (DEFAULT_LINES, 100):
        page.get_by_label("Stop after").select_option(f"{chosen} lines")
        run_export(page, shop.trackpoint, shop.key)
        expect(page.locator("#outcome")).to_have_text(f"Stopped after {chosen} lines, as chosen. The export has more.")
        assert shown_lines(page) == [one.decode() for one in lines[:chosen]]


def test_a_stopped_export_is_aborted(stand_in: StandIn, open_page: Callable[..., Page]) -> None:
    """After the chosen lines the page closes the connection, so an endless export ends."""
    page = open_page(stand_in.base)
    run_export(page, 8)
    expect(page.locator("#outcome")).to_contain_text("Stopped after 20 lines, as chosen.")
    assert stand_in.client_left.wait(30)


def test_the_table_has_what_the_lines_have(server: Server, open_page: Callable[..., Page]) -> None:
    """The table has a row for each event, with its times in UTC, user, status, type, campaign and node."""
    shop = server.shop()
    lines = recent_lines(shop, 4)
    shop.send(body_of(lines))
    page = open_page(timezone_id="America/New_York")
    run_export(page, shop.trackpoint, shop.key)
    expect(page.locator("#outcome")).to_contain_text("Complete")

    rows = page.locator(".events tbody tr").evaluate_all(
        "rows => rows.map((row) => [...row.cells].map((cell) => cell.textContent.trim()))"
    )
    expected = []
    for event in map(json.loads, lines):
        sms, source = event["smsEvent"], event["source"]
        node = source.get("node")
        expected.append(
            [
                shown_time(sms["date"]),
                sms["userId"],
                sms["status"],
                source["type"],
                f"{source['campaign']['name']} {source['campaign']['id']}",
                f"{node['name']} {node['id']}" if node else NONE,
                shown_time(source["sendDate"]),
            ]
        )
    assert rows == expected


def shown_time(ms: int) -> str:
    """Return a time as the table shows it."""
    return datetime.fromtimestamp(ms / 1000, UTC).isoformat(" ", "milliseconds").removesuffix("+00:00")


def test_pieces_of_any_size_make_the_same_lines(stand_in: StandIn, open_page: Callable[..., Page]) -> None:
    """Lines received in pieces of any size are counted and shown as if they came at once."""
    page = open_page(stand_in.base)
    run_export(page, 7)
    expect(page.locator("#outcome")).to_have_text("Complete: 12 lines. The export has no more.")
    assert shown_lines(page) == FaultyAnswers.lines.decode().splitlines()


def test_the_command_does_the_same(server: Server, open_page: Callable[..., Page]) -> None:
    """The command under the form returns exactly the lines that the form shows, for the same fields."""
    shop = server.shop()
    lines = recent_lines(shop, 50)
    shop.send(body_of(lines))
    page = open_page()
    time = datetime.fromtimestamp(date_of(lines[10]) / 1000, UTC)
    page.get_by_label("From, in UTC").fill(f"{time:%Y-%m-%dT%H:%M}")
    run_export(page, shop.trackpoint, shop.key)
    expect(page.locator("#outcome")).to_contain_text("Stopped after 20 lines")
    command = page.locator(".same code").inner_text()
    assert shop.key not in command
    done = subprocess.run(["sh", "-c", command], env=os.environ | {"KEY": shop.key}, capture_output=True, check=True)
    assert done.stdout.decode().splitlines() == shown_lines(page) == [one.decode() for one in lines[10:30]]


def test_a_session_needs_no_key(desk: Desk) -> None:
    """A person who is signed in to the page can run the form as it is; what the session may not do is explained."""
    page = desk.context().new_page()
    page.goto(f"{desk.shop.base}/docs?lang=en")
    expect(page.locator("#signed-in")).to_be_visible()
    expect(page.get_by_label("Trackpoint")).to_have_value(str(desk.shop.trackpoint))
    page.get_by_role("button", name="Run").click()
    expect(page.locator("#outcome")).to_contain_text("Stopped after 20 lines")
    page.get_by_label("Trackpoint").fill("7")
    page.get_by_role("button", name="Run").click()
    expect(page.locator("#outcome")).to_contain_text("Forbidden")


def test_times_are_utc_wherever_the_reader_is(server: Server, open_page: Callable[..., Page]) -> None:
    """From and To are UTC, not the reader's local time, and both ends belong to the interval."""
    shop = server.shop()
    lines = recent_lines(shop, 9)
    shop.send(body_of(lines))
    page = open_page(timezone_id="America/New_York")
    for label, one in [("From, in UTC", lines[2]), ("To, in UTC", lines[6])]:
        time = datetime.fromtimestamp(date_of(one) / 1000, UTC)
        page.get_by_label(label).fill(f"{time:%Y-%m-%dT%H:%M}")
        name = "X-Export-From" if "From" in label else "X-Export-To"
        run_export(page, shop.trackpoint, shop.key)
        expect(page.locator(".figures div", has_text=name)).to_contain_text(f"{date_of(one)} {time:%Y-%m-%d %H:%M}")
    expect(page.locator("#outcome")).to_contain_text("Complete: 5 lines.")
    assert shown_lines(page) == [one.decode() for one in lines[2:7]]


def test_a_wrong_key_shows_what_the_problem_says(server: Server, open_page: Callable[..., Page]) -> None:
    """A refused export shows the title and detail of the problem, and nothing of the previous export."""
    shop = server.shop()
    shop.send(body_of(recent_lines(shop, 3)))
    page = open_page()
    run_export(page, shop.trackpoint, shop.key)
    expect(page.locator("#outcome")).to_contain_text("Complete: 3 lines.")
    run_export(page, shop.trackpoint, "wrong")
    problem = httpx.post(shop.export_url, json={}, headers={"X-Api-Key": "wrong"}).json()
    expect(page.locator("#outcome")).to_contain_text(f"{problem['title']}. {problem['detail']}".replace("`", ""))
    expect(page.locator(".request-id")).to_contain_text("X-Request-Id: ")
    assert figure(page, "Status") == "401 Unauthorized"
    expect(page.locator(".events")).to_have_count(0)


def test_an_interval_that_ends_before_it_begins_is_explained(server: Server, open_page: Callable[..., Page]) -> None:
    """What the server says about an invalid interval is shown to the reader."""
    shop = server.shop()
    page = open_page()
    page.get_by_label("From, in UTC").fill("2026-02-01T00:00")
    page.get_by_label("To, in UTC").fill("2026-01-01T00:00")
    run_export(page, shop.trackpoint, shop.key)
    body = {"from": 1769904000000, "to": 1767225600000}
    expect(page.locator("#outcome")).to_contain_text(shop.export(body).json()["detail"].replace("`", ""))


@pytest.mark.parametrize("trackpoint", [1, 2, 3])
def test_a_truncated_export_is_called_truncated(
    stand_in: StandIn, open_page: Callable[..., Page], trackpoint: int
) -> None:
    """An export that was truncated, plain or gzip, or that ends within a line, is never shown as complete."""
    page = open_page(stand_in.base)
    run_export(page, trackpoint)
    expect(page.locator("#outcome")).to_contain_text("The export was truncated: what is shown is incomplete.")
    assert figure(page, "Status") == "200 OK"


def test_stop_ends_the_export(stand_in: StandIn, open_page: Callable[..., Page]) -> None:
    """Stop closes the connection, says that there may be more, keeps the focus, and lets the form run again."""
    page = open_page(stand_in.base)
    run_export(page, 4)
    expect(page.get_by_role("button", name="Run")).to_be_disabled()
    expect(page.get_by_role("button", name="Stop")).to_be_focused()
    expect(page.locator(".events tbody tr")).to_have_count(1)
    page.keyboard.press("Enter")
    expect(page.locator("#outcome")).to_have_text("You stopped the export after 1 line. There may be more.")
    expect(page.get_by_role("button", name="Run")).to_be_focused()
    assert stand_in.client_left.wait(30)
    run_export(page, 7)
    expect(page.locator("#outcome")).to_contain_text("Complete: 12 lines.")


@pytest.mark.parametrize(
    ("trackpoint", "told"), [(5, "The response does not say why."), (6, "The server cannot be reached (")]
)
def test_answers_that_are_not_ours_are_told(
    stand_in: StandIn, open_page: Callable[..., Page], trackpoint: int, told: str
) -> None:
    """An error page of a proxy, or no response at all, is reported as such."""
    page = open_page(stand_in.base)
    run_export(page, trackpoint)
    expect(page.locator("#outcome")).to_contain_text(told)


def test_the_key_is_kept_nowhere(server: Server, open_page: Callable[..., Page]) -> None:
    """After a run the key is not in the URL, a cookie or storage, and a reload forgets it."""
    shop = server.shop()
    page = open_page()
    expect(page.get_by_label("API key")).to_have_attribute("type", "password")
    expect(page.get_by_label("API key")).to_have_attribute("autocomplete", "off")
    run_export(page, shop.trackpoint, shop.key)
    expect(page.locator("#outcome")).to_contain_text("Complete")
    assert page.url == f"{server.base}/docs?lang=en"
    assert page.evaluate("[document.cookie, localStorage.length, sessionStorage.length]") == ["", 0, 0]
    page.reload()
    expect(page.get_by_label("API key")).to_have_value("")


def test_nothing_is_sent_before_the_form_is_right(server: Server, open_page: Callable[..., Page]) -> None:
    """A non-numeric trackpoint, a key with a space and a missing key are caught in the browser."""
    page = open_page()
    sent: list[str] = []
    page.on("request", lambda request: sent.append(request.url) if request.method == "POST" else None)
    for trackpoint, key in [("abc", "k"), ("", "k"), ("1", ""), ("1", "a b"), ("1", "ключ")]:
        run_export(page, trackpoint, key)
    assert sent == []
    expect(page.locator("#outcome")).to_be_empty()
    assert page.url == f"{server.base}/docs?lang=en"
