"""The page at /docs, both its files and its display in a real browser."""

from __future__ import annotations

import os
import re
import subprocess
from typing import TYPE_CHECKING
from urllib.parse import urljoin

import httpx
import pytest
from playwright.sync_api import Browser, Page, expect

from smsevents.web.docs import pages
from smsevents.web.openapi import description
from tests.support.docs_page import recent_lines
from tests.support.documents import ROOT
from tests.support.documents import Page as Documented
from tests.support.lines import body_of

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.support.servers import Server

pytest_plugins = ["tests.support.browser"]

POLICY = {"default-src 'none'", "style-src 'self'", "script-src 'self'", "img-src 'self'", "connect-src 'self'"}
LOADED_MAX_BYTES = 60_000  # compressed, with the script and the styles
BASE = "http://127.0.0.1:8080"  # of the examples
SHOP = "4541245641234564"
LANGUAGES = {"en": Documented(ROOT / "docs" / "api.md"), "cs": Documented(ROOT / "docs" / "api.cs.md")}


@pytest.mark.parametrize("language", LANGUAGES)
def test_the_page_comes_with_a_strict_policy_and_a_tag(server: Server, language: str) -> None:
    """The page has its type, a policy that allows only our own files, and a tag that saves sending it again."""
    url = f"{server.base}/docs?lang={language}"
    for coding in ("gzip", "identity"):
        headers = {"Accept-Encoding": coding}
        answer = httpx.get(url, headers=headers)
        assert answer.status_code == 200
        assert answer.headers["Content-Type"] == "text/html; charset=utf-8"
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
        assert answer.headers["Vary"] == "Accept-Encoding, Accept-Language"
        assert answer.headers.get("Content-Encoding", "identity") == coding
        assert set(answer.headers["Content-Security-Policy"].split("; ")) >= POLICY
        again = httpx.get(url, headers=headers | {"If-None-Match": answer.headers["ETag"]})
        assert (again.status_code, again.content) == (304, b"")


@pytest.mark.parametrize(
    ("query", "wished", "language"),
    [
        ("", "", "en"),
        ("", "cs,en;q=0.5", "cs"),
        ("", "sk-SK,sk;q=0.9", "cs"),
        ("", "en-GB,cs;q=0.9", "en"),
        ("", "de", "en"),
        ("?lang=cs", "en", "cs"),
        ("?lang=en", "cs", "en"),
        ("?lang=xx", "cs", "cs"),
    ],
)
def test_the_language_is_that_of_the_address_else_of_the_browser(
    server: Server, query: str, wished: str, language: str
) -> None:
    """The address decides, then the languages that the browser prefers; a language that we do not have is English."""
    text = httpx.get(f"{server.base}/docs{query}", headers={"Accept-Language": wished}).text
    assert f'<html lang="{language}">' in text


def test_the_description_is_served_as_json(server: Server) -> None:
    """The description that the page is built from is JSON and names all endpoints."""
    answer = httpx.get(f"{server.base}/openapi.json")
    assert answer.headers["Content-Type"].startswith("application/json")
    paths = [path.removeprefix("/shop/{trackpointId}/") for path in answer.json()["paths"]]
    assert paths == [path.removeprefix("/shop/{trackpointId}/") for path in description(0)["paths"]]
    assert {"export-sms-events", "sms-events", "import-sms-events", "users/{userId}"} <= set(paths)


def test_the_page_is_small_and_names_no_other_host(server: Server) -> None:
    """All that the page loads is small, and apart from its links nothing in it is an address of another host."""
    for language, page in pages().items():
        text = page.content.decode()
        loaded = re.findall(r'<(?:link|script|img)\b[^>]*(?:href|src)="([^"]+)"', text)
        assert all(address.startswith("page/") for address in loaded)
        styles_and_scripts = [httpx.get(f"{server.base}/{address}") for address in loaded]
        assert {answer.status_code for answer in styles_and_scripts} == {200}
        sizes = [int(answer.headers["Content-Length"]) for answer in styles_and_scripts]
        assert len(page.compressed) + sum(sizes) < LOADED_MAX_BYTES, language


def test_the_page_has_no_inline_code() -> None:
    """The page contains no inline scripts, styles or handlers, which the policy would block."""
    for page in pages().values():
        assert re.findall(r"<style|\sstyle=|\son\w+=|<script(?![^>]*\ssrc=)", page.content.decode()) == []


@pytest.mark.parametrize("language", LANGUAGES)
def test_the_page_is_the_reference(open_page: Callable[..., Page], language: str) -> None:
    """The page has all headings, code, tables and prose of docs/api.md, or of its Czech form, and the own address."""
    documented = LANGUAGES[language]
    page = open_page(query=f"?lang={language}")
    expect(page.locator("#try form")).to_be_visible()
    own = page.url.split("/docs")[0]
    shown = page.locator("main > :is(h1, h2, h3)").evaluate_all(
        "all => all.map((one) => [one.tagName, one.textContent])"
    )
    assert shown == [[f"H{level}", text] for level, text in documented.headings]
    blocks = page.locator("main > pre").evaluate_all("all => all.map((one) => one.textContent)")
    assert blocks == [text.replace(BASE, own) for _, text in documented.blocks]
    cells = page.locator("main > table").evaluate_all("all => all.map((one) => one.querySelectorAll('th, td').length)")
    assert cells == [sum(map(len, table)) for table in documented.tables]
    text = " ".join(page.locator("main").inner_text().split())
    for span in documented.spans:
        assert span.strip().replace(BASE, own) in text
    assert "](" not in text
    assert "undefined" not in text


