"""Measuring one thing: a program, a download with curl, the processor time and the memory of a process; turns."""

import math
import os
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TypeVar

import msgspec

Figures = dict[str, float]  # what one turn measured, by a name that ends in its unit
T = TypeVar("T")

_SAMPLE_SECONDS = 0.02
_SCHEDULER_CLOCK = 2  # of a process, as clock_getcpuclockid(3) builds its id on Linux
_CURL_REPORT = '{"seconds":%{time_total},"first_byte_seconds":%{time_starttransfer},"bytes":%{size_download}}'


class CommandFailed(Exception):
    """A program that a measurement needs did not do what it should."""


def run(command: Sequence[str], environment: Mapping[str, str] | None = None) -> tuple[str, Figures]:
    """Run a program; return its output and what it took, with all that it started. Raises `CommandFailed`."""
    with tempfile.TemporaryFile() as complaint, stopwatch() as figures:
        with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=complaint) as process:
            output = process.stdout.read().decode() if process.stdout else ""
            _, status, usage = os.wait4(process.pid, 0)
            process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            complaint.seek(0)
            raise CommandFailed(f"{' '.join(command)}: {complaint.read().decode() or output}")
    return output, figures | {"cpu_seconds": usage.ru_utime + usage.ru_stime}


def run_watched(command: Sequence[str], environment: Mapping[str, str] | None = None) -> Figures:
    """Run a program; return what it took, with all that it started, and the peak of their memory together.

    Memory is sampled, so a peak of a few milliseconds may be missed. Raises `CommandFailed`.
    """
    with tempfile.TemporaryFile() as complaint, stopwatch() as figures:
        process = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=complaint)
        peak = 0
        while True:
            ended, status, usage = os.wait4(process.pid, os.WNOHANG)
            if ended:
                process.returncode = os.waitstatus_to_exitcode(status)
                break
            with suppress(OSError, IndexError):  # a process ended meanwhile
                peak = max(peak, memory_bytes(process.pid))
            time.sleep(_SAMPLE_SECONDS)
        if process.returncode:
            complaint.seek(0)
            raise CommandFailed(f"{' '.join(command)}: {complaint.read().decode()}")
    return figures | {"cpu_seconds": usage.ru_utime + usage.ru_stime, "peak_bytes": peak}


def curl(server: int, url: str, encoding: str, output: Path, *words: str) -> Figures:
    """Download with curl, which measures the seconds itself; `server` is the process whose processor time counts."""
    command = ["curl", "--silent", "--show-error", "--fail", "--output", str(output), "--write-out", _CURL_REPORT]
    command += ["--header", "Accept-Encoding: gzip"] if encoding == "gzip" else []
    before = cpu_seconds(server)
    report, client = run([*command, *words, url])
    used = {"cpu_seconds": cpu_seconds(server) - before, "client_cpu_seconds": client["cpu_seconds"]}
    return msgspec.json.decode(report, type=Figures) | used


def family(pid: int) -> list[int]:
    """Return a process and all that it started, as far as they run."""
    found = [pid]
    for one in found:
        for task in Path(f"/proc/{one}/task").glob("*/children"):
            found += [int(child) for child in task.read_text().split()]
    return found


def cpu_seconds(pid: int) -> float:
    """Return the processor time that a process and its running children have used, with threads that have ended."""
    return sum(time.clock_gettime(~one << 3 | _SCHEDULER_CLOCK) for one in family(pid))


def memory_bytes(pid: int, row: str = "VmRSS") -> int:
    """Return the resident memory of a process and its children, or another row of its status (see proc(5))."""
    texts = (Path(f"/proc/{one}/status").read_text() for one in family(pid))
    return sum(int(text.split(f"{row}:")[1].split()[0]) * 1024 for text in texts)


def bytes_read(pid: int) -> int:
    """Return what a process and its children have read from files, also where the kernel had them in memory."""
    return sum(int(Path(f"/proc/{one}/io").read_text().split()[1]) for one in family(pid))


def forget_peak(pid: int) -> None:
    """Reset the largest resident memory of a process and its children, VmHWM (see proc(5))."""
    for one in family(pid):
        Path(f"/proc/{one}/clear_refs").write_text("5")


def take_turns(
    ways: Sequence[Callable[[], Figures]], rounds: int, way_max_seconds: float = math.inf, turns_min: int = 1
) -> list[dict[str, list[float]]]:
    """Measure all in turns, every second round backwards, so that what else the machine does affects all alike.

    What has used up its seconds takes no more turns, but takes `turns_min` in any case.
    """
    turns: list[dict[str, list[float]]] = [{} for _ in ways]
    for number in range(rounds):
        order = range(len(ways))
        for index in order if number % 2 == 0 else reversed(order):
            taken = turns[index]
            seconds = taken.get("seconds", [])
            if len(seconds) < turns_min or sum(seconds) < way_max_seconds:
                for name, value in ways[index]().items():
                    taken.setdefault(name, []).append(round(value, 6))
        print(f"  round {number + 1} of {rounds}", flush=True)
    return turns


def quantile(values: Sequence[float], share: float) -> float:
    """Return the smallest value that at least `share` of the values do not exceed."""
    return sorted(values)[max(0, math.ceil(share * len(values)) - 1)]


@contextmanager
def stopwatch() -> Iterator[Figures]:
    """Measure the `seconds` that the block takes."""
    figures: Figures = {}
    started = time.perf_counter()
    yield figures
    figures["seconds"] = time.perf_counter() - started


def timed(do: Callable[[], T]) -> tuple[T, Figures]:
    """Do something in this process; return the result and what it took."""
    used = time.process_time()
    with stopwatch() as figures:
        result = do()
    return result, figures | {"cpu_seconds": time.process_time() - used}
