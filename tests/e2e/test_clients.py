"""What real clients get in both encodings: complete exports are read completely, and a truncated one is an error."""

from __future__ import annotations

import asyncio
import os
import random
import shutil
import socket
import subprocess
import time
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import aiohttp
import httpx
import pytest
import requests

from smsevents.clock.system import now_ms
from tests.support.databases import damage_newest_segment, query
from tests.support.lines import DAY_MS, HOUR_MS, body_of, date_of, line, model
from tests.support.servers import Server, Shop

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

ENCODINGS = ["gzip", "identity"]
CUT_ERRORS = (
    httpx.RemoteProtocolError,
    requests.exceptions.ChunkedEncodingError,
    aiohttp.ClientPayloadError,
    subprocess.CalledProcessError,
)
NODE_SCRIPT = """
const [url, key, body, encoding] = process.argv.slice(1);
const answer = await fetch(url, {method: "POST", body, headers: {"X-Api-Key": key, "Accept-Encoding": encoding}});
process.stdout.write(new Uint8Array(await answer.arrayBuffer()));
"""


def with_curl(shop: Shop, body: str, encoding: str) -> bytes:
    """Read with curl, which decompresses if asked to."""
    flags = ["--compressed"] if encoding == "gzip" else []
    command = ["curl", "-sS", *flags, "-d", body, "-H", f"X-Api-Key: {shop.key}", shop.export_url]
    return subprocess.run(command, check=True, capture_output=True, timeout=60).stdout


def with_requests(shop: Shop, body: str, encoding: str) -> bytes:
    """Read with requests."""
    headers = shop.headers | {"Accept-Encoding": encoding}
    return requests.post(shop.export_url, data=body, headers=headers, timeout=60).content


def with_httpx(shop: Shop, body: str, encoding: str) -> bytes:
    """Read with httpx."""
    return httpx.post(
        shop.export_url, content=body, headers=shop.headers | {"Accept-Encoding": encoding}, timeout=60
    ).content


def with_aiohttp(shop: Shop, body: str, encoding: str) -> bytes:
    """Read with aiohttp."""

    async def read() -> bytes:
        """Read the complete response."""
        headers = shop.headers | {"Accept-Encoding": encoding}
        async with aiohttp.ClientSession() as session, session.post(shop.export_url, data=body, headers=headers) as got:
            return await got.read()

    return asyncio.run(read())


def with_node(shop: Shop, body: str, encoding: str) -> bytes:
    """Read with Node's fetch."""
    node = shutil.which("node")
    if node is None:
        assert "CI" not in os.environ, "CI must have node"
        pytest.skip("node is not installed; `make test` installs it where it may")
    command = [node, "--input-type=module", "-e", NODE_SCRIPT, "--", shop.export_url, shop.key, body, encoding]
    return subprocess.run(command, check=True, capture_output=True, timeout=60).stdout


READERS = [with_curl, with_requests, with_httpx, with_aiohttp, with_node]


def wide_lines(trackpoint: int, count: int, end: int) -> list[bytes]:
    """Return lines that compress poorly, so that few of them fill a page."""
    chance = random.Random(7)  # noqa: S311 -- invented data
    return [
        line(trackpoint, end - index * 1000, user=chance.randbytes(200).hex(), node="VIP" if index % 3 else None)
        for index in range(count)
    ]


@pytest.fixture(scope="module")
def overlapping(server: Server) -> tuple[Shop, list[bytes], int]:
    """Return a shop of at least 3 segments, one of them overlapped by a later import, and its lines."""
    shop = server.shop()
    now = now_ms()
    lines = wide_lines(shop.trackpoint, 8000, now)
    late = [line(shop.trackpoint, now - HOUR_MS - index, user=f"late\u2028{index}") for index in range(500)]
    assert shop.send(body_of(lines)).status_code == 200
    assert shop.send(body_of(late)).status_code == 200
    ((segments,),) = query(server.path, "SELECT count(*) FROM segments WHERE trackpoint = ?", shop.trackpoint)
    assert segments >= 4
    return shop, lines + late, now


@pytest.mark.parametrize("encoding", ENCODINGS)
@pytest.mark.parametrize("read", READERS)
def test_clients_read_the_whole(
    overlapping: tuple[Shop, list[bytes], int], read: Callable[[Shop, str, str], bytes], encoding: str
) -> None:
    """Each client reads all lines of an interval that starts and ends within segments and spans an overlap."""
    shop, lines, now = overlapping
    start, end = now - 7_000_500, now - 500_500

    got = read(shop, f'{{"from": {start}, "to": {end}}}', encoding)

    assert got == model(lines, start, end)


