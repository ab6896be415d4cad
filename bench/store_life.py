"""A log that lives through days beside a store that counts its requests: events arrive, and the upkeep works.

All of it is in this process, by one simulated clock. The store is in memory, and asked as a bucket is.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Self

from smsevents.accounts.access import Access
from smsevents.catalog import Database
from smsevents.catalog.attachment import attach
from smsevents.catalog.markers import is_pack
from smsevents.catalog.schema import migrate
from smsevents.clock.system import Clocks
from smsevents.demo.generate import generate
from smsevents.log.log import Log
from smsevents.segments.splice import unpack
from smsevents.storage.base import Parts, StoredObject
from smsevents.storage.memory import MemoryStore
from smsevents.timekeeper import Timekeeper
from smsevents.wire.limits import DAY_MS, HISTORY_MS
from smsevents.wire.lines import parse_entries
from smsevents.wire.window import resolve
from smsevents.worker.worker import UpkeepWorker

PUT, PUT_OTHER, GET, LIST, DELETE = "PUT of packs", "other PUT", "GET", "LIST", "DELETE"
ARRIVALS_A_DAY = 24
_ROUNDS = 2  # of the upkeep after each arrival: what has come to rest is merged in the second one


class CountingStore(MemoryStore):
    """Objects in memory, and how often a bucket would have been asked for what."""

    prefers_long_reads = True

    def __init__(self) -> None:
        """Begin empty."""
        super().__init__()
        self.requests = Counter[str]()
        self.written_bytes = 0

    def put(self, key: str, parts: Sequence[bytes]) -> None:
        """Keep an object."""
        self.requests[PUT if is_pack(key) else PUT_OTHER] += 1
        self.written_bytes += sum(map(len, parts))
        super().put(key, parts)

    def read(self, key: str, start: int, size: int) -> bytes:
        """Return a part of an object."""
        self.requests[GET] += 1
        return super().read(key, start, size)

    def incoming(self, key: str, start: int, size: int, *, ahead: bool = False) -> Parts:  # noqa: ARG002 -- of others
        """Return a long part of an object, which is one request."""
        self.requests[GET] += 1
        parts = MemoryStore()
        parts.put(key, [super().read(key, 0, start + size)])
        return Parts(parts, key, start)

    def delete(self, keys: Sequence[str]) -> Sequence[str]:
        """Drop objects, with one request."""
        self.requests[DELETE] += bool(keys)
        return super().delete(keys)

    def objects(self, prefix: str = "") -> Iterator[StoredObject]:
        """Go through the objects. A request lists up to 1,000 of them."""
        self.requests[LIST] += 1
        return super().objects(prefix)


class Life:
    """A database of SQLite with its upkeep worker, which uses a store from the first day on."""

    def __init__(self, folder: Path, start_ms: int) -> None:
        """Create the database in an empty folder. The clock stands at `start_ms` (Unix ms) until events arrive."""
        self.now_ms = start_ms
        self.store = CountingStore()
        self.database = Database(f"sqlite:///{folder / 'log.db'}", open_store=lambda _: self.store)
        migrate(self.database)
        self.database.dialect.now_ms = self._clock  # type: ignore[method-assign]  # the simulated one
        attach(self.database, self.store.url)
        timekeeper = Timekeeper(self.database, Clocks(self._clock, self._clock, lambda: "simulated"))
        self.log = Log(self.database, timekeeper=timekeeper)
        self._worker = UpkeepWorker(self.database, timekeeper=timekeeper, packs=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.database.close()

    def _clock(self) -> int:
        return self.now_ms

    def add_shop(self, trackpoint: int) -> None:
        """Add a shop."""
        Access(self.database).add_shop(trackpoint, "")

    def record(self, trackpoint: int, lines: Sequence[bytes]) -> None:
        """Import lines with one request."""
        with self.log.recording(trackpoint, gzip=False) as recorder:
            recorder.feed(b"".join(one + b"\n" for one in lines))
            _, stored = recorder.finish()
            stored.result()

    def live(self, trackpoint: int, events_a_day: int, days: int, arrivals_a_day: int = ARRIVALS_A_DAY) -> None:
        """Let events of some days from now on arrive, 3 % of them late, and let the upkeep work after each arrival."""
        lines = generate(
            trackpoint,
            events=events_a_day * days,
            days=days,
            seed=1,
            end_ms=self.now_ms + days * DAY_MS,
            by_arrival=True,
        )
        while some := list(islice(lines, -(-events_a_day // arrivals_a_day))):
            newest = max(date for (date, _) in parse_entries(b"".join(one + b"\n" for one in some)))
            self.now_ms = max(self.now_ms, newest)
            self.record(trackpoint, some)
            self.work()

    def work(self) -> None:
        """Let the upkeep work."""
        for _ in range(_ROUNDS):
            self._worker.round()

    def exported_lines(self, trackpoint: int) -> int:
        """Export everything of a shop. Return how many lines there are."""
        window = resolve(self.now_ms - HISTORY_MS, self.now_ms + DAY_MS, self.now_ms)
        return sum(some.count(b"\n") for some in unpack(self.log.read(trackpoint, window)))

    def packs(self) -> list[StoredObject]:
        """Return the packs in the store, without a request."""
        return [one for one in MemoryStore.objects(self.store) if is_pack(one.key)]
