"""The page at /docs, as its files say it and as a real browser shows it."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import threading
import zlib
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any

import httpx
import pytest
from playwright.sync_api import Browser, Page, expect, sync_playwright

from smsevents.clock.system import now_ms
from tests.support.lines import DAY_MS, MINUTE_MS, body_of, date_of, line

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.support.servers import Server, Shop

FILES = [
    ("/docs", "text/html; charset=utf-8"),
    ("/docs/docs.js", "text/javascript; charset=utf-8"),
    ("/docs/docs.css", "text/css; charset=utf-8"),
]
POLICY_AND_TYPE = ["Content-Security-Policy", "Content-Type"]
POLICY = {"default-src 'none'", "style-src 'self'", "script-src 'self'", "connect-src 'self'"}
FILES_MAX_BYTES = 25_000
CHROMIUM_NAMES = ["chromium", "chromium-browser", "google-chrome"]
CHROMIUM_FLAGS = [
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
WAIT_MS = 30_000
SHOWN = 5
EXAMPLE_TRACKPOINT = "4541245641234564"
EXAMPLE_USER = "users/123456"
CONTRAST_MIN = 4.5

# The visible texts whose colour is too near to that of what is behind them (WCAG 2, contrast ratio).
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


class StandIn(ThreadingHTTPServer):
    """A server with the page of the real one, whose exports go wrong as their trackpoint says."""

    daemon_threads = True

    def __init__(self, upstream: str) -> None:
        """Start it."""
        super().__init__(("127.0.0.1", 0), FaultyAnswers)
        self.upstream = upstream
        self.base = f"http://127.0.0.1:{self.server_port}"
        self.client_left = threading.Event()
        threading.Thread(target=self.serve_forever, daemon=True).start()

    def stop(self) -> None:
        """Stop it."""
        self.shutdown()
        self.server_close()


class FaultyAnswers(BaseHTTPRequestHandler):
    """The answers of `StandIn`."""

    server: StandIn
    protocol_version = "HTTP/1.1"
    lines = body_of(line(1, 1_700_000_000_000 + number) for number in range(20))

    def do_GET(self) -> None:
        """Pass on a file of the page."""
        answer = httpx.get(self.server.upstream + self.path, timeout=30)
        self.start(answer.status_code, {"Content-Length": str(len(answer.content)), **policy_and_type(answer)})
        self.wfile.write(answer.content)

    def do_POST(self) -> None:
        """Give an export that goes wrong."""
        self.rfile.read(int(self.headers["Content-Length"]))
        getattr(self, f"answer_{self.path.split('/')[2]}")()
        self.close_connection = True

    def answer_1(self) -> None:
        """Cut the export between two lines, without the last chunk."""
        self.start_export({})
        self.chunk(self.lines)

    def answer_2(self) -> None:
        """Cut an export in gzip."""
        self.start_export({"Content-Encoding": "gzip"})
        packer = zlib.compressobj(wbits=31)
        self.chunk(packer.compress(self.lines) + packer.flush(zlib.Z_SYNC_FLUSH))

    def answer_3(self) -> None:
        """End within a line, but with the last chunk, as a proxy may that does not know better."""
        self.start_export({})
        self.chunk(self.lines + b'{"smsEvent":{"track')
        self.chunk(b"")

    def answer_4(self) -> None:
        """Send lines until the client leaves."""
        self.start_export({})
        try:
            while True:
                self.chunk(self.lines)
        except (BrokenPipeError, ConnectionResetError):
            self.server.client_left.set()

    def answer_5(self) -> None:
        """Answer as a proxy does whose server is gone."""
        page = b"<html>Bad Gateway</html>"
        self.start(502, {"Content-Type": "text/html", "Content-Length": str(len(page))})
        self.wfile.write(page)

    def answer_6(self) -> None:
        """Close the connection without an answer."""

    def answer_7(self) -> None:
        """Give a whole export that comes in many small pieces, cut anywhere."""
        self.start_export({})
        for start in range(0, len(self.lines), 7):
            self.chunk(self.lines[start : start + 7])
        self.chunk(b"")

    def start(self, status: int, headers: dict[str, str]) -> None:
        """Send the head of an answer."""
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()

    def start_export(self, more: dict[str, str]) -> None:
        """Send the head of an export."""
        self.start(200, {"Content-Type": "application/json-seq", "Transfer-Encoding": "chunked", **more})

    def chunk(self, data: bytes) -> None:
        """Send a chunk; an empty one ends the answer."""
        self.wfile.write(b"%x\r\n%s\r\n" % (len(data), data))

    def log_message(self, *_: object) -> None:
        """Keep the output of the tests clean."""


def policy_and_type(answer: httpx.Response) -> dict[str, str]:
    """Give the headers of an answer that the page depends on."""
    return {name: answer.headers[name] for name in POLICY_AND_TYPE if name in answer.headers}


def chromium_path() -> str:
    """Find Chromium; without it, skip the test, but fail in CI."""
    found = next(filter(None, map(shutil.which, CHROMIUM_NAMES)), None)
    if found is None:
        end = pytest.fail if "CI" in os.environ else pytest.skip
        end("Chromium is not installed; `make test` installs it where it may")
    return found


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Give a headless Chromium, for this module only: Playwright's event loop bars `asyncio.run` while it is there."""
    expect.set_options(timeout=WAIT_MS)
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=chromium_path(), args=CHROMIUM_FLAGS)
        yield chromium
        chromium.close()


