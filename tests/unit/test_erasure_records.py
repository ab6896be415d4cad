"""The record of erasures: a database that was restored from a backup repeats what was erased since."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from smsevents.catalog.markers import ERASURES_PREFIX
from smsevents.catalog.sent import SentRow, register, users_sent_to
from smsevents.clock.system import now_ms
from smsevents.errors import InvalidRequest, StoreUnavailable
from smsevents.storage.memory import MemoryStore
from smsevents.upkeep.erasure import erase, forget, unblock
from smsevents.upkeep.erasure_records import Act, ErasureRecord, RecordsFolder, copy_in, copy_to_folder, keep, note
from smsevents.upkeep.erasure_repeats import repeat_erasures
from smsevents.wire.events import digest_of
from smsevents.worker.worker import UpkeepWorker
from tests.support.lines import DAY_MS, line
from tests.support.logs import Held, filled
from tests.support.restored import EVERYBODY, Shop

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from smsevents.catalog import Database


KEY, OTHER_KEY = b"k" * 32, b"o" * 32


@pytest.fixture(params=["database", "packs"])
def shop(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Shop]:
    """Yield a shop in the database alone, or with packs."""
    store = MemoryStore() if request.param == "packs" else None
    made = Shop(tmp_path, store)
    if store is not None:
        filled(made)
    yield made
    made.database.close()


def test_a_restored_database_repeats_what_was_erased_since(shop: Shop) -> None:
    """After a restore, exactly the users who were erased since the backup are erased again, and once."""
    forget(shop.database, shop.trackpoint, ["u1"], shop.now, block=False)
    made = shop.back_up()
    forget(shop.database, shop.trackpoint, ["u2", 'quo"te'], shop.now, block=False)
    forget(shop.database, shop.trackpoint, ["line\u2028end"], shop.now, block=True)
    expected, left = shop.exported(), shop.users()
    assert left == {"u3", "Žluťoučký kůň"}
    shop.restore(made)
    assert shop.users() == {*EVERYBODY} - {"u1"}
    assert shop.repeat() == (3, 12)
    assert (shop.exported(), shop.users(), shop.blocked()) == (expected, left, {"line\u2028end"})
    assert shop.repeat() == (0, 0)
    shop.restore(made)
    assert shop.repeat() == (3, 12)
    assert shop.exported() == expected


def test_what_was_decided_last_holds_after_a_restore(shop: Shop) -> None:
    """Blocked and allowed again is allowed, the other way round is blocked, and events of later backups stay."""
    for user in ("u2", "u3"):
        erase(shop.database, shop.trackpoint, [user], shop.now, block=True)
    first = shop.back_up()
    assert unblock(shop.database, shop.trackpoint, "u2")
    erase(shop.database, shop.trackpoint, ["u1"], shop.now, block=True)
    unblock(shop.database, shop.trackpoint, "u1")
    unblock(shop.database, shop.trackpoint, "u3")
    erase(shop.database, shop.trackpoint, ["u3"], shop.now, block=True)
    back = line(shop.trackpoint, shop.now - 5, "u1")
    shop.put([back])  # the user has registered again
    made = shop.back_up()

    shop.restore(made)
    assert shop.repeat() == (0, 0)
    assert back in shop.exported()
    assert shop.blocked() == {"u3"}

    shop.restore(first)
    assert shop.blocked() == {"u2", "u3"}
    assert shop.repeat() == (2, 4)
    assert shop.blocked() == {"u3"}
    assert "u1" not in shop.users()
    shop.put([back])  # the senders import again what they have sent since
    assert back in shop.exported()


def test_a_repetition_that_is_killed_is_repeated(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    """If repeating ends before it is complete, the records stay unknown, and the next try does all of it."""
    made = shop.back_up()
    forget(shop.database, shop.trackpoint, ["u1", "u2"], shop.now, block=True)
    expected = shop.exported()
    shop.restore(made)
    with monkeypatch.context() as patch:
        patch.setattr("smsevents.upkeep.erasure.reconcile", _fail)
        with pytest.raises(StoreUnavailable, match="away"):
            shop.repeat()
    assert shop.blocked() == {"u1", "u2"}
    assert shop.repeat()[0] == 2
    assert shop.exported() == expected


def _fail(*_: object) -> None:
    raise StoreUnavailable("away")


def test_an_erasure_that_cannot_be_recorded_is_not_reported(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    """It raises, and is recorded when it is done again, although no event is left then."""
    made = shop.back_up()
    with monkeypatch.context() as patch:
        patch.setattr("smsevents.upkeep.erasure_records._put", _fail)
        with pytest.raises(StoreUnavailable, match="could not be recorded"):
            erase(shop.database, shop.trackpoint, ["u1"], shop.now, block=False)
    assert erase(shop.database, shop.trackpoint, ["u1"], shop.now, block=False).events == 0
    shop.restore(made)
    assert shop.repeat()[1] == 4
    assert "u1" not in shop.users()


def test_two_processes_repeat_once(shop: Shop) -> None:
    """A process that found a record, and then waited for another one to repeat it, erases no newer events."""
    made = shop.back_up()
    erase(shop.database, shop.trackpoint, ["u1"], shop.now, block=False)
    shop.restore(made)
    other = shop.opened()
    back = line(shop.trackpoint, shop.now - 5, "u1")

    def happens() -> None:
        shop.repeat()
        shop.put([back])

    waits = _Waits(other, happens)
    try:
        assert repeat_erasures(waits.database, shop.now).erasures == 0
    finally:
        other.close()
    assert back in shop.exported()


class _Waits:
    """A database before whose first exclusive access to a shop something happens."""

    def __init__(self, database: Database, happens: Callable[[], object]) -> None:
        self.database = database
        alone = database.dialect.shop_alone

        def shop_alone(trackpoint: int, patience_seconds: float) -> object:
            """Let it happen, then wait for the shop."""
            happens()
            return alone(trackpoint, patience_seconds)

        database.dialect.shop_alone = shop_alone  # type: ignore[method-assign,assignment]


def test_registered_messages_of_erased_users_go_again(shop: Shop) -> None:
    """The register of sent messages of a restored database loses the users who were erased since."""
    rows = [SentRow(user.encode(), "a", user, b"{}") for user in ("u1", "u2")]
    shop.database.write(lambda connection: register(connection, 20_000, shop.trackpoint, rows))
    made = shop.back_up()
    erase(shop.database, shop.trackpoint, ["u1"], shop.now, block=False)
    shop.restore(made)
    shop.repeat()
    with shop.database.read() as connection:
        assert list(users_sent_to(connection, 20_000, shop.trackpoint)) == ["u2"]


def test_records_expire_and_are_completed(shop: Shop) -> None:
    """Records older than the days are deleted everywhere; those that a place has lost are written again."""
    old, new = shop.now - 36 * DAY_MS, shop.now - 34 * DAY_MS
    erase(shop.database, shop.trackpoint, ["u1"], old, block=False)
    erase(shop.database, shop.trackpoint, ["u2"], new, block=False)
    folder = shop.database.dialect.erasures_folder
    assert folder is not None
    assert len(_names(folder)) == 2
    keep(shop.database, 0)
    assert len(_names(folder)) == 2  # time is in doubt
    keep(shop.database, shop.now)
    (left,) = _names(folder)
    assert left.startswith(str(new))
    shutil.rmtree(folder)
    keep(shop.database, shop.now)
    assert _names(folder) == [left]
    if shop.store is not None:
        assert [one.key for one in shop.store.objects(ERASURES_PREFIX)] == [ERASURES_PREFIX + left]


def _names(folder: Path) -> list[str]:
    return sorted(path.name for path in (folder / ERASURES_PREFIX).iterdir())


def test_the_upkeep_worker_finds_what_a_failover_lost(shop: Shop) -> None:
    """A round of the upkeep repeats erasures that the database does not know."""
    made = shop.back_up()
    erase(shop.database, shop.trackpoint, ["u1"], shop.now, block=False)
    shop.restore(made)
    assert UpkeepWorker(shop.database).round()
    assert "u1" not in shop.users()
    assert shop.repeat() == (0, 0)


def test_a_folder_keeps_a_copy_for_databases_without_a_place(shop: Shop, tmp_path: Path) -> None:
    """A copy of the record in a folder is enough, if the machine of the database is lost."""
    folder = tmp_path / "copy of the record"
    made = shop.back_up()
    erase(shop.database, shop.trackpoint, ["u1"], shop.now, block=False)
    assert copy_to_folder(shop.database, folder) == 1
    shutil.rmtree(shop.path.with_name("erasures-log.db"))
    shop.restore(made)
    assert repeat_erasures(shop.database, shop.now, [RecordsFolder(folder)]).erasures == 1
    assert "u1" not in shop.users()


@pytest.mark.parametrize("elsewhere", ["", "log/erasures", "erasures/erasures"])
def test_a_copy_in_the_wrong_place_is_not_taken_for_an_empty_one(shop: Shop, tmp_path: Path, elsewhere: str) -> None:
    """Records that lie elsewhere in a folder are not passed over in silence, and are found once they were moved."""
    folder, right = tmp_path / "copy", tmp_path / "copy" / "erasures"
    erase(shop.database, shop.trackpoint, ["u1"], shop.now, block=False)
    copy_to_folder(shop.database, folder)
    (record,) = right.iterdir()
    (folder / elsewhere).mkdir(parents=True, exist_ok=True)
    record.rename(folder / elsewhere / record.name)
    with pytest.raises(InvalidRequest, match=f"Records of erasures are in {folder / elsewhere}, "):
        copy_in(folder)
    (folder / elsewhere / record.name).rename(record)
    with shop.database.exclusive() as connection:
        connection.exec_driver_sql("DELETE FROM erasure_records").close()
    assert repeat_erasures(shop.database, shop.now, [copy_in(folder)]).erasures == 1


def test_what_is_too_old_to_be_kept_is_not_repeated(shop: Shop, tmp_path: Path) -> None:
    """A copy of the record that was kept longer erases nobody again, allows nobody again, and loses what is old."""
    folder = tmp_path / "copy of the record"
    old = shop.now - 36 * DAY_MS
    erase(shop.database, shop.trackpoint, ["u1"], old, block=False)
    note(shop.database, shop.trackpoint, [digest_of(shop.trackpoint, "u2")], Act.ALLOW, old)
    erase(shop.database, shop.trackpoint, ["u2"], shop.now, block=True)
    back = line(shop.trackpoint, shop.now - 5, "u1")
    shop.put([back])
    assert copy_to_folder(shop.database, folder) == 3
    keep(shop.database, shop.now)
    assert repeat_erasures(shop.database, shop.now, [RecordsFolder(folder)]) == (0, 0, 0)
    assert back in shop.exported()
    assert shop.blocked() == {"u2"}
    assert copy_to_folder(shop.database, folder) == 1
    assert len(_names(folder)) == 1


def test_what_was_decided_after_a_restore_holds(shop: Shop) -> None:
    """Who was blocked or allowed after a restore, and before it was caught up with, stays so."""
    erase(shop.database, shop.trackpoint, ["u1"], shop.now, block=True)
    made = shop.back_up()
    unblock(shop.database, shop.trackpoint, "u1")
    erase(shop.database, shop.trackpoint, ["u2"], shop.now, block=True)
    shop.restore(made)
    later = now_ms() + DAY_MS
    erase(shop.database, shop.trackpoint, ["u1"], later, block=True)
    note(shop.database, shop.trackpoint, [digest_of(shop.trackpoint, "u2")], Act.ALLOW, later)
    shop.repeat()
    assert shop.blocked() == {"u1"}
    assert "u2" not in shop.users()


def test_records_of_a_shop_that_is_not_there_yet_wait(shop: Shop) -> None:
    """A record of a shop that was added after the backup changes nothing until the shop exists."""
    note(shop.database, 7, [digest_of(7, "u1")], Act.BLOCK, shop.now)
    with shop.database.exclusive() as connection:
        connection.exec_driver_sql("DELETE FROM erasure_records").close()
    assert shop.repeat() == (0, 0)


def test_records_of_another_database_are_counted(tmp_path: Path) -> None:
    """What was sealed with another key cannot be opened, and is not repeated."""
    held = Held(f"sqlite:///{tmp_path / 'log.db'}")
    folder = tmp_path / "records"
    try:
        name = ErasureRecord(1, held.trackpoint, Act.ERASE, b"d" * 32).name(OTHER_KEY)
        (folder / "erasures").mkdir(parents=True)
        (folder / "erasures" / name).touch()
        (folder / "erasures" / "anything").touch()
        assert repeat_erasures(held.database, held.now, [RecordsFolder(folder)]) == (0, 0, 1)
    finally:
        held.database.close()


_records = st.builds(
    ErasureRecord,
    st.integers(0, 10**15 - 1),
    st.integers(1, 2**63 - 1),
    st.sampled_from(Act),
    st.binary(min_size=32, max_size=32),
)


@given(record=_records, place=st.integers(0), digit=st.sampled_from("0123456789abcdef"))
def test_a_record_is_opened_with_its_key_alone(record: ErasureRecord, place: int, digit: str) -> None:
    """A name opens to its record with the same key. With another key, or a character changed, it does not open."""
    name = record.name(KEY)
    assert ErasureRecord.opened(KEY, name) == record
    assert ErasureRecord.opened(OTHER_KEY, name) is None
    at = place % len(name)
    changed = name[:at] + digit + name[at + 1 :]
    assert (ErasureRecord.opened(KEY, changed) is None) is (changed != name)


def test_a_record_says_nothing_without_the_key(tmp_path: Path) -> None:
    """Neither the user id nor its digest is in the record, and two records of one user have nothing in common."""
    held = Held(f"sqlite:///{tmp_path / 'log.db'}")
    try:
        for _ in range(2):
            erase(held.database, held.trackpoint, ["4711"], held.now, block=True)
        folder = held.database.dialect.erasures_folder
        assert folder is not None
        one, other = (name.rpartition("-")[2] for name in _names(folder))
        assert (
            len(
                {one[start : start + 16] for start in range(0, 96, 16)}
                & {other[start : start + 16] for start in range(0, 96, 16)}
            )
            == 0
        )
        told = b"".join(path.name.encode() + path.read_bytes() for path in folder.rglob("*") if path.is_file())
        assert digest_of(held.trackpoint, "4711").hex().encode() not in told
    finally:
        held.database.close()
