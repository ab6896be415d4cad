"""What the processes of the model do: each actor repeats one kind of work, in one process after the other.

A process is killed at random steps; the actor then goes on with a new one.
"""

from __future__ import annotations

from contextlib import ExitStack
from functools import partial
from typing import TYPE_CHECKING, Protocol

from smsevents.catalog.pack_store import check_replaced
from smsevents.catalog.packs import packs_of
from smsevents.errors import DamagedSegment, ObjectGone, StoreUnavailable
from smsevents.log.joining import Joining
from smsevents.log.log import Log
from smsevents.segments.splice import unpack
from smsevents.upkeep.collecting import collect
from smsevents.upkeep.compaction import compact_shop
from smsevents.upkeep.erasure import forget
from smsevents.upkeep.groups import PackSizes, Sizes, worth_merging
from smsevents.upkeep.packing import pack_settled
from smsevents.upkeep.retention import expire
from smsevents.wire.limits import HISTORY_MS
from smsevents.wire.window import Window
from tests.support.ingests import CertainTime
from tests.support.lines import DAY_MS, HOUR_MS, body_of
from tests.support.perils import Killed
from tests.support.plain_model import event_of

if TYPE_CHECKING:
    import random
    from collections.abc import Sequence
    from concurrent.futures import Future

    from smsevents.catalog import Database
    from tests.support.perils import Journal
    from tests.support.plain_model import Event, PlainModel

SHOP = 4541245641234564
# small, so that there are many of them, but not so small that a run writes nothing else
SIZES = Sizes(segment_bytes=3_000, packs=PackSizes(target_bytes=5_000, min_bytes=1_500, max_bytes=10_000))
DAYS = 12  # of the events
USERS = 12
ERASED = 4  # of the users
AGAIN_RATIO = 0.2  # of the lines: they were acknowledged before
JOINED_RATIO = 0.7  # of the imports
DAY_CHANGES_RATIO = 0.1  # of the imports; the other days come to rest meanwhile, and are packed
LATE_RATIO = 0.02  # of the events: they are of any day
OUTCOME_MAX_SECONDS = 120
KILL_RATIO = 0.012  # of the steps
PAGES_BYTES = (100, 3_000, 1_000_000)


class Stage:
    """What the actors share."""

    def __init__(self, model: PlainModel, journal: Journal, now: int) -> None:
        """Act at `now` (Unix ms)."""
        self.model = model
        self.journal = journal
        self.now = now

    @property
    def first_ms(self) -> int:
        """The time of the earliest event (Unix ms)."""
        return self.now - (DAYS + 2) * DAY_MS

    @property
    def old_by_ms(self) -> int:
        """The time at which the events have expired that have (Unix ms)."""
        return self.model.oldest_ms + HISTORY_MS

    def event(self, chance: random.Random, day: int) -> Event:
        """Return a new event of a day, counted from the first one, of any user."""
        date = self.first_ms + day * DAY_MS + chance.randrange(DAY_MS)
        return event_of(SHOP, date, f"user-{chance.randrange(USERS)}.", f"{chance.getrandbits(80):x}")

    def log(self, database: Database, *, joined: bool = False) -> Log:
        """Return the log of a database."""
        clock = partial(int, self.now)
        return Log(database, clock, CertainTime(clock), Joining(database) if joined else None)


class Actor(Protocol):
    """Does one kind of work, with pauses of up to `pause_max_seconds`.

    Its processes are killed at `kill_ratio` of their steps.
    """

    pause_max_seconds: float
    kill_ratio: float

    def act(self, database: Database, chance: random.Random) -> None:
        """Do one piece of work in a process. Raises `StoreUnavailable` and `Killed`, and anything that is wrong."""