@pytest.fixture(scope="module")
def damaged(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Server, Shop, list[bytes]]]:
    """Yield a server with a shop whose newest segment, several pages after the start, is damaged on disk."""
    running = Server(tmp_path_factory.mktemp("damaged"))
    shop = running.shop()
    lines = sorted(wide_lines(shop.trackpoint, 12000, now_ms()), key=date_of)
    assert shop.send(body_of(lines)).status_code == 200
    damage_newest_segment(running.path, shop.trackpoint)
    yield running, shop, lines
    running.stop()


@pytest.mark.parametrize("encoding", ENCODINGS)
@pytest.mark.parametrize("read", READERS)
def test_a_cut_export_is_an_error_for_clients(
    damaged: tuple[Server, Shop, list[bytes]], read: Callable[[Shop, str, str], bytes], encoding: str
) -> None:
    """A fault after the first byte makes every client fail instead of accepting a partial export."""
    running, shop, _ = damaged
    before = running.metric("smsevents_exports_cut_total")

    with pytest.raises(CUT_ERRORS):
        read(shop, "{}", encoding)

    assert running.metric("smsevents_exports_cut_total") == before + 1


def test_what_comes_before_the_cut_is_right(damaged: tuple[Server, Shop, list[bytes]]) -> None:
    """Up to the fault, an export sends complete and correct lines from the start, and the log names the segment."""
    running, shop, lines = damaged
    whole = model(lines, 0, now_ms() + DAY_MS)
    received = b""

    headers = shop.headers | {"Accept-Encoding": "identity"}
    with httpx.stream("POST", shop.export_url, content="{}", headers=headers) as got:
        assert got.status_code == 200
        with pytest.raises(httpx.RemoteProtocolError):  # noqa: PT012 -- what came before is kept
            for part in got.iter_raw():
                received += part

    assert 0 < len(received) < len(whole)
    assert whole.startswith(received)
    assert received.endswith(b"\n")
    assert '"reason":"damage"' in running.log_path.read_text()


def test_damage_before_the_first_byte_is_a_problem(server: Server) -> None:
    """A shop whose first page cannot be read gets a problem that names the segment, not an empty export."""
    shop = server.shop()
    assert shop.send(line(shop.trackpoint, now_ms())).status_code == 200
    segment_id = damage_newest_segment(server.path, shop.trackpoint)

    got = shop.export()

    assert got.status_code == 500
    assert got.headers["Content-Type"] == "application/problem+json"
    assert f"Segment {segment_id} is damaged" in got.json()["detail"]


def test_gzip_of_a_cut_export_has_no_trailer(damaged: tuple[Server, Shop, list[bytes]], tmp_path: Path) -> None:
    """What curl saved of a truncated gzip export is refused by `gzip -t`."""
    _, shop, _ = damaged
    target = tmp_path / "cut.gz"
    command = ["curl", "-sS", "-d", "{}", "-H", f"X-Api-Key: {shop.key}", "-H", "Accept-Encoding: gzip"]

    done = subprocess.run([*command, "-o", str(target), shop.export_url], check=False, capture_output=True)

    assert done.returncode != 0
    assert target.stat().st_size > 0
    assert subprocess.run(["gzip", "-t", str(target)], check=False, capture_output=True).returncode != 0


def test_a_client_that_stops_reading_loses_its_place(tmp_path: Path) -> None:
    """An export whose client stops reading is aborted, and its slot becomes free for others."""
    running = Server(tmp_path, settings={"SMSEVENTS_STALL_MAX_SECONDS": "1", "SMSEVENTS_EXPORTS_AT_ONCE_MAX": "1"})
    shop = running.shop()
    lines = wide_lines(shop.trackpoint, 12000, now_ms())
    assert shop.send(body_of(lines)).status_code == 200
    head = f"POST {urlsplit(shop.export_url).path} HTTP/1.1\r\nHost: x\r\nX-Api-Key: {shop.key}\r\n"

    with socket.socket() as stalled:
        stalled.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        stalled.connect(("127.0.0.1", running.port))
        stalled.sendall(f"{head}Content-Length: 2\r\n\r\n{{}}".encode())
        while (got := shop.export()).status_code == 429:
            time.sleep(0.05)

    assert got.content == model(lines, 0, now_ms() + DAY_MS)
    assert running.metric("smsevents_exports_cut_total") == 1
    assert "the client stopped reading" in running.log_path.read_text()
    running.stop()
