"""The CSV of statistics: no text of an event runs as a formula."""

from __future__ import annotations

import csv
import io

from smsevents.stats.calendar import Bucket
from smsevents.stats.events import EventRow
from smsevents.stats.grouping import Named
from smsevents.web.stats_bodies import EventStatistics
from smsevents.web.stats_csv import csv_of


def test_ids_and_names_are_no_formulas() -> None:
    """Importers choose the names, and a marketer opens the file in a spreadsheet."""
    campaign, node = Named("=1+1", "@SUM(1)"), Named("+A1", "-A1")
    row = EventRow(bucket=0, campaign=campaign, node=node, events=5)
    body = EventStatistics(
        start=0,
        end=1,
        time_zone="UTC",
        at="event",
        as_of=2,
        step="all",
        by=["campaign", "node"],
        events=5,
        buckets=[Bucket(0, 1, complete=True)],
        rows=[row],
    )
    (_, cells) = csv.reader(io.StringIO(csv_of(body).decode()))
    assert cells[5:] == ["'=1+1", "'@SUM(1)", "'+A1", "'-A1", "5"]
