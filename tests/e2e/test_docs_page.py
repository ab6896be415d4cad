"""The page at /docs, both its files and its display in a real browser."""

from __future__ import annotations

import re
import subprocess
from typing import TYPE_CHECKING

import httpx
import pytest
from playwright.sync_api import Browser, Page, expect

from tests.support.docs_page import recent_lines
from tests.support.lines import body_of

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.support.servers import Server

pytest_plugins = ["tests.support.browser"]

FILES = [
    ("/docs", "text/html; charset=utf-8"),
    ("/docs/docs.js", "text/javascript; charset=utf-8"),
    ("/docs/docs.css", "text/css; charset=utf-8"),
]
POLICY = {"default-src 'none'", "style-src 'self'", "script-src 'self'", "connect-src 'self'"}
FILES_MAX_BYTES = 25_000
EXAMPLE_TRACKPOINT = "4541245641234564"
EXAMPLE_USER = "users/123456"


@pytest.mark.parametrize(("path", "media_type"), FILES)
def test_each_file_comes_with_its_type_and_a_strict_policy(server: Server, path: str, media_type: str) -> None:
    """Each file is served with its type and a content security policy that allows only our own files."""
    answer = httpx.get(server.base + path)
    assert answer.status_code == 200
    assert answer.headers["Content-Type"] == media_type
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert set(answer.headers["Content-Security-Policy"].split("; ")) >= POLICY


def test_the_description_is_served_as_json(server: Server) -> None:
    """The description that the page is built from is JSON and names all endpoints."""
    answer = httpx.get(f"{server.base}/openapi.json")
    assert answer.headers["Content-Type"].startswith("application/json")
    paths = [path.removeprefix("/shop/{trackpointId}/") for path in answer.json()["paths"]]
    assert paths == ["export-sms-events", "import-sms-events", "users/{userId}", "sent-sms"]


def test_the_files_are_small_and_name_no_other_host(server: Server) -> None:
    """The files are small in total and contain no address of another host."""
    files = [httpx.get(server.base + path).text for path, _ in FILES]
    assert sum(len(text.encode()) for text in files) < FILES_MAX_BYTES
    # a scheme, or an address that begins with // inside quotes or url()
    assert [found for text in files for found in re.findall(r"""\w+://\S*|["'(]//\w\S*""", text)] == []


def test_the_page_has_no_inline_code(server: Server) -> None:
    """The page contains no inline scripts, styles or handlers, which the policy would block."""
    html = httpx.get(f"{server.base}/docs").text
    assert re.findall(r"<style|\sstyle=|\son\w+=|<script(?![^>]*\ssrc=)", html) == []


def test_the_page_shows_what_the_description_says(server: Server, open_page: Callable[..., Page]) -> None:
    """All endpoints are shown with their texts, parameters, headers, statuses, media types and examples."""
    page = open_page()
    paths = httpx.get(f"{server.base}/openapi.json").json()["paths"]
    for path, item in paths.items():
        ((method, operation),) = item.items()
        section = page.get_by_role("region", name=operation["summary"])
        expect(section.locator(".address")).to_have_text(f"{method.upper()} {path}")
        text = section.evaluate("element => element.textContent")
        assert operation["description"].replace("`", "") in text
        assert "trackpointId" in text
        assert "X-Api-Key" in text
        assert section.locator("summary strong").all_inner_texts() == sorted(operation["responses"])
        for answer in operation["responses"].values():
            told = [answer["description"].replace("`", ""), *answer.get("headers", {}), *answer["content"]]
            examples = [e["value"] for media in answer["content"].values() for e in media["examples"].values()]
            told += [piece for e in examples if isinstance(e, str) for piece in e.splitlines()]
            told += [str(value) for e in examples if isinstance(e, dict) for value in e.values() if type(value) is int]
            assert [piece for piece in told if piece not in text] == []
    assert "`" not in page.inner_text("main")
    assert "undefined" not in page.inner_text("main")


def test_the_page_loads_without_a_word_on_the_console(server: Server, browser: Browser) -> None:
    """Everything the page loads exists and is allowed by its policy: the console stays empty."""
    with browser.new_context() as context:
        page = context.new_page()
        told: list[str] = []
        page.on("console", lambda message: told.append(message.text))
        page.goto(f"{server.base}/docs", wait_until="networkidle")
        expect(page.locator("#operations section")).to_have_count(4)
        assert told == []


def test_the_commands_do_what_they_say(server: Server, open_page: Callable[..., Page], tmp_path: Path) -> None:
    """With trackpoint, key and user filled in, the curl lines import a file (plain and gzip), export it, and erase."""
    commands = open_page().locator(".command code")
    expect(commands).to_have_count(5)
    export, plain, gzip, erase, _ = commands.all_inner_texts()
    for importing in (plain, gzip):
        shop = server.shop(("export", "import", "admin"))
        lines = body_of(recent_lines(shop, 10))
        (tmp_path / "events.jsonl").write_bytes(lines)
        erased = b'{"events":1,"segments":1,"wiped":true,"quarantined":0}'
        for command, answer in [(importing, b'{"received":10,"expired":0}'), (export, lines), (erase, erased)]:
            filled = command.replace("YOUR_API_KEY", shop.key).replace(EXAMPLE_TRACKPOINT, str(shop.trackpoint))
            filled = filled.replace(EXAMPLE_USER, "users/user3")
            done = subprocess.run(["sh", "-c", filled], cwd=tmp_path, capture_output=True, timeout=60, check=True)
            assert done.stdout == answer


def test_a_link_to_a_section_leads_there(server: Server, open_page: Callable[..., Page]) -> None:
    """A URL that names an endpoint leads to it, although the script inserts the endpoint only later."""
    page = open_page()
    page.goto("about:blank")
    page.goto(f"{server.base}/docs#importSmsEvents")
    expect(page.get_by_role("heading", name="Record events of a shop")).to_be_in_viewport()


def test_without_scripts_the_page_points_to_the_description(open_page: Callable[..., Page]) -> None:
    """Without JavaScript the page says so, links to the description and hides the form, which could do nothing."""
    page = open_page(java_script_enabled=False)
    expect(page.locator("noscript p")).to_contain_text("needs JavaScript")
    expect(page.locator("noscript a[href='openapi.json']")).to_be_visible()
    expect(page.locator("#form")).to_be_hidden()


def test_a_description_that_cannot_be_read_is_told(server: Server, open_page: Callable[..., Page]) -> None:
    """If /openapi.json cannot be loaded, the page says so, and the form is still there."""
    page = open_page()
    page.route("**/openapi.json", lambda route: route.fulfill(status=502, body="<html>"))
    page.goto(f"{server.base}/docs")
    expect(page.get_by_role("alert")).to_contain_text("openapi.json cannot be shown")
    expect(page.get_by_label("Trackpoint")).to_be_visible()
