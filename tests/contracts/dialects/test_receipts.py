"""Delivery receipts on every dialect: what is recorded, what waits, what is remembered, and what leaves again."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from itertools import count
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from smsevents.catalog.dialects.base import dialect_of
from smsevents.catalog.periods import days_kept
from smsevents.catalog.receivers import count_receipts, find_receiver
from smsevents.catalog.shops import block_user
from smsevents.errors import InvalidLines, TimeInDoubt
from smsevents.receipts import register as register_module
from smsevents.receipts.call import read_receipts
from smsevents.receipts.gateways import gateway_of
from smsevents.receipts.message_ids import normalized
from smsevents.receipts.recording import prepare
from smsevents.receipts.times import zone_of
from smsevents.upkeep.erasure import forget
from smsevents.upkeep.receipt_rows import WAITING_MAX_MS, expire_receipts
from smsevents.wire.events import digest_of
from smsevents.wire.limits import DAY_MS, HOUR_MS
from smsevents.wire.reference import encode_reference
from tests.contracts.dialects.harness import PostgresHarness
from tests.support.campaigns import few_or_many
from tests.support.ingests import certain
from tests.support.receipts import START_MS, ReceiptSite, line_of, one_off, sent_line

if TYPE_CHECKING:
    from smsevents.catalog import Database
    from tests.contracts.dialects.harness import Harness

MINUTE_MS = 60_000
SENT = one_off(START_MS - MINUTE_MS)
REF = encode_reference("u1", SENT)
WAIT_MAX_SECONDS = 30
# for what no dialect does in its own way: a database of PostgreSQL takes a second to create
ONE_DIALECT = pytest.mark.parametrize("direct", ["sqlite"], indirect=True)
_shops = count(1000)


# what a pooler changes is in the tests of the dialect
def delivered(date_ms: int, user: str = "u1", source: Any = SENT) -> bytes:
    """Return the line of a delivery to a user of the shop."""
    return line_of(7, user, "DELIVERED", date_ms, source)


def kannel(status: int | str = 1, **more: Any) -> dict[str, Any]:
    """Return the fields of a call by Kannel, at the start unless `T` says otherwise."""
    return {"d": status, "A": "", "F": "", "T": START_MS // 1000, **more}


def test_a_receipt_becomes_an_event_and_its_repeats_change_nothing(site: ReceiptSite) -> None:
    """A receipt with a reference is one event at the gateway's time, however often and however late it is repeated."""
    receiver = site.receiver()

    for _ in range(3):
        assert site.receive(receiver, kannel(), REF) == ["recorded"]
        site.now_ms += HOUR_MS

    assert site.lines() == [delivered(START_MS)]


