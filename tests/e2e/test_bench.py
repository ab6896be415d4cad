"""The benchmark: it runs through with our own system alone, compares what it is given, and writes what it found."""

from __future__ import annotations

import dataclasses
import zlib
from pathlib import Path

import pytest
from bench.charts import ticks
from bench.dataset import dataset
from bench.deflate import Codec, measure_codec, segments, spliceable
from bench.goals import of_export
from bench.measure import CommandFailed, Run
from bench.parts import export
from bench.peers import Contender
from bench.plan import Plan
from bench.report import fill
from bench.results import (
    ExportResult,
    ImportResult,
    Measured,
    ScaleResult,
    SoakResult,
    about,
    load,
)
from bench.run import run, trial
from bench.same import Different, Digests

ROOT = Path(__file__).parents[2]
EVENTS = 3000
CAMPAIGN = '{"id":"a","name":"b"}'


@pytest.fixture(scope="module")
def plan(tmp_path_factory: pytest.TempPathFactory) -> Plan:
    """Give a very small plan without peers, that writes nothing into the tree."""
    folder = tmp_path_factory.mktemp("bench")
    small = trial(Plan(folder=folder, results=folder, docs=ROOT / "docs", events=EVENTS, peers=frozenset()))
    return dataclasses.replace(small, shops=(2,), requests=8, soak_seconds=2)


def test_it_runs_through_and_writes_what_it_found(plan: Plan) -> None:
    """Parts write their results, with the machine and every single run, and then their tables and charts."""
    run(plan, ["export", "import", "shops", "soak"])

    exported = load(plan.results / f"export-{EVENTS}.json", ExportResult)
    assert exported is not None
    assert exported.digest.startswith(f"{EVENTS}:")
    assert exported.about.versions["smsevents"]
    assert [(one.system, one.encoding, len(one.runs)) for one in exported.systems] == [
        ("smsevents", "identity", plan.rounds_max),
        ("smsevents", "gzip", plan.rounds_max),
    ]
    assert [run.bytes for run in exported.systems[0].runs] == [exported.line_bytes] * plan.rounds_max
    imported = load(plan.results / f"import-{EVENTS}.json", ImportResult)
    assert imported is not None
    assert [one.clients for one in imported.single] == [1, 50]
    scale = load(plan.results / "scale.json", ScaleResult)
    assert scale is not None
    assert [one.shops for one in scale.counts] == list(plan.shops)
    soak = load(plan.results / "soak.json", SoakResult)
    assert soak is not None
    assert soak.ticks[-1].imported > 0

    page = (plan.docs / "performance.md").read_text("utf-8")
    assert f"{EVENTS:,} events, {exported.line_bytes / 1e6:,.0f} MB of lines" in page
    assert {path.stem for path in (plan.docs / "charts").glob("*.svg")} == {"export", "import", "shops", "soak"}


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda lines: lines[:-1], "not all systems gave the same"),
        (lambda lines: [*lines, lines[-1]], "not all systems gave the same"),
        (lambda lines: [lines[0].replace(b"ACCEPTED", b"REJECTED"), *lines[1:]], "not all systems gave the same"),
        (lambda lines: [lines[-1], *lines[:-1]], "earlier than the one before"),
    ],
    ids=["lost", "doubled", "changed", "out of order"],
)
def test_other_events_are_found(plan: Plan, tmp_path: Path, change: object, told: str) -> None:
    """A system that loses, doubles or changes one event, or gives events out of order, stops the run."""
    data = dataset(plan.folder, EVENTS)
    lines = data.path.read_bytes().splitlines(keepends=True)
    assert callable(change)
    same = _giving("one", lines)

    with pytest.raises(Different, match=told):
        export.compare([same, _giving("other", change(lines))], tmp_path, EVENTS)
    assert export.compare([same, same], tmp_path, EVENTS).startswith(f"{EVENTS}:")


def _giving(name: str, lines: list[bytes]) -> Contender:
    def save(path: Path) -> None:
        path.write_bytes(b"".join(lines))

    return Contender(name, "", "identity", lambda: Run(seconds=1.0), save)