class Importer:
    """Several clients of one process. What was not acknowledged is sent again, as clients do."""

    pause_max_seconds = 0.12
    kill_ratio = KILL_RATIO

    def __init__(self, stage: Stage) -> None:
        """Begin with nothing in doubt."""
        self._stage = stage
        self.doubtful: list[list[Event]] = []
        self._day = 0
        self._log: tuple[Database, Log] | None = None

    def act(self, database: Database, chance: random.Random) -> None:
        """Import some bodies at the same time."""
        if self._log is None or self._log[0] is not database:
            self._log = database, self._stage.log(database, joined=True)
        bodies = [*self.doubtful, *(self._new(chance) for _ in range(chance.randint(1, 3)))]
        self._stage.model.send(one for body in bodies for one in body)
        self.doubtful = []
        refused: list[BaseException] = []
        with ExitStack() as recorders:
            waiting = []
            for body in bodies:
                log = self._log[1] if chance.random() < JOINED_RATIO else self._stage.log(database)
                waiting.append((body, _submitted(log, body, recorders)))
            for body, stored in waiting:
                error = stored if isinstance(stored, BaseException) else stored.exception(OUTCOME_MAX_SECONDS)
                if error is None:
                    self._stage.model.acknowledge(body)
                    self._stage.journal.count("imports")
                else:
                    self.doubtful.append(body)
                    refused.append(error)
        if refused:  # anything unforeseen before a kill, and a kill before what passes
            raise min(refused, key=lambda error: (isinstance(error, StoreUnavailable), isinstance(error, Killed)))

    def _new(self, chance: random.Random) -> list[Event]:
        """Return a body of new events, most of them of one day, and of some that were sent before."""
        known = self._stage.model.acknowledged
        count = chance.randint(1, 20)
        again = chance.sample(known, min(len(known), sum(chance.random() < AGAIN_RATIO for _ in range(count))))
        if chance.random() < DAY_CHANGES_RATIO:
            self._day = chance.randrange(DAYS)
        events = [*again]
        for _ in range(count - len(again)):
            day = chance.randrange(DAYS) if chance.random() < LATE_RATIO else self._day
            events.append(self._stage.event(chance, day))
        return events


def _submitted(log: Log, body: Sequence[Event], recorders: ExitStack) -> Future[None] | Exception:
    """Import a body. Return its outcome, which may come later: until then, its recorder stays open."""
    try:
        recorder = recorders.enter_context(log.recording(SHOP, gzip=False))
        recorder.feed(body_of(one.line for one in body))
        return recorder.finish()[1]
    except (Killed, StoreUnavailable) as error:
        return error


class Packer:
    """Packs whatever overlaps nothing."""

    pause_max_seconds = 0.05
    kill_ratio = KILL_RATIO

    def __init__(self, stage: Stage) -> None:
        """Work at the time of a stage."""
        self._stage = stage

    def act(self, database: Database, chance: random.Random) -> None:  # noqa: ARG002 -- packs all there is
        """Pack."""
        done = pack_settled(database, SHOP, self._stage.old_by_ms, self._stage.now + DAY_MS, SIZES)
        self._stage.journal.count("segments packed", done.after)
        self._stage.journal.count("packings that lost a race", not done.whole and not done.gave_way)


class Compactor:
    """Merges what overlaps, also with packs."""

    pause_max_seconds = 0.15
    kill_ratio = KILL_RATIO

    def __init__(self, stage: Stage) -> None:
        """Work at the time of a stage."""
        self._stage = stage

    def act(self, database: Database, chance: random.Random) -> None:
        """Compact everything, or what is worth it."""
        choose = chance.choice([None, partial(worth_merging, sizes=SIZES)])
        done = compact_shop(database, SHOP, self._stage.old_by_ms, choose, SIZES)
        self._stage.journal.count("segments merged", done.before)
        self._stage.journal.count("compactions that lost a race", not done.whole and not done.gave_way)


class Eraser:
    """Erases one user after the other. One that was not completed is requested again."""

    pause_max_seconds = 0.3
    kill_ratio = KILL_RATIO / 4  # an erasure has hundreds of steps

    def __init__(self, stage: Stage, users: Sequence[str]) -> None:
        """Erase users, in order."""
        self._stage = stage
        self._left = list(users)

    @property
    def is_done(self) -> bool:
        """Whether all users were erased."""
        return not self._left

    def act(self, database: Database, chance: random.Random) -> None:
        """Erase the next user, perhaps."""
        if self.is_done or chance.random() < 0.6:
            return
        user = self._left[0]
        self._stage.model.begin_erasure(user)
        done = forget(database, SHOP, [user], database.dialect.now_ms(), block=True)
        self._stage.model.end_erasure(user)
        self._left.pop(0)
        self._stage.journal.count("users erased")
        self._stage.journal.count("erasures wiped at once", done.wiped)


