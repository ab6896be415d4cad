"""Measure whole exports, whole imports, small exports and single imports over HTTP, before a change and after it.

    uv run --locked python bench/hotpaths.py --before ../old/src export import small single

`--before` is the `src` of another checkout, which serves the same database in turns with this one. Whole exports
are also held against nginx and the same bytes as a static file, if there is an nginx. Each figure is the median
of `--rounds` turns; machines differ and are shared, so read the ratios.
"""
# ruff: noqa: S607 -- starts our own command, curl and nginx with fixed arguments

from __future__ import annotations

import argparse
import os
import selectors
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

TRACKPOINT = 4541245641234564
AT_ONCE = 50
REQUESTS = 2000
SMALL_EXPORT_MS = 5 * 60 * 1000
START_MAX_SECONDS = 60
RECEIVED_BYTES = 1024 * 1024
HERE = Path(__file__).parent.parent / "src"
END_OF_BODY = b"0\r\n\r\n"


@dataclass
class Side:
    """One of the checkouts that are compared, and what it measured."""

    name: str
    source: Path
    workers: int
    figures: dict[str, list[float]] = field(default_factory=dict)

    def add(self, what: str, value: float) -> None:
        """Note a figure."""
        self.figures.setdefault(what, []).append(value)


@dataclass
class Lab:
    """The files that the measuring uses."""

    folder: Path
    events: int
    key: str = ""
    newest_ms: int = 0

    @property
    def lines(self) -> Path:
        """Give the path of the lines."""
        return self.folder / "events.jsonl"

    def command(self, source: Path, database: str, *words: str) -> list[str]:
        """Give the words of a `smsevents` command, to be run by `env`."""
        setting = f"SMSEVENTS_DATABASE=sqlite:///{self.folder / database}"
        return [
            "env",
            f"PYTHONPATH={source}",
            setting,
            "SMSEVENTS_UPKEEP=off",
            "SMSEVENTS_IMPORT_BODY_MAX_MIB=4096",
            sys.executable,
            "-m",
            "smsevents",
            *words,
        ]

    def run(self, database: str, *words: str) -> str:
        """Run a command on a database; give what it printed."""
        return subprocess.run(self.command(HERE, database, *words), check=True, capture_output=True, text=True).stdout

    def new_shop(self, database: str) -> str:
        """Add the shop to a database, which is made; give a key."""
        self.run(database, "shop", "add", str(TRACKPOINT))
        return self.run(database, "key", "create", str(TRACKPOINT), "--scope", "export", "--scope", "import").strip()

    def fill(self) -> None:
        """Write the lines and a database that holds them."""
        with self.lines.open("wb") as lines:
            words = ("generate", str(TRACKPOINT), "--events", str(self.events), "--days", "80")
            subprocess.run(self.command(HERE, "none.db", *words), check=True, stdout=lines)
        self.newest_ms = int(self.lines.read_bytes()[-4096:].splitlines()[-1].split(b'"date":')[1].split(b"}")[0])
        self.key = self.new_shop("log.db")
        self.run("log.db", "import", str(TRACKPOINT), str(self.lines))

    @contextmanager
    def server(self, side: Side, database: str) -> Iterator[Server]:
        """Serve a database."""
        port = free_port()
        words = ("serve", "--port", str(port), "--workers", str(side.workers))
        process = subprocess.Popen(self.command(side.source, database, *words), stderr=subprocess.DEVNULL)
        try:
            wait_for(port)
            yield Server(port, process)
        finally:
            process.terminate()
            process.wait(60)

    @contextmanager
    def nginx(self) -> Iterator[int]:
        """Serve the folder as static files."""
        port = free_port()
        config = self.folder / "nginx.conf"
        config.write_text(
            f"daemon off; worker_processes 2; pid {self.folder}/nginx.pid; error_log {self.folder}/nginx.log;"
            f"user root; events {{}} http {{ access_log off; sendfile on; tcp_nopush on; default_type text/plain;"
            f"server {{ listen 127.0.0.1:{port}; root {self.folder}; }} }}"
        )
        process = subprocess.Popen(["nginx", "-c", str(config)], stderr=subprocess.DEVNULL)
        try:
            wait_for(port)
            yield port
        finally:
            process.terminate()
            process.wait(60)


