"""The record of erasures is completed: a server without it may have blocked users, or allowed them again."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import NamedTuple

from hypothesis import given, settings
from hypothesis import strategies as st

from smsevents.catalog.shops import block_user, unblock_user
from smsevents.upkeep.erasure import erase, unblock
from smsevents.upkeep.erasure_records import complete, keep
from smsevents.wire.events import digest_of
from smsevents.worker.worker import UpkeepWorker
from tests.support.lines import DAY_MS
from tests.support.restored import Shop


class Decision(NamedTuple):
    """A user is blocked or allowed, through a server with the record or without. A backup may follow at once."""

    user: str
    block: bool
    is_recorded: bool
    backed_up: bool


_decisions = st.lists(
    st.builds(Decision, st.sampled_from(["u1", "u2"]), st.booleans(), st.booleans(), st.booleans()),
    min_size=1,
    max_size=8,
)


def decide(shop: Shop, one: Decision) -> None:
    """Do what a server does, a moment after all earlier decisions."""
    shop.now += 1
    if one.is_recorded and one.block:
        erase(shop.database, shop.trackpoint, [one.user], shop.now, block=True)
    elif one.is_recorded:
        unblock(shop.database, shop.trackpoint, one.user)
    else:
        digest = digest_of(shop.trackpoint, one.user)
        if one.block:
            shop.database.write(lambda connection: block_user(connection, shop.trackpoint, digest, shop.now))
        else:
            shop.database.write(lambda connection: unblock_user(connection, shop.trackpoint, digest))


@given(decisions=_decisions)
@settings(max_examples=8)
def test_decisions_of_earlier_versions_hold_after_a_restore(decisions: list[Decision]) -> None:
    """Whichever server decided, who is blocked after a restore is who was blocked before, and completing is over."""
    with tempfile.TemporaryDirectory() as folder:
        shop = Shop(Path(folder))
        try:
            backups = [shop.back_up()]
            for one in decisions:
                decide(shop, one)
                if one.backed_up:
                    backups.append(shop.back_up())
                complete(shop.database, shop.now)
                assert complete(shop.database, shop.now) == 0
            keep(shop.database, shop.now)
            blocked = shop.blocked()
            for backed_up in backups:
                shop.restore(backed_up)
                shop.repeat()
                assert shop.blocked() == blocked
        finally:
            shop.database.close()


def test_the_upkeep_worker_completes_the_record(tmp_path: Path) -> None:
    """A round of the upkeep records a block of a server without the record, for a backup from before."""
    shop = Shop(tmp_path)
    try:
        made = shop.back_up()
        decide(shop, Decision("u1", block=True, is_recorded=False, backed_up=False))
        assert UpkeepWorker(shop.database).round()
        shop.restore(made)
        assert shop.repeat() == (1, 4)
        assert shop.blocked() == {"u1"}
    finally:
        shop.database.close()


def test_old_blocks_are_recorded_once(tmp_path: Path) -> None:
    """A block that is older than the record reaches is not recorded again when its record has expired."""
    shop = Shop(tmp_path)
    try:
        shop.now -= 40 * DAY_MS
        decide(shop, Decision("u1", block=True, is_recorded=False, backed_up=False))
        assert complete(shop.database, shop.now) == 1
        keep(shop.database, shop.now + 40 * DAY_MS)
        assert complete(shop.database, shop.now + 40 * DAY_MS) == 0
        assert shop.blocked() == {"u1"}
    finally:
        shop.database.close()
