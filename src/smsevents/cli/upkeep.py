"""`smsevents compact`, `expire`, `forget`, `verify`, `backup`, `stats`: manual upkeep.

All of these commands may run while servers use the same database.
"""

from __future__ import annotations

import os
from datetime import UTC, datetime
from pathlib import Path  # noqa: TC003 -- typer reads it at run time
from typing import TYPE_CHECKING, Annotated

import msgspec
import typer

from smsevents.accounts.access import Access
from smsevents.cli.console import EXIT_FAILED, JsonOption, Trackpoint, show_json, show_table
from smsevents.cli.database import settings_in_force, with_database
from smsevents.cli.opening import opened_database, say_doubt
from smsevents.cli.packs import use_store
from smsevents.clock.system import now_ms
from smsevents.clock.trusted import span, utc
from smsevents.errors import StoreUnavailable, TimeInDoubt
from smsevents.timekeeper import WHAT_TO_DO, Timekeeper
from smsevents.upkeep import backup as backups
from smsevents.upkeep import (
    collecting,
    compaction,
    erasure,
    erasure_records,
    packing,
    quarantining,
    retention,
    settling,
    space,
    statistics,
    tallying,
    verification,
)
from smsevents.upkeep.pack_copies import packs_beside
from smsevents.upkeep.receipt_rows import expire_receipts
from smsevents.wire.events import INT64_MAX
from smsevents.wire.reasons import printable

if TYPE_CHECKING:
    from smsevents.catalog import Database
    from smsevents.upkeep.groups import Compacted

OptionalTrackpoint = Annotated[
    int | None,
    typer.Argument(metavar="TRACKPOINT", min=1, max=INT64_MAX, help="The number of the shop; all shops by default."),
]


@with_database
def compact(
    trackpoint: OptionalTrackpoint = None,
    rewrite: Annotated[
        bool,
        typer.Option("--rewrite", help="Then rewrite the database without unused space. Imports wait meanwhile."),
    ] = False,
) -> None:
    """Merge small and overlapping segments now, and pack what has settled. `serve` does this automatically."""
    with opened_database() as database:
        judgement = Timekeeper(database).note()
        say_doubt(judgement)
        packs = use_store(database)
        past = settling.past_before(database.dialect.now_ms())
        for shop in _shops(database, trackpoint):
            done = compaction.compact_shop(database, shop, judgement.old_by_ms)
            _require_done(done, shop)
            merged = f"merged {done.before} segments into {done.after}" if done.before else "nothing to merge"
            typer.echo(f"{shop}: {merged}", err=True)
            if packs:
                packed = packing.pack_settled(database, shop, judgement.old_by_ms, past)
                _require_done(packed, shop)
                if packed.before:
                    typer.echo(f"{shop}: moved {packed.before} segments into packs", err=True)
        collecting.collect(database, database.dialect.now_ms())
        if rewrite:
            space.rewrite(database)
            typer.echo("rewrote the database", err=True)


def _require_done(done: Compacted, shop: int) -> None:
    if done.gave_way:
        raise StoreUnavailable(
            f"Users of shop {shop} are being erased, and compaction yields to erasure."
            " Run the same command again in a moment."
        )


def _shops(database: Database, trackpoint: int | None) -> list[int]:
    """Return the trackpoints of all shops, or only the one that is named. Raises `UnknownShop`."""
    access = Access(database)
    return [shop.trackpoint for shop in access.shops()] if trackpoint is None else [access.shop(trackpoint).trackpoint]


@with_database
def expire(
    force: Annotated[bool, typer.Option("--force", help="Trust this machine's clock even if it is in doubt.")] = False,
) -> None:
    """Delete events older than the history now. `serve` does this automatically."""
    with opened_database() as database:
        timekeeper = Timekeeper(database)
        judgement = timekeeper.trust_clock() if force else timekeeper.note()
        if judgement.doubt:
            raise TimeInDoubt(f"Nothing was deleted: time is in doubt. {judgement.explain()} {WHAT_TO_DO}")
        gone = retention.expire(database, judgement.old_by_ms)
        expire_receipts(database, judgement.old_by_ms, settings_in_force().sent_sms_kept_days)
        erasure_records.keep(database, judgement.old_by_ms, settings_in_force().erasures_kept_days)
    if force:
        typer.echo(f"the clock is trusted: {utc(judgement.clock_ms)}", err=True)
        collecting.collect(database, database.dialect.now_ms())
    packs = f" and {gone.packs} packs" if gone.packs else ""
    typer.echo(f"deleted {gone.segments} segments{packs} with {gone.events} events", err=True)
    if judgement.late_ms:
        typer.echo(
            f"The clock is {span(judgement.late_ms)} past the time that is trusted, {utc(judgement.trusted_ms)}."
            " Events that became too old since then are kept for now. They are deleted once events have shown for an"
            " hour that the clock is right. If you know that it is, run `smsevents expire --force` to delete them now.",
            err=True,
        )


