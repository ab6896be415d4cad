"""What the tests of the page at /docs share: its form, events for it, and a server whose exports go wrong."""

from __future__ import annotations

import threading
import zlib
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING

import httpx

from smsevents.clock.system import now_ms
from tests.support.lines import DAY_MS, MINUTE_MS, body_of, line

if TYPE_CHECKING:
    from playwright.sync_api import Page

    from tests.support.servers import Shop

POLICY_AND_TYPE = ["Content-Security-Policy", "Content-Type"]
DEFAULT_LINES = 20


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
    lines = body_of(line(1, 1_700_000_000_000 + number) for number in range(12))

    def do_GET(self) -> None:
        """Pass on a file of the page."""
        answer = httpx.get(self.server.upstream + self.path, timeout=30)
        self.start(answer.status_code, {"Content-Length": str(len(answer.content)), **policy_and_type(answer)})
        self.wfile.write(answer.content)

    def do_POST(self) -> None:
        """Send an export that goes wrong."""
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
        """Send a line, and then nothing until the client leaves."""
        self.start_export({})
        self.chunk(self.lines[: self.lines.index(b"\n") + 1])
        self.until_the_client_left()

    def answer_8(self) -> None:
        """Send lines until the client leaves."""
        self.start_export({})
        try:
            while True:
                self.chunk(self.lines)
        except (BrokenPipeError, ConnectionResetError):
            self.server.client_left.set()

    def until_the_client_left(self) -> None:
        """Wait for the end of the connection."""
        if not self.rfile.read(1):
            self.server.client_left.set()

    def answer_5(self) -> None:
        """Answer as a proxy does whose server is gone."""
        page = b"<html>Bad Gateway</html>"
        self.start(502, {"Content-Type": "text/html", "Content-Length": str(len(page))})
        self.wfile.write(page)

    def answer_6(self) -> None:
        """Close the connection without an answer."""

    def answer_7(self) -> None:
        """Send a complete export in many small pieces, cut anywhere."""
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
    """Return the headers of a response that the page depends on."""
    return {name: answer.headers[name] for name in POLICY_AND_TYPE if name in answer.headers}


def recent_lines(shop: Shop, count: int) -> list[bytes]:
    """Return lines of the last days in their order, of one-offs and of flows, a minute apart."""
    start = now_ms() // MINUTE_MS * MINUTE_MS - DAY_MS * 5
    nodes = [None, "Retention VIP SMS ✓"]
    return [line(shop.trackpoint, start + MINUTE_MS * n, f"user{n}", node=nodes[n % 2]) for n in range(count)]


def run_export(page: Page, trackpoint: int | str, key: str = "any") -> None:
    """Fill in the form and run it."""
    page.get_by_label("Trackpoint").fill(str(trackpoint))
    page.get_by_label("API key").fill(key)
    page.get_by_role("button", name="Run").click()


def shown_lines(page: Page) -> list[str]:
    """Switch from the table to the lines, and return them."""
    page.get_by_role("button", name="Lines", exact=True).click()
    return page.locator(".lines li").all_inner_texts()


def figure(page: Page, name: str) -> str:
    """Return one of the figures under the form, as it is shown."""
    return page.locator(".figures dt").get_by_text(name, exact=True).locator("xpath=following-sibling::dd").inner_text()
