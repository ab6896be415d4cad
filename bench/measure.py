"""Measuring one thing: a download with curl, the processor time and the memory of a process, medians."""

from __future__ import annotations

import math
import os
import subprocess
import time
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

FLUSHES = 200
_CURL_SAYS = '{"seconds":%{time_total},"first":%{time_starttransfer},"bytes":%{size_download},"status":%{http_code}}'


class CommandFailed(Exception):
    """A program that a measurement needs did not do what it should."""


class Run(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One measurement of one export or import.

    `cpu_seconds` is what the system itself used, `consumer_cpu_seconds` what the client that reads used, so
    that a client that is the bottleneck would show.
    """

    seconds: float
    first_byte_seconds: float | None = None
    bytes: int | None = None
    cpu_seconds: float | None = None
    consumer_cpu_seconds: float | None = None


@dataclass(frozen=True)
class Download:
    """What curl asks for: the same for every system that speaks HTTP."""

    url: str
    gzip: bool
    headers: tuple[str, ...] = ()
    data: str | None = None

    def command(self, output: Path) -> list[str]:
        """Give the command that writes the answer to a file."""
        command = ["curl", "--silent", "--show-error", "--fail", "--output", str(output), "--write-out", _CURL_SAYS]
        for header in (*self.headers, *(["Accept-Encoding: gzip"] if self.gzip else [])):
            command += ["--header", header]
        return [*command, *([] if self.data is None else ["--data", self.data]), self.url]


class _Said(msgspec.Struct):
    seconds: float
    first: float
    bytes: int
    status: int


def download(what: Download, server: int, output: Path = Path(os.devnull)) -> Run:
    """Download with curl, by default to /dev/null; `server` is the process whose time is counted.

    curl tells the seconds itself, so its own start is not among them.
    """
    before = cpu_seconds(server)
    process = subprocess.Popen(what.command(output), stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    out, error = process.stdout, process.stderr
    if out is None or error is None:
        raise CommandFailed("curl has no output")
    text, complaint = out.read(), error.read()
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    out.close()
    error.close()
    if process.returncode:
        raise CommandFailed(f"curl {what.url}: {complaint.decode()}")
    said = msgspec.json.decode(text, type=_Said)
    return Run(
        seconds=said.seconds,
        first_byte_seconds=said.first,
        bytes=said.bytes,
        cpu_seconds=round(cpu_seconds(server) - before, 6),
        consumer_cpu_seconds=round(usage.ru_utime + usage.ru_stime, 4),
    )


def family(pid: int) -> list[int]:
    """Give a process and all that it started, as far as they run."""
    found = [pid]
    for one in found:
        for task in Path(f"/proc/{one}/task").glob("*/children"):
            found += [int(child) for child in task.read_text().split()]
    return found


def cpu_seconds(pid: int) -> float:
    """Tell the processor time that a process and those that it started have used so far."""
    nanoseconds = 0
    for one in family(pid):
        # /proc/PID/stat counts in hundredths of a second, which is too coarse; this counts the threads that run
        for thread in Path(f"/proc/{one}/task").iterdir():
            nanoseconds += int((thread / "schedstat").read_text().split()[0])
    return nanoseconds / 1e9


def memory_bytes(pid: int) -> int:
    """Tell the resident memory of a process and those that it started."""
    return sum(_status_bytes(one, "VmRSS") for one in family(pid))


@contextmanager
def peak_memory(pid: int) -> Iterator[list[int]]:
    """Measure the largest resident memory while the block runs: the list holds it afterwards, in bytes."""
    found: list[int] = []
    for one in family(pid):
        Path(f"/proc/{one}/clear_refs").write_text("5")  # the kernel's word for: forget the peak
    yield found
    found.append(sum(_status_bytes(one, "VmHWM") for one in family(pid)))


def _status_bytes(pid: int, name: str) -> int:
    for row in Path(f"/proc/{pid}/status").read_text().splitlines():
        if row.startswith(f"{name}:"):
            return int(row.split()[1]) * 1024
    return 0


def quantile(values: Sequence[float], share: float) -> float:
    """Give the smallest value that at least `share` of the values do not exceed."""
    return sorted(values)[max(0, math.ceil(share * len(values)) - 1)]


@contextmanager
def stopwatch() -> Iterator[list[float]]:
    """Measure the seconds that the block takes: the list holds them afterwards."""
    taken: list[float] = []
    started = time.perf_counter()
    yield taken
    taken.append(time.perf_counter() - started)


def run_command(command: Sequence[str], **environment: str) -> str:
    """Run a program to its end and give what it printed. Raises `CommandFailed` with what it complained of."""
    done = subprocess.run(command, env=os.environ | environment, capture_output=True, text=True, check=False)
    if done.returncode:
        raise CommandFailed(f"{' '.join(command)}: {done.stderr or done.stdout}")
    return done.stdout


def flush_ms(folder: Path) -> float:
    """Tell how long the disk takes to flush a small write, in the median: what each commit waits for at least."""
    path = folder / "flush"
    taken = []
    with path.open("wb") as file:
        for _ in range(FLUSHES):
            file.write(b"x" * 4096)
            file.flush()
            started = time.perf_counter()
            os.fdatasync(file.fileno())
            taken.append((time.perf_counter() - started) * 1000)
    path.unlink()
    return round(quantile(taken, 0.5), 3)
