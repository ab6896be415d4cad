"""Which chart is drawn of which result, and how its numbers are spelled."""

from __future__ import annotations

import statistics
from typing import TYPE_CHECKING

from bench.charts import Bar, Group, Panel, Point, Series, bars, panels, scatter
from bench.deflate import NOW
from bench.goals import (
    ENCODING_NAMES,
    FIRST_BYTE_P50_MS,
    FIRST_BYTE_P99_MS,
    IMPORT_EVENTS_PER_SECOND,
    NGINX,
    OURS,
    best,
)
from bench.plan import MIB

if TYPE_CHECKING:
    from bench.results import (
        DeflateResult,
        DiskResult,
        ExportResult,
        ImportResult,
        Latency,
        LatencyResult,
        Measured,
        ReadersResult,
        ScaleResult,
        SoakResult,
    )

_KINDS = {OURS: "ours", NGINX: "limit"}
_THOUSAND, _MILLION = 1000, 1_000_000


def seconds(value: float) -> str:
    """Spell a time with the unit that suits it."""
    if value < 1:
        return f"{value * 1000:.3g} ms" if value < 0.1 else f"{value * 1000:.0f} ms"  # noqa: PLR2004
    return f"{value:.3g} s"


def times(value: float) -> str:
    """Spell a ratio."""
    return f"{value:,.0f}×" if value >= 10 else f"{value:.2f}×"  # noqa: PLR2004


def short(value: float) -> str:
    """Spell a count as people say it."""
    if value >= _MILLION:
        return f"{value / _MILLION:g} M"
    return f"{value / _THOUSAND:g} k" if value >= _THOUSAND else f"{value:g}"


def _mib(value: float) -> str:
    return f"{value:g} MiB"


def _ms(value: float) -> str:
    return f"{value:g} ms"


def _label(one: Measured) -> str:
    return f"{one.system}, {one.variant}" if one.variant else one.system


def export(result: ExportResult) -> str:
    """Draw the time of a whole export by every system."""
    groups = []
    for encoding, heading in (("gzip", "gzip"), ("identity", "plain")):
        ours = best(result.systems, OURS, encoding)
        if ours is None:
            continue
        rows = sorted((one for one in result.systems if one.encoding == encoding), key=lambda one: one.median_seconds)
        groups.append(
            Group(
                heading,
                [
                    Bar(
                        _label(one),
                        one.median_seconds,
                        seconds(one.median_seconds),
                        _KINDS.get(one.system, "peer"),
                        "" if one is ours else times(one.median_seconds / ours.median_seconds),
                    )
                    for one in rows
                ],
            )
        )
    size = f"{result.events:,} events, {result.line_bytes / 1e6:,.0f} MB of lines"
    subtitle = f"{size}; seconds, shorter is better, each step ten times; right: the time by ours"
    return bars("Whole export of one shop", subtitle, groups, seconds, log=True)


def latency(result: LatencyResult) -> str:
    """Draw the time to the first byte of small exports, from p50 to p99."""

    def row(one: Latency) -> Bar:
        pace = (
            f"{one.clients} clients, every {one.pause_ms / 1000:.0f} s" if one.pause_ms else f"{one.clients} at a time"
        )
        return Bar(
            f"{pace}, {ENCODING_NAMES[one.encoding]}",
            one.first_byte_p50_ms,
            f"{one.first_byte_p50_ms:.1f} – {one.first_byte_p99_ms:.1f} ms",
            "ours",
            f"{one.per_second:,.0f}/s",
            to=one.first_byte_p99_ms,
        )

    groups = [
        Group(
            f"{workers} server process" + ("es" if workers > 1 else ""),
            [row(one) for one in result.latencies if one.workers == workers],
        )
        for workers in sorted({one.workers for one in result.latencies})
    ]
    goals = [(FIRST_BYTE_P50_MS, "goal p50"), (FIRST_BYTE_P99_MS, "goal p99")]
    subtitle = f"the last 5 minutes of a shop of {short(result.shop_events)} events; bar to p50, line to p99"
    return bars("First byte of a small export", subtitle, groups, _ms, log=True, goals=goals)


def imports(result: ImportResult) -> str:
    """Draw how many events a second become durable."""
    rows = sorted(result.systems, key=lambda one: one.median_seconds)
    whole = Group(
        "all events",
        [
            Bar(
                f"{_label(one)}" + (", gzip" if one.encoding == "gzip" else ""),
                result.events / one.median_seconds,
                f"{result.events / one.median_seconds:,.0f}",
                _KINDS.get(one.system, "peer"),
            )
            for one in rows
        ],
    )
    subtitle = f"{result.events:,} events, durable when answered; events a second, longer is better"
    goal = [(float(IMPORT_EVENTS_PER_SECOND), "goal")]
    return bars("Import", subtitle, [whole], short, goals=goal)