def test_spelling_does_not_matter(tmp_path: Path) -> None:
    """The digest is the same for other white space, other orders of keys, and a node that is null."""
    sms = '"trackpoint":7,"userId":"1","status":"DELIVERED"'
    other = '"campaign": {"name": "\\u0062", "id": "a"}'
    spellings = [
        f'{{"smsEvent":{{{sms},"date":5}},"source":{{"type":"one-off","campaign":{CAMPAIGN},"sendDate":4}}}}\n',
        f'{{"source": {{"type": "one-off", "node": {{}}, "sendDate": 4, {other}}}, "smsEvent": {{"date":5, {sms}}}}}\n',
        f'{{"smsEvent":{{{sms},"date":5}},"source":{{"type":"one-off","campaign":{CAMPAIGN},"node":null,"sendDate":4}}}}\n',
    ]
    digests = Digests()
    found = set()
    for number, spelling in enumerate(spellings):
        path = tmp_path / str(number)
        path.write_text(spelling)
        found.add(digests.of(path, "identity"))

    assert len(found) == 1


def test_a_goal_is_met_only_when_it_is() -> None:
    """The goals of exports are ratios: one hair below is missed."""

    def result(clickhouse: float, nginx: float) -> ExportResult:
        systems = [("smsevents", 1.0), ("ClickHouse", clickhouse), ("nginx", nginx)]
        measured = [
            Measured(system=name, variant="", encoding="gzip", runs=[Run(seconds=seconds)]) for name, seconds in systems
        ]
        return ExportResult(about=about(), events=1, line_bytes=1, digest="1:0", systems=measured)

    assert [goal.met for goal in of_export(result(100.0, 0.5))] == [True, True]
    assert [goal.met for goal in of_export(result(99.9, 0.49))] == [False, False]


def test_a_block_without_markers_is_refused() -> None:
    """What has no place on the page is an error; the rest of the page stays as it was."""
    page = "a\n<!-- begin x -->\nold\n<!-- end x -->\nb\n"

    assert fill(page, {"x": "new"}) == "a\n<!-- begin x -->\n\nnew\n\n<!-- end x -->\nb\n"
    with pytest.raises(ValueError, match="no markers for y"):
        fill(page, {"y": "new"})


def test_a_whole_stream_becomes_a_segment() -> None:
    """A deflate stream that ends with a final block, of one block or of many, can be put before another."""
    plain = segments(3)
    for level in (0, 1, 6, 9):
        for lines in (plain[0], plain[0][:100], b"a"):
            whole = zlib.compress(lines, level, wbits=-15)
            segment = spliceable(whole, len(lines))
            inflater = zlib.decompressobj(-15)

            assert segment.endswith(b"\x00\x00\xff\xff")
            assert inflater.decompress(segment + segment + b"\x03\x00") == lines + lines
            assert inflater.eof


def test_a_compressor_that_loses_lines_is_refused() -> None:
    """What does not inflate to the lines that were compressed gets no figures."""
    plain = segments(2)

    with pytest.raises(CommandFailed, match="lost lines"):
        measure_codec(Codec("bad", lambda lines: spliceable(zlib.compress(lines[1:], wbits=-15), len(lines))), plain)
    good = measure_codec(Codec("good", lambda lines: spliceable(zlib.compress(lines, wbits=-15), len(lines))), plain, 1)
    assert good.ratio > 5


@pytest.mark.parametrize("high", [0.3, 1.0, 4.2, 9.99, 10.0, 73.0, 99_999.0])
def test_an_axis_reaches_over_its_values(high: float) -> None:
    """An axis has a few round marks, and none of the values lies beyond the last."""
    even, tens = ticks(0, high, log=False), ticks(high / 50, high, log=True)

    assert even[0] == 0
    assert even[-1] >= high
    assert len(even) <= 7
    assert tens[0] <= high / 50
    assert tens[-1] >= high
