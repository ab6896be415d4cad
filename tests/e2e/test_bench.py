"""The benchmark runs to completion with smsevents alone and writes its results."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
from bench import before
from bench.dataset import dataset
from bench.plan import Plan
from bench.results import load
from bench.run import run, trial
from bench.same import Different

ROOT = Path(__file__).parents[2]
SOURCE = ROOT / "src"
EVENTS = 3000


@pytest.fixture(scope="module")
def plan(tmp_path_factory: pytest.TempPathFactory) -> Plan:
    """Return a very small plan that has no peers and writes nothing into the tree."""
    folder = tmp_path_factory.mktemp("bench")
    small = trial(Plan(folder=folder, results=folder, docs=ROOT / "docs", events=EVENTS, peers=frozenset()))
    small = dataclasses.replace(small, rounds=1, shops=(2,), requests=8)
    return dataclasses.replace(small, soak_seconds=6, slow_readers=2, pair_min_seconds=0.0)


def test_it_runs_through_and_writes_what_it_found(plan: Plan) -> None:
    """Cases write their results, including every single round, followed by the tables and charts."""
    cases = ["export", "disk"]
    run(plan, cases)

    results = {name: load(plan.results / f"{name}.json") for name in cases}
    exported = results["export"].rows
    assert sorted((row.labels["variant"], row.labels["encoding"]) for row in exported) == [
        *(("database", "gzip"), ("database", "plain"), ("packs", "gzip"), ("packs", "plain")),
    ]
    assert [len(row.figures["seconds"]) for row in exported] == [1] * 4
    assert {row.labels["digest"] for row in exported} == {exported[0].labels["digest"]}
    plain = [row for row in exported if row.labels["encoding"] == "plain"]
    assert [row.figures["bytes"] for row in plain] == [[row.labels["line_bytes"]] for row in plain]
    page = (plan.docs / "performance.md").read_text("utf-8")
    assert f"{EVENTS:,} events, {exported[0].labels['line_bytes']:,} bytes of lines" in page
    assert {path.stem for path in (plan.docs / "charts").glob("*.svg")} >= set(cases)


@pytest.mark.campaign
def test_the_longer_cases_run_through(plan: Plan) -> None:
    """The cases that take longer write their results and charts, too."""
    cases = ["import", "requests", "register", "scale", "latency", "workers", "readers", "shops", "sync", "soak"]
    cases += ["filtered", "stats"]
    run(plan, cases)

    results = {name: load(plan.results / f"{name}.json") for name in cases}
    assert {row.labels["variant"] for row in results["import"].rows} == {
        "HTTP",
        "one event a request, 1 at a time",
        "one event a request, 50 at a time",
    }
    assert [row.labels["what"] for row in results["requests"].rows] == [
        *("bare route", "small export", "small export", "import of one event", "delivery receipt"),
    ]
    assert [row.labels["what"] for row in results["register"].rows] == [
        *("messages", "messages beside imports", "receipts of messages") * 2,
    ]
    assert results["requests"].rows[0].figures["rate_by_bare_ratio"] == [1]
    assert [row.labels["shop_events"] for row in results["scale"].rows] == [EVENTS // 10, EVENTS]
    filtered = {row.labels["what"]: int(row.labels["matching"]) for row in results["filtered"].rows}
    assert filtered.pop("everything") == EVENTS
    assert len(filtered) == 2
    assert all(0 < matching < EVENTS for matching in filtered.values())
    statistics = {str(row.labels["what"]): row for row in results["stats"].rows}
    assert int(statistics["overview"].labels["matching"]) == EVENTS
    assert 0 < int(statistics["funnel"].labels["matching"]) < EVENTS
    for what in ("tallies", "message days"):
        assert statistics[what].median("cpu_per_million_events_seconds") > 0
    assert int(statistics["messages"].labels["matching"]) == EVENTS
    assert results["soak"].rows[-1].figures["imported_events"][-1] > 0
    assert {path.stem for path in (plan.docs / "charts").glob("*.svg")} >= set(cases)


@pytest.mark.campaign
def test_a_tree_beside_itself(plan: Plan, capsys: pytest.CaptureFixture[str]) -> None:
    """Two source trees are compared in pairs by processor time, and the result is shown in a table."""
    before.main(plan, SOURCE, SOURCE, events=500, pairs=1)

    rows = load(plan.folder / "before.json").rows
    names = ["full export, gzip", "full export, plain", "50 small exports, gzip", "import", "pull"]
    assert [row.labels["what"] for row in rows] == names
    for row in rows:
        before_ms, after_ms = row.figures["before_cpu_ms"], row.figures["after_cpu_ms"]
        ratios = sorted(two / one for one, two in zip(before_ms, after_ms, strict=True))
        assert row.figures["after_by_before_ratio"] == pytest.approx(ratios, abs=0.001)
    shown = capsys.readouterr().out
    assert all(f"| {name} |" in shown for name in names)


@pytest.mark.campaign
def test_what_cannot_be_compared_is_refused(plan: Plan, tmp_path: Path) -> None:
    """A folder that is not a source tree, and sides whose exports differ, are errors."""
    data = dataset(plan.folder, 500)
    fewer = dataclasses.replace(data, path=tmp_path / "fewer.jsonl")
    fewer.path.write_bytes(b"".join(data.path.read_bytes().splitlines(keepends=True)[1:]))
    sides = [before.side_of(name, SOURCE, lines, tmp_path) for name, lines in (("before", data), ("after", fewer))]

    with pytest.raises(Different, match="do not export the same bytes"):
        before.check_same(sides, tmp_path / "exported", 500)
    with pytest.raises(Different, match="is not the src of a checkout"):
        before.side_of("other", tmp_path, data, tmp_path)
