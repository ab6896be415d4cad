"""The events: lines that `smsevents generate` makes."""

import subprocess
import sys
import time
from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import islice
from pathlib import Path

from bench.measure import CommandFailed
from bench.plan import DAY_MS, SPAN_DAYS, TRACKPOINT

_BODY_LINES = 100_000


def now_ms() -> int:
    """Return the time in Unix milliseconds."""
    return time.time_ns() // 1_000_000


@dataclass(frozen=True)
class Dataset:
    """A file of lines of the shop `TRACKPOINT`, in order; all dates lie between the two times."""

    path: Path
    start_ms: int
    end_ms: int

    def bodies(self) -> list[bytes]:
        """Cut the lines into the bodies of imports, which are ready before a clock starts."""
        with self.path.open("rb") as source:
            return list(iter(lambda: b"".join(islice(source, _BODY_LINES)), b""))


@cache
def dataset(folder: Path, events: int) -> Dataset:
    """Make a dataset, or return it if it was made in this run."""
    folder.mkdir(parents=True, exist_ok=True)
    data = Dataset(folder / f"events-{events}.jsonl", now_ms() - (SPAN_DAYS + 1) * DAY_MS, now_ms())
    with data.path.open("wb") as out:
        out.writelines(generated(TRACKPOINT, events, data.end_ms))
    return data


def generated(
    trackpoint: int, events: int, end_ms: int, days: float = SPAN_DAYS, order: str = "date"
) -> Generator[bytes]:
    """Yield generated lines, with their ends. Raises `CommandFailed` if `smsevents generate` fails."""
    command = [sys.executable, "-m", "smsevents", "generate", str(trackpoint), "--events", str(events)]
    command += ["--days", str(days), "--seed", "1", "--end", str(end_ms), "--order", order]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as source:
        yield from source.stdout or ()
    if source.returncode:
        raise CommandFailed(f"{' '.join(command)} failed with {source.returncode}")


def generate_into(command: Sequence[str], environment: Mapping[str, str], trackpoint: int, events: int) -> int:
    """Pipe generated lines into a command; return the time of the newest."""
    end_ms = now_ms()
    with subprocess.Popen(command, env=environment, stdin=subprocess.PIPE, stderr=subprocess.DEVNULL) as target:
        if target.stdin is not None:
            target.stdin.writelines(generated(trackpoint, events, end_ms))
    if target.returncode:
        raise CommandFailed(f"{' '.join(command)} failed with {target.returncode}")
    return end_ms