@dataclass
class Server:
    """A server that runs."""

    port: int
    process: subprocess.Popen[bytes]

    def url(self, action: str) -> str:
        """Give the address of an export or import."""
        return f"http://127.0.0.1:{self.port}/shop/{TRACKPOINT}/{action}-sms-events"

    def peak_mib(self) -> float:
        """Tell the most memory that the process held, or the sum over its workers."""
        total = 0
        for status in Path("/proc").glob("[0-9]*/status"):
            try:
                rows = dict(row.split(":", 1) for row in status.read_text().splitlines())
            except OSError:
                continue
            if self.process.pid in {int(rows["PPid"]), int(rows["Pid"])}:
                total += int(rows.get("VmHWM", "0 kB").split()[0])
        return total / 1024


def free_port() -> int:
    """Give a port that nothing listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port


def wait_for(port: int) -> None:
    """Wait until something listens on a port."""
    deadline = time.monotonic() + START_MAX_SECONDS
    while True:
        try:
            socket.create_connection(("127.0.0.1", port)).close()
        except OSError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.05)
        else:
            return


def curl(*words: str, output: str = "/dev/null") -> float:
    """Run curl, which must succeed; give the seconds that the transfer took."""
    done = subprocess.run(
        ["curl", "-sS", "--fail", "-o", output, "-w", "%{time_total}", *words],
        check=True,
        capture_output=True,
        text=True,
    )
    return float(done.stdout)


def measure_export(lab: Lab, sides: list[Side], rounds: int) -> None:
    """Export everything, with gzip and without."""
    codings = {"export gzip": "gzip", "export plain": "identity"}
    for _ in range(rounds):
        for side in sides:
            with lab.server(side, "log.db") as server:
                for what, coding in codings.items():
                    words = ("-d", "{}", "-H", f"X-Api-Key: {lab.key}", "-H", f"Accept-Encoding: {coding}")
                    curl(*words, server.url("export"), output=str(lab.folder / coding))
                    side.add(f"{what}, s", statistics.median(curl(*words, server.url("export")) for _ in range(3)))
                side.add("export peak, MiB", server.peak_mib())
        if shutil.which("nginx") is None:
            continue
        with lab.nginx() as port:
            for what, coding in codings.items():
                seconds = statistics.median(curl(f"http://127.0.0.1:{port}/{coding}") for _ in range(4))
                for side in sides:
                    side.add(f"{what} / nginx", side.figures[f"{what}, s"][-1] / seconds)


def measure_import(lab: Lab, sides: list[Side], rounds: int) -> None:
    """Import everything into an empty database."""
    for index in range(rounds):
        for side in sides:
            database = f"import-{side.name}-{index}.db"
            key = lab.new_shop(database)
            with lab.server(side, database) as server:
                seconds = curl("-X", "POST", "-T", str(lab.lines), "-H", f"X-Api-Key: {key}", server.url("import"))
                side.add("import, events/s", lab.events / seconds)
                side.add("import peak, MiB", server.peak_mib())
            (lab.folder / database).unlink()


def measure_command(lab: Lab, sides: list[Side], rounds: int) -> None:
    """Import everything with the command, without a server."""
    for index in range(rounds):
        for side in sides:
            database = f"command-{side.name}-{index}.db"
            lab.new_shop(database)
            started = time.perf_counter()
            subprocess.run(
                lab.command(side.source, database, "import", str(TRACKPOINT), str(lab.lines)),
                check=True,
                stderr=subprocess.DEVNULL,
            )
            side.add("command import, events/s", lab.events / (time.perf_counter() - started))
            (lab.folder / database).unlink()


def measure_small(lab: Lab, sides: list[Side], rounds: int) -> None:
    """Export the last five minutes, many at a time over connections that stay open."""
    body = b'{"from":%d}' % (lab.newest_ms - SMALL_EXPORT_MS)
    for _ in range(rounds):
        for side in sides:
            with lab.server(side, "log.db") as server:
                for at_once in (1, AT_ONCE):
                    waits, seconds = drive(server, lab.key, "export", lambda _: body, at_once)
                    note(side, f"small export x{at_once}", waits, seconds)


def measure_single(lab: Lab, sides: list[Side], rounds: int) -> None:
    """Import one event at a time, many at a time over connections that stay open."""
    with lab.lines.open("rb") as lines:
        bodies = [line for line, _ in zip(lines, range(REQUESTS), strict=False)]
    for index in range(rounds):
        for side in sides:
            database = f"single-{side.name}-{index}.db"
            key = lab.new_shop(database)
            with lab.server(side, database) as server:
                waits, seconds = drive(server, key, "import", lambda number: bodies[number % REQUESTS], AT_ONCE)
                note(side, f"single import x{AT_ONCE}", waits, seconds)
            (lab.folder / database).unlink()


def note(side: Side, what: str, waits: list[float], seconds: float) -> None:
    """Note how long requests waited for their first byte, and how many there were in a second."""
    hundredths = statistics.quantiles(waits, n=100)
    side.add(f"{what}, p50 ms", hundredths[49] * 1000)
    side.add(f"{what}, p99 ms", hundredths[98] * 1000)
    side.add(f"{what}, per s", len(waits) / seconds)


def drive(
    server: Server, key: str, action: str, body_of: Callable[[int], bytes], at_once: int
) -> tuple[list[float], float]:
    """Send REQUESTS requests, `at_once` at a time; give the seconds to each first byte, and to the end."""
    head = (
        f"POST /shop/{TRACKPOINT}/{action}-sms-events HTTP/1.1\r\nHost: localhost\r\nX-Api-Key: {key}\r\n"
        "Accept-Encoding: gzip\r\nContent-Length: "
    ).encode()
    selector = selectors.DefaultSelector()
    connections: dict[int, socket.socket] = {}
    waits: list[float] = []
    sent = 0

    def send(connection: socket.socket) -> None:
        nonlocal sent
        body = body_of(sent)
        connection.sendall(b"%b%d\r\n\r\n%b" % (head, len(body), body))
        asked[connection] = time.perf_counter()
        sent += 1

    asked: dict[socket.socket, float] = {}
    tails: dict[socket.socket, bytes] = {}
    started = time.perf_counter()
    for _ in range(at_once):
        connection = socket.create_connection(("127.0.0.1", server.port))
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        selector.register(connection, selectors.EVENT_READ)
        connections[connection.fileno()] = connection
        send(connection)
    done = 0
    while done < REQUESTS:
        for ready, _ in selector.select():
            one = connections[ready.fd]
            received = one.recv(RECEIVED_BYTES)
            if one in asked:
                waits.append(time.perf_counter() - asked.pop(one))
                if not received.startswith(b"HTTP/1.1 200"):
                    raise SystemExit(f"not answered with 200: {received[:400]!r}")
            tail = tails[one] = tails.get(one, b"")[-len(END_OF_BODY) :] + received
            if tail.endswith(END_OF_BODY if action == "export" else b"}"):
                done += 1
                tails[one] = b""
                if sent < REQUESTS:
                    send(one)
    seconds = time.perf_counter() - started
    selector.close()
    for one in connections.values():
        one.close()
    return waits, seconds


def main() -> None:
    """Measure what the arguments name, and print the medians of each side and their ratio."""
    measures = {
        "export": measure_export,
        "import": measure_import,
        "command": measure_command,
        "small": measure_small,
        "single": measure_single,
    }
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("what", nargs="*", default=list(measures), choices=list(measures))
    parser.add_argument("--before", type=Path, help="the `src` of another checkout")
    parser.add_argument("--events", type=int, default=2_000_000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--workers", type=int, default=1)
    arguments = parser.parse_args()
    sides = [Side("after", HERE, arguments.workers)]
    if arguments.before:
        sides.insert(0, Side("before", arguments.before, arguments.workers))
    with tempfile.TemporaryDirectory() as temporary:
        lab = Lab(Path(temporary), arguments.events)
        lab.fill()
        for name in arguments.what:
            measures[name](lab, sides, arguments.rounds)
    for what in sides[-1].figures:
        medians = [statistics.median(side.figures[what]) for side in sides]
        shown = "".join(f"{side.name} {median:12.4g}   " for side, median in zip(sides, medians, strict=True))
        print(f"{what:32}{shown}x {medians[-1] / medians[0]:.2f}", flush=True)


if __name__ == "__main__":
    os.environ.pop("SMSEVENTS_DATABASE", None)
    main()
