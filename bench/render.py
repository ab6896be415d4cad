"""Rows of results → tables in Markdown, charts in SVG, and the page docs/performance.md around them.

What is shown of a row is named by specs: names of its labels and figures, with spaces between them. The last word of
a figure's name is its unit, which says how it is spelled. `name~` is the range of its turns, and their number.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from typing import Any

from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from bench.goals import Goal, judge
from bench.plan import Plan
from bench.results import Row, load

PAGE = "performance.md"
OURS = "smsevents"

_COLORS = {OURS: "#0b6e4f", "nginx": "#8a8f98"}
_PEER_COLOR = "#4a7bb7"
_WIDTH_INCHES, _BAR_INCHES, _PANEL_INCHES = 9.0, 0.28, 2.6
_STYLE: dict[Any, Any] = {"svg.fonttype": "none", "svg.hashsalt": OURS, "font.size": 9, "axes.titlesize": 9}
_STYLE |= {"axes.spines.top": False, "axes.spines.right": False, "figure.constrained_layout.use": True}
_MIB = 1024 * 1024
_UNITS = {"bytes": (_MIB, "MiB"), "ms": (1, "milliseconds"), "seconds": (1, "seconds"), "ratio": (1, "times")}
_BY_TENS, _BY_TENS_MIN_RATIO = ", each step ten times", 10


@dataclass(frozen=True)
class Bars:
    """A bar for each row, the first on top: `name` beside it, the figure `value` as its length, `text` at its end."""

    title: str
    name: str
    value: str
    text: str

    def draw(self, figure: Figure, rows: Sequence[Row]) -> None:
        """Draw the rows."""
        figure.set_figheight(1.1 + _BAR_INCHES * len(rows))
        axes = figure.subplots()
        colors = [_COLORS.get(str(row.labels.get("system", OURS)), _PEER_COLOR) for row in rows]
        scale, unit = _scale(self.value)
        values = [row.median(self.value) / scale for row in rows]
        log = max(values) > _BY_TENS_MIN_RATIO * min(values)
        drawn = axes.barh(range(len(rows)), values, color=colors, log=log)
        axes.bar_label(drawn, [spell(row, self.text) for row in rows], padding=4)
        axes.set_yticks(range(len(rows)), [spell(row, self.name) for row in rows])
        axes.invert_yaxis()
        axes.margins(x=0.3)
        _name_x(axes, unit + _BY_TENS * log)


@dataclass(frozen=True)
class Lines:
    """Panels side by side, each of some figures over the label `x`, by tens, or over the figure `x`."""

    title: str
    x: str
    panels: tuple[str, ...]

    def draw(self, figure: Figure, rows: Sequence[Row]) -> None:
        """Draw the rows."""
        log = self.x in rows[0].labels
        for axes, panel in zip(figure.subplots(1, len(self.panels)), self.panels, strict=True):
            scale, unit = _scale(panel)
            for color, name in zip((_COLORS[OURS], _PEER_COLOR), panel.split(), strict=False):
                xs = [at for row in rows for at in ([row.labels[self.x]] if log else row.figures[self.x])]
                ys = [at / scale for row in rows for at in ([row.median(name)] if log else row.figures[name])]
                axes.plot(xs, ys, label=heading(name), color=color, marker="o" if log else "", markersize=4)
            axes.set_title(unit, loc="left")
            axes.set_ylim(0, axes.get_ylim()[1] * 1.1)
            axes.set_xscale("log" if log else "linear")
            axes.legend(frameon=False, fontsize=8)
            _name_x(axes, self.x.replace("_", " ") + _BY_TENS * log)


@dataclass(frozen=True)
class Case:
    """A question, and how it is shown."""

    measure: Callable[[Plan], list[Row]]
    intro: str  # above the table; braces name labels of the first row, as in titles of charts
    columns: tuple[str, ...]  # specs
    chart: Bars | Lines
    together: str = ""  # rows that agree in this label are compared with each other, so they are of one run


def _scale(figure: str) -> tuple[int, str]:
    """Return the unit of an axis: its size and its name."""
    return _UNITS.get(figure.rsplit("_", 1)[-1], (1, figure.replace("_", " ")))


def _name_x(axes: Axes, text: str) -> None:
    axes.set_xlabel(text)
    axes.xaxis.set_major_formatter("{x:,g}")  # rather than powers of ten
    axes.xaxis.set_minor_formatter("")


def spell(row: Row, spec: str) -> str:
    """Spell labels and figures of a row; what it does not have is left out."""
    found = []
    for name in spec.split():
        label, figure = row.labels.get(name), name.rstrip("~")
        if label is not None:
            found.append(f"{label:,}" if isinstance(label, int) else label)
        elif turns := row.figures.get(figure):
            ends = f"{_value(figure, min(turns))} – {_value(figure, max(turns))} ({len(turns)})"
            found.append(_value(name, row.median(name)) if figure == name else ends)
    return ", ".join(filter(None, found))


def _value(name: str, value: float) -> str:
    unit = name.rsplit("_", 1)[-1]
    if unit == "seconds" and value < 1:
        return f"{value * 1000:.{1 if value < 0.1 else 0}f} ms"  # noqa: PLR2004 -- 3 digits
    if unit == "bytes":
        return f"{value / 1024:,.0f} KiB" if value < _MIB else f"{value / _MIB:,.{int(value < 10 * _MIB)}f} MiB"
    if unit == "ratio":
        return f"{value:,.{2 if value < 10 else 0}f}×"  # noqa: PLR2004 -- 3 digits
    return {"seconds": f"{value:.3g} s", "ms": f"{value:.2f} ms", "event": f"{value:.1f}"}.get(unit, f"{value:,.0f}")


def heading(spec: str) -> str:
    """Name a spec: its first name in words, without its unit."""
    if spec.endswith("~"):
        return "Fastest – slowest (turns)"
    words = spec.split(maxsplit=1)[0].split("_")
    name = " ".join(words[:-1] if words[-1] in _UNITS else words).replace("cpu", "CPU") or "median"
    return name[0].upper() + name[1:]


def table(rows: Sequence[Row], columns: Sequence[str]) -> str:
    """Make a table in Markdown, in which our own system stands out; a column that no row fills is left out."""
    columns = [spec for spec in columns if any(spell(row, spec) for row in rows)]
    lines = [list(map(heading, columns)), ["---"] * len(columns)]
    for row in rows:
        ours = row.labels.get("system") == OURS
        lines.append([f"**{spell(row, spec)}**" if ours and "system" in spec else spell(row, spec) for spec in columns])
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def write(plan: Plan, cases: Mapping[str, Case]) -> None:
    """Write the tables of the page and the charts, from whatever results there are."""
    charts = plan.docs / "charts"
    charts.mkdir(parents=True, exist_ok=True)
    blocks: dict[str, str] = {}
    goals: list[Goal] = []
    for name, case in cases.items():
        found = load(plan.results / f"{name}.json")
        # rows with a label `events` make a table for each number of them; the fewest are drawn
        sizes = [list(rows) for _, rows in groupby(found.rows, lambda row: row.labels.get("events"))]
        if not sizes:
            continue
        tables = [f"{case.intro.format(**rows[0].labels)}\n\n{table(rows, case.columns)}" for rows in sizes]
        runs = dict.fromkeys(f"{about['date'][:10]} at commit `{about['commit']}`" for about in found.runs.values())
        tables.append(f'Measured {" and ".join(runs)}, by `make bench BENCH_ARGUMENTS="--part {name}"`.')
        about = next(iter(found.runs.values()))
        blocks.setdefault("machine", f"{about['machine']}; {about['versions']}.")
        blocks[name] = "\n\n".join(tables)
        goals += [_of_size(goal, rows, len(sizes)) for rows in sizes for goal in judge(name, rows)]
        with rc_context(_STYLE):
            figure = Figure(figsize=(_WIDTH_INCHES, _PANEL_INCHES))
            figure.suptitle(case.chart.title.format(**sizes[0][0].labels), x=0.01, ha="left", fontsize=10)
            case.chart.draw(figure, sizes[0])
            figure.savefig(charts / f"{name}.svg", metadata={"Date": None})
    judged = [f"| {one.promise} | {one.measured} | {'met' if one.met else '**missed**'} |" for one in goals]
    blocks["goals"] = "\n".join(["| Goal | Measured |  |", "|---|---|---|", *judged])
    page = plan.docs / PAGE
    page.write_text(fill(page.read_text("utf-8"), blocks), "utf-8")


def _of_size(goal: Goal, rows: Sequence[Row], sizes: int) -> Goal:
    """Name the events in a promise that is judged for several numbers of them."""
    return replace(goal, promise=f"{rows[0].labels['events']:,} events, {goal.promise}") if sizes > 1 else goal


def fill(text: str, blocks: Mapping[str, str]) -> str:
    """Put each block between the markers of its name. Raises `ValueError` for a block that has none."""
    for name, block in blocks.items():
        head, begin, rest = text.partition(f"<!-- begin {name} -->\n")
        _, end, tail = rest.partition(f"<!-- end {name} -->")
        if not (begin and end):
            raise ValueError(f"{PAGE} has no markers for {name}")
        text = f"{head}{begin}\n{block}\n\n{end}{tail}"
    return text