@pytest.fixture
def open_page(browser: Browser, server: Server) -> Iterator[Callable[..., Page]]:
    """Give what opens the page in a fresh profile. No script of it may fail, and it may ask no other host."""
    contexts = []
    faults: list[str] = []

    def open_it(base: str = server.base, *, script: str = "", **options: Any) -> Page:
        context = browser.new_context(**options)
        contexts.append(context)
        context.set_default_timeout(WAIT_MS)
        context.add_init_script(script)
        page = context.new_page()
        page.on("pageerror", lambda error: faults.append(str(error)))
        page.on("request", lambda asked: None if asked.url.startswith(f"{base}/") else faults.append(asked.url))
        page.goto(f"{base}/docs")
        return page

    yield open_it
    for context in contexts:
        context.close()
    assert faults == []


@pytest.fixture
def stand_in(server: Server) -> Iterator[StandIn]:
    """Give a server whose exports go wrong."""
    running = StandIn(server.base)
    yield running
    running.stop()


def recent_lines(shop: Shop, count: int) -> list[bytes]:
    """Give lines of the last days in their order, of one-offs and of flows, a minute from each other."""
    start = now_ms() // MINUTE_MS * MINUTE_MS - DAY_MS * 5
    nodes = [None, "Retention VIP SMS ✓"]
    return [line(shop.trackpoint, start + MINUTE_MS * n, f"user{n}", node=nodes[n % 2]) for n in range(count)]


def run_export(page: Page, trackpoint: int | str, key: str = "any") -> None:
    """Fill in the form and run it."""
    page.get_by_label("Trackpoint").fill(str(trackpoint))
    page.get_by_label("API key").fill(key)
    page.get_by_role("button", name="Run").click()


def shown_lines(page: Page) -> list[str]:
    """Give the lines under the form."""
    return page.locator("#excerpt li").all_inner_texts()


def figure(page: Page, name: str) -> str:
    """Give one of the figures under the form."""
    return page.locator(".figures dt").get_by_text(name, exact=True).locator("xpath=following-sibling::dd").inner_text()


@pytest.mark.parametrize(("path", "media_type"), FILES)
def test_each_file_comes_with_its_type_and_a_strict_policy(server: Server, path: str, media_type: str) -> None:
    """Each file is served with its type, and with a policy that lets nothing in but our own files."""
    answer = httpx.get(server.base + path)
    assert answer.status_code == 200
    assert answer.headers["Content-Type"] == media_type
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert set(answer.headers["Content-Security-Policy"].split("; ")) >= POLICY


