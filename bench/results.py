"""What is kept of a run: rows of one shape, with where, when and of what they were measured."""

import os
import platform
import re
import statistics
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path

import msgspec

from bench.measure import CommandFailed, run

_PACKAGES = ("smsevents", "isal", "litestar", "uvicorn", "chdb-core", "duckdb", "psycopg", "starlette", "zlib-ng")
_PROGRAMS = {"curl": "curl --version", "nginx": "PATH=$PATH:/usr/sbin nginx -v", "postgres": "psql -V"}

Labels = dict[str, str | int]
About = dict[str, str]  # the date, commit (`-dirty` if the program differs), machine and versions of a run


class Row(msgspec.Struct):
    """One thing that was measured: `figures` hold every turn, by a name that ends in its unit; `run` is in `runs`."""

    labels: Labels
    figures: dict[str, list[int | float]]
    run: str = ""

    def median(self, figure: str) -> float:
        """Return the median of the turns. Raises `KeyError` for a figure that was not measured."""
        return statistics.median(self.figures[figure])


class Results(msgspec.Struct):
    """A file of results. Rows of different runs stand in one file, but never in one comparison."""

    runs: dict[str, About] = {}
    rows: list[Row] = []


def row(labels: Mapping[str, str | int], **figures: float | Sequence[float]) -> Row:
    """Make a row; a figure that was measured in a single turn may come by itself."""
    turns = {name: [*value] if isinstance(value, Sequence) else [value] for name, value in figures.items()}
    return Row({**labels}, turns)


def load(path: Path) -> Results:
    """Read a file of results; there are none in a file that does not exist."""
    return msgspec.json.decode(path.read_bytes(), type=Results) if path.exists() else Results()


def keep(path: Path, rows: Sequence[Row], together: str) -> None:
    """Add the rows of one run to a file, in place of those of earlier runs that agree with them in a label."""

    def group(one: Row) -> int:
        return int(one.labels.get(together, 0))

    about = _about()
    name = f"{about['date']} {about['commit']}"
    for one in rows:
        one.run = name
    measured = {group(one) for one in rows}
    old = load(path)
    found = sorted([*(one for one in old.rows if group(one) not in measured), *rows], key=group)
    runs = {key: of for key, of in (old.runs | {name: about}).items() if key in {one.run for one in found}}
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(msgspec.json.format(msgspec.json.encode(Results(runs, found)), indent=1) + b"\n")


def _about() -> About:
    """Describe this machine, and what is measured on it, now."""
    names = re.findall(r"^model name\s*: (.*)$", Path("/proc/cpuinfo").read_text(), re.MULTILINE)
    memory_gib = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    machine = f"{(names or [platform.machine()])[0]}, {os.cpu_count()} cores, {memory_gib:.1f} GiB"
    versions = {one.name: one.version for one in metadata.distributions() if one.name in _PACKAGES}
    said = {name: re.search(r"[0-9]+\.[0-9.]+", _says(command)) for name, command in _PROGRAMS.items()}
    versions |= {name: version[0] for name, version in said.items() if version}
    commit, changed = _says("git rev-parse --short=12 HEAD"), _says("git status --porcelain -- src uv.lock")
    return {
        "date": datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        "commit": commit.strip() + ("-dirty" if changed else ""),
        "machine": f"{machine}, Linux {platform.release()}, Python {platform.python_version()}",
        "versions": ", ".join(f"{name} {version}" for name, version in sorted(versions.items())),
    }


def _says(command: str) -> str:
    """Return what a program prints, or nothing if there is no such program, or if this is not a checkout."""
    try:
        return run(["sh", "-c", f"{command} 2>&1"])[0]
    except CommandFailed:
        return ""
