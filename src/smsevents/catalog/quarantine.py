"""The statements on quarantine: damaged segments, kept apart from the log with their bytes unchanged."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import delete, func, insert, select, true

from smsevents.catalog.segments import delete_segments
from smsevents.catalog.tables import quarantine, segments

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from smsevents.segments.header import SegmentHeader


def quarantine_segment(connection: Connection, segment_id: int, reason: str, now: int) -> None:
    """Move a damaged segment into quarantine at the time `now` (Unix ms). Do nothing if it is gone."""
    row = connection.execute(select(segments).where(segments.c.id == segment_id)).first()
    if row is None:
        return
    connection.execute(
        insert(quarantine).values(
            id=row.id,
            trackpoint=row.trackpoint,
            first_date=row.first_date,
            last_date=row.last_date,
            events=row.events,
            reason=reason,
            set_aside_ms=now,
            data=row.data,
        )
    )
    delete_segments(connection, [segment_id])


def quarantine_bytes(  # noqa: PLR0913, PLR0917 -- the columns of the table
    connection: Connection, trackpoint: int, header: SegmentHeader, reason: str, data: bytes, now: int
) -> None:
    """Set aside the bytes of a damaged segment of a pack at the time `now` (Unix ms).

    Its id is negative here, because it never had one of its own.
    """
    lowest = connection.execute(select(func.min(quarantine.c.id))).scalar() or 0
    connection.execute(
        insert(quarantine).values(
            id=min(lowest, 0) - 1,
            trackpoint=trackpoint,
            first_date=header.first[0],
            last_date=header.last[0],
            events=header.events,
            reason=f"{header.name}: {reason}",
            set_aside_ms=now,
            data=data,
        )
    )


def quarantined(connection: Connection, trackpoint: int) -> int:
    """Return how many segments of a shop are in quarantine."""
    statement = select(func.count()).select_from(quarantine).where(quarantine.c.trackpoint == trackpoint)
    return connection.execute(statement).scalar_one()


def discard_quarantine(connection: Connection, trackpoint: int | None, at_most: int) -> int:
    """Delete up to `at_most` segments in quarantine, of one shop or of all (None). Return how many were deleted."""
    of_shop = true() if trackpoint is None else quarantine.c.trackpoint == trackpoint
    ids = select(quarantine.c.id).where(of_shop).limit(at_most)
    return connection.execute(delete(quarantine).where(quarantine.c.id.in_(ids))).rowcount
