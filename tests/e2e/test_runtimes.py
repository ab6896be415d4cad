"""The HTTP clients that shops commonly use import and export, each speaking HTTP in its own way."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from smsevents.clock.system import now_ms
from tests.support.lines import line

if TYPE_CHECKING:
    from tests.support.servers import Server

RUNTIMES = Path(__file__).parents[1] / "support" / "runtimes"
EVENTS = 3000

# How each is run: the words before and after the address of the shop, its key and a file.
CLIENTS: dict[str, tuple[list[str], list[str]]] = {
    "java": (["java", str(RUNTIMES / "Client.java")], []),
    "node, fetch": (["node", str(RUNTIMES / "fetch.mjs")], []),
    "node, http": (["node", str(RUNTIMES / "http.mjs")], []),
    "go": (["go", "run", str(RUNTIMES / "client.go")], []),
    "php, HTTP/1.0": (["php", str(RUNTIMES / "client.php")], ["1.0"]),
    "php, HTTP/1.1": (["php", str(RUNTIMES / "client.php")], ["1.1"]),
}


@pytest.mark.parametrize("name", CLIENTS)
def test_a_client_of_another_runtime(server: Server, tmp_path: Path, name: str) -> None:
    """What a runtime's own HTTP client imports is stored, and its export is complete."""
    command, options = CLIENTS[name]
    program = command[0]
    if shutil.which(program) is None:
        pytest.skip(f"{program} is not installed; whoever wants to try it installs it")
    shop = server.shop()
    now = now_ms()
    lines = [line(shop.trackpoint, now - number, user=f"u{number}") + b"\n" for number in range(EVENTS)]
    file = tmp_path / "events.jsonl"
    file.write_bytes(b"".join(lines))
    environment = os.environ | {"GOCACHE": str(tmp_path / "go"), "GO111MODULE": "off"}

    done = subprocess.run(
        [*command, f"{server.base}/shop/{shop.trackpoint}", shop.key, str(file), *options],
        capture_output=True,
        env=environment,
        timeout=240,
        check=False,
    )

    assert done.returncode == 0, done.stderr.decode()
    assert f'{{"received":{EVENTS},"expired":0}}' in done.stderr.decode()
    assert done.stdout == b"".join(reversed(lines))


@pytest.mark.parametrize(
    "option", ["--http2", "--http1.0", "--http1.1", "--http2 -H Transfer-Encoding:chunked", "-H Expect:100-continue"]
)
def test_curl(server: Server, tmp_path: Path, option: str) -> None:
    """Whatever version of HTTP curl offers, its import is stored and its export is complete."""
    shop = server.shop()
    now = now_ms()
    lines = [line(shop.trackpoint, now - number, user=f"u{number}") + b"\n" for number in range(EVENTS)]
    file = tmp_path / "events.jsonl"
    file.write_bytes(b"".join(lines))
    curl = ["curl", "-sS", "--fail", "--max-time", "60", *option.split(" "), "-H", f"X-Api-Key: {shop.key}"]

    imported = subprocess.check_output([*curl, "--data-binary", f"@{file}", shop.import_url])
    exported = subprocess.check_output([*curl, "-d", "{}", shop.export_url])

    assert imported == b'{"received":%d,"expired":0}' % EVENTS
    assert exported == b"".join(reversed(lines))