def test_the_description_is_served_as_json(server: Server) -> None:
    """What the page is made from is JSON and names all endpoints."""
    answer = httpx.get(f"{server.base}/openapi.json")
    assert answer.headers["Content-Type"].startswith("application/json")
    paths = [path.removeprefix("/shop/{trackpointId}/") for path in answer.json()["paths"]]
    assert paths == ["export-sms-events", "import-sms-events", "users/{userId}"]


def test_the_files_are_small_and_name_no_other_host(server: Server) -> None:
    """The files together are small, and there is no address of another host in any of them."""
    files = [httpx.get(server.base + path).text for path, _ in FILES]
    assert sum(len(text.encode()) for text in files) < FILES_MAX_BYTES
    # a scheme, or an address that begins with // inside quotes or url()
    assert [found for text in files for found in re.findall(r"""\w+://\S*|["'(]//\w\S*""", text)] == []


def test_the_page_has_no_inline_code(server: Server) -> None:
    """The page has no script, style or handler of its own, which the policy would bar."""
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
    """Nothing that the page loads is missing or barred by its policy: the console stays empty."""
    with browser.new_context() as context:
        page = context.new_page()
        told: list[str] = []
        page.on("console", lambda message: told.append(message.text))
        page.goto(f"{server.base}/docs", wait_until="networkidle")
        expect(page.locator("#operations section")).to_have_count(3)
        assert told == []


def test_the_commands_do_what_they_say(server: Server, open_page: Callable[..., Page], tmp_path: Path) -> None:
    """The curl lines, with trackpoint, key and user put in, import a file, plain and as gzip, export it, and erase."""
    commands = open_page().locator(".command code")
    expect(commands).to_have_count(4)
    export, plain, gzip, erase = commands.all_inner_texts()
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


@pytest.mark.parametrize("count", [0, 1, 5, 6, 10, 12, 5000])
def test_try_it_shows_the_count_and_the_first_and_last_lines(
    server: Server, open_page: Callable[..., Page], count: int
) -> None:
    """An export is shown with its count, bytes and interval, and its first and last five lines, none twice."""
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
    """Lines that come in pieces, cut anywhere, are counted and shown as if they came at once."""
    page = open_page(stand_in.base)
    run_export(page, 7)
    expect(page.locator("#state")).to_have_text("Done: 20 lines.")
    lines = FaultyAnswers.lines.decode().splitlines()
    assert shown_lines(page) == lines[:SHOWN] + lines[-SHOWN:]


def test_times_are_utc_wherever_the_reader_is(server: Server, open_page: Callable[..., Page]) -> None:
    """From and To are UTC, not the time of the reader's zone, and both ends belong to the interval."""
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
    """A refused export shows the title and the detail of the problem, and nothing of the export before."""
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
    """What the server says of a wrong interval reaches the reader."""
    shop = server.shop()
    page = open_page()
    page.get_by_label("From, in UTC").fill("2026-02-01T00:00")
    page.get_by_label("To, in UTC").fill("2026-01-01T00:00")
    run_export(page, shop.trackpoint, shop.key)
    body = {"from": 1769904000000, "to": 1767225600000}
    expect(page.locator("#state")).to_contain_text(shop.export(body).json()["detail"].replace("`", ""))


@pytest.mark.parametrize("trackpoint", [1, 2, 3])
def test_a_cut_export_is_called_cut(stand_in: StandIn, open_page: Callable[..., Page], trackpoint: int) -> None:
    """An export that was cut, plain or in gzip, or that ends within a line, is never shown as a whole one."""
    page = open_page(stand_in.base)
    run_export(page, trackpoint)
    expect(page.locator("#state")).to_contain_text("The export was cut: what is shown is not all.")
    assert figure(page, "Status") == "200 OK"


def test_stop_ends_the_export(stand_in: StandIn, open_page: Callable[..., Page]) -> None:
    """Stop leaves the server, says that this is not all, and the form can be run again."""
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
    """An error page of a proxy, or no answer at all, is told as such."""
    page = open_page(stand_in.base)
    run_export(page, trackpoint)
    expect(page.locator("#state")).to_contain_text(told)


