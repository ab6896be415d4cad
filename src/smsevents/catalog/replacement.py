"""The one way to change what is stored: segments and packs that were read are replaced by new ones, or nothing is."""

from __future__ import annotations

from typing import TYPE_CHECKING

from smsevents.catalog.dialects.base import dialect_of
from smsevents.catalog.objects import lock_announced, make_dead, make_live
from smsevents.catalog.packs import delete_packs, insert_pack, lock_packs
from smsevents.catalog.segments import delete_segments, insert_segments, lock_segments

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Sequence

    from sqlalchemy import Connection

    from smsevents.segments.pack import Pack
    from smsevents.segments.segment import Segment

RETIRED_KEPT_MS = 60 * 60 * 1000  # for copies of database and store that are not made by `smsevents backup`

StoredAs = tuple[str, int]  # `SegmentHeader.stored_as`


def replace_stored(  # noqa: PLR0913, PLR0917 -- what goes, what comes, and when
    connection: Connection,
    trackpoint: int,
    read: Collection[StoredAs],
    gone: Collection[StoredAs],
    new: Iterable[Segment] = (),
    packs: Sequence[Pack] = (),
    *,
    now: int = 0,
    kept_ms: int = RETIRED_KEPT_MS,
) -> bool:
    """Replace what is in `gone` by new segments and packs, unless something in `read` is missing.

    Return whether it was done.

    Ids are never reused and rows are never changed, so what still exists is what was read. If something is missing,
    another process has replaced it meanwhile, perhaps to erase a user. The new segments are then discarded, and the
    result is False. So it is if the object of a new pack is not announced any more: the collection took it for
    abandoned, and may have deleted it.

    Objects of packs in `gone` are to be deleted `kept_ms` after `now` (Unix ms).
    """
    if not dialect_of(connection).begin_replacement(connection, trackpoint):
        return False  # the lock of the shop was lost, and an erasure may have begun meanwhile
    rows, packed = _ids(read, "row"), _ids(read, "pack")
    if lock_segments(connection, rows) != len(rows) or lock_packs(connection, packed) != len(packed):
        return False
    keys = [pack.key for pack in packs]
    if keys and lock_announced(connection, keys) != len(keys):
        return False
    delete_segments(connection, _ids(gone, "row"))
    make_dead(connection, delete_packs(connection, _ids(gone, "pack")), now, now + kept_ms)
    for pack in packs:
        make_live(connection, pack.key, now)
        insert_pack(connection, trackpoint, pack)
    insert_segments(connection, trackpoint, new)
    return True


def _ids(stored: Collection[StoredAs], kind: str) -> set[int]:
    return {stored_id for one, stored_id in stored if one == kind}
