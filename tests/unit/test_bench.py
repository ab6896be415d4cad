"""The benchmark: what it compares, keeps, judges and shows."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
import typer
from bench.before import compared
from bench.cases.stats import check_agreement
from bench.goals import judge
from bench.measure import take_turns
from bench.render import fill, table
from bench.results import keep, load, row
from bench.run import main
from bench.same import Different, compare, compare_counts, digests

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from bench.cases.stats import Count
    from bench.measure import Figures
    from bench.results import Labels, Row

CAMPAIGN = '{"id":"a","name":"b"}'
SMS = '"trackpoint":7,"userId":"1","status":"DELIVERED"'
LINES = [
    f'{{"smsEvent":{{{SMS},"date":{date}}},"source":{{"type":"one-off","campaign":{CAMPAIGN},"sendDate":4}}}}\n'.encode()
    for date in (5, 6, 6)
]


@pytest.mark.parametrize(
    ("lines", "told"),
    [
        (LINES[:-1], "not all systems exported the same 3 events"),
        ([*LINES, LINES[-1]], "not all systems exported the same 3 events"),
        ([LINES[0].replace(b"DELIVERED", b"REJECTED"), *LINES[1:]], "not all systems exported the same 3 events"),
        ([LINES[-1], *LINES[:-1]], "line 2 is earlier than the one before"),
        ([LINES[0].replace(b"one-off", b"flow"), *LINES[1:]], "line 1: type and node do not go together"),
    ],
    ids=["lost", "duplicated", "changed", "out of order", "flow without a node"],
)
def test_other_events_are_found(lines: Sequence[bytes], told: str, tmp_path: Path) -> None:
    """A system that loses, duplicates or changes one event, or exports events out of order, stops the run."""
    same = exporting(LINES)

    assert compare({("one", "", "plain"): same, ("two", "", "plain"): same}, tmp_path, 3).startswith("3:")
    with pytest.raises(Different, match=told):
        compare({("one", "", "plain"): same, ("two", "", "plain"): exporting(lines)}, tmp_path, 3)


def exporting(lines: Sequence[bytes]) -> Callable[[Path], Figures]:
    """Make a system that exports these lines."""

    def export(path: Path) -> Figures:
        path.write_bytes(b"".join(lines))
        return {}

    return export


def test_spelling_does_not_matter(tmp_path: Path) -> None:
    """The digest is the same for other white space, other orders of keys, and a node that is null."""
    event = json.loads(LINES[0])
    null, empty = ({**event, "source": event["source"] | {"node": node}} for node in (None, dict[str, str]()))
    reordered = {name: dict(reversed(event[name].items())) for name in ("source", "smsEvent")}
    found = []
    for number, spelling in enumerate((event, null, empty, reordered)):
        path = tmp_path / str(number)
        path.write_text(json.dumps(spelling) + "\n")
        found.append(digests(path, "plain"))

    assert len({digest for digest, _ in found}) == 1
    assert len({spelling for _, spelling in found}) == 4


@pytest.mark.parametrize(
    ("other", "told"),
    [
        ({"1 DELIVERED": 2, "2 EXPIRED": 1}, None),
        ({"1 DELIVERED": 2, "2 EXPIRED": 1, "3 REJECTED": 0}, None),
        ({"1 DELIVERED": 2}, "2 EXPIRED: ours counted 1 events or messages, other 0"),
        ({"1 DELIVERED": 3, "2 EXPIRED": 1}, "1 DELIVERED: ours counted 2 events or messages, other 3"),
        ({"1 DELIVERED": 2, "2 EXPIRED": 1, "3 REJECTED": 1}, "3 REJECTED: ours counted 0 events or messages, other 1"),
    ],
    ids=["same", "zeros are the same", "missing", "more", "only there"],
)
def test_other_counts_are_found(other: dict[str, int], told: str | None) -> None:
    """A system that counts one event more or less than another stops the run, which says where."""
    counts = {"ours": {"1 DELIVERED": 2, "2 EXPIRED": 1}, "other": other}

    if told is None:
        compare_counts(counts)
    else:
        with pytest.raises(Different, match=told):
            compare_counts(counts)


@pytest.mark.parametrize(
    ("lines", "overview", "states", "told"),
    [
        (7, 7, 3, None),
        (6, 7, 3, "a count of the lines counted 6"),
        (7, 6, 3, "overview DuckDB 1 thread 6"),
        (7, 7, 2, "DELIVERED: funnel smsevents"),
    ],
    ids=["same", "the lines differ", "the overview of the peer differs", "the funnel of the peer differs"],
)
def test_statistics_are_compared_first(lines: int, overview: int, states: int, told: str | None) -> None:
    """The overview must equal the peer's and that of the lines, and the funnel the peer's, or the run stops."""

    def counting(counts: dict[str, int]) -> Count:
        return lambda: ({**counts}, {})

    ways = {
        ("overview", "smsevents", ""): counting({"1 DELIVERED": 7}),
        ("funnel", "smsevents", ""): counting({"DELIVERED": 3, "events": 4}),
        ("overview", "DuckDB", "1 thread"): counting({"1 DELIVERED": overview}),
        ("funnel", "DuckDB", "1 thread"): counting({"DELIVERED": states}),
    }
    if told is None:
        check_agreement(ways, {"1 DELIVERED": lines}, 4)
        with pytest.raises(Different, match="have 4 events, its lines are 5"):
            check_agreement(ways, {"1 DELIVERED": lines}, 5)
    else:
        with pytest.raises(Different, match=told):
            check_agreement(ways, {"1 DELIVERED": lines}, 4)


def test_turns_go_forth_and_back() -> None:
    """Every second round goes backwards, and what has used up its time takes no further turn after its least."""
    order: list[str] = []

    def way(name: str, seconds: float) -> Callable[[], Figures]:
        def measure() -> Figures:
            order.append(name)
            return {"seconds": seconds}

        return measure

    turns = take_turns([way("a", 1.0), way("b", 2.0), way("slow", 9.0)], 3, way_max_seconds=4.0)

    assert order == ["a", "b", "slow", "b", "a", "a"]
    assert turns == [{"seconds": [1.0] * 3}, {"seconds": [2.0] * 2}, {"seconds": [9.0]}]
    assert take_turns([way("slow", 9.0)], 3, way_max_seconds=4.0, turns_min=2) == [{"seconds": [9.0] * 2}]


def test_what_is_compared_is_of_one_run(tmp_path: Path) -> None:
    """New rows replace all rows that they would be compared with, and leave the others; each names its run."""
    path = tmp_path / "case.json"
    keep(path, [row({"events": 2, "system": name}, seconds=1.0) for name in ("a", "b")], "events")
    keep(path, [row({"events": 1, "system": "a"}, seconds=[2.0, 4.0])], "events")
    keep(path, [row({"events": 2, "system": "a"}, seconds=3.0)], "events")

    results = load(path)
    assert [(one.labels["events"], one.labels["system"], one.median("seconds")) for one in results.rows] == [
        (1, "a", 3.0),
        (2, "a", 3.0),
    ]
    assert {one.run for one in results.rows} == set(results.runs)
    assert all("smsevents " in about["versions"] for about in results.runs.values())


@pytest.mark.parametrize(("clickhouse", "nginx", "met"), [(100.0, 0.5, True), (99.9, 0.49, False)])
def test_a_goal_is_met_only_when_it_is(clickhouse: float, nginx: float, met: bool) -> None:
    """The goals of exports are ratios of medians: one hair below is missed."""

    def measured(system: str, seconds: float, variant: str = "") -> Row:
        labels = {"system": system, "variant": variant, "encoding": "gzip"}
        return row(labels, seconds=[seconds, seconds, 1000.0])

    rows = [
        measured("smsevents", 1.0, "database"),
        measured("smsevents", 0.5, "packs"),
        measured("ClickHouse", clickhouse / 2),
        measured("nginx", nginx),
    ]
    assert [goal.met for goal in judge("export", rows)] == [met, met, met]


@pytest.mark.parametrize(
    ("ours_seconds", "funnel_seconds", "met"), [(0.05, 0.149, [True, True]), (0.051, 0.15, [False, False])]
)
def test_goals_of_statistics_name_the_shop(ours_seconds: float, funnel_seconds: float, met: list[bool]) -> None:
    """The overview is held against the fastest variant of DuckDB, the funnel against processor time."""

    def measured(events: int, what: str, system: str, seconds: float, matching: int = 26_454) -> Row:
        labels: Labels = {"shop_events": events, "what": what, "system": system, "matching": matching}
        return row(labels, seconds=seconds, cpu_seconds=seconds)

    def shop(events: int, matching: int) -> list[Row]:
        return [
            measured(events, "overview", "DuckDB", 9.0),
            measured(events, "overview", "DuckDB", 1.0),
            measured(events, "overview", "smsevents", ours_seconds),
            measured(events, "funnel", "smsevents", funnel_seconds, matching),
            measured(events, "tallies", "smsevents", 7.0),
        ]

    found = judge("stats", [*shop(2_000_000, 26_454), *shop(10_000_000, 76_308)])

    # an overview of a smaller shop and a campaign of another size are not judged
    assert [goal.met for goal in found] == [met[1], met[0]]
    assert "funnel" in found[0].promise
    assert "2,000,000" in found[0].promise
    assert "overview of 10,000,000" in found[1].promise


@pytest.mark.parametrize(
    ("registered", "rate", "p99_ms", "met"),
    [
        (1_000_000, 10_000, 499.9, [True, True]),
        (1_000_000, 9_999, 500.0, [False, False]),
        (10_000_000, 5_000, 499.9, [True, True]),
        (10_000_000, 4_999, 500.0, [False, False]),
        (50_000, 1, 499.9, [True]),
    ],
)
def test_the_goals_of_the_register_depend_on_its_size(
    registered: int, rate: float, p99_ms: float, met: list[bool]
) -> None:
    """A register with 10 million messages may take half as many as one with a million; a trial has no goal for that."""
    labels: Labels = {"registered": registered, "database": "SQLite"}
    rows = [
        row(labels | {"what": "messages"}, messages_per_second=rate),
        row(labels | {"what": "messages beside imports"}, messages_per_second=1, import_p99_ms=p99_ms),
        row(labels | {"what": "receipts of messages"}, messages_per_second=1),
    ]

    assert [goal.met for goal in judge("register", rows)] == met


@pytest.mark.parametrize(("times", "shares", "met"), [(3.0, (0.6, 1.01), True), (3.1, (0.59, 1.0), False)])
def test_goals_of_postgresql_and_s3(times: float, shares: tuple[float, float], met: bool) -> None:
    """The export is held against one GET, imports against SQLite, and two processes against one."""
    ours: Labels = {"shop_events": 2_000_000, "what": "import", "database": "PostgreSQL"}
    rows = [
        row({"shop_events": 2_000_000, "what": "GET of the same bytes"}, time_by_get_ratio=1.0),
        row({"shop_events": 2_000_000, "what": "export"}, time_by_get_ratio=times),
        row(ours | {"database": "SQLite", "processes": 1}, seconds=1.0),
        row(ours | {"processes": 1}, rate_by_sqlite_ratio=shares[0], rate_by_one_ratio=1.0),
        row(ours | {"processes": 2}, rate_by_sqlite_ratio=0.1, rate_by_one_ratio=shares[1]),
    ]

    assert [goal.met for goal in judge("cluster", rows)] == [met] * 3


def test_receipts_have_a_limit_of_time_too() -> None:
    """Each small request is held against the bare route, and receipts on each database also against 100 ms."""
    labels: Labels = {"encoding": "plain", "clients": 50}
    rows = [row(labels | {"what": "bare route"}, rate_by_bare_ratio=1.0, response_p99_ms=1.0)]
    rows += [
        row(labels | {"what": what, "database": database}, rate_by_bare_ratio=ratio, response_p99_ms=p99)
        for what, database, ratio, p99 in (
            ("import of one event", "SQLite", 0.3, 200.0),
            ("delivery receipt", "SQLite", 0.3, 99.0),
            ("delivery receipt", "PostgreSQL", 0.29, 100.0),
        )
    ]

    found = judge("requests", rows)
    assert [goal.met for goal in found] == [True, True, True, False, False]
    assert ["PostgreSQL" in goal.promise for goal in found] == [False, False, False, True, True]


def test_a_soak_that_grows_misses_its_goal() -> None:
    """Memory is held against the second third, latency against the first."""

    def goal(memory: Sequence[float], first_byte: Sequence[float]) -> bool:
        thirds = zip(memory, first_byte, strict=True)
        (found,) = judge("soak", [row({"seconds": 1}, memory_bytes=m, first_byte_p50_ms=f) for m, f in thirds])
        return found.met

    assert goal([50, 100, 109], [2, 9, 2.4])
    assert not goal([50, 100, 111], [2, 2, 2])
    assert not goal([100, 100, 100], [2, 2, 2.6])


@pytest.mark.parametrize(("count", "ranks"), [(3, (1, 3)), (20, (6, 15)), (30, (10, 21)), (50, (18, 33))])
def test_an_interval_holds_the_median(count: int, ranks: tuple[int, int]) -> None:
    """The interval is that of the sign test, as tables of the binomial distribution have it."""
    compared_row = compared("a thing", [1.0] * count, [float(rank) for rank in range(1, count + 1)])

    assert (compared_row.median("least_ratio"), compared_row.median("most_ratio")) == ranks


@pytest.mark.parametrize(
    ("after", "slower"),
    [([1.0], "no"), ([1.04], "no"), ([0.5, 1.04], "no"), ([1.06], "yes"), ([0.9, 1.2], "unclear: more --pairs")],
    ids=["same", "almost", "sometimes faster", "slower", "sometimes slower"],
)
def test_a_verdict_follows_the_ratios(after: list[float], slower: str) -> None:
    """Only what is certainly not slower by more than 5 % gets a no."""
    repeated = after * (20 // len(after))

    assert compared("a thing", [1.0] * 20, repeated).labels["slower"] == slower


def test_a_table_shows_what_there_is() -> None:
    """Figures are spelled by their units, our own system stands out, and a column that no row fills is left out."""
    rows = [
        row({"system": "smsevents", "variant": ""}, seconds=[0.0123, 0.02, 0.05], peak_bytes=3 * 2**20),
        row({"system": "nginx", "variant": "static"}, seconds=[1.5], peak_bytes=200),
    ]

    assert table(rows, ("system variant", "seconds", "seconds~", "peak_bytes", "server_cpu_ms")).splitlines() == [
        "| System | Median | Fastest – slowest (turns) | Peak |",  # noqa: RUF001 -- as in the table
        "| --- | --- | --- | --- |",
        "| **smsevents** | 20.0 ms | 12.3 ms – 50.0 ms (3) | 3.0 MiB |",  # noqa: RUF001 -- as above
        "| nginx, static | 1.5 s | 1.5 s – 1.5 s (1) | 0 KiB |",  # noqa: RUF001 -- as above
    ]


def test_a_block_without_markers_is_refused() -> None:
    """What has no place on the page is an error; the rest of the page stays as it was."""
    page = "a\n<!-- begin x -->\nold\n<!-- end x -->\nb\n"

    assert fill(page, {"x": "new"}) == "a\n<!-- begin x -->\n\nnew\n\n<!-- end x -->\nb\n"
    with pytest.raises(ValueError, match="no markers for y"):
        fill(page, {"y": "new"})


@pytest.mark.parametrize("options", [{"part": ["exports"]}, {"peer": ["click-house"]}], ids=["part", "peer"])
def test_an_unknown_name_is_refused(options: dict[str, list[str]]) -> None:
    """A part or a peer that does not exist is an error, rather than nothing measured."""
    with pytest.raises(typer.BadParameter, match="There is no part or peer"):
        main(part=options.get("part"), peer=options.get("peer"))