@pytest.mark.parametrize("language", LANGUAGES)
def test_the_first_table_has_all_calls(language: str) -> None:
    """The table of calls names each operation of the OpenAPI description, in its order of sections, and no other."""
    [calls] = [table for table in LANGUAGES[language].tables if table[1][0].startswith("`POST /shop")]
    described = {f"`{method.upper()} {path}`" for path, item in description(0)["paths"].items() for method in item}
    assert {row[0] for row in calls[1:]} == described


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_link_of_the_page_leads_somewhere(server: Server, language: str) -> None:
    """Links to sections name one that is there; other links of the page lead to what this server has."""
    text = pages()[language].content.decode()
    ids = set(re.findall(r'\sid="([^"]+)"', text))
    for address in re.findall(r'<a [^>]*href="([^"]+)"', text):
        if address.startswith("#"):
            assert address[1:] in ids, address
        else:
            assert httpx.get(urljoin(f"{server.base}/docs", address)).status_code == 200, address


def test_the_page_loads_without_a_word_on_the_console(server: Server, browser: Browser) -> None:
    """Everything the page loads exists and is allowed by its policy: the console stays empty."""
    with browser.new_context() as context:
        page = context.new_page()
        told: list[str] = []
        page.on("console", lambda message: told.append(message.text))
        page.goto(f"{server.base}/docs", wait_until="networkidle")
        expect(page.locator("#try form")).to_be_visible()
        assert told == []


def test_the_commands_do_what_they_say(server: Server, open_page: Callable[..., Page], tmp_path: Path) -> None:
    """With the shop, the key and the user filled in, the commands of the page import a file, export it, and erase."""
    page = open_page()
    commands = page.locator("pre > .language-sh").all_inner_texts()

    def command(part: str) -> str:
        """Return the first command with this part."""
        return next(text for text in commands if part in text)

    export, erase = command("--compressed -d '{}'"), command("-X DELETE")
    for importing in (command("--data-binary @events.jsonl"), command("gzip -c events.jsonl")):
        shop = server.shop(("export", "import", "admin"))
        lines = body_of(recent_lines(shop, 10))
        (tmp_path / "events.jsonl").write_bytes(lines)
        erased = b'{"events":1,"segments":1,"wiped":true,"quarantined":0}'
        for one, answer in [(importing, b'{"received":10,"expired":0}'), (export, b""), (erase, erased)]:
            filled = one.replace("sms_…", shop.key).replace(SHOP, str(shop.trackpoint)).replace("123456", "user3")
            environment = os.environ | {"KEY": shop.key}
            done = subprocess.run(
                ["sh", "-c", filled], cwd=tmp_path, env=environment, capture_output=True, timeout=60, check=True
            )
            assert done.stdout == answer
        assert (tmp_path / "events.jsonl").read_bytes() == lines


def test_a_link_to_a_section_leads_there_in_both_languages(server: Server, open_page: Callable[..., Page]) -> None:
    """A URL that names a section leads to it, and the other language opens at the same one."""
    page = open_page()
    page.goto("about:blank")
    page.goto(f"{server.base}/docs?lang=en#statistics")
    expect(page.get_by_role("heading", name="Statistics", exact=True)).to_be_in_viewport()
    page.get_by_role("link", name="Česky").click()
    expect(page).to_have_url(f"{server.base}/docs?lang=cs#statistics")
    expect(page.get_by_role("heading", name="Statistiky", exact=True)).to_be_in_viewport()


def test_the_list_of_sections_marks_the_one_in_view(open_page: Callable[..., Page]) -> None:
    """While a person reads, exactly one section of the list is marked, and the list shows it."""
    page = open_page()
    marked = page.locator("#contents [aria-current]")
    for name in ("filters", "errors", "what-the-api-does-not-have", "try"):
        page.locator(f"#{name}").evaluate("element => element.scrollIntoView()")
        expect(marked).to_have_attribute("href", f"#{name}")
        expect(marked).to_be_in_viewport()
        expect(marked).to_have_count(1)


def test_without_scripts_the_reference_can_be_read(open_page: Callable[..., Page]) -> None:
    """Without JavaScript the page has the reference and its list, and neither the form nor buttons that do nothing."""
    page = open_page(java_script_enabled=False)
    expect(page.get_by_role("heading", name="Errors")).to_be_visible()
    expect(page.locator("#contents").get_by_role("link", name="Errors")).to_be_visible()
    expect(page.locator("noscript p")).to_contain_text("Without JavaScript")
    expect(page.locator("#try")).to_be_hidden()
    expect(page.get_by_role("button")).to_have_count(0)
