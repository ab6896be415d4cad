"""The form of the page at /docs in a real browser: what it sends, and what it shows of an export."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

import httpx
import pytest
from playwright.sync_api import Page, expect

from tests.support.docs_page import SHOWN, FaultyAnswers, StandIn, figure, recent_lines, run_export, shown_lines
from tests.support.lines import DAY_MS, body_of, date_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.support.servers import Server

pytest_plugins = ["tests.support.browser"]


@pytest.mark.parametrize("count", [0, 1, 5, 6, 10, 12, 5000])
def test_try_it_shows_the_count_and_the_first_and_last_lines(
    server: Server, open_page: Callable[..., Page], count: int
) -> None:
    """An export is shown with its count, bytes and interval, and its first and last five lines, without repetition."""
    shop = server.shop()
    lines = recent_lines(shop, count)
    assert shop.send(body_of(lines)).status_code == 200
    page = open_page()
    run_export(page, shop.trackpoint, shop.key)
    expect(page.locator("#state")).to_contain_text("Done")
    assert figure(page, "Status") == "200 OK"
    assert figure(page, "Lines").replace(",", "") == str(count)
    assert figure(page, "Bytes of lines").replace(",", "") == str(len(body_of(lines)))
    assert float(figure(page, "Seconds")) > 0
    start, end = (int(figure(page, name).split()[0]) for name in ("X-Export-From", "X-Export-To"))
    assert end - start == 90 * DAY_MS
    expected = lines if count <= 2 * SHOWN else lines[:SHOWN] + lines[-SHOWN:]
    assert shown_lines(page) == [one.decode() for one in expected]
    if count > 2 * SHOWN:
        assert page.locator("#excerpt ol").last.get_attribute("start") == str(count - SHOWN + 1)


def test_pieces_of_any_size_make_the_same_lines(stand_in: StandIn, open_page: Callable[..., Page]) -> None:
    """Lines received in pieces of any size are counted and shown as if they came at once."""
    page = open_page(stand_in.base)
    run_export(page, 7)
    expect(page.locator("#state")).to_have_text("Done: 20 lines.")
    lines = FaultyAnswers.lines.decode().splitlines()
    assert shown_lines(page) == lines[:SHOWN] + lines[-SHOWN:]


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
        expect(page.locator(".figures div", has_text=name)).to_contain_text(f"{date_of(one)}{time:%Y-%m-%d %H:%M}")
    expect(page.locator("#state")).to_have_text("Done: 5 lines.")
    assert shown_lines(page) == [one.decode() for one in lines[2:7]]


def test_a_wrong_key_shows_what_the_problem_says(server: Server, open_page: Callable[..., Page]) -> None:
    """A refused export shows the title and detail of the problem, and nothing of the previous export."""
    shop = server.shop()
    shop.send(body_of(recent_lines(shop, 3)))
    page = open_page()
    run_export(page, shop.trackpoint, shop.key)
    expect(page.locator("#state")).to_have_text("Done: 3 lines.")
    run_export(page, shop.trackpoint, "wrong")
    problem = httpx.post(shop.export_url, json={}, headers={"X-Api-Key": "wrong"}).json()
    expect(page.locator("#state")).to_have_text(f"{problem['title']}. {problem['detail']}".replace("`", ""))
    assert figure(page, "Status") == "401 Unauthorized"
    assert shown_lines(page) == []


def test_an_interval_that_ends_before_it_begins_is_explained(server: Server, open_page: Callable[..., Page]) -> None:
    """What the server says about an invalid interval is shown to the reader."""
    shop = server.shop()
    page = open_page()
    page.get_by_label("From, in UTC").fill("2026-02-01T00:00")
    page.get_by_label("To, in UTC").fill("2026-01-01T00:00")
    run_export(page, shop.trackpoint, shop.key)
    body = {"from": 1769904000000, "to": 1767225600000}
    expect(page.locator("#state")).to_contain_text(shop.export(body).json()["detail"].replace("`", ""))


@pytest.mark.parametrize("trackpoint", [1, 2, 3])
def test_a_cut_export_is_called_cut(stand_in: StandIn, open_page: Callable[..., Page], trackpoint: int) -> None:
    """An export that was truncated, plain or gzip, or that ends within a line, is never shown as complete."""
    page = open_page(stand_in.base)
    run_export(page, trackpoint)
    expect(page.locator("#state")).to_contain_text("The export was cut: what is shown is not all.")
    assert figure(page, "Status") == "200 OK"


def test_stop_ends_the_export(stand_in: StandIn, open_page: Callable[..., Page]) -> None:
    """Stop closes the connection, says that the result is incomplete, and lets the form run again."""
    page = open_page(stand_in.base)
    run_export(page, 4)
    expect(page.locator("#lines")).to_contain_text(",")
    expect(page.get_by_role("button", name="Run")).to_be_disabled()
    page.get_by_role("button", name="Stop").click()
    expect(page.locator("#state")).to_have_text("You stopped the export: what is shown is not all.")
    assert stand_in.client_left.wait(30)
    assert len(shown_lines(page)) == 2 * SHOWN
    run_export(page, 7)
    expect(page.locator("#state")).to_have_text("Done: 20 lines.")


@pytest.mark.parametrize(
    ("trackpoint", "told"), [(5, "Status 502. The answer does not say why."), (6, "The server cannot be reached: ")]
)
def test_answers_that_are_not_ours_are_told(
    stand_in: StandIn, open_page: Callable[..., Page], trackpoint: int, told: str
) -> None:
    """An error page of a proxy, or no response at all, is reported as such."""
    page = open_page(stand_in.base)
    run_export(page, trackpoint)
    expect(page.locator("#state")).to_contain_text(told)


def test_the_key_is_kept_nowhere(server: Server, open_page: Callable[..., Page]) -> None:
    """After a run the key is not in the URL, a cookie or storage, and a reload forgets it."""
    shop = server.shop()
    page = open_page()
    expect(page.get_by_label("API key")).to_have_attribute("type", "password")
    expect(page.get_by_label("API key")).to_have_attribute("autocomplete", "off")
    run_export(page, shop.trackpoint, shop.key)
    expect(page.locator("#state")).to_contain_text("Done")
    assert page.url == f"{server.base}/docs"
    assert page.evaluate("[document.cookie, localStorage.length, sessionStorage.length]") == ["", 0, 0]
    page.reload()
    expect(page.get_by_label("API key")).to_have_value("")


def test_nothing_is_sent_before_the_form_is_right(server: Server, open_page: Callable[..., Page]) -> None:
    """A non-numeric trackpoint, a key with a space and a missing key are caught in the browser."""
    page = open_page()
    sent: list[str] = []
    page.on("request", lambda request: sent.append(request.url))
    for trackpoint, key in [("abc", "k"), ("", "k"), ("1", ""), ("1", "a b"), ("1", "ключ")]:
        run_export(page, trackpoint, key)
    assert sent == []
    expect(page.locator("#state")).to_be_empty()
    assert page.url == f"{server.base}/docs"
