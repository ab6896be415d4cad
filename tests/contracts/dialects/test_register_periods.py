"""The periods of the register: whatever moves between them, receipts and erasures find each message."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from itertools import count
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import select

from smsevents.catalog import periods
from smsevents.catalog.periods import day_of, periods_kept
from smsevents.catalog.sent import users_sent_to
from smsevents.catalog.tables import sent
from smsevents.receipts import recording
from smsevents.receipts import register as register_module
from smsevents.upkeep.erasure import forget
from smsevents.upkeep.erasure_users import UsersNamed
from smsevents.upkeep.receipt_rows import erase_receipts, expire_receipts, settle_register
from smsevents.wire.limits import DAY_MS
from tests.contracts.dialects.harness import PostgresHarness
from tests.support.campaigns import few_or_many
from tests.support.receipts import START_MS, ReceiptSite, one_off, sent_line

if TYPE_CHECKING:
    from tests.contracts.dialects.harness import Harness

IDS = 6
WAIT_MAX_SECONDS = 30
SENT = one_off(START_MS - 1000)
_shops = count(1000)


@pytest.fixture(autouse=True)
def small_periods(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let periods have three messages, writes two, and steps of the upkeep move two."""
    monkeypatch.setattr(periods, "PERIOD_MESSAGES_MAX", 3)
    monkeypatch.setattr(periods, "MOVED_MESSAGES_MAX", 2)
    monkeypatch.setattr(register_module, "REGISTER_ROWS_IN_WRITE_MAX", 2)


def periods_of(site: ReceiptSite) -> list[int]:
    """Return the periods that have messages of a shop."""
    with site.database.read() as connection:
        rows = connection.execute(select(sent.c.day).distinct().where(sent.c.trackpoint == site.trackpoint))
        return sorted(row.day for row in rows)


def register_some(site: ReceiptSite, messages: dict[str, str], scope: dict[str, str]) -> None:
    """Register messages: users by their ids."""
    site.sent(*(sent_line(scope, message_id, user, SENT) for message_id, user in messages.items()))


