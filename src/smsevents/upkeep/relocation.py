"""A database moves: everything in it is copied into an empty one, which then takes over its packs.

**All or nothing.** The copy is one transaction of the target. If it is broken off, the target stays empty, and the copy
can be made again.

**One moment.** While it copies, this process holds the source's right to write. Nothing protects the source afterwards:
what is written there then is left behind. So its server has to be stopped before, and no other command may run.

**One database for the packs.** At the end, the store's marker names the target. From then on the source finds that the
store belongs to another database: it neither reads, nor writes, nor deletes packs.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from smsevents.catalog import attachment
from smsevents.catalog.copying import copy_rows, count_rows, is_unused, totals
from smsevents.catalog.pending_scrubs import ROWS_LEFT
from smsevents.catalog.stores import find_store
from smsevents.errors import InvalidRequest, StoreUnavailable
from smsevents.upkeep.wiping import PAUSE

if TYPE_CHECKING:
    from collections.abc import Mapping

    from smsevents.catalog import Database
    from smsevents.catalog.copying import ShopTotals


class Relocated(NamedTuple):
    """What was copied: rows by the table's name, and totals by the table's name and the trackpoint."""

    rows: Mapping[str, int]
    totals: Mapping[tuple[str, int], ShopTotals]


def copy_database(source: Database, target: Database) -> Relocated:
    """Copy everything from a source, which nobody else may write into from now on, into an unused target.

    The target is compared with the source before it keeps anything. `take_over_packs` must follow.

    Raises `InvalidRequest` if the source or the target cannot be used for this, and `StoreUnavailable`.
    """
    if not source.dialect.has_one_writer:
        raise InvalidRequest(
            f"{source.dialect.where} cannot be copied by this command, because others may write into it meanwhile. To"
            " move it, restore a dump of `smsevents backup` elsewhere."
        )
    if source.dialect.where == target.dialect.where:
        raise InvalidRequest("The database cannot be copied into itself. Name another one.")
    # work on the source's own files; the target's files never had what was deleted
    chores = (*source.dialect.scrub_steps, ROWS_LEFT, PAUSE)
    with source.exclusive() as read:
        _require_packs(source)
        with target.exclusive() as written:
            if not is_unused(written):
                raise InvalidRequest(
                    f"{target.dialect.where} is in use already, so nothing was copied. Name an empty database. If this"
                    " is the one that was copied before, run `smsevents adopt` with it, in case that was not completed."
                )
            copied = copy_rows(read, written, chores)
            found = totals(written)
            if copied != count_rows(read, chores) or copied != count_rows(written, ()) or found != totals(read):
                raise StoreUnavailable(
                    f"What arrived in {target.dialect.where} differs from {source.dialect.where}, so nothing was kept."
                )
    return Relocated(copied, found)


def _require_packs(source: Database) -> None:
    """Raise `StoreUnavailable` unless all packs are there, before the long part begins."""
    with source.read() as connection:
        if attachment.is_store_needed(connection):
            attachment.require_all(connection, attachment.store_to_change(source, connection))


def take_over_packs(target: Database) -> str | None:
    """Let a copied database have the store of packs that it names. Return its URL, or None. Raises `StoreUnavailable`.

    The source then changes nothing there any more, see `catalog/attachment.py`.
    """
    with target.read() as connection:
        record = find_store(connection)
        if record is None or not attachment.is_store_needed(connection):
            return None
    attachment.adopt(target, record.url)
    return record.url
