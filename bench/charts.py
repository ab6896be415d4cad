"""Charts as SVG, made here: bars, lines and points, readable on light and on dark pages.

A chart brings its own card as background and its colours for both schemes, so it can be looked at anywhere.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from html import escape
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

WIDTH = 820
_MARGIN = 28
_ROW = 27
_BAR = 15
_LABELS = 250
_VALUES = 150
_HEAD = 74
_PANEL = 170
_LEVEL = 10  # percent between the lines of a point chart

_STYLE = """
svg { --card: #ffffff; --edge: #d8dee4; --ink: #1c2128; --mute: #5b6570; --rule: #e4e8ec;
  --ours: #0a7f78; --peer: #9fb0c0; --limit: #d59b1b; --warn: #c2483b; }
@media (prefers-color-scheme: dark) { svg { --card: #151a20; --edge: #30363d; --ink: #e8ecf0; --mute: #98a2ad;
  --rule: #272d34; --ours: #35c9bd; --peer: #5d6f80; --limit: #e0b04b; --warn: #f0796b; } }
text { font: 13px system-ui, -apple-system, "Segoe UI", "DejaVu Sans", sans-serif; fill: var(--ink); }
.title { font-size: 18px; font-weight: 650; }
.sub, .tick, .mute { fill: var(--mute); }
.tick { font-size: 11px; }
.group { font-weight: 650; }
.strong { font-weight: 650; }
.end { text-anchor: end; }
.middle { text-anchor: middle; }
.card { fill: var(--card); stroke: var(--edge); }
.rule { stroke: var(--rule); }
.goal { stroke: var(--warn); stroke-dasharray: 4 3; }
.ours { --it: var(--ours); } .peer { --it: var(--peer); } .limit { --it: var(--limit); } .warn { --it: var(--warn); }
.fill { fill: var(--it); }
.line { stroke: var(--it); stroke-width: 2; fill: none; stroke-linejoin: round; }
.whisker { stroke: var(--it); stroke-width: 2; }
.area { fill: var(--it); opacity: 0.14; }
"""


@dataclass(frozen=True)
class Bar:
    """A row of a bar chart. `kind` is ours, peer, limit or warn; `to` draws a thin line from the bar's end to there."""

    label: str
    value: float
    text: str
    kind: str = "peer"
    detail: str = ""
    to: float | None = None


@dataclass(frozen=True)
class Group:
    """Rows of a bar chart under a heading."""

    heading: str
    bars: Sequence[Bar]


@dataclass(frozen=True)
class Series:
    """A line of a line chart."""

    label: str
    points: Sequence[tuple[float, float]]
    kind: str = "ours"


@dataclass(frozen=True)
class Panel:
    """One plane of a line chart, with its own vertical axis from 0."""

    heading: str
    series: Sequence[Series]
    show: Callable[[float], str]
    goal: float | None = None


@dataclass(frozen=True)
class Point:
    """A point of a point chart."""

    label: str
    x: float
    y: float
    kind: str = "peer"


class _Svg:
    """The elements of a chart, from top to bottom."""

    def __init__(self, title: str, subtitle: str) -> None:
        self._title = title
        self._subtitle = subtitle
        self._parts: list[str] = []
        self.text(_MARGIN, 38, title, "title")
        self.text(_MARGIN, 59, subtitle, "sub")

    def text(self, x: float, y: float, text: str, kind: str = "") -> None:
        self._parts.append(f'<text x="{x:.1f}" y="{y:.1f}" class="{kind}">{escape(text)}</text>')

    def line(self, x1: float, y1: float, x2: float, y2: float, kind: str) -> None:
        self._parts.append(f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" class="{kind}"/>')

    def bar(self, x: float, y: float, width: float, kind: str) -> None:
        self._parts.append(
            f'<rect x="{x:.1f}" y="{y:.1f}" width="{max(width, 1.5):.1f}" height="{_BAR}" rx="3" class="{kind} fill"/>'
        )

    def dot(self, x: float, y: float, kind: str, radius: float = 4) -> None:
        self._parts.append(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{radius}" class="{kind} fill"/>')

    def path(self, points: Sequence[tuple[float, float]], kind: str, *, closed: bool = False) -> None:
        way = " L".join(f"{x:.1f},{y:.1f}" for x, y in points)
        self._parts.append(f'<path d="M{way}{" Z" if closed else ""}" class="{kind}"/>')

    def done(self, height: float) -> str:
        label = escape(f"{self._title}. {self._subtitle}", quote=True)
        size = f'viewBox="0 0 {WIDTH} {height:.0f}" width="{WIDTH}" height="{height:.0f}"'
        return "\n".join(
            [
                f'<svg xmlns="http://www.w3.org/2000/svg" {size} role="img" aria-label="{label}">',
                f"<style>{_STYLE}</style>",
                f'<rect x="0.5" y="0.5" width="{WIDTH - 1}" height="{height - 1:.0f}" rx="10" class="card"/>',
                *self._parts,
                "</svg>\n",
            ]
        )


def ticks(low: float, high: float, *, log: bool) -> list[float]:
    """Give round values for an axis: powers of ten, or a few even steps from 0."""
    if log:
        return [10.0**power for power in range(math.floor(math.log10(low) + 1e-9), math.ceil(math.log10(high)) + 1)]
    step = 10 ** math.floor(math.log10(high))
    step = next(step * part for part in (0.2, 0.25, 0.5, 1.0, 2.0) if high / (step * part) <= 5)  # noqa: PLR2004
    return [step * number for number in range(math.ceil(high / step - 1e-9) + 1)]


def bars(  # noqa: PLR0913 -- what a chart says
    title: str,
    subtitle: str,
    groups: Sequence[Group],
    show: Callable[[float], str],
    *,
    log: bool = False,
    goals: Sequence[tuple[float, str]] = (),
) -> str:
    """Draw rows of bars. `show` names the values of the axis; `goals` are marked by a line."""
    svg = _Svg(title, subtitle)
    values = [value for group in groups for bar in group.bars for value in (bar.value, bar.to) if value]
    values += [goal for goal, _ in goals]
    marks = ticks(min(values), max(values), log=log)
    left, right = _MARGIN + _LABELS, WIDTH - _MARGIN - _VALUES

    def at(value: float) -> float:
        share = math.log(max(value, marks[0]) / marks[0]) / math.log(marks[-1] / marks[0]) if log else value / marks[-1]
        return left + share * (right - left)

    rows = sum(len(group.bars) + bool(group.heading) for group in groups)
    bottom = _HEAD + (18 if goals else 0) + rows * _ROW + 8 * len(groups)
    for mark in marks:
        svg.line(at(mark), _HEAD + (14 if goals else 0), at(mark), bottom, "rule")
        svg.text(at(mark), bottom + 16, show(mark), "tick middle")
    y: float = _HEAD + (18 if goals else 0)
    for group in groups:
        if group.heading:
            svg.text(_MARGIN, y + 18, group.heading, "group")
            y += _ROW
        for bar in group.bars:
            middle = y + _ROW / 2
            strong = "strong" if bar.kind == "ours" else ""
            svg.text(left - 10, middle + 4.5, bar.label, f"end {strong}")
            svg.bar(left, middle - _BAR / 2, at(bar.value) - left, bar.kind)
            end = at(bar.value)
            if bar.to is not None:
                svg.line(end, middle, at(bar.to), middle, f"{bar.kind} whisker")
                svg.line(at(bar.to), middle - 5, at(bar.to), middle + 5, f"{bar.kind} whisker")
                end = at(bar.to)
            svg.text(end + 8, middle + 4.5, bar.text, strong)
            if bar.detail:
                svg.text(WIDTH - _MARGIN, middle + 4.5, bar.detail, "end mute")
            y += _ROW
        y += 8
    for goal, name in goals:
        svg.line(at(goal), _HEAD + 10, at(goal), bottom, "goal")
        svg.text(at(goal), _HEAD + 6, name, "tick middle")
    return svg.done(bottom + 34)


def panels(
    title: str, subtitle: str, planes: Sequence[Panel], show_x: Callable[[float], str], *, log_x: bool = False
) -> str:
    """Draw planes of lines one below the other, over the same horizontal axis."""
    svg = _Svg(title, subtitle)
    xs = [x for plane in planes for series in plane.series for x, _ in series.points]
    left, right = _MARGIN + 58, WIDTH - _MARGIN - 12
    if log_x:
        marks = ticks(min(xs), max(xs), log=True)
        marks = [mark for mark in marks if min(xs) * 0.99 <= mark <= max(xs) * 1.01]
    else:
        marks = [mark for mark in ticks(0, max(xs), log=False) if mark <= max(xs) * 1.001]
    low, high = (min(xs), max(xs)) if log_x else (0.0, max(xs))

    def at(x: float) -> float:
        if low == high:
            return (left + right) / 2
        share = math.log(x / low) / math.log(high / low) if log_x else (x - low) / (high - low)
        return left + share * (right - left)

    top: float = _HEAD
    for plane in planes:
        _plane(svg, plane, top, at, (left, right))
        for mark in marks:
            svg.text(at(mark), top + _PANEL - 14, show_x(mark), "tick middle")
        top += _PANEL + 8
    return svg.done(top + 4)


def _plane(svg: _Svg, plane: Panel, top: float, at: Callable[[float], float], sides: tuple[float, float]) -> None:
    left, right = sides
    upper, lower = top + 34, top + _PANEL - 30
    svg.text(_MARGIN, top + 16, plane.heading, "group")
    legend = right
    for series in reversed(plane.series):
        if len(plane.series) > 1:
            svg.text(legend, top + 16, series.label, "end mute")
            legend -= 9 + 7 * len(series.label)
            svg.dot(legend, top + 12, series.kind)
            legend -= 16
    highest = max([y for series in plane.series for _, y in series.points] + [plane.goal or 0.0, 1e-9])
    marks = ticks(0, highest, log=False)

    def height(y: float) -> float:
        return lower - y / marks[-1] * (lower - upper)

    for mark in marks:
        svg.line(left, height(mark), right, height(mark), "rule")
        svg.text(left - 8, height(mark) + 4, plane.show(mark), "tick end")
    if plane.goal is not None:
        svg.line(left, height(plane.goal), right, height(plane.goal), "goal")
    for series in plane.series:
        points = [(at(x), height(y)) for x, y in series.points]
        if len(plane.series) == 1:
            svg.path([(points[0][0], lower), *points, (points[-1][0], lower)], f"{series.kind} area", closed=True)
        svg.path(points, f"{series.kind} line")
        if len(points) <= 12:  # noqa: PLR2004 -- more are a curve
            for x, y in points:
                svg.dot(x, y, series.kind)


@dataclass(frozen=True)
class _Box:
    """A place that a label or a point takes."""

    x: float
    y: float
    width: float
    height: float

    def meets(self, other: _Box) -> bool:
        beside = self.x >= other.x + other.width or other.x >= self.x + self.width
        return not (beside or self.y >= other.y + other.height or other.y >= self.y + self.height)


# where a label may stand beside its point, the best place first
_OFFSETS = [
    (11.0, 0.0),
    (-11.0, 0.0),
    (6.0, -15.0),
    (6.0, 15.0),
    (-6.0, -15.0),
    (-6.0, 15.0),
    (11.0, -28.0),
    (11.0, 28.0),
]


def scatter(  # noqa: PLR0913 -- what a chart says
    title: str,
    subtitle: str,
    points: Sequence[Point],
    *,
    x_axis: str,
    y_axis: str,
    show: Callable[[float], str],
) -> str:
    """Draw named points; the horizontal axis is logarithmic, the vertical one in percent, not from 0."""
    svg = _Svg(title, subtitle)
    marks = ticks(min(point.x for point in points), max(point.x for point in points), log=True)
    lowest = math.floor(min(point.y for point in points) / _LEVEL) * _LEVEL
    highest = math.ceil(max(point.y for point in points) / _LEVEL) * _LEVEL
    left, right, upper, lower = _MARGIN + 40, WIDTH - _MARGIN - 60, _HEAD + 26, _HEAD + 386

    def at(x: float) -> float:
        return left + math.log(x / marks[0]) / math.log(marks[-1] / marks[0]) * (right - left)

    def height(y: float) -> float:
        return lower - (y - lowest) / (highest - lowest) * (lower - upper)

    for mark in marks:
        svg.line(at(mark), upper, at(mark), lower, "rule")
        svg.text(at(mark), lower + 18, show(mark), "tick middle")
    for level in range(lowest, highest + 1, _LEVEL):
        svg.line(left, height(level), right, height(level), "rule")
        svg.text(left - 8, height(level) + 4, f"{level} %", "tick end")
    svg.text(right, lower + 36, x_axis, "end mute")
    svg.text(_MARGIN, upper - 10, y_axis, "mute")
    spots = [(at(point.x), height(point.y)) for point in points]
    taken = [_Box(x - 7, y - 7, 14, 14) for x, y in spots]
    for point, (x, y) in zip(points, spots, strict=True):
        width = 7.4 * len(point.label)
        choices = [_Box(x + dx - (width if dx < 0 else 0), y + dy - 8, width, 15) for dx, dy in _OFFSETS]
        box = next((one for one in choices if not any(one.meets(other) for other in taken)), choices[0])
        taken.append(box)
        svg.dot(x, y, point.kind, 6)
        svg.text(box.x, box.y + 12.5, point.label, "strong" if point.kind == "ours" else "")
    return svg.done(lower + 56)