def users_found(site: ReceiptSite, receiver: Any, message_ids: list[str]) -> dict[str, str]:
    """Return the user whom a receipt finds for each id, or "" where none is found."""
    found = {}
    for message_id in message_ids:
        before = {*site.lines()}
        site.receive(receiver, {"d": 1, "A": "", "F": message_id, "T": START_MS // 1000 + len(before)})
        line = b"".join({*site.lines()} - before)
        found[message_id] = line.partition(b'"userId":"')[2].partition(b'"')[0].decode()
    return found


def test_a_day_has_several_periods_until_it_is_over(direct: Harness) -> None:
    """Messages of a day are in periods of limited size. Once the day is over, they are together, and all are found."""
    site = ReceiptSite(direct.opened())
    receiver = site.receiver()
    messages = {f"m{number}": f"u{number}" for number in range(9)}
    register_some(site, messages, {"receiver": receiver.id})
    day = START_MS // DAY_MS
    assert len(periods_of(site)) == 3
    assert {day_of(period) for period in periods_of(site)} == {day}

    settle_register(site.database, START_MS)
    assert len(periods_of(site)) == 3
    settle_register(site.database, START_MS + DAY_MS)

    assert periods_of(site) == [day]
    with site.database.read() as connection:
        assert periods_kept(connection) == [day]
    assert users_found(site, receiver, list(messages)) == messages
    expire_receipts(site.database, START_MS + 9 * DAY_MS)
    assert periods_of(site) == []


def test_periods_expire_with_their_day(direct: Harness) -> None:
    """Messages that nobody moved expire with their day, and so do their periods."""
    site = ReceiptSite(direct.opened())
    receiver = site.receiver()
    register_some(site, {f"m{number}": "u1" for number in range(9)}, {"receiver": receiver.id})
    expire_receipts(site.database, START_MS + 7 * DAY_MS)
    assert len(periods_of(site)) == 3
    expire_receipts(site.database, START_MS + 8 * DAY_MS)
    with site.database.read() as connection:
        assert periods_kept(connection) == []
    assert periods_of(site) == []


def test_an_erasure_finds_a_message_that_moves_meanwhile(direct: Harness, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whenever messages move while an erasure goes through the periods, none of the user stays."""
    for at in (1, 2, 4):
        site = ReceiptSite(direct.opened(), next(_shops))
        receiver = site.receiver()
        messages = {f"m{number}": "erased" if number % 2 else "kept" for number in range(9)}
        register_some(site, messages, {"receiver": receiver.id})
        write, calls = site.database.write, count()

        def moving(run: Any, at: int = at, write: Any = write, calls: Any = calls, site: Any = site) -> Any:
            if next(calls) == at:
                with monkeypatch.context() as patch:
                    patch.setattr(site.database, "write", write)
                    settle_register(site.database, START_MS + DAY_MS)
            return write(run)

        monkeypatch.setattr(site.database, "write", moving)
        forget(site.database, site.trackpoint, ["erased"], site.now_ms, block=False)

        with site.database.read() as connection:
            rows = connection.execute(select(sent.c.user_id).where(sent.c.trackpoint == site.trackpoint))
            assert [row.user_id for row in rows] == [b"kept"] * 5, at
        site.database.close()


def test_many_users_are_erased_at_once(direct: Harness) -> None:
    """An erasure of more users than a statement takes values, as it may follow a restore, leaves nothing of them."""
    site = ReceiptSite(direct.opened())
    many = [f"u{number}" for number in range(70_000)]
    register_some(site, {"m1": many[0], "m2": many[-1], "m3": "kept"}, {"receiver": site.receiver().id})
    erase_receipts(site.database, site.trackpoint, UsersNamed(site.trackpoint, many), site.now_ms)
    with site.database.read() as connection:
        (period,) = periods_kept(connection)
        assert list(users_sent_to(connection, period, site.trackpoint)) == ["kept"]


def test_a_receipt_finds_a_message_that_is_about_to_move(direct: Harness, monkeypatch: pytest.MonkeyPatch) -> None:
    """A message does not move between the moments in which a receipt learns the periods and looks into them.

    Without the lock of the shop, the receipt would look into the old period only, and wait in vain.
    """
    if not isinstance(direct, PostgresHarness):
        pytest.skip("SQLite has one writer")
    one = ReceiptSite(direct.opened())
    other = direct.opened()
    receiver = one.receiver()
    register_some(one, {"abc": "u1"}, {"receiver": receiver.id})
    has_looked, may_go_on = threading.Event(), threading.Event()
    module: Any = recording
    learn = module.periods_of

    def slow(rows: list[tuple[int]]) -> list[int]:
        found: list[int] = learn(rows)
        has_looked.set()
        assert may_go_on.wait(WAIT_MAX_SECONDS)
        return found

    monkeypatch.setattr(recording, "periods_of", slow)
    with ThreadPoolExecutor(2) as threads:
        fields = {"d": 1, "A": "", "F": "abc", "T": START_MS // 1000}
        receiving = threads.submit(one.receive, receiver, fields)
        assert has_looked.wait(WAIT_MAX_SECONDS)
        settling = threads.submit(settle_register, other, START_MS + DAY_MS)
        while direct.query("SELECT count(*) FROM pg_locks WHERE NOT granted") == [(0,)]:
            assert not settling.done()
        may_go_on.set()
        assert receiving.result(WAIT_MAX_SECONDS) == ["recorded"]
        settling.result(WAIT_MAX_SECONDS)
    assert periods_of(one) == [START_MS // DAY_MS]


steps = st.lists(
    st.one_of(
        st.dictionaries(st.sampled_from([f"m{number}" for number in range(IDS)]), st.sampled_from(["a", "b", "c"])),
        st.just("a day passes"),
        st.just("settle"),
    ),
    max_size=12,
)


@pytest.mark.parametrize("examples", few_or_many(8, 200))
def test_the_latest_message_counts_wherever_it_is(direct: Harness, examples: int) -> None:
    """After any registrations, days and moves, a receipt finds the user who was registered last for its id."""
    database = direct.opened()

    @settings(max_examples=examples if isinstance(direct, PostgresHarness) else 5 * examples)
    @given(steps)
    def plays(done: list[Any]) -> None:
        """Register, move, and compare with a dictionary."""
        site = ReceiptSite(database, next(_shops))
        receiver = site.receiver()
        model: dict[str, str] = {}
        for step in done:
            if step == "a day passes":
                site.now_ms += DAY_MS
            elif step == "settle":
                settle_register(database, site.now_ms)
            else:
                register_some(site, step, {"gateway": "kannel"})
                model |= step
        ids = [f"m{number}" for number in range(IDS)]
        assert users_found(site, receiver, ids) == {one: model.get(one, "") for one in ids}

    plays()
