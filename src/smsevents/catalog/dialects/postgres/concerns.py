"""What an operator should know while several machines use a database: wrong clocks, and standbys that are not there."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import text

from smsevents.catalog.checks import Check, State
from smsevents.catalog.hot import Hot

if TYPE_CHECKING:
    from sqlalchemy import Connection

CLOCK_WARNED_AWAY_MS = 60_000
CLOCK_AWAY_MAX_MS = 5 * 60_000  # a machine that is so far off is set up wrongly, and its logs and certificates mislead

# What standbys do is hidden from a user without the role pg_read_all_stats.
STANDBYS_SQL = """
    SELECT current_setting('synchronous_standby_names'),
        CASE WHEN pg_has_role('pg_read_all_stats', 'USAGE')
            THEN (SELECT count(*) FROM pg_stat_replication WHERE sync_state IN ('sync', 'quorum')) END
"""
_STANDBYS = Hot(text(STANDBYS_SQL))


def clock(away_ms: int) -> Check:
    """Judge how far the clock of this machine is ahead of that of the database."""
    name = "clock of the database"
    if abs(away_ms) <= CLOCK_WARNED_AWAY_MS:
        return Check(name, State.OK, "the same as that of this machine")
    told = f"The clock of this machine is {away_ms / 1000:+.0f} s away from that of the database, which counts."
    if abs(away_ms) <= CLOCK_AWAY_MAX_MS:
        return Check(name, State.WARNING, f"{told} Set it right, for example with NTP.")
    return Check(
        name,
        State.WRONG,
        f"{told} That is more than {CLOCK_AWAY_MAX_MS // 60_000} minutes, so this machine serves nothing. Set the wrong"
        " one of the two right.",
    )


def standbys(connection: Connection) -> Check:
    """Judge whether a failover may lose what was acknowledged."""
    ((names, following),) = _STANDBYS.all(connection, {})
    return judged_standbys(names, following)


def judged_standbys(names: str, following: int | None) -> Check:
    """Judge the setting `synchronous_standby_names`, and how many of these standbys follow; None if that is hidden."""
    name = "synchronous standby"
    if not names:
        detail = (
            "There is no synchronous standby: if the primary is lost, so are the events that were acknowledged last."
            " docs/scale.md says how to configure one."
        )
        return Check(name, State.WARNING, detail)
    if following == 0:
        detail = "None of the synchronous standbys follows the primary: imports wait until one does."
        return Check(name, State.WARNING, detail)
    return Check(name, State.OK, f"commits wait for {names}")
