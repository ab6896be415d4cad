"""The events: lines that `smsevents generate` makes, kept in a folder and used again while they are young enough."""

from __future__ import annotations

import subprocess
import sys
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

import msgspec

from bench.measure import CommandFailed
from bench.plan import DAY_MS, SPAN_DAYS, TRACKPOINT

if TYPE_CHECKING:
    from pathlib import Path

KEPT_MAX_DAYS = 20  # then the oldest events would come near the end of the history
SEED = 1


@dataclass(frozen=True)
class Dataset:
    """A file of lines of the shop `TRACKPOINT`, in order, with dates up to `end_ms`."""

    path: Path
    events: int
    end_ms: int
    line_bytes: int

    @property
    def start_ms(self) -> int:
        """Give a time before every event."""
        return self.end_ms - int(SPAN_DAYS * DAY_MS) - DAY_MS


class _Made(msgspec.Struct):
    end_ms: int


def dataset(folder: Path, events: int) -> Dataset:
    """Make a dataset, or give the one that was made before."""
    path = folder / f"events-{events}.jsonl"
    note = path.with_suffix(".json")
    now = time.time_ns() // 1_000_000
    made = msgspec.json.decode(note.read_bytes(), type=_Made) if note.exists() else None
    if made is None or made.end_ms < now - KEPT_MAX_DAYS * DAY_MS:
        note.unlink(missing_ok=True)
        folder.mkdir(parents=True, exist_ok=True)
        with path.open("wb") as out:
            subprocess.run(generate_command(events, now), stdout=out, check=True)
        made = _Made(now)
        note.write_bytes(msgspec.json.encode(made))
    return Dataset(path, events, made.end_ms, path.stat().st_size)


def generate_command(events: int, end_ms: int, trackpoint: int = TRACKPOINT, days: float = SPAN_DAYS) -> list[str]:
    """Give the command that prints the lines."""
    command = [sys.executable, "-m", "smsevents", "generate", str(trackpoint), "--events", str(events)]
    return [*command, "--days", str(days), "--seed", str(SEED), "--end", str(end_ms)]


def generate_into(command: list[str], environment: dict[str, str], events: int, end_ms: int, trackpoint: int) -> None:
    """Pipe generated lines into a command, without a file between them."""
    source = subprocess.Popen(generate_command(events, end_ms, trackpoint), stdout=subprocess.PIPE)
    done = subprocess.run(command, stdin=source.stdout, env=environment, capture_output=True, text=True, check=False)
    if source.stdout is not None:
        source.stdout.close()
    if source.wait() or done.returncode:
        raise CommandFailed(f"{' '.join(command)}: {done.stderr}")