@ONE_DIALECT
def test_each_receipt_of_a_message_is_an_event_of_its_own(site: ReceiptSite) -> None:
    """A message that was accepted, expired and then delivered after all has three events: none overwrites another."""
    receiver = site.receiver()
    for at, (kind, answer) in enumerate([(8, "ACK/"), (2, "id:1 stat:EXPIRED err:000"), (1, "stat:DELIVRD")]):
        site.receive(receiver, kannel(kind, A=answer, T=START_MS // 1000 + at), REF)

    statuses = [line.split(b'"status":"')[1].split(b'"')[0] for line in site.lines()]
    assert statuses == [b"ACCEPTED", b"EXPIRED", b"DELIVERED"]


@ONE_DIALECT
@pytest.mark.parametrize("ahead_ms", [None, 5 * MINUTE_MS + 1000, 3 * HOUR_MS])
def test_without_a_usable_time_the_first_arrival_counts(site: ReceiptSite, ahead_ms: int | None) -> None:
    """A receipt without a time, or too far ahead, gets the time of its first arrival, also when it is repeated."""
    receiver = site.receiver()
    time = {} if ahead_ms is None else {"T": (site.now_ms + ahead_ms) // 1000}
    fields = {"d": 1, "F": "1a2b", **time}
    first_ms = site.now_ms

    for _ in range(3):
        assert site.receive(receiver, fields, REF) == ["recorded"]
        site.now_ms += HOUR_MS  # the time of the gateway may have come meanwhile

    assert site.lines() == [delivered(first_ms)]


@ONE_DIALECT
def test_a_time_five_minutes_ahead_is_the_gateways(site: ReceiptSite) -> None:
    """Clocks differ a little: a time up to five minutes ahead is kept."""
    ahead_ms = START_MS + 5 * MINUTE_MS

    site.receive(site.receiver(), kannel(T=ahead_ms // 1000), REF)

    assert site.lines() == [delivered(ahead_ms)]


@ONE_DIALECT
def test_in_doubt_a_time_ahead_is_not_decided(site: ReceiptSite) -> None:
    """While the clock is in doubt, a receipt more than 5 minutes ahead is refused for now, and nothing is stored."""
    receiver = site.receiver()
    fields = kannel(T=(START_MS + 5 * MINUTE_MS + 1000) // 1000)
    receipts, _ = read_receipts(gateway_of("kannel"), [fields], zone_of("UTC"))
    doubtful = certain(START_MS)
    object.__setattr__(doubtful, "doubt", "jumped")
    arrival = prepare(receiver, receipts, REF, doubtful)

    with pytest.raises(TimeInDoubt, match="5 minutes ahead"):
        site.record(arrival).result()

    assert site.lines() == []
    assert site.receive(receiver, fields, REF) == ["recorded"]  # the doubt has ended
    assert site.receive(receiver, fields, REF) == ["recorded"]
    assert site.lines() == [delivered(START_MS)]


def test_a_registered_message_is_found_by_its_id(site: ReceiptSite) -> None:
    """A receipt without a reference finds user and source in the register, by receiver or by gateway."""
    receiver = site.receiver()
    site.sent(
        sent_line({"receiver": receiver.id}, "1A2B3C00", "u1", SENT),
        sent_line({"gateway": "kannel"}, "77", "u2", SENT),
    )

    assert site.receive(receiver, kannel(F="0x1a2b3c00")) == ["recorded"]
    assert site.receive(receiver, kannel(F="0077")) == ["recorded"]
    assert site.receive(receiver, kannel(F=str(0x1A2B3C00))) == ["recorded"]

    assert site.lines() == [delivered(START_MS), delivered(START_MS, "u2")]


@ONE_DIALECT
def test_a_message_of_one_receiver_is_not_one_of_another(site: ReceiptSite) -> None:
    """The same id at two receivers is two messages: each receipt finds that of its own receiver."""
    one, other = site.receiver(), site.receiver()
    site.sent(
        sent_line({"receiver": one.id}, "1", "u1", SENT),
        sent_line({"receiver": other.id}, "1", "u2", SENT),
    )

    site.receive(other, kannel(F="1"))

    assert site.lines() == [delivered(START_MS, "u2")]


@ONE_DIALECT
def test_short_numbers_are_not_taken_for_another_notation(site: ReceiptSite) -> None:
    """Consecutive decimal ids are never mixed up: 10 is not 16, although it would be in hexadecimal."""
    receiver = site.receiver()
    site.sent(sent_line({"receiver": receiver.id}, "16", "u1", SENT))

    assert site.receive(receiver, kannel(F="10")) == ["waiting"]

    assert site.lines() == []


def test_an_early_receipt_waits_for_its_message(site: ReceiptSite) -> None:
    """Receipts that come before their message are recorded with it, at their own times, and wait no longer."""
    receiver = site.receiver()
    assert site.receive(receiver, kannel(F="abc")) == ["waiting"]
    assert site.receive(receiver, kannel(F="ABC")) == ["waiting"]
    assert site.receive(receiver, {"d": 8, "F": "abc"}) == ["waiting"]
    first_ms = site.now_ms
    site.now_ms += 71 * HOUR_MS
    expire_receipts(site.database, site.now_ms)
    line = sent_line({"gateway": "kannel"}, "abc", "u1", SENT, accepted=START_MS - 1)

    results = [site.sent(line), site.sent(line)]

    assert [(one.received, one.matched) for one in results] == [(1, 2), (1, 0)]
    assert site.receive(receiver, {"d": 8, "F": "abc"}) == ["recorded"]
    assert site.lines() == [
        line_of(7, "u1", "ACCEPTED", START_MS - 1, SENT),
        line_of(7, "u1", "ACCEPTED", first_ms, SENT),
        delivered(START_MS),
    ]
    with site.database.read() as connection:
        assert count_receipts(connection) == (0, 0)


def test_a_receipt_that_waited_too_long_is_unmatched(site: ReceiptSite) -> None:
    """After 72 hours a receipt waits no longer, and its receiver counts it. A doubtful clock drops nothing."""
    receiver = site.receiver()
    site.receive(receiver, kannel(F="abc"))
    site.now_ms += WAITING_MAX_MS + 1
    assert expire_receipts(site.database, 0) == 0

    assert expire_receipts(site.database, site.now_ms) == 1

    with site.database.read() as connection:
        assert count_receipts(connection) == (0, 1)
        found = find_receiver(connection, receiver.id)
    assert found is not None
    assert found.unmatched == 1
    assert site.sent(sent_line({"receiver": receiver.id}, "abc", "u1", SENT)).matched == 0
    assert site.lines() == []


def test_the_register_is_kept_for_a_week(site: ReceiptSite) -> None:
    """A registered message and a first arrival are kept for seven days, and then leave."""
    receiver = site.receiver()
    site.sent(sent_line({"receiver": receiver.id}, "abc", "u1", SENT))
    site.receive(receiver, {"d": 8}, REF)

    expire_receipts(site.database, site.now_ms + 7 * DAY_MS)
    with site.database.read() as connection:
        assert len(days_kept(connection)) == 1
    site.receive(receiver, kannel(F="abc"))
    expire_receipts(site.database, site.now_ms + 8 * DAY_MS)

    with site.database.read() as connection:
        assert days_kept(connection) == []
        assert not connection.exec_driver_sql("SELECT 1 FROM sent").all()
        assert not connection.exec_driver_sql("SELECT 1 FROM first_arrivals").all()
    assert delivered(START_MS) in site.lines()


def test_a_blocked_user_leaves_no_trace(site: ReceiptSite, direct: Harness) -> None:
    """Receipts of a blocked user are dropped, by reference, by id, early or not; nothing about the user is stored."""
    user = "user-that-is-blocked"
    reference = encode_reference(user, SENT)
    receiver = site.receiver()
    site.receive(receiver, kannel(F="early"))
    site.database.write(lambda c: block_user(c, 7, digest_of(7, user), site.now_ms))

    assert site.receive(receiver, kannel(), reference) == ["blocked"]
    assert site.receive(receiver, {"d": 8}, reference) == ["blocked"]
    result = site.sent(
        sent_line({"receiver": receiver.id}, "early", user, SENT, accepted=START_MS),
        sent_line({"receiver": receiver.id}, "late", user, SENT),
    )
    assert (result.received, result.matched, result.blocked) == (2, 1, 2)
    assert site.receive(receiver, kannel(F="late")) == ["waiting"]

    assert site.lines() == []
    with site.database.read() as connection:
        assert not connection.exec_driver_sql("SELECT 1 FROM sent").all()
        assert not connection.exec_driver_sql("SELECT 1 FROM first_arrivals").all()
    assert user.encode() not in direct.bytes_stored()


def test_an_erasure_takes_the_register_along(site: ReceiptSite, direct: Harness) -> None:
    """An erasure deletes the user's registered messages and first arrivals from the files, and leaves others alone."""
    user = "user-to-be-erased"
    receiver = site.receiver()
    site.receive(receiver, {"d": 8, "F": "waited"})  # a first arrival whose user is named later
    site.sent(
        sent_line({"receiver": receiver.id}, "waited", user, SENT),
        sent_line({"receiver": receiver.id}, "unused", user, SENT),
        sent_line({"receiver": receiver.id}, "other", "u2", SENT),
    )
    site.receive(receiver, {"d": 1}, encode_reference(user, SENT))
    site.receive(receiver, {"d": 1}, encode_reference("u2", SENT))
    assert user.encode() in direct.bytes_stored()

    erased = forget(site.database, 7, [user], site.now_ms, block=False)

    assert (erased.events, erased.wiped) == (2, True)
    assert user.encode() not in direct.bytes_stored()
    assert site.receive(receiver, kannel(F="unused")) == ["waiting"]
    assert site.receive(receiver, kannel(F="other")) == ["recorded"]
    with site.database.read() as connection:
        assert len(connection.exec_driver_sql("SELECT 1 FROM sent").all()) == 1
        assert len(connection.exec_driver_sql("SELECT 1 FROM first_arrivals").all()) == 1


def test_any_user_id_can_be_registered_and_erased(site: ReceiptSite) -> None:
    """A user id may have any character, U+0000 too, as in an event."""
    receiver = site.receiver()
    site.sent(sent_line({"receiver": receiver.id}, "1", "a\0ž", SENT))
    assert site.receive(receiver, kannel(F="1")) == ["recorded"]

    assert forget(site.database, 7, ["a\0ž"], site.now_ms, block=True).events == 1

    assert site.lines() == []
    with site.database.read() as connection:
        assert not connection.exec_driver_sql("SELECT 1 FROM sent").all()


BAD_LINES = [
    (b'{"messageId":"1"}\n', "missing required field"),
    (sent_line({}, "1", "u", SENT), "either `receiver` or `gateway`"),
    (sent_line({"receiver": "a", "gateway": "kannel"}, "1", "u", SENT), "either `receiver` or `gateway`"),
    (sent_line({"receiver": "0123456789ab"}, "1", "u", SENT), "not the id of a receiver"),
    (sent_line({"gateway": "jasmin"}, "1", "u", SENT), "does not have a receiver in use"),
    (sent_line({"gateway": "kannel"}, "  ", "u", SENT), "blank"),
    (sent_line({"gateway": "kannel"}, "1", "u", one_off(1)), "`sendDate` 1 is not a time"),
    (sent_line({"gateway": "kannel"}, "1", "u", SENT, accepted=1), "`accepted` 1 is not a time"),
    (sent_line({"gateway": "kannel"}, "1", "u", SENT, accepted=START_MS + 2 * DAY_MS), "24 hours ahead"),
    (sent_line({"gateway": "kannel"}, "1", "u", SENT, other=1), "unknown field"),
    (b"x\n", "not JSON"),
]


@ONE_DIALECT
def test_bad_lines_of_the_register_are_named(site: ReceiptSite) -> None:
    """A line that cannot be registered is refused with its number, and nothing of the call is stored."""
    receiver = site.receiver()
    good = sent_line({"receiver": receiver.id}, "1", "u1", SENT)

    with pytest.raises(InvalidLines) as refused:
        site.sent(good, b"\n", *(line for line, _ in BAD_LINES))

    found = refused.value.bad_lines
    assert [bad.line for bad in found] == list(range(3, 3 + len(BAD_LINES)))
    assert all(reason in bad.reason for bad, (_, reason) in zip(found, BAD_LINES, strict=True))
    assert refused.value.malformed
    assert site.receive(receiver, kannel(F="1")) == ["waiting"]


SPELLINGS = (str, "{:x}".format, "{:X}".format, "0x{:x}".format, "00{}".format, "0{:X}".format, " {} ".format)
_messages = st.lists(st.integers(2**32, 2**64), min_size=1, max_size=4, unique=True)
_receipts = st.lists(
    st.tuples(
        st.integers(0, 3),  # the message
        st.booleans(),  # whether it is named by a reference
        st.sampled_from(SPELLINGS),
        st.sampled_from([("1", "DELIVERED"), ("4", "ACCEPTED"), ("16", "REJECTED"), ("34", "EXPIRED"), ("66", None)]),
        st.sampled_from(
            [None, 0, 7 * MINUTE_MS, -MINUTE_MS, -2 * HOUR_MS, 5 * HOUR_MS]
        ),  # its own time, after the start
    ),
    min_size=1,
    max_size=8,
)
_order = st.lists(
    st.tuples(st.integers(0, 11), st.sampled_from(SPELLINGS), st.booleans(), st.integers(0, 40)), max_size=24
)


def play(database: Database, messages: list[int], receipts: list[Any], order: list[Any]) -> None:
    """Let receipts and registrations come in an order, and compare the log with a model.

    The model: a receipt of a message that is named at some time is the event at the gateway's time, or at that of the
    first arrival if it has none, was more than five minutes ahead then, or is from before the message was sent.
    """
    site = ReceiptSite(database, next(_shops))
    receiver = site.receiver()
    sources = [one_off(START_MS - HOUR_MS, str(number)) for number in range(len(messages))]
    registered: set[int] = set()
    arrived: dict[Any, tuple[int, bool]] = {}
    for which, spelling, by_receiver, minutes in order:
        site.now_ms += minutes * MINUTE_MS
        if which < len(receipts):
            number, is_named, spelled, (kind, _), after_ms = receipts[which]
            number %= len(messages)
            time = {} if after_ms is None else {"T": (START_MS + after_ms) // 1000}
            fields = {"d": kind, "F": spelled(messages[number]), **time}
            reference = encode_reference(f"u{number}", sources[number]) if is_named else None
            outcomes = site.receive(receiver, fields, reference)
            is_impossible = after_ms is None or START_MS + after_ms > site.now_ms + 5 * MINUTE_MS or after_ms < -HOUR_MS
            key = (number, is_named, normalized(spelled(messages[number])), receipts[which][3], after_ms)
            arrived.setdefault(key, (site.now_ms if is_impossible else START_MS + (after_ms or 0), is_impossible))
            known = is_named or number in registered
            assert outcomes == ["not_recorded" if kind == "66" else "recorded" if known else "waiting"]
        elif which - len(receipts) < len(messages):
            number = which - len(receipts)
            scope = {"receiver": receiver.id} if by_receiver else {"gateway": "kannel"}
            site.sent(sent_line(scope, spelling(messages[number]), f"u{number}", sources[number]))
            registered.add(number)
    expected = {
        line_of(site.trackpoint, f"u{number}", status, date_ms, sources[number])
        for (number, is_named, _, (_, status), _), (date_ms, _) in arrived.items()
        if status is not None and (is_named or number in registered)
    }
    assert set(site.lines()) == expected
    assert len(site.lines()) == len(expected)


@pytest.mark.parametrize("examples", few_or_many(12, 300))
def test_any_order_repeats_and_spellings(direct: Harness, examples: int) -> None:
    """In any order, with any repeats, early receipts and spellings of ids, the log is that of the model."""
    database = direct.opened()

    @settings(max_examples=examples if isinstance(direct, PostgresHarness) else 5 * examples)
    @given(messages=_messages, receipts=_receipts, order=_order)
    def plays(messages: list[int], receipts: list[Any], order: list[Any]) -> None:
        play(database, messages, receipts, order)

    plays()


def test_a_receipt_and_its_message_at_the_same_moment(direct: Harness, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where a receipt and its line come at the same moment in two processes, one of them sees the other.

    Without the lock of the shop, both would look before the other has committed, and the receipt would wait in vain.
    """
    if not isinstance(direct, PostgresHarness):
        pytest.skip("SQLite has one writer")
    one = ReceiptSite(direct.opened())
    other = ReceiptSite(direct.opened(), exists=True)
    receiver = one.receiver()
    has_looked, may_commit = threading.Event(), threading.Event()
    real = vars(register_module)["any_waiting"]

    def slow(*arguments: Any) -> Any:
        found = real(*arguments)
        has_looked.set()
        assert may_commit.wait(WAIT_MAX_SECONDS)
        return found

    monkeypatch.setattr(register_module, "any_waiting", slow)
    with ThreadPoolExecutor(2) as threads:
        registering = threads.submit(one.sent, sent_line({"receiver": receiver.id}, "abc", "u1", SENT))
        assert has_looked.wait(WAIT_MAX_SECONDS)
        receiving = threads.submit(other.receive, receiver, kannel(F="abc"))
        while direct.query("SELECT count(*) FROM pg_locks WHERE NOT granted") == [(0,)]:
            assert not receiving.done()
        may_commit.set()
        registering.result(WAIT_MAX_SECONDS)
        assert receiving.result(WAIT_MAX_SECONDS) == ["recorded"]

    assert one.lines() == [delivered(START_MS)]


def test_receipts_of_one_commit_become_one_segment(site: ReceiptSite) -> None:
    """Receipts that wait for the same commit share a segment, and small last segments are replaced."""
    receiver = site.receiver()
    gateway = gateway_of("kannel")
    holding, may_end = threading.Event(), threading.Event()

    def hold(connection: Any) -> None:
        dialect_of(connection)
        holding.set()
        assert may_end.wait(WAIT_MAX_SECONDS)

    held = site.database.submit(hold)
    assert holding.wait(WAIT_MAX_SECONDS)
    waiting = []
    for at in range(50):
        reference = encode_reference(f"u{at}", SENT)
        receipts, _ = read_receipts(gateway, [{"d": "1", "T": str(START_MS // 1000)}], zone_of("UTC"))
        waiting.append(site.record(prepare(receiver, receipts, reference, certain(site.now_ms))))
    may_end.set()
    held.result()
    for one in waiting:
        one.result()
    site.receive(receiver, kannel(), REF)

    with site.database.read() as connection:
        assert connection.exec_driver_sql("SELECT count(*), sum(events) FROM segments").one() == (1, 50)
    assert len(site.lines()) == 50
