"""Statistics of one shop beside DuckDB: overviews of 90 days, the funnel of a campaign, and what the upkeep pays.

The overview of events is asked for repeatedly, and as the first question to a server that was just started.
"""

import os
import re
from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import ExitStack, closing
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

import msgspec
from sqlalchemy import delete

from bench.dataset import Dataset, dataset
from bench.goals import FUNNEL_EVENTS
from bench.measure import Figures, take_turns, timed
from bench.peers import duckdb_counts
from bench.peers.smsevents import Server, Shop, Store, add_shops, count_all, served, with_packs
from bench.plan import DAY_MS, MS, TRACKPOINT, Plan
from bench.render import Bars, Case
from bench.results import Labels, Row, row
from bench.same import Different, compare_counts
from smsevents.catalog import open_catalog
from smsevents.catalog.message_days import all_kept_days, drop_days
from smsevents.catalog.tables import tallies
from smsevents.catalog.tallies import SUM_START
from smsevents.stats.keeping import DayKeeper
from smsevents.upkeep.tallying import Backfill
from smsevents.wire.events import INT64_MAX, STATUSES

OVERVIEW, FIRST, MESSAGES, FUNNEL = "overview", "overview, first after a start", "messages", "funnel"
TALLIES, SUMS, MESSAGE_DAYS = "tallies", "sums of packs", "message days"
_MADE_ONCE = (TALLIES, SUMS, MESSAGE_DAYS)
_OVERVIEW_DAYS = 90
_MILLION = 1_000_000
_STATES = {status: "pending" if status == "ACCEPTED" else status.lower() for status in STATUSES}
_OURS, _LINES = "smsevents", "a count of the lines"
_line = re.compile(rb'"status":"([A-Z]+)","date":(\d+)\},"source":\{"type":"([a-z-]+)","campaign":\{"id":"([^"]*)"')

Counts = dict[str, int]
Count = Callable[[], tuple[Counts, Figures]]


