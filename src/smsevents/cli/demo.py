"""`smsevents demo`: create, serve and export a sample shop, which is deleted at the end."""

from __future__ import annotations

import io
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, BinaryIO

import typer

from smsevents.accounts.access import Access
from smsevents.accounts.sessions import TICKET_MAX_MINUTES, Sessions
from smsevents.catalog import open_catalog
from smsevents.cli.demo_receipt import receipt_call
from smsevents.cli.transfer import import_file
from smsevents.clock.system import now_ms
from smsevents.demo.generate import generate
from smsevents.errors import SmsEventsError
from smsevents.settings import ENVIRONMENT_PREFIX
from smsevents.wire.limits import DAY_MS, HISTORY_MS

if TYPE_CHECKING:
    from collections.abc import Iterator

TRACKPOINT = 4541245641234564
DAYS = 90
START_MAX_SECONDS = 30
STOP_MAX_SECONDS = 10
_MARGIN_MS = 60_000  # so that the oldest event is still in the history when it is exported
_SHOWN_LINES = 2
_SHOWN_CHARACTERS = 150


class DemoFailed(SmsEventsError):
    """A step of the demo failed."""


def demo(
    once: Annotated[bool, typer.Option("--once", help="Exit after the demonstration.")] = False,
    events: Annotated[int, typer.Option(min=1, help="Number of events to create.")] = 300_000,
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port to listen on; 0 picks a free one.")] = 0,
) -> None:
    """Create a temporary shop with 90 days of events, serve it, and export it with the documented call."""
    curl = shutil.which("curl")
    if curl is None:
        raise DemoFailed("The demo shows the export with curl, which is not installed. Install curl first.")
    port = port or _free_port()
    for ending in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(ending, _end)  # without this, the server would outlive a closed terminal
    with tempfile.TemporaryDirectory(prefix="smsevents-demo-") as folder:
        url = f"sqlite:///{folder}/demo.db"
        key = _fill(url, events)
        with _server(url, port) as base:
            body = f'{{"from": {now_ms() - HISTORY_MS}, "to": {now_ms()}}}'
            call = [
                "curl",
                "-d",
                body,
                "-H",
                f"X-Api-Key: {key}",
                f"{base}/shop/{TRACKPOINT}/export-sms-events",
            ]
            _show_export([curl, *call[1:]], _shell(call), Path(folder) / "export.jsonl")
            _show_receipt(curl, receipt_call(url, base, TRACKPOINT, now_ms()), [curl, *call[1:]], Path(folder))
            if once:
                typer.echo("\nWithout --once the server keeps running, so that you can try it with curl and a browser.")
                return
            typer.echo(f"\nKey: {key}")
            _show_page(base, _ticket(url, key))
            typer.echo(
                f"\nThe API documentation is at {base}/docs. To export the shop yourself, run:\n\n  {_shell(call)}\n"
            )
            _wait_for_interrupt()


def _fill(url: str, events: int) -> str:
    """Create the shop, its key and its events. Return the key."""
    typer.echo(f"1. A shop with {events:,} sample events from the last {DAYS} days:")
    database = open_catalog(url)
    try:
        access = Access(database)
        access.add_shop(TRACKPOINT, "Demo")
        key = access.create_key(TRACKPOINT, ["export", "import", "stats"], label="demo")
        lines = generate(TRACKPOINT, events=events, days=DAYS - _MARGIN_MS / DAY_MS, seed=1, end_ms=now_ms())
        started = time.perf_counter()
        result = import_file(database, TRACKPOINT, _LineFile(lines), None)
        seconds = time.perf_counter() - started
    finally:
        database.close()
    rate = result.received / seconds
    typer.echo(f"   created and recorded {result.received:,} in {seconds:.1f} s ({rate:,.0f} events/s)")
    return key


def _show_page(base: str, ticket: str) -> None:
    typer.echo(
        f"\n5. What became of the messages, for a browser on this machine:\n\n  {base}/#ticket={ticket}\n\n"
        f"   It signs in once, within {TICKET_MAX_MINUTES} minutes. After that, sign in there with the key above."
    )


def _ticket(url: str, key: str) -> str:
    """Return a ticket that signs in to the page."""
    database = open_catalog(url)
    try:
        return Sessions(database, Access(database)).issue_ticket(key)
    finally:
        database.close()


class _LineFile(io.RawIOBase, BinaryIO):
    """A readable file over an iterator of lines, so that they need not all be in memory."""

    def __init__(self, lines: Iterator[bytes]) -> None:
        super().__init__()
        self._lines = lines

    def read(self, size: int = -1, /) -> bytes:
        parts: list[bytes] = []
        held = 0
        while (size < 0 or held < size) and (line := next(self._lines, None)) is not None:
            parts.append(line)
            held += len(line) + 1
        parts.append(b"")
        return b"\n".join(parts)


