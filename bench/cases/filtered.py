"""Filtered exports of one shop beside its full plain export: a flow's campaign, and one in few segments."""

import re
from collections import Counter
from contextlib import closing
from functools import partial

from bench.dataset import dataset
from bench.measure import Figures, forget_peak, memory_bytes, take_turns
from bench.peers.smsevents import Server, Shop, Store, served
from bench.plan import ENCODINGS, TRACKPOINT, Encoding, Plan
from bench.render import Bars, Case
from bench.results import Labels, Row, row
from smsevents.catalog import open_catalog
from smsevents.catalog.segments import segments_after
from smsevents.segments.segment import inflate
from smsevents.upkeep.tallying import Backfill
from smsevents.wire.events import INT64_MAX

FEW_SEGMENTS_RATIO = 0.05
_FULL, _FLOW, _FEW = "everything", "campaign of a flow", "one-off campaign in few segments"
_source = re.compile(rb'"type":"([a-z-]+)","campaign":\{"id":"([^"]*)"')


def _campaigns(store: Store) -> dict[str, tuple[str, int, int, int]]:
    """Count all segments, as the upkeep worker would have. Return a campaign of each kind.

    Each comes with its events, the segments that have any, and the segments of the shop.
    """
    events: Counter[tuple[bytes, bytes]] = Counter()
    found_in: Counter[tuple[bytes, bytes]] = Counter()
    with closing(open_catalog(store.environment["SMSEVENTS_DATABASE"])) as database:
        list(Backfill().steps(database, INT64_MAX))
        with database.read() as connection:
            segments = 0
            for segment in segments_after(connection, TRACKPOINT, (0, b""), INT64_MAX):
                here = Counter(_source.findall(inflate(segment)))
                events += here
                found_in.update(here.keys())
                segments += 1
    one_off = [one for one in events if one[0] == b"one-off"]
    few = [one for one in one_off if found_in[one] <= segments * FEW_SEGMENTS_RATIO]
    chosen = {
        _FLOW: max((one for one in events if one[0] == b"flow"), key=events.__getitem__),
        _FEW: max(few or one_off, key=events.__getitem__),  # in a trial, there may be no such campaign
    }
    return {what: (one[1].decode(), events[one], found_in[one], segments) for what, one in chosen.items()}


def _export(server: Server, shop: Shop, campaign: str | None, encoding: Encoding) -> Figures:
    forget_peak(server.pid)
    before = memory_bytes(server.pid)
    figures = server.export(shop, encoding, wanted={} if campaign is None else {"campaign": campaign})
    return figures | {"more_memory_bytes": max(0, memory_bytes(server.pid, "VmHWM") - before)}


def _measure(plan: Plan) -> list[Row]:
    with plan.workplace("filtered") as folder:
        store = Store(folder / "log.db", (("SMSEVENTS_UPKEEP", "off"),))
        data = dataset(folder / "data", plan.events)
        shop = Shop(store.add_shop(), data.end_ms)
        store.command("import", str(TRACKPOINT), str(data.path))
        store.command("compact", "--rewrite")
        campaigns = _campaigns(store)
        asked: dict[str, str | None] = {_FULL: None} | {what: found[0] for what, found in campaigns.items()}
        ways = [(what, encoding) for what in asked for encoding in ENCODINGS]
        with served(store) as server:
            exports = [partial(_export, server, shop, asked[what], encoding) for what, encoding in ways]
            turns = take_turns(exports, plan.rounds, plan.way_max_seconds)
    rows: list[Row] = []
    for (what, encoding), figures in zip(ways, turns, strict=True):
        _, events, found_in, segments = campaigns.get(what, ("", plan.events, 1, 1))
        labels: Labels = {"events": plan.events, "what": what, "matching": events, "encoding": encoding}
        rows.append(row(labels, segments_ratio=[found_in / segments], **figures))
    full = next(
        one.median("seconds") for one in rows if (one.labels["what"], one.labels["encoding"]) == (_FULL, "plain")
    )
    for one in rows:
        one.figures["time_by_full_plain_ratio"] = [round(one.median("seconds") / full, 4)]
    return sorted(rows, key=lambda one: ENCODINGS.index(one.labels["encoding"]))


CASE = Case(
    _measure,
    "{events:,} events in one database.",
    (
        *("encoding", "what", "matching", "segments_ratio", "seconds", "time_by_full_plain_ratio", "seconds~"),
        *("cpu_seconds", "more_memory_bytes"),
    ),
    Bars(
        "Filtered exports of a shop of {events:,} events, and the time by the full plain export: shorter is better",
        *("what encoding", "seconds", "seconds time_by_full_plain_ratio"),
    ),
    together="events",
)