@with_database
def forget(
    trackpoint: Trackpoint,
    user_ids: Annotated[list[str], typer.Argument(metavar="USERID", help="The `userId` of the events.")],
    block: Annotated[bool, typer.Option("--block", help="Do not record events of these users from now on.")] = False,
    unblock: Annotated[bool, typer.Option("--unblock", help="Only allow these users to be recorded again.")] = False,
) -> None:
    """Erase every event of users from a shop's log (GDPR, Article 17), and print what was removed as JSON."""
    if block and unblock:
        raise typer.BadParameter("use either --block or --unblock, not both")
    for user_id in user_ids:
        erasure.check_user_id(user_id)
    with opened_database() as database:
        if unblock:
            for user_id in user_ids:
                was_blocked = erasure.unblock(database, trackpoint, user_id)
                whom = f"{printable(user_id)}: " if len(user_ids) > 1 else ""
                typer.echo(whom + ("unblocked" if was_blocked else "was not blocked"), err=True)
            return
        erased = erasure.forget(database, trackpoint, user_ids, now_ms(), block=block)
    typer.echo(msgspec.json.encode(erased))
    if erased.quarantined:
        typer.echo(
            f"{erased.quarantined} damaged segments of the shop are in quarantine and were not searched."
            " `smsevents verify --discard` deletes them.",
            err=True,
        )
    if not erased.wiped:
        typer.echo(
            "The events were removed from the log, but a copy may remain in the database's files or in old packs."
            f" {erased.not_wiped} `serve` keeps trying; or run the same command again in a moment.",
            err=True,
        )
        raise typer.Exit(EXIT_FAILED)


@with_database
def verify(
    trackpoint: OptionalTrackpoint = None,
    quarantine: Annotated[
        bool,
        typer.Option(
            "--quarantine",
            help="Quarantine damaged segments, so that the rest can be exported, and make wrong tallies again.",
        ),
    ] = False,
    discard: Annotated[
        bool, typer.Option("--discard", help="Delete segments quarantined earlier; their events are lost.")
    ] = False,
) -> None:
    """Check every segment: checksums, bounds, count, order, form, shop, tally. Exits with 1 if one is damaged."""
    damaged = wrong = checked = events = 0
    with opened_database() as database:
        if trackpoint is not None:
            Access(database).shop(trackpoint)
        if discard:
            typer.echo(f"deleted {verification.discard(database, trackpoint)} segments from quarantine", err=True)
        for one in verification.verify(database, trackpoint):
            wrong += _look_at_counts(database, one, repair=quarantine)
            if one.has_wrong_sum:  # its segments were checked before
                continue
            checked += 1
            events += one.events
            if one.damage is None:
                continue
            damaged += 1
            typer.echo(f"segment {one.name} of shop {one.trackpoint}, {one.events} events: {one.damage}")
            if quarantine:
                quarantining.quarantine(database, one, now_ms())
        strange = verification.unknown(database)
    if strange:
        typer.echo(
            f"{len(strange)} files in the store belong to no pack. The upkeep worker deletes such files once a week.",
            err=True,
        )
    set_aside = ", quarantined" if quarantine and damaged else ""
    tallies = f", {_wrong_tallies(wrong, repaired=quarantine)}" if wrong else ""
    typer.echo(f"checked {checked} segments with {events} events: {damaged} damaged{set_aside}{tallies}", err=True)
    if damaged or wrong:
        raise typer.Exit(EXIT_FAILED)


def _look_at_counts(database: Database, checked: verification.Checked, *, repair: bool) -> bool:
    """Say whether the tally of a segment or the sum of a pack is wrong, and with `repair` make it again."""
    if not (checked.has_wrong_tally or checked.has_wrong_sum):
        return False
    what, which = ("pack", "sum") if checked.has_wrong_sum else ("segment", "tally")
    typer.echo(f"{what} {checked.name} of shop {checked.trackpoint}: its {which} is wrong, and so are statistics")
    if repair:
        tallying.tally_again(database, checked.header)
    return True


def _wrong_tallies(wrong: int, *, repaired: bool) -> str:
    again = ", made again. Restart the server: it remembers what they said" if repaired else ""
    return f"{wrong} with a wrong tally or sum{again}"


@with_database
def backup(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="The file to write; it must not exist yet.")],
    server: Annotated[
        str | None,
        typer.Option(
            metavar="URL", help="PostgreSQL itself, if the database is reached through a pool of connections."
        ),
    ] = None,
) -> None:
    """Write a complete copy of the database and its packs, even while they are in use."""
    with opened_database() as database:
        size = backups.backup(database, file, now_ms(), server)
    packs = packs_beside(file)
    # `Path.exists` raises an error for a name that is too long
    also = f" and {packs}" if os.path.exists(packs) else ""  # noqa: PTH110 -- see above
    typer.echo(f"wrote {file}{also} ({size:,} bytes)", err=True)


@with_database
def stats(
    trackpoint: OptionalTrackpoint = None,
    as_json: JsonOption = False,
) -> None:
    """Show the size of the log of each shop: events, segments, bytes."""
    with opened_database() as database:
        found = [statistics.statistics(database, shop) for shop in _shops(database, trackpoint)]
    if as_json:
        show_json(found)
        return
    show_table(
        [
            "TRACKPOINT",
            "EVENTS",
            "SEGMENTS",
            "PACKS",
            "LINE BYTES",
            "STORED BYTES",
            "STORED PER EVENT",
            "OLDEST",
            "NEWEST",
            "OVERLAPPING",
            "SET ASIDE",
        ],
        [
            [
                str(one.trackpoint),
                str(one.events),
                str(one.segments),
                str(one.packs),
                str(one.line_bytes),
                str(one.stored_bytes),
                "-" if one.stored_bytes_per_event is None else str(one.stored_bytes_per_event),
                _time(one.oldest_ms),
                _time(one.newest_ms),
                str(one.overlapping),
                str(one.quarantined),
            ]
            for one in found
        ],
    )


def _time(time_ms: int | None) -> str:
    return "-" if time_ms is None else datetime.fromtimestamp(time_ms / 1000, UTC).strftime("%Y-%m-%d %H:%M:%S")