def test_the_key_is_kept_nowhere(server: Server, open_page: Callable[..., Page]) -> None:
    """After a run the key is in no address, cookie or storage, and a reload forgets it."""
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
    """A trackpoint that is no number, a key with a space and a missing key stay in the browser."""
    page = open_page()
    sent: list[str] = []
    page.on("request", lambda request: sent.append(request.url))
    for trackpoint, key in [("abc", "k"), ("", "k"), ("1", ""), ("1", "a b"), ("1", "ключ")]:
        run_export(page, trackpoint, key)
    assert sent == []
    expect(page.locator("#state")).to_be_empty()
    assert page.url == f"{server.base}/docs"


def test_the_keyboard_is_enough(server: Server, open_page: Callable[..., Page]) -> None:
    """Without a mouse, and with the focus always in sight, one gets past the links and runs an export."""
    shop = server.shop()
    shop.send(body_of(recent_lines(shop, 2)))
    page = open_page()
    expect(page.locator("#operations section")).to_have_count(3)
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
    """On plain http there is no clipboard: the command is selected, and the reader told to copy it."""
    page = open_page(script="Object.defineProperty(Navigator.prototype, 'clipboard', { value: undefined })")
    page.get_by_role("button", name="Copy").first.click()
    expect(page.get_by_text("Selected: copy it")).to_be_visible()
    assert page.evaluate("getSelection().toString()") == page.locator(".command code").first.inner_text()


@pytest.mark.parametrize("colors", ["light", "dark"])
@pytest.mark.parametrize("width", [360, 1280])
def test_it_fits_and_can_be_read(server: Server, open_page: Callable[..., Page], colors: str, width: int) -> None:
    """On a phone and on a wide screen, in light and in dark, nothing sticks out sideways and no text is faint."""
    shop = server.shop()
    shop.send(body_of([*recent_lines(shop, 11), line(shop.trackpoint, now_ms(), "u" * 1000)]))
    page = open_page(color_scheme=colors, viewport={"width": width, "height": 800})
    expect(page.locator("#operations section")).to_have_count(3)
    page.evaluate("for (const details of document.querySelectorAll('details')) details.open = true")
    for key, told in [(shop.key, "Done"), ("wrong", "Unauthorized")]:
        run_export(page, shop.trackpoint, key)
        expect(page.locator("#state")).to_contain_text(told)
        expect(page.locator("#state")).to_be_in_viewport()
        assert page.evaluate("document.documentElement.scrollWidth") == width
        assert page.evaluate(FAINT_TEXTS, CONTRAST_MIN) == []


def test_a_link_to_a_section_leads_there(server: Server, open_page: Callable[..., Page]) -> None:
    """An address that names an endpoint leads to it, though the script puts it there only later."""
    page = open_page()
    page.goto("about:blank")
    page.goto(f"{server.base}/docs#importSmsEvents")
    expect(page.get_by_role("heading", name="Record events of a shop")).to_be_in_viewport()


def test_without_scripts_the_page_points_to_the_description(open_page: Callable[..., Page]) -> None:
    """Without JavaScript the page says so and links the description, and hides the form, which could do nothing."""
    page = open_page(java_script_enabled=False)
    expect(page.locator("noscript p")).to_contain_text("needs JavaScript")
    expect(page.locator("noscript a[href='openapi.json']")).to_be_visible()
    expect(page.locator("#form")).to_be_hidden()


def test_a_description_that_cannot_be_read_is_told(server: Server, open_page: Callable[..., Page]) -> None:
    """If /openapi.json cannot be had, the page says so, and the form is still there."""
    page = open_page()
    page.route("**/openapi.json", lambda route: route.fulfill(status=502, body="<html>"))
    page.goto(f"{server.base}/docs")
    expect(page.get_by_role("alert")).to_contain_text("openapi.json cannot be shown")
    expect(page.get_by_label("Trackpoint")).to_be_visible()