@contextmanager
def _server(url: str, port: int) -> Iterator[str]:
    """Run `smsevents serve` for as long as the block runs. Yield its address."""
    typer.echo("2. The server:")
    # the demo ignores the operator's own settings
    own = {name: value for name, value in os.environ.items() if not name.startswith(ENVIRONMENT_PREFIX)}
    environment = own | {"SMSEVENTS_DATABASE": url, "SMSEVENTS_LOG_FORMAT": "json"}
    log = tempfile.TemporaryFile()  # noqa: SIM115 -- closed below, after the server
    process = subprocess.Popen(  # noqa: S603 -- our own command
        [sys.executable, "-m", "smsevents", "serve", "--port", str(port)],
        env=environment,
        stdout=log,
        stderr=log,
        start_new_session=True,  # the demo handles Ctrl-C; the server is stopped below
    )
    base = f"http://127.0.0.1:{port}"
    try:
        _wait_until_ready(process, base, log)
        typer.echo(f"   listens on {base}")
        yield base
    finally:
        process.terminate()
        try:
            process.wait(STOP_MAX_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        log.close()


def _wait_until_ready(process: subprocess.Popen[bytes], base: str, log: BinaryIO) -> None:
    direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))  # a proxy cannot reach this machine
    deadline = time.monotonic() + START_MAX_SECONDS
    while time.monotonic() < deadline:
        if process.poll() is not None:
            log.seek(0)
            raise DemoFailed(f"The server did not start: {log.read().decode(errors='replace').strip()}")
        try:
            with direct.open(f"{base}/health/ready", timeout=1):
                return
        except (urllib.error.URLError, OSError):
            time.sleep(0.05)
    raise DemoFailed(f"The server was not ready after {START_MAX_SECONDS} seconds.")


def _show_export(call: list[str], shown: str, target: Path) -> None:
    """Run the documented call, uncompressed and compressed, and show the results."""
    typer.echo(f"3. The documented call:\n\n  {shown}\n")
    with target.open("wb") as out:
        seconds = _run([*call, "-sS", "--fail-with-body"], out)
    lines = target.read_bytes().splitlines()
    if not lines:
        raise DemoFailed("The export returned no lines.")
    for line in lines[:_SHOWN_LINES]:
        typer.echo(f"   {_shortened(line)}")
    typer.echo(f"   … {len(lines):,} lines …")
    for line in lines[-_SHOWN_LINES:]:
        typer.echo(f"   {_shortened(line)}")
    size = target.stat().st_size
    rate = len(lines) / seconds
    typer.echo(
        f"\n   {len(lines):,} events, {size / 1e6:,.1f} MB in {seconds:.2f} s"
        f" ({rate:,.0f} events/s, {size / 1e6 / seconds:,.0f} MB/s)"
    )
    compressed = target.with_suffix(".jsonl.gz")
    with compressed.open("wb") as out:
        seconds = _run([*call, "-sS", "--fail-with-body", "-H", "Accept-Encoding: gzip"], out)
    size = compressed.stat().st_size
    typer.echo(f"   with gzip: {size / 1e6:,.1f} MB in {seconds:.2f} s ({len(lines) / seconds:,.0f} events/s)")


def _show_receipt(curl: str, call: list[str], export: list[str], folder: Path) -> None:
    """Send a delivery receipt, and show its line in the export."""
    typer.echo(f"4. A delivery receipt, as the gateway Kannel sends it:\n\n  {_shell(call)}\n")
    _run([curl, *call[1:], "-sS", "--fail-with-body"], subprocess.DEVNULL)
    target = folder / "receipt.jsonl"
    with target.open("wb") as out:
        body = f'{{"from": {now_ms() - DAY_MS}}}'
        _run([body if word.startswith("{") else word for word in export] + ["-sS", "--fail-with-body"], out)
    lines = [line for line in target.read_bytes().splitlines() if b'"demo-user"' in line]
    if not lines:
        raise DemoFailed("The receipt is not in the export.")
    typer.echo(f"   {_shortened(lines[-1])}")


def _run(call: list[str], out: BinaryIO | int) -> float:
    started = time.perf_counter()
    direct = os.environ | {"NO_PROXY": "127.0.0.1", "no_proxy": "127.0.0.1"}
    done = subprocess.run(call, stdout=out, check=False, env=direct)  # noqa: S603 -- curl, with our own arguments
    if done.returncode != 0:
        raise DemoFailed(f"curl failed with exit code {done.returncode}.")
    return time.perf_counter() - started


def _shortened(line: bytes) -> str:
    text = line.decode()
    return text if len(text) <= _SHOWN_CHARACTERS else text[: _SHOWN_CHARACTERS - 1] + "…"


def _shell(call: list[str]) -> str:
    quoted = [f"'{word}'" if set(word) & set(' {}"&') else word for word in call]
    return " ".join(quoted)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port


def _end(*_: object) -> None:
    raise SystemExit(0)


def _wait_for_interrupt() -> None:
    try:
        typer.echo("Press Ctrl-C to stop.")
        signal.pause()
    except KeyboardInterrupt:
        typer.echo("Stopped. The demo shop is deleted.")
