"""Trusted time in the database: kept by all processes together, and nothing is lost by a wrong clock."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path
from queue import SimpleQueue
from typing import TYPE_CHECKING

import pytest
import structlog
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from smsevents.accounts.access import Access
from smsevents.catalog import open_catalog
from smsevents.catalog.checks import Check, State
from smsevents.catalog.leases import LEASE_SECONDS, take_lease
from smsevents.clock.system import Clocks, Reading, start_of_machine
from smsevents.clock.trusted import Doubt
from smsevents.errors import InvalidLines, StoreUnavailable, TimeInDoubt, Unauthorized
from smsevents.log.log import Log
from smsevents.segments.splice import unpack
from smsevents.timekeeper import Herald, Timekeeper
from smsevents.upkeep.compaction import compact_shop
from smsevents.wire.limits import HISTORY_MS
from smsevents.wire.results import ImportResult
from smsevents.wire.window import resolve
from smsevents.worker.attendance import IDLE_MAX_SECONDS, Attendant, attended
from smsevents.worker.worker import LEASE, UpkeepWorker
from tests.support.clocks import FakeMachine
from tests.support.databases import file_of, query
from tests.support.lines import DAY_MS, HOUR_MS, MINUTE_MS, body_of, date_of, line

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from smsevents.catalog import Database

SHOP = 7
MINUTES_OF_A_DAY = 24 * 60


class Running:
    """A log on a machine whose clocks a test sets, with one long process, its upkeep worker, and short ones."""

    def __init__(self, folder: Path) -> None:
        """Make the log under right clocks."""
        self.machine = FakeMachine()
        self.path = folder / "log.db"
        self.database: Database = open_catalog(f"sqlite:///{self.path}")
        Access(self.database, self.clocks.wall_ms).add_shop(SHOP, "")
        self.restarted()
        self.acknowledged: set[bytes] = set()

    @property
    def clocks(self) -> Clocks:
        """The clocks of the machine."""
        return self.machine.clocks

    def restarted(self) -> None:
        """Let the processes be new ones."""
        self.timekeeper = Timekeeper(self.database, self.clocks)
        self.worker = UpkeepWorker(self.database, self.clocks.wall_ms, Timekeeper(self.database, self.clocks))

    def put(self, lines: Iterable[bytes], timekeeper: Timekeeper | None = None) -> ImportResult:
        """Import lines, and remember that they were acknowledged, as an import does."""
        lines = list(lines)
        timekeeper = timekeeper or self.timekeeper
        log = Log(self.database, self.clocks.wall_ms, timekeeper)
        with log.recording(SHOP, gzip=False) as recorder:
            recorder.feed(body_of(lines))
            result, stored = recorder.finish()
            stored.result()
        self.acknowledged.update(lines)
        return result

    def exported(self) -> set[bytes]:
        """Export the history by right clocks."""
        now = self.machine.true_ms
        window = resolve(now - HISTORY_MS, now + DAY_MS, now)
        pages = Log(self.database, lambda: now).read(SHOP, window)
        return set(b"".join(unpack(pages)).splitlines())

    def expected(self) -> set[bytes]:
        """Return the acknowledged lines that are still part of the history."""
        return {one for one in self.acknowledged if date_of(one) >= self.machine.true_ms - HISTORY_MS}

    def stored(self) -> int:
        """Return how many events the database stores, including those that are no longer exported."""
        return int(query(file_of(self.database), "SELECT coalesce(sum(events), 0) FROM segments")[0][0])

    def old_line(self, days: float) -> bytes:
        """Return the line of an event that happened that many days ago."""
        return line(SHOP, self.machine.true_ms - int(days * DAY_MS))


@pytest.fixture
def running(tmp_path: Path) -> Iterator[Running]:
    """Yield a running log with events of the complete history."""
    made = Running(tmp_path)
    made.timekeeper.note()
    made.put(made.old_line(days) for days in (89, 60, 30, 1, 0))
    assert made.worker.round()
    yield made
    made.database.close()


class Clockwork(RuleBasedStateMachine):
    """Clocks set at random, restarts, imports and upkeep: no acknowledged event of the last 90 true days is lost."""

    @initialize()
    def begin(self) -> None:
        """Begin with an empty log."""
        self.folder = Path(tempfile.mkdtemp(prefix="smsevents-clockwork-"))
        self.log = Running(self.folder)
        self.count = 0

    @rule(ages=st.lists(st.integers(0, 95 * MINUTES_OF_A_DAY), min_size=1, max_size=5), one_off=st.booleans())
    def events_come_in(self, ages: list[int], one_off: bool) -> None:
        """Import events, in the server or by a command."""
        self.count += 1
        now = self.log.machine.true_ms
        lines = [line(SHOP, now - age * MINUTE_MS, f"{self.count}.{number}") for number, age in enumerate(ages)]
        try:
            self.log.put(lines, Timekeeper(self.log.database, self.log.clocks) if one_off else None)
        except TimeInDoubt:
            pass  # they are sent again later
        except InvalidLines as error:
            raise AssertionError("refused for good") from error

    @rule(minutes=st.integers(0, 5) | st.integers(0, 3 * MINUTES_OF_A_DAY))
    def time_passes(self, minutes: int) -> None:
        """Let time pass."""
        self.log.machine.passes(minutes * MINUTE_MS)

    @rule(
        hours=st.sampled_from([-24 * 400, -24 * 100, -30, -2, 0, 0, 0, 0, 1, 2, 30, 24 * 6, 24 * 8, 24 * 100, 24 * 400])
    )
    def clock_is_set(self, hours: int) -> None:
        """Set the wall clock, mostly right."""
        self.log.machine.wrong_ms = hours * HOUR_MS

    @rule()
    def the_time_is_noted(self) -> None:
        """Let the server note the time."""
        self.log.timekeeper.note()

    @rule()
    def worker_works(self) -> None:
        """Let the upkeep worker do a round."""
        self.log.worker.round()

    @rule()
    def everything_is_compacted(self) -> None:
        """Compact by hand."""
        judgement = Timekeeper(self.log.database, self.log.clocks).note()
        compact_shop(self.log.database, SHOP, judgement.old_by_ms)

    @rule(off=st.integers(0, 20 * MINUTES_OF_A_DAY), starts=st.booleans())
    def processes_start_again(self, off: int, starts: bool) -> None:
        """Start the processes again, or the machine."""
        if starts:
            self.log.machine.restart(off * MINUTE_MS)
        self.log.restarted()

    @invariant()
    def nothing_is_lost(self) -> None:
        """By the true time, each acknowledged event is there."""
        if hasattr(self, "log"):
            assert self.log.expected() <= self.log.exported()

    def teardown(self) -> None:
        """With a right clock and live events for a day, doubt ends, and what is old leaves."""
        if not hasattr(self, "log"):
            return
        self.log.machine.wrong_ms = 0
        self.log.worker.release_lease()
        for hour in range(27):
            self.log.machine.passes(HOUR_MS)
            # as many as outvote what contradicted the clock before
            for number in range(1 + self.count if hour == 0 else 1):
                self.log.put([line(SHOP, self.log.machine.true_ms, f"live {hour} {number}")])
            judgement = self.log.timekeeper.note()
        assert judgement.doubt is None
        assert judgement.late_ms == 0
        self.log.worker.round()
        self.nothing_is_lost()
        self.log.machine.passes(6 * DAY_MS)
        oldest = min((date_of(one) for one in self.log.exported()), default=0)
        self.log.restarted()
        self.log.worker.round()
        ((ends,),) = query(file_of(self.log.database), "SELECT min(last_date) FROM segments")
        assert ends >= self.log.machine.true_ms - HISTORY_MS - HOUR_MS
        assert oldest == min((date_of(one) for one in self.log.exported()), default=0)
        self.log.database.close()
        shutil.rmtree(self.folder)


Clockwork.TestCase.settings = settings(max_examples=15, stateful_step_count=30, deadline=None)
TestClockwork = pytest.mark.slow(Clockwork.TestCase)


def test_a_clock_ahead_deletes_nothing(running: Running) -> None:
    """A clock that is ahead for a while deletes nothing, and what is imported meanwhile is stored."""
    running.machine.passes(MINUTE_MS)
    running.machine.wrong_ms = 100 * DAY_MS
    for _ in range(3):
        running.machine.passes(15_000)
        assert running.put([running.old_line(2)]) == ImportResult(1, 0)
        assert running.worker.round()
    running.machine.wrong_ms = 0

    assert running.worker.round()
    assert running.exported() == running.expected()
    assert len(running.exported()) == 8
    assert running.timekeeper.note().doubt is None


@pytest.mark.parametrize("hours_behind", [2, 23, 24, 25, 400])
def test_a_clock_behind_when_time_is_first_noted_refuses_nobody_for_good(tmp_path: Path, hours_behind: int) -> None:
    """If the clock is before the time at which the shop was added, an event far ahead of it is refused for now only."""
    log = Running(tmp_path)
    log.machine.restart(6 * HOUR_MS)
    log.machine.wrong_ms = -(hours_behind + 6) * HOUR_MS
    log.restarted()

    ahead = line(SHOP, log.machine.true_ms + 25 * HOUR_MS)
    with pytest.raises(TimeInDoubt):
        log.put([ahead])
    assert log.stored() == 0

    log.machine.wrong_ms = 0
    log.machine.passes(25 * HOUR_MS)
    assert log.put([ahead]) == ImportResult(1, 0)
    log.database.close()


def test_a_round_deletes_by_the_time_that_passed(running: Running) -> None:
    """After a machine was off for three days, what became old meanwhile goes only when events bear the clock out."""
    running.machine.restart(3 * DAY_MS)
    running.restarted()
    assert running.worker.round()
    assert running.stored() == 5
    for _ in range(2):
        running.machine.passes(HOUR_MS)
        running.put([running.old_line(0)])
        running.timekeeper.note()
    assert running.worker.round()
    assert running.stored() == 6  # 5 + 2 - 1
    assert running.exported() == running.expected()


def test_a_clock_behind_refuses_nobody_for_good(running: Running) -> None:
    """A date that a clock in doubt calls far ahead is refused for now; by a clock that is trusted, for good."""
    running.machine.passes(MINUTE_MS)
    future = running.old_line(-3)
    with pytest.raises(InvalidLines, match="24 hours ahead of the server's clock; send Unix milliseconds"):
        running.put([future])
    running.machine.wrong_ms = -100 * DAY_MS
    with pytest.raises(TimeInDoubt, match=r"Nothing was stored. Line 2: .* But that clock may be wrong"):
        running.put([running.old_line(120), running.old_line(0)])
    with pytest.raises(InvalidLines, match="not JSON"):  # what is wrong by any clock is refused as ever
        running.put([running.old_line(0), b"{"])
    assert running.stored() == 5


def test_a_clock_that_starts_behind_refuses_nobody_for_good(running: Running) -> None:
    """A machine that begins with the time of its last stop, and was off for days, refuses what is new only for now."""
    running.machine.wrong_ms = -5 * DAY_MS
    running.machine.restart(5 * DAY_MS)
    running.restarted()
    assert running.timekeeper.note().doubt is None  # nothing shows that the clock is wrong
    with pytest.raises(TimeInDoubt):
        running.put([running.old_line(0)])
    running.machine.wrong_ms = 0
    running.put([running.old_line(0)])
    assert running.exported() == running.expected()


def test_compaction_leaves_nothing_out_in_doubt(running: Running) -> None:
    """While time is in doubt, segments are merged with all that is in them, also by the upkeep worker."""
    running.machine.wrong_ms = 100 * DAY_MS
    for number in range(20):
        running.put([line(SHOP, running.machine.true_ms - 50 * DAY_MS - number)])
    before = running.stored()
    assert running.worker.round()
    judgement = Timekeeper(running.database, running.clocks).note()
    assert judgement.doubt
    compact_shop(running.database, SHOP, judgement.old_by_ms)
    assert running.stored() == before
    assert running.exported() == running.expected()


def test_what_one_process_finds_all_know(running: Running) -> None:
    """A doubt that one process noted is known to the others, and so is its end."""
    other = Timekeeper(running.database, running.clocks)
    assert other.judge().doubt is None
    running.machine.passes(MINUTE_MS)
    running.machine.wrong_ms = 5 * DAY_MS
    assert running.timekeeper.note().doubt == Doubt.JUMPED
    running.machine.passes(5000)
    assert other.judge().doubt == Doubt.JUMPED
    other.trust_clock()
    running.machine.passes(5000)
    assert running.timekeeper.judge().doubt is None
    assert running.timekeeper.note().trusted_ms == running.machine.true_ms + 5 * DAY_MS


def test_a_jump_is_seen_at_once(running: Running) -> None:
    """A process need not note the time to see that the clock jumped since it did."""
    running.timekeeper.note()
    running.machine.wrong_ms = 3 * HOUR_MS
    assert running.timekeeper.judge_remembered().doubt == Doubt.JUMPED
    running.machine.wrong_ms = 0
    assert running.timekeeper.judge_remembered().doubt is None


def test_a_new_log_trusts_its_clock(tmp_path: Path) -> None:
    """A log that is first used some days after its shop was made is not in doubt, and drops what is old."""
    made = Running(tmp_path)
    made.machine.restart(5 * DAY_MS)
    made.restarted()
    assert made.timekeeper.judge_remembered().doubt is None
    assert made.timekeeper.note().is_certain
    assert made.put([made.old_line(91), made.old_line(1)]) == ImportResult(2, 1)
    made.database.close()


def test_a_new_log_under_a_clock_ahead_drops_nothing(tmp_path: Path) -> None:
    """A log whose shop was made under a right clock stores what comes in under a clock that is ahead."""
    made = Running(tmp_path)
    made.machine.wrong_ms = 100 * DAY_MS
    assert made.timekeeper.judge().doubt == Doubt.AHEAD
    assert made.put([made.old_line(89), made.old_line(0)]) == ImportResult(2, 0)
    assert made.worker.round()
    assert made.exported() == made.expected()
    made.database.close()


def test_an_upgraded_log_is_held_to_its_newest_event(tmp_path: Path) -> None:
    """A log that is upgraded after it was not in use for a month is in doubt: it is not emptied."""
    made = Running(tmp_path)
    made.put(made.old_line(days) for days in (80, 0))
    query(made.path, "DELETE FROM trusted_time")
    made.machine.restart(30 * DAY_MS)
    made.restarted()

    assert made.timekeeper.judge().doubt == Doubt.AHEAD
    assert made.worker.round()
    assert made.stored() == 2
    made.timekeeper.trust_clock()
    assert made.worker.round()
    assert made.stored() == 1
    made.database.close()


def test_what_imports_said_is_kept_when_the_time_cannot_be_noted(running: Running) -> None:
    """A database that is closed loses the note, not the process."""
    running.database.close()
    with pytest.raises(StoreUnavailable):
        running.timekeeper.note()
    with structlog.testing.capture_logs() as logs:
        Attendant(running.timekeeper, upkeep=True).look()
    assert [entry["event"] for entry in logs] == ["time not noted"]
    running.database = open_catalog(f"sqlite:///{running.path}")


def test_a_lease_of_a_clock_that_was_ahead_is_not_valid(running: Running) -> None:
    """A lease that ends later than one that is taken now does not keep the upkeep waiting."""
    now = running.machine.true_ms
    length = LEASE_SECONDS * 1000
    running.worker.release_lease()
    for ahead_ms, is_taken in ((100 * DAY_MS, True), (1, True), (0, False), (-1, False), (-length, True)):
        query(running.path, "INSERT OR REPLACE INTO leases VALUES (?, 'other', ?)", LEASE, now + ahead_ms + length)
        assert running.database.write(lambda c: take_lease(c, LEASE, "mine", now, now + length)) is is_taken


def test_doubt_is_said_once_and_again_each_hour(running: Running) -> None:
    """The log says when time comes into doubt, each hour while it is, and when it is no longer."""
    seconds = 0.0
    herald = Herald(lambda: seconds)
    with structlog.testing.capture_logs() as logs:
        herald.hear(running.timekeeper.note())
        running.machine.wrong_ms = 100 * DAY_MS
        for seconds in (10.0, 20.0, 3700.0):  # noqa: B007 -- the herald reads it
            herald.hear(running.timekeeper.note())
        running.machine.wrong_ms = 0
        herald.hear(running.timekeeper.note())
    assert [(entry["event"], entry["log_level"]) for entry in logs] == [
        ("time in doubt", "warning"),
        ("time in doubt", "warning"),
        ("time trusted again", "info"),
    ]
    assert logs[0]["reason"] == "jumped"
    assert "by the time that passed it should be about" in logs[0]["detail"]
    assert "smsevents expire --force" in logs[0]["what_to_do"]


def test_upkeep_that_does_not_work_is_a_warning(running: Running) -> None:
    """When no upkeep worker worked for 10 minutes, a server says so, every 10 minutes; unless there is to be none."""
    seconds = 0.0
    attendant, other = (
        Attendant(running.timekeeper, upkeep=upkeep, monotonic=lambda: seconds) for upkeep in (True, False)
    )
    warned = []
    for minute in range(36):
        seconds = minute * 60.0
        with structlog.testing.capture_logs() as logs:
            attendant.look()
            other.look()
        if logs:
            assert [entry["event"] for entry in logs] == ["no upkeep"]
            warned.append((minute, logs[0]["idle_seconds"] // 60))
        running.machine.passes(MINUTE_MS)
        if minute == 22:
            running.worker.round()
    assert warned == [(11, 11), (21, 21), (34, 11)]
    assert IDLE_MAX_SECONDS == 600


def test_concerns_are_logged_until_they_end(running: Running) -> None:
    """What is not in order is logged when that changes and every hour while it lasts, and once when it ends."""
    seconds = 0.0
    state = State.OK
    attendant = Attendant(
        running.timekeeper,
        upkeep=False,
        concerns=lambda: [Check("clock", state, "told")],
        monotonic=lambda: seconds,
    )
    seen = []
    for minute in range(150):
        seconds = minute * 60.0
        state = State.OK if minute < 10 or minute >= 140 else State.WARNING if minute < 80 else State.WRONG
        with structlog.testing.capture_logs() as logs:
            attendant.look()
        seen += [(minute, entry["event"], entry["what"]) for entry in logs]
    attention = [(minute, "needs attention", "clock") for minute in (10, 70, 80)]
    assert seen == [*attention, (140, "in order again", "clock")]


def test_events_in_memory_are_forgotten_regularly(running: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    """A process that serves forgets the events that it keeps in memory again and again."""
    monkeypatch.setattr("smsevents.worker.attendance.NOTE_INTERVAL_SECONDS", 0.01)
    times: SimpleQueue[bool] = SimpleQueue()
    with attended(running.timekeeper, upkeep=False, forget=lambda: times.put(True)):
        assert times.get(timeout=60)
        assert times.get(timeout=60)


def test_keys_and_a_clock_in_doubt(running: Running) -> None:
    """An expired key stays expired when the clock is set back; a good one is refused only for now by one ahead."""
    access = Access(running.database, running.clocks.wall_ms, timekeeper=running.timekeeper)
    ends = running.machine.true_ms + DAY_MS
    key = access.create_key(SHOP, ["import"], expires_ms=ends)
    running.timekeeper.note()
    access.authenticate(key)

    running.machine.wrong_ms = 100 * DAY_MS
    with pytest.raises(TimeInDoubt, match=r"By the server's clock the API key .* has expired, but that clock may"):
        access.authenticate(key)
    running.machine.wrong_ms = 0
    access.authenticate(key)
    running.machine.passes(DAY_MS)
    running.timekeeper.note()
    running.machine.wrong_ms = -10 * DAY_MS
    with pytest.raises(Unauthorized, match="has expired"):
        access.authenticate(key)
    running.machine.wrong_ms = 0
    with pytest.raises(Unauthorized, match="has expired"):
        access.authenticate(key)


def test_the_clocks_of_this_machine() -> None:
    """The clock that cannot be set goes on, and all its readings are of one start of the machine."""
    clocks = Clocks()
    one, following = clocks.read(), clocks.read()
    assert isinstance(one, Reading)
    assert one.start == following.start == start_of_machine()
    assert 0 < one.since_start_ms <= following.since_start_ms