class Expirer:
    """Lets the earliest events expire, hour by hour."""

    pause_max_seconds = 0.5
    kill_ratio = KILL_RATIO

    def __init__(self, stage: Stage) -> None:
        """Begin with the first event."""
        self._stage = stage

    def act(self, database: Database, chance: random.Random) -> None:
        """Let some hours expire, but never more than a third of all."""
        last = self._stage.first_ms + DAYS * DAY_MS // 3
        at = max(self._stage.model.oldest_ms, self._stage.first_ms)
        if at < last:
            self._stage.model.expire(min(last, at + chance.randrange(6) * HOUR_MS))
        done = expire(database, self._stage.old_by_ms)
        self._stage.journal.count("rows and packs expired", done.segments + done.packs)


class Collector:
    """Deletes old packs, mostly at once: readers and writers must bear that."""

    pause_max_seconds = 0.2
    kill_ratio = KILL_RATIO

    def __init__(self, stage: Stage) -> None:
        """Count what happens."""
        self._stage = stage

    def act(self, database: Database, chance: random.Random) -> None:
        """Collect as if it were two days later, or by the real time."""
        later_ms = chance.choice([0, 2 * DAY_MS, 2 * DAY_MS, 2 * DAY_MS])
        collect(database, database.dialect.now_ms() + later_ms)
        self._stage.journal.count("collections")


class Exporter:
    """Exports a window in pages of any size, and compares it with the model."""

    pause_max_seconds = 0.05
    kill_ratio = KILL_RATIO

    def __init__(self, stage: Stage) -> None:
        """Compare with the model of a stage."""
        self._stage = stage

    def act(self, database: Database, chance: random.Random) -> None:
        """Export everything or a part."""
        window = Window(0, self._stage.now)
        if chance.random() < 0.4:
            start = self._stage.first_ms + chance.randrange(DAYS * DAY_MS)
            window = Window(start, start + chance.randrange(3 * DAY_MS))
        before = self._stage.model.before()
        reader = self._stage.log(database).read(SHOP, window)
        page_bytes = chance.choice(PAGES_BYTES)
        parts: list[bytes] = []
        try:
            while pieces := reader.next_page(page_bytes):
                parts += unpack([pieces])
        except DamagedSegment as error:
            self._must_be_replaced(database, error)
            return
        wrong = self._stage.model.wrong_with(b"".join(parts).splitlines(), window, before)
        assert not wrong, "\n".join([f"{len(wrong)} faults in an export of {window}:", *wrong[:5]])
        self._stage.journal.count("exports")

    def _must_be_replaced(self, database: Database, error: DamagedSegment) -> None:
        """Take it for a truncated export if packs were replaced faster than the reader could follow, else raise."""
        gone = error.__cause__
        if not isinstance(gone, ObjectGone):
            raise error
        check_replaced(database, gone)
        self._stage.journal.count("exports that gave up")


class Auditor:
    """Compares the catalog with the store: each pack that is named has its object."""

    pause_max_seconds = 0.5
    kill_ratio = KILL_RATIO

    def __init__(self, stage: Stage) -> None:
        """Count what is found."""
        self._stage = stage

    def act(self, database: Database, chance: random.Random) -> None:  # noqa: ARG002 -- looks at everything
        """Compare. An object that is gone must not be named any more."""
        with database.read() as connection:
            store = database.packs(connection).store
            keys = [pack.place.key for pack in packs_of(connection, SHOP)]
        for key in keys:
            try:
                store.read(key, 0, 1)
            except ObjectGone as error:
                check_replaced(database, error)
        self._stage.journal.count("packs audited", len(keys))
