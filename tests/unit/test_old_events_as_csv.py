"""Events of earlier versions as CSV."""

from __future__ import annotations

import pytest

from smsevents.stats.calendar import zone_of
from smsevents.web.event_tables import EventTable
from tests.support.statistics import event_line


@pytest.mark.parametrize("node", [None, ("n", "Node")])
def test_an_event_that_is_refused_today_has_its_row(node: tuple[str, str] | None) -> None:
    """docs/api.md, "Fields": events of an older version are exported, whatever user id they have."""
    lines = b"".join(
        event_line(7, 1_790_000_000_000, 1_790_000_000_000, user=user, node=node) + b"\n" for user in ("", "u")
    )
    assert EventTable(7, zone_of("UTC"), "csv").rows(lines).count(b"\r\n") == 2