def readers(result: ReadersResult) -> str:
    """Draw the server's memory with slow readers."""
    rows = [
        Bar("no client", result.idle_bytes / MIB, f"{result.idle_bytes / MIB:.0f} MiB"),
        Bar("one whole export", result.one_export_bytes / MIB, f"{result.one_export_bytes / MIB:.0f} MiB"),
    ]
    for encoding, most in result.slow_bytes.items():
        each = (most - result.one_export_bytes) / result.readers / MIB
        rows.append(
            Bar(
                f"{result.readers} slow readers, {ENCODING_NAMES[encoding]}",
                most / MIB,
                f"{most / MIB:.0f} MiB, {each:.1f} each",
                "ours",
            )
        )
    subtitle = f"resident memory, a shop of {short(result.shop_events)} events exported whole"
    return bars("What slow readers cost the server", subtitle, [Group("", rows)], _mib)


def scale(result: ScaleResult) -> str:
    """Draw what must not grow with the size of a shop."""

    def over(value: str) -> list[tuple[float, float]]:
        return [(float(one.events), getattr(one, value)) for one in result.sizes]

    planes = [
        Panel(
            "first byte of the last 5 minutes",
            [Series("p50", over("first_byte_p50_ms")), Series("p99", over("first_byte_p99_ms"), "peer")],
            _ms,
        ),
        Panel("one read of the catalog", [Series("", over("catalog_ms"))], _ms),
        Panel(
            "server memory at the peak of a whole export",
            [
                Series(
                    ENCODING_NAMES[encoding],
                    [(float(one.events), one.export_peak_bytes[encoding] / MIB) for one in result.sizes],
                    kind,
                )
                for encoding, kind in (("gzip", "ours"), ("identity", "limit"))
            ],
            _mib,
        ),
        Panel(
            "stored bytes an event",
            [Series("", [(float(one.events), one.stored_bytes / one.events) for one in result.sizes])],
            lambda value: f"{value:g}",
        ),
    ]
    return panels(
        "As one shop grows", "events in the shop, each step ten times; flat is good", planes, short, log_x=True
    )


def shops(result: ScaleResult) -> str:
    """Draw what must not grow with the number of shops."""

    def over(value: str) -> list[tuple[float, float]]:
        return [(float(one.shops), getattr(one, value)) for one in result.counts]

    planes = [
        Panel(
            "first byte of a small export",
            [Series("p50", over("first_byte_p50_ms")), Series("p99", over("first_byte_p99_ms"), "peer")],
            _ms,
        ),
        Panel("import of one event, p50", [Series("", over("import_p50_ms"))], _ms),
        Panel(
            "server memory",
            [Series("", [(float(one.shops), one.memory_bytes / MIB) for one in result.counts])],
            _mib,
        ),
    ]
    subtitle = "shops in one database, each step ten times; each request goes to a shop picked by chance; flat is good"
    return panels("As shops are added", subtitle, planes, short, log_x=True)


def soak(result: SoakResult) -> str:
    """Draw a soak over its time."""

    def over(value: str) -> list[tuple[float, float]]:
        return [(tick.second / 60, getattr(tick, value)) for tick in result.ticks]

    memory = [(tick.second / 60, tick.memory_bytes / MIB) for tick in result.ticks]
    planes = [
        Panel("server memory", [Series("", memory)], _mib),
        Panel(
            "first byte of the last 5 minutes",
            [Series("p50", over("first_byte_p50_ms")), Series("p99", over("first_byte_p99_ms"), "peer")],
            _ms,
        ),
        Panel("import of a body, p50", [Series("", over("import_p50_ms"))], _ms),
    ]
    rate = statistics.fmean([result.ticks[-1].imported / result.ticks[-1].second])
    subtitle = f"minutes; {rate:,.0f} events a second in, small and whole exports out, all the while; flat is good"
    return panels("Import and export side by side", subtitle, planes, lambda value: f"{value:g} min")


def disk(result: DiskResult) -> str:
    """Draw the bytes on the disk for one event."""
    rows = [
        Bar(name, stored / result.events, f"{stored / result.events:.1f}", _KINDS.get(name, "peer"))
        for name, stored in sorted(result.stored_bytes.items(), key=lambda one: one[1])
    ]
    subtitle = f"the same {result.events:,} events; bytes an event, each step ten times, shorter is better"
    return bars("On the disk", subtitle, [Group("", rows)], lambda value: f"{value:g}", log=True)


def deflate(result: DeflateResult) -> str:
    """Draw how small and how fast each compressor is."""
    points = [
        Point(one.codec, one.deflate_mb_per_second, one.size_by_now * 100, "ours" if one.codec == NOW.name else "peer")
        for one in result.codecs
    ]
    return scatter(
        "What a better deflate would buy",
        "segments of 1 MiB of lines, one core; down is smaller, right is faster",
        points,
        x_axis="MB of lines a second, each step ten times",
        y_axis="stored bytes, of what they are today",
        show=lambda value: f"{value:g}",
    )