def _day(at_ms: int) -> str:
    return datetime.fromtimestamp(at_ms // MS, UTC).date().isoformat()


def _counted(data: Dataset) -> tuple[Counts, str, int]:
    """Count the lines by day and status. Return the one-off campaign nearest to FUNNEL_EVENTS, too, and its events."""
    days: Counter[tuple[int, bytes]] = Counter()
    campaigns: Counter[bytes] = Counter()
    with data.path.open("rb") as lines:
        for line in lines:
            found = _line.search(line)
            if found is None:
                raise Different(f"not a line of an event: {line!r}")
            status, date, kind, campaign = found.groups()
            days[int(date) // DAY_MS, status] += 1
            campaigns[campaign] += kind == b"one-off"
    chosen = min((one for one in campaigns if campaigns[one]), key=lambda one: abs(campaigns[one] - FUNNEL_EVENTS))
    by_day = {f"{_day(day * DAY_MS)} {status.decode()}": count for (day, status), count in days.items()}
    return by_day, chosen.decode(), campaigns[chosen]


def _tally(store: Store, copy: Path, events: int) -> Figures:
    """Count all segments of a copy of a database without tallies, as the upkeep worker does."""
    copy.unlink(missing_ok=True)
    store.command("backup", str(copy))
    with closing(open_catalog(f"sqlite:///{copy}")) as database:
        segments, figures = timed(lambda: sum(Backfill().steps(database, INT64_MAX)))
    if not segments:
        raise LookupError(f"no segment of {events} events is large enough for a tally")
    return _by_million(figures, events)


def _by_million(figures: Figures, events: int) -> Figures:
    return figures | {"cpu_per_million_events_seconds": figures["cpu_seconds"] / events * _MILLION}


def _keep_messages(store: Store, events: int, now: int) -> Figures:
    """Count the messages of all days again that are past at `now` (Unix ms), as the upkeep worker does."""
    with closing(open_catalog(store.environment["SMSEVENTS_DATABASE"])) as database:
        with database.read() as connection:
            counted = {*all_kept_days(connection, TRACKPOINT)}
        database.write(lambda connection: drop_days(connection, TRACKPOINT, counted))
        keeper = DayKeeper()
        first = sum(keeper.steps(database, now))  # the first round looks, the second one counts
        days, figures = timed(lambda: sum(keeper.steps(database, now)))
    if first or not days:
        raise LookupError(f"{days} days of {events} events were counted, {first} of them at once")
    return _by_million(figures, events)


def _sum(store: Store, events: int) -> Figures:
    """Add the tallies of each pack, as the upkeep worker does when it has written one."""
    with closing(open_catalog(store.environment["SMSEVENTS_DATABASE"])) as database:
        database.write(lambda connection: connection.execute(delete(tallies).where(tallies.c.start == SUM_START)))
        _, figures = timed(lambda: sum(Backfill().steps(database, INT64_MAX)))
    return _by_million(figures, events)


def _settled(store: Store, folder: Path) -> Store:
    """Count all segments, and move the settled ones into packs with their tallies. Return the store with the packs."""
    count_all(store)
    packed = with_packs(store, folder / "packs")
    packed.command("compact", "--rewrite")
    return packed


def _overview(server: Server, shop: Shop, interval: dict[str, int], response: Path) -> tuple[Counts, Figures]:
    figures = server.statistics(shop, "sms-stats", {**interval, "step": "1d", "by": "status"}, response)
    found = msgspec.json.decode(response.read_bytes())
    days = [_day(bucket["from"]) for bucket in found["buckets"]]
    return {f"{days[one['bucket']]} {one['status']}": one["events"] for one in found["rows"]}, figures


def _messages(server: Server, shop: Shop, interval: dict[str, int], response: Path) -> tuple[Counts, Figures]:
    figures = server.statistics(shop, "sms-stats/messages", {**interval, "step": "1d"}, response)
    found = msgspec.json.decode(response.read_bytes())
    days = [_day(bucket["from"]) for bucket in found["buckets"]]
    counts = {f"{days[one['bucket']]} {status}": one[name] for one in found["rows"] for status, name in _STATES.items()}
    return {name: count for name, count in counts.items() if count}, figures


def _first_overview(store: Store, shop: Shop, interval: dict[str, int], response: Path) -> tuple[Counts, Figures]:
    with served(store) as server:
        return _overview(server, shop, interval, response)


def _funnel(
    server: Server, shop: Shop, interval: dict[str, int], campaign: str, response: Path
) -> tuple[Counts, Figures]:
    figures = server.statistics(shop, "sms-stats/messages", {**interval, "campaign": campaign}, response)
    total = msgspec.json.decode(response.read_bytes())["total"]
    return {status: total[name] for status, name in _STATES.items()} | {"events": total["events"]}, figures


def _measured(count: Count) -> Figures:
    return count()[1]


def _measure(plan: Plan) -> list[Row]:
    """Compare what all count, and measure them. Raises `Different` if they do not agree."""
    data = dataset(plan.folder, plan.events)
    by_day, campaign, matching = _counted(data)
    interval = {"from": data.end_ms - _OVERVIEW_DAYS * DAY_MS, "to": data.end_ms}
    ways: dict[tuple[str, str, str], Count] = {}
    with plan.workplace("stats") as folder, ExitStack() as stack:
        store = Store(folder / "log.db", (("SMSEVENTS_UPKEEP", "off"),))
        (key,) = add_shops(store, [TRACKPOINT])
        shop = Shop(key, data.end_ms)
        store.command("import", str(TRACKPOINT), str(data.path))
        tally = partial(_tally, store, folder / "copy.db", plan.events)
        (tallied,) = take_turns([tally], plan.rounds, plan.way_max_seconds)
        packed = _settled(store, folder)
        (summed,) = take_turns([partial(_sum, packed, plan.events)], plan.rounds, plan.way_max_seconds)
        keep = partial(_keep_messages, packed, plan.events, data.end_ms)
        (message_days,) = take_turns([keep], plan.rounds, plan.way_max_seconds)
        server = stack.enter_context(served(packed))
        response = folder / "response.json"
        ways[OVERVIEW, _OURS, ""] = partial(_overview, server, shop, interval, response)
        ways[FIRST, _OURS, ""] = partial(_first_overview, packed, shop, interval, response)
        ways[MESSAGES, _OURS, ""] = partial(_messages, server, shop, interval, response)
        ways[FUNNEL, _OURS, ""] = partial(_funnel, server, shop, interval, campaign, response)
        if "duckdb" in plan.peers:
            peer = stack.enter_context(duckdb_counts.opened(data, folder / "duckdb", interval["from"]))
            for threads in sorted({1, os.cpu_count() or 1}):
                variant = f"{threads} thread{'s' * (threads > 1)}"
                ways[OVERVIEW, "DuckDB", variant] = partial(peer.overview, threads)
                ways[MESSAGES, "DuckDB", variant] = partial(peer.messages, threads)
                ways[FUNNEL, "DuckDB", variant] = partial(peer.funnel, campaign, threads)
        check_agreement(ways, by_day, matching)
        turns = take_turns([partial(_measured, way) for way in ways.values()], plan.rounds, plan.way_max_seconds)
    found = [
        row(_labels(plan, (what, _OURS, ""), plan.events), **figures)
        for what, figures in zip(_MADE_ONCE, (tallied, summed, message_days), strict=True)
    ]
    for way, figures in zip(ways, turns, strict=True):
        found.append(row(_labels(plan, way, matching if way[0] == FUNNEL else plan.events), **figures))
    return _beside_ours(found)


def check_agreement(ways: Mapping[tuple[str, str, str], Count], by_day: Counts, matching: int) -> None:
    """Raise `Different` unless all count the same, and as many events as the lines have. This warms them up, too.

    The ways are named by what they count, the system and its variant. `by_day` and `matching` are counts of the lines:
    the overview, and the events of the funnel's campaign.
    """
    counted = {way: count()[0] for way, count in ways.items()}
    if (events := counted[FUNNEL, _OURS, ""].pop("events")) != matching:
        raise Different(f"the messages of the campaign have {events} events, its lines are {matching}")
    for whats, expected in (((OVERVIEW, FIRST), {_LINES: by_day}), ((MESSAGES,), {}), ((FUNNEL,), {})):
        compare_counts(
            expected | {" ".join(filter(None, way)): counts for way, counts in counted.items() if way[0] in whats}
        )


def _labels(plan: Plan, way: tuple[str, str, str], matching: int) -> Labels:
    what, system, variant = way
    return {"shop_events": plan.events, "what": what, "matching": matching, "system": system, "variant": variant}


def _beside_ours(rows: list[Row]) -> list[Row]:
    """Add the times by ours, and put the fastest first."""
    ours = {one.labels["what"]: one.median("seconds") for one in rows if one.labels["system"] == _OURS}
    for one in rows:
        if one.labels["what"] in {OVERVIEW, MESSAGES, FUNNEL}:
            one.figures["time_by_ours_ratio"] = [round(one.median("seconds") / ours[one.labels["what"]], 4)]
    whats = (OVERVIEW, FIRST, MESSAGES, FUNNEL, *_MADE_ONCE)
    return sorted(rows, key=lambda one: (whats.index(str(one.labels["what"])), one.median("seconds")))


CASE = Case(
    _measure,
    "One server process, over HTTP. All systems counted the same.",
    (
        *("shop_events", "what", "matching", "system variant", "seconds", "time_by_ours_ratio", "seconds~"),
        *("cpu_seconds", "cpu_per_million_events_seconds"),
    ),
    Bars(
        "Statistics, and what the upkeep takes for them once, with the time by ours: shorter is better",
        *("what system variant shop_events", "seconds", "seconds time_by_ours_ratio"),
    ),
    together="shop_events",
)
