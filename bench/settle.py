"""How a log settles whose events come in random order: `uv run python -m bench.settle --events 5000000`.

Events of 60 days are shuffled and imported over HTTP in bodies of 20,000 lines, so that every body spans all days,
while the keeper of the server works. Then `smsevents compact` does the rest, and small exports are timed beside it
and without it. Printed: the time, the peak memory of the server, the keeper and the command, the segments and the
bytes per event, and the first bytes.
"""

from __future__ import annotations

import argparse
import json
import random
import statistics
import subprocess
import tempfile
import time
import zlib
from pathlib import Path

from bench.load import ask, post
from bench.peers.smsevents import COMMAND, Server, Store, served
from bench.plan import TRACKPOINT
from smsevents.clock import now_ms
from smsevents.generate import generate

DAYS = 60
BODY_LINES = 20_000
EXPORTS = 400
EXPORT_MS = 5 * 60 * 1000
MIB = 1024 * 1024


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--events", type=int, default=5_000_000)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="smsevents-settle-", dir="/var/tmp") as folder:
        store = Store(Path(folder) / "log.db")
        key = store.add_shop()
        with served(store) as server:
            seconds = import_shuffled(server, key, arguments.events)
            print(f"imported {arguments.events:,} events in {seconds:.1f} s beside the keeper")
            keeper = max(children_of(server.pid), key=peak_mib, default=server.pid)
            print(f"peak memory: server {peak_mib(server.pid)} MiB, keeper {peak_mib(keeper)} MiB")
            print("stored:", stored(store))
            tell_first_bytes("first byte of small exports beside the keeper's rest", server, key)
            compact(store, server, key)
        print("settled:", stored(store))
        store.command("verify")


def import_shuffled(server: Server, key: str, events: int) -> float:
    """Import invented events in random order; give the seconds that the imports took."""
    lines = list(generate(TRACKPOINT, events=events, days=DAYS, seed=1, end_ms=now_ms()))
    random.Random(1).shuffle(lines)  # noqa: S311 -- an order, no secret
    path = f"/shop/{TRACKPOINT}/import-sms-events"
    seconds = 0.0
    for start in range(0, len(lines), BODY_LINES):
        body = zlib.compress(b"\n".join([*lines[start : start + BODY_LINES], b""]), 1, 31)
        started = time.perf_counter()
        ask(server.port, iter([post(path, {"X-Api-Key": key, "Content-Encoding": "gzip"}, body)]), 1)
        seconds += time.perf_counter() - started
    return seconds


def compact(store: Store, server: Server, key: str) -> None:
    """Compact by hand while small exports go on."""
    started = time.perf_counter()
    command = subprocess.Popen([*COMMAND, "compact"], env=store.environment, stderr=subprocess.DEVNULL)
    peak = 0
    taken: list[float] = []
    while command.poll() is None:
        peak = max(peak, peak_mib(command.pid))
        taken += first_bytes(server, key, 20)
    print(f"smsevents compact: {time.perf_counter() - started:.1f} s, peak memory {peak} MiB")
    tell("first byte of small exports beside it", taken)
    tell_first_bytes("first byte of small exports after it", server, key)


def first_bytes(server: Server, key: str, exports: int) -> list[float]:
    """Export five minutes at random places of the last day, one at a time; give the seconds to the first byte."""
    chance = random.Random(exports)  # noqa: S311 -- places, no secret
    path = f"/shop/{TRACKPOINT}/export-sms-events"
    now = now_ms()
    starts = [now - chance.randrange(24 * 60 * 60 * 1000) for _ in range(exports)]
    bodies = [json.dumps({"from": start - EXPORT_MS, "to": start}).encode() for start in starts]
    answers = ask(server.port, (post(path, {"X-Api-Key": key}, body) for body in bodies), 1)
    return [answer.first_byte_seconds for answer in answers]


def tell_first_bytes(what: str, server: Server, key: str) -> None:
    """Time small exports and print what came out."""
    tell(what, first_bytes(server, key, EXPORTS))


def tell(what: str, seconds: list[float]) -> None:
    """Print the median and the 99th percentile."""
    if len(seconds) > 1:
        percentiles = statistics.quantiles(seconds, n=100)
        print(f"{what}: p50 {percentiles[49] * 1000:.1f} ms, p99 {percentiles[98] * 1000:.1f} ms ({len(seconds)})")


def stored(store: Store) -> str:
    """Tell what `smsevents stats` says of the log."""
    found = json.loads(store.command("stats", "--json"))
    names = ("segments", "overlapping", "stored_bytes_per_event")
    return (
        ", ".join(f"{name} {found[name]:,}" for name in names) + f", on the disk {store.bytes_on_disk() / MIB:.0f} MiB"
    )


def peak_mib(pid: int) -> int:
    """Tell the peak memory of a process, MiB, or 0 if it is gone."""
    try:
        status = Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return 0
    peaks = [int(row.split()[1]) for row in status.splitlines() if row.startswith("VmHWM")]
    return peaks[0] // 1024 if peaks else 0


def children_of(pid: int) -> list[int]:
    """Give the ids of the processes that a process started, in whichever of its threads."""
    tasks = Path(f"/proc/{pid}/task").glob("*/children")
    return [int(child) for task in tasks for child in task.read_text().split()]


if __name__ == "__main__":
    main()
