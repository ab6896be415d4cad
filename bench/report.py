"""The results → the tables of docs/performance.md, between its markers, and the charts beside it."""

from __future__ import annotations

import re
import statistics
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeVar

from msgspec import Struct

from bench import draw, goals
from bench.deflate import NOW
from bench.goals import ENCODING_NAMES, OURS
from bench.plan import MIB
from bench.results import (
    DeflateResult,
    DiskResult,
    ExportResult,
    ImportResult,
    LatencyResult,
    ReadersResult,
    ScaleResult,
    SoakResult,
    load,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from pathlib import Path

    from bench.goals import Goal
    from bench.plan import Plan
    from bench.results import About, Measured

PAGE = "performance.md"
_MS = 1000
R = TypeVar("R", ExportResult, ImportResult, DiskResult)
S = TypeVar("S", bound=Struct)
T = TypeVar("T")


def write(plan: Plan) -> None:
    """Write the page's tables and the charts from whatever results there are."""
    found: list[Part | None] = [
        _of(_all(plan.results, "export", ExportResult), _export),
        _of(_one(plan.results, "latency", LatencyResult), _latency),
        _of(_all(plan.results, "import", ImportResult), _import),
        _of(_one(plan.results, "readers", ReadersResult), _readers),
        _of(_one(plan.results, "scale", ScaleResult), _scale),
        _of(_one(plan.results, "soak", SoakResult), _soak),
        _of(_all(plan.results, "disk", DiskResult), _disk),
        _of(_one(plan.results, "deflate", DeflateResult), _deflate),
    ]
    parts = [part for part in found if part is not None]
    charts = plan.docs / "charts"
    charts.mkdir(parents=True, exist_ok=True)
    blocks: dict[str, str] = {}
    for part in parts:
        blocks |= part.blocks
        for name, chart in part.charts.items():
            (charts / f"{name}.svg").write_text(chart, "utf-8")
    blocks["goals"] = _goals_table([goal for part in parts for goal in part.goals])
    page = plan.docs / PAGE
    page.write_text(fill(page.read_text("utf-8"), blocks), "utf-8")


@dataclass(frozen=True)
class Part:
    """What one question adds to the page: blocks by the name of their markers, charts by their file, goals."""

    blocks: dict[str, str]
    charts: dict[str, str]
    goals: list[Goal] = field(default_factory=list)


def _of(results: list[T], part: Callable[[list[T]], Part]) -> Part | None:
    return part(results) if results else None


def _export(results: list[ExportResult]) -> Part:
    first = results[0]
    return Part(
        {"export": "\n\n".join(map(_export_table, results)), "machine": _machine(first.about)},
        {"export": draw.export(first)},
        goals.of_export(first),
    )


def _latency(results: list[LatencyResult]) -> Part:
    (one,) = results
    return Part({"latency": _latency_table(one)}, {"latency": draw.latency(one)}, goals.of_latency(one))


def _import(results: list[ImportResult]) -> Part:
    first = results[0]
    return Part(
        {"import": "\n\n".join(map(_import_table, results))}, {"import": draw.imports(first)}, goals.of_import(first)
    )


def _readers(results: list[ReadersResult]) -> Part:
    (one,) = results
    return Part({"readers": _readers_table(one)}, {"readers": draw.readers(one)})


def _scale(results: list[ScaleResult]) -> Part:
    (one,) = results
    sizes = Part({"sizes": _sizes_table(one)}, {"scale": draw.scale(one)}) if one.sizes else Part({}, {})
    counts = Part({"shops": _shops_table(one)}, {"shops": draw.shops(one)}) if one.counts else Part({}, {})
    return Part(sizes.blocks | counts.blocks, sizes.charts | counts.charts)


def _soak(results: list[SoakResult]) -> Part:
    (one,) = results
    return Part({"soak": _soak_table(one)}, {"soak": draw.soak(one)}, goals.of_soak(one))


def _disk(results: list[DiskResult]) -> Part:
    return Part({"disk": _disk_table(results[0])}, {"disk": draw.disk(results[0])})


def _deflate(results: list[DeflateResult]) -> Part:
    (one,) = results
    return Part({"deflate": _deflate_table(one)}, {"deflate": draw.deflate(one)})


def fill(text: str, blocks: dict[str, str]) -> str:
    """Put each block between the markers of its name. Raises `ValueError` for a block that has none."""
    for name, block in blocks.items():
        marked = re.compile(rf"(<!-- begin {name} -->\n).*?(<!-- end {name} -->)", re.DOTALL)
        if not marked.search(text):
            raise ValueError(f"{PAGE} has no markers for {name}")
        text = marked.sub(lambda match, block=block: f"{match[1]}\n{block}\n\n{match[2]}", text)  # type: ignore[misc]
    return text


def _one(results: Path, part: str, kind: type[S]) -> list[S]:
    """Give the result of a part, or nothing if it was not measured."""
    found = load(results / f"{part}.json", kind)
    return [] if found is None else [found]


def _all(results: Path, part: str, kind: type[R]) -> list[R]:
    """Give the results of a part for every number of events, the fewest first."""
    found = [load(path, kind) for path in results.glob(f"{part}-*.json")]
    return sorted((one for one in found if one is not None), key=lambda one: one.events)


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Give a table in Markdown."""
    return "\n".join(f"| {' | '.join(row)} |" for row in [head, ["---"] * len(head), *rows]).replace(
        "| --- |" + " --- |" * (len(head) - 1), "|" + "---|" * len(head)
    )


def _machine(about: About) -> str:
    versions = ", ".join(f"{name} {version}" for name, version in about.versions.items())
    return (
        f"{about.date}, commit `{about.commit}`. {about.processor}, {about.cores} cores, {about.memory_gib} GiB,"
        f" Linux {about.kernel}, Python {about.python}. {versions}."
    )


def _goals_table(held: list[Goal]) -> str:
    return table(
        ["Goal", "Measured", ""],
        [[goal.promise, goal.measured, "met" if goal.met else "**missed**"] for goal in held],
    )


def _export_table(result: ExportResult) -> str:
    rows = []
    for encoding in ("gzip", "identity"):
        ours = goals.best(result.systems, OURS, encoding)
        for one in sorted(result.systems, key=lambda one: one.median_seconds):
            if one.encoding != encoding or ours is None:
                continue
            row = [
                ENCODING_NAMES[encoding],
                f"**{one.system}**" if one.system == OURS else _name(one),
                draw.seconds(one.median_seconds),
                f"{result.events / one.median_seconds / 1e6:,.2f}",
                "" if one is ours else draw.times(one.median_seconds / ours.median_seconds),
                _range(one),
                _cpu(one),
            ]
            rows.append(row)
    head = [
        "",
        "System",
        "Median",
        "Million events/s",
        "Time, by ours",
        "Fastest – slowest",
        "CPU of the system",
    ]
    digest = result.digest.split(":")[1]
    return (
        f"{result.events:,} events, {result.line_bytes / 1e6:,.0f} MB of lines; all systems gave the same events"
        f" (digest `{digest[:16]}…`).\n\n{table(head, rows)}"
    )


def _name(one: Measured) -> str:
    return f"{one.system}, {one.variant}" if one.variant else one.system


def _range(one: Measured) -> str:
    seconds = [run.seconds for run in one.runs]
    return f"{draw.seconds(min(seconds))} – {draw.seconds(max(seconds))} ({len(seconds)})"


def _cpu(one: Measured) -> str:
    used = [run.cpu_seconds for run in one.runs if run.cpu_seconds is not None]
    return draw.seconds(statistics.median(used)) if used else ""


def _latency_table(result: LatencyResult) -> str:
    head = ["Clients", "Encoding", "Processes", "Exports/s", "First byte p50", "p99", "Last byte p50", "p99"]
    head += ["CPU of the server"]
    rows = [
        [
            f"{one.clients}" + (f", each every {one.pause_ms / _MS:.0f} s" if one.pause_ms else ""),
            ENCODING_NAMES[one.encoding],
            str(one.workers),
            f"{one.per_second:,.0f}",
            *(
                f"{value:.1f} ms"
                for value in (one.first_byte_p50_ms, one.first_byte_p99_ms, one.whole_p50_ms, one.whole_p99_ms)
            ),
            f"{one.server_cpu_ms:.1f} ms",
        ]
        for one in result.latencies
    ]
    events = next(one.events for one in result.latencies if one.encoding == "identity")
    used = max(one.client_cpu_ms for one in result.latencies)
    return (
        f"A shop of {result.shop_events:,} events; the last 5 minutes hold {events:,}. The clients themselves used at"
        f" most {used:.2f} ms of the processor for a request; the last column tells what the server used for one."
        f"\n\n{table(head, rows)}"
    )


def _import_table(result: ImportResult) -> str:
    rows = [
        [
            f"**{_name(one)}**" if one.system == OURS else _name(one),
            ENCODING_NAMES[one.encoding],
            draw.seconds(one.median_seconds),
            f"{result.events / one.median_seconds:,.0f}",
            _cpu(one),
        ]
        for one in sorted(result.systems, key=lambda one: one.median_seconds)
    ]
    text = f"{result.events:,} events.\n\n" + table(
        ["System", "Sent as", "Median", "Events/s", "CPU of the system"], rows
    )
    singles = [
        [f"{one.clients}", f"{one.median_events_per_second:,.0f}", f"{statistics.median(one.p50_ms):.1f} ms"]
        for one in result.single
    ]
    lift = result.single[-1].median_events_per_second / result.single[0].median_events_per_second
    return (
        f"{text}\n\nOne event to a request: with one client each waits for a flush of its own, with many the flush is"
        f" shared. That lifts the rate **{lift:.1f} times**, on a disk that takes {result.flush_ms:.2f} ms to flush a"
        " small write.\n\n" + table(["Clients", "Durable events/s", "Answer p50"], singles)
    )


def _readers_table(result: ReadersResult) -> str:
    def each(now: int) -> str:
        return f"{(now - result.one_export_bytes) / result.readers / MIB:.2f} MiB"

    rows = [
        ["no client", f"{result.idle_bytes / MIB:.0f} MiB", ""],
        ["one whole export, at its peak", f"{result.one_export_bytes / MIB:.0f} MiB", ""],
    ]
    rows += [
        [f"{result.readers} slow readers, {ENCODING_NAMES[encoding]}", f"{most / MIB:.0f} MiB", each(most)]
        for encoding, most in result.slow_bytes.items()
    ]
    fast = "; ".join(f"{name} {draw.seconds(value)}" for name, value in result.fast_export_seconds.items())
    return (
        f"A shop of {result.shop_events:,} events.\n\n{table(['', 'Memory of the server', 'For each reader'], rows)}"
        f"\n\nA whole export by a fast client meanwhile: {fast}."
    )


def _sizes_table(result: ScaleResult) -> str:
    head = ["Events", "First byte p50", "p99", "Catalog, one read", "Bytes read", "Peak, gzip", "Peak, plain"]
    head += ["Stored", "Index", "Export, gzip", "Export, plain", "Import"]
    rows = [
        [
            f"{one.events:,}",
            f"{one.first_byte_p50_ms:.1f} ms",
            f"{one.first_byte_p99_ms:.1f} ms",
            f"{one.catalog_ms:.2f} ms",
            f"{one.catalog_read_bytes / 1024:,.0f} KiB",
            *(f"{one.export_peak_bytes[encoding] / MIB:.0f} MiB" for encoding in ("gzip", "identity")),
            f"{one.stored_bytes / 1e6:,.0f} MB",
            f"{one.index_bytes / 1e6:,.2f} MB",
            *(draw.seconds(one.export_seconds[encoding]) for encoding in ("gzip", "identity")),
            f"{one.import_seconds:,.0f} s",
        ]
        for one in result.sizes
    ]
    measured = ", ".join(sorted({one.about.commit for one in result.sizes}))
    return (
        f"{table(head, rows)}\n\nMeasured at commit {measured}. The import is `smsevents generate | smsevents import`."
    )


def _shops_table(result: ScaleResult) -> str:
    head = ["Shops", "First byte p50", "p99", "Import of one event, p50", "Memory of the server"]
    rows = [
        [
            f"{one.shops:,}",
            f"{one.first_byte_p50_ms:.1f} ms",
            f"{one.first_byte_p99_ms:.1f} ms",
            f"{one.import_p50_ms:.1f} ms",
            f"{one.memory_bytes / MIB:.0f} MiB",
        ]
        for one in result.counts
    ]
    return table(head, rows)


def _soak_table(result: SoakResult) -> str:
    third = max(1, len(result.ticks) // 3)
    thirds = [result.ticks[start : start + third] for start in range(0, 3 * third, third)]
    head = ["", "Memory of the server", "First byte p50", "p99", "Import of a body, p50"]
    rows = [
        [
            name,
            f"{statistics.median(tick.memory_bytes for tick in ticks) / MIB:.0f} MiB",
            *(
                f"{statistics.median(getattr(tick, value) for tick in ticks):.1f} ms"
                for value in ("first_byte_p50_ms", "first_byte_p99_ms", "import_p50_ms")
            ),
        ]
        for name, ticks in zip(("first third", "second", "last"), thirds, strict=True)
        if ticks
    ]
    return (
        f"{result.seconds:,} seconds on {result.about.date}, commit `{result.about.commit}`:"
        f" {result.ticks[-1].imported:,} events imported. Medians of what was seen every few seconds:"
        f"\n\n{table(head, rows)}"
    )


def _disk_table(result: DiskResult) -> str:
    ours = result.stored_bytes[OURS]
    rows = [
        [f"**{name}**" if name == OURS else name, f"{stored / result.events:.1f}", draw.times(stored / ours)]
        for name, stored in sorted(result.stored_bytes.items(), key=lambda one: one[1])
    ]
    return f"{result.events:,} events.\n\n" + table(["", "Bytes an event", "Size, by ours"], rows)


def _deflate_table(result: DeflateResult) -> str:
    rows = [
        [
            f"**{one.codec}**, today" if one.codec == NOW.name else one.codec,
            f"{one.ratio:.1f}",
            f"{one.size_by_now - 1:+.1%}",
            f"{one.deflate_mb_per_second:,.1f}",
            f"{one.inflate_mb_per_second:,.0f}",
        ]
        for one in result.codecs
    ]
    head = ["Compressor and level", "Ratio", "Stored bytes", "Deflates, MB/s", "Inflates back, MB/s"]
    few = min(one.segments for one in result.codecs)
    return (
        f"{result.segments} segments, {result.line_bytes / 1e6:,.0f} MB of lines; {few} of them for the very slow"
        " ones. Speed is for each second of processor time; stored bytes are compared on the same segments."
        f"\n\n{table(head, rows)}"
    )
