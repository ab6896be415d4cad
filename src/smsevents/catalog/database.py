"""The connection to the SQL database: transactions, durability, and writes that share a commit.

Reads run in the caller's thread. Each has a short transaction of its own, which is one unchanging view of the
database. Writes are functions that take a connection. They go to one writer thread, which runs all waiting small
writes in one transaction, so that many concurrent small imports share one fsync. A large write has a transaction of
its own, after the small writes that wait. Later writes then wait for one large write at most, not for all of them.
Medium writes also come after the small ones, and share a transaction as long as they are not large together.
Each write has its own savepoint: if one is refused, the others of its transaction are still stored.

Some writes can be **joined**: those of one kind that wait for the same commit are done by one call, which gets all of
their items. At first they have no savepoint, because most are not refused and a savepoint costs two statements. If the
call raises, nothing of the transaction is kept, and it runs again with a call and a savepoint for each item.

Some writes may run **beside** those of other processes: imports, which lock what they rely on. Every other write runs
as if it were alone. Where a database has several writers, the two kinds get transactions of their own, and a
transaction that collided with another one is run again.

The dialect knows which database this is, and how it differs from others.
"""

from __future__ import annotations

import queue
import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar, Generic, Protocol, TypeAlias, TypeVar

from sqlalchemy import Connection
from sqlalchemy.exc import SQLAlchemyError

from smsevents import storage
from smsevents.catalog.attachment import open_recorded
from smsevents.catalog.dialects import open_dialect
from smsevents.catalog.dialects.base import DIALECT_OPTION, Collided
from smsevents.catalog.hot import run_text
from smsevents.catalog.pack_store import PackStore
from smsevents.catalog.sent_days import SentDays
from smsevents.catalog.stores import find_store
from smsevents.errors import StoreFull, StoreUnavailable

if TYPE_CHECKING:
    from smsevents.catalog.checks import Check
    from smsevents.catalog.dialects.base import CommitMark
    from smsevents.storage.base import ByteStore

WRITES_IN_GROUP_MAX = 256
WRITE_TRIES_MAX = 5  # of a transaction that collides with others

T = TypeVar("T")
R_contra = TypeVar("R_contra", contravariant=True)
I = TypeVar("I")  # noqa: E741 -- an item

LARGE_WRITE_MIN_BYTES = 1024 * 1024  # a write of this size takes about as long as a commit


class Promise(Protocol[R_contra]):
    """The side of a `Future` that receives the outcome of a write. The writer's thread calls it."""

    def set_running_or_notify_cancel(self) -> bool:
        """Return whether the write is still wanted. It cannot be cancelled any more."""

    def set_result(self, result: R_contra, /) -> None:
        """Take the result: the write is durable."""

    def set_exception(self, exception: BaseException | None, /) -> None:
        """Take why nothing of the write was stored."""


@dataclass(frozen=True)
class _Write(Generic[T]):
    """A function that waits for the writer, and what receives its outcome."""

    run: Callable[[Connection], T]
    outcome: Promise[T]
    size_bytes: int = 0  # 0 for small ones
    beside: bool = False


Join = Callable[[Connection, Sequence[I], ExitStack], Sequence[Exception | None]]
"""Writes items together. It returns for each whether it was refused, and raises to refuse all.

What it enters into the stack is held until the transaction has ended, and sees whether it was committed.
"""


@dataclass(slots=True)
class _Joined(Generic[I]):
    """An item that waits for the writer, to be written together with others of its kind."""

    join: Join[I]
    item: I
    outcome: Promise[None]
    size_bytes: ClassVar = 0
    beside: ClassVar = True


_AnyWrite: TypeAlias = _Write[Any] | _Joined[Any]


class _JoinRaised(Exception):
    """A joined write without a savepoint was refused, so the transaction must run again."""


class Database:
    """An open database. `close` it when it is no longer needed; it is safe to use from many threads."""

    def __init__(
        self, url: str, *, create: bool = True, open_store: Callable[[str], ByteStore] = storage.open_store
    ) -> None:
        """Open the database that `url` names. If there is none, create it when `create` is true.

        `open_store` opens the store of packs by its URL.

        Raises `SettingError` for a URL that cannot be used, `NoDatabase` if there is no database and `create` is
        false, and `StoreUnavailable` if it cannot be opened.
        """
        self.dialect = open_dialect(url, create=create)
        self.open_store = open_store
        self._packs: PackStore | None = None
        self.sent_days = SentDays()  # what of the log has events of a day, see catalog/sent_days.py
        self._writes: queue.SimpleQueue[_AnyWrite | None] = queue.SimpleQueue()
        self._writer: threading.Thread | None = None
        self._lock = threading.Lock()
        self._closed = False
        self._engine = self.dialect.engine()
        self._engine.update_execution_options(**{DIALECT_OPTION: self.dialect})
        self._idle: deque[Connection] = deque()  # open, without a transaction

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """Open a read transaction for the block. All its statements see the database as it is at the first of them."""
        self.dialect.check_same()
        with self.dialect.translated("read"):
            try:
                connection = self._idle.pop()
            except IndexError:
                connection = self._engine.connect()
            try:
                yield connection
                connection.rollback()
            except BaseException:
                connection.close()
                raise
            self._keep(connection)

    def _keep(self, connection: Connection) -> None:
        if len(self._idle) < self.dialect.reads_kept:
            self._idle.append(connection)
            if not self._closed:
                return
            self._close_idle()
        else:
            connection.close()

    def _close_idle(self) -> None:
        while self._idle:
            with suppress(IndexError):  # another thread took it
                self._idle.pop().close()

    @contextmanager
    def exclusive(self, *, beside: bool = False) -> Iterator[Connection]:
        """Open a write transaction, which is committed at the end of the block. Migrations and the writer use it.

        With `beside`, other processes may write at the same time.
        """
        self.dialect.check_same()
        with self.dialect.translated("written"), self._engine.connect() as connection:
            yield connection.execution_options(write=True, beside=beside)
            self.dialect.check_same()
            connection.commit()

    def write(self, run: Callable[[Connection], T]) -> T:
        """Run a write and return its result once it is durable. Raises what `run` raised, or `StoreUnavailable`."""
        return self.submit(run).result()

    def submit(
        self, run: Callable[[Connection], T], size_bytes: int = 0, *, beside: bool = False, medium: bool = False
    ) -> Future[T]:
        """Pass a write of about `size_bytes` bytes to the writer. The future has its result once it is durable.

        `run` may be called again after what it did was rolled back. With `beside`, other processes may write between
        its statements. Small writes come before those that are `medium`. Raises `StoreUnavailable` once the database
        is being closed.
        """
        outcome: Future[T] = Future()
        self._put(_Write(run, outcome, size_bytes if medium or size_bytes >= LARGE_WRITE_MIN_BYTES else 0, beside))
        return outcome

    def submit_joined(self, join: Join[I], item: I, outcome: Promise[None]) -> None:
        """Pass a small item to the writer, which writes it together with others that wait for the same `join`.

        This is a write `beside` those of other processes, and `join` may be called again, see `submit`.
        `outcome` is told once the item is durable. Raises `StoreUnavailable` once the database is being closed.
        """
        self._put(_Joined(join, item, outcome))

    def _put(self, write: _AnyWrite) -> None:
        with self._lock:
            if self._closed:
                raise StoreUnavailable("The database is being closed. Try again in a moment.")
            if self._writer is None:
                self._writer = threading.Thread(target=self._write_loop, name="smsevents-writer", daemon=True)
                self._writer.start()
            self._writes.put(write)

    def packs(self, connection: Connection) -> PackStore:
        """Return the store of the packs, which is opened when it is first needed. Raises `StoreUnavailable`.

        It is opened again after its disk was mounted again, or its folder was replaced, and checked again then.
        """
        if (found := self._packs) is None or not found.store.is_current():
            found = self._packs = PackStore(open_recorded(self, find_store(connection)))
        return found

    def forget_packs(self) -> None:
        """Open the store of the packs again when it is next needed: the catalog names another one."""
        self._packs = None

    def concerns(self) -> list[Check]:
        """Return checks of the database and of this machine beside it, see `Dialect.concerns`."""
        with self.read() as connection:
            return self.dialect.concerns(connection)

    def commit_mark(self) -> CommitMark | None:
        """Return a mark that differs after each commit of any process, or None if that is not known.

        It tells of every commit that was acknowledged before the call. The event loop may only call it if
        `Dialect.marks_commits_at_once`. Raises `StoreUnavailable` if the database was moved or replaced.
        """
        return self.dialect.commit_mark()

    def check_writable(self) -> None:
        """Raise `StoreUnavailable` if the database cannot be written now. The check itself writes nothing."""
        self.dialect.check_same()
        self.dialect.check_writable()

    def close(self) -> None:
        """Finish the waiting writes, then close all connections."""
        with self._lock:
            self._closed = True
            writer, self._writer = self._writer, None
            if writer is not None:
                self._writes.put(None)
        if writer is not None:
            writer.join()
        self._close_idle()
        self._engine.dispose()
        self.dialect.close()

    def _write_loop(self) -> None:
        large: deque[_AnyWrite] = deque()
        stopping = False
        while large or not stopping:
            group: list[_AnyWrite] = []
            while not stopping and len(group) < WRITES_IN_GROUP_MAX and not (self._writes.empty() and (group or large)):
                following = self._writes.get()
                if following is None:
                    stopping = True
                elif following.size_bytes:
                    large.append(following)
                else:
                    group.append(following)
            for part in self._parts(group):
                self._write_group(part)
            if large:
                self._write_group(_share_of(large))

    def _parts(self, group: list[_AnyWrite]) -> Iterator[list[_AnyWrite]]:
        """Split a group into the parts that get transactions of their own."""
        if self.dialect.has_one_writer:
            yield group
            return
        for beside in (True, False):
            yield [write for write in group if write.beside is beside]

    def _write_group(self, group: Sequence[_AnyWrite]) -> None:
        """Run writes in one transaction. Each future gets its outcome only after the commit."""
        group = [write for write in group if write.outcome.set_running_or_notify_cancel()]
        if not group:
            return
        try:
            outcomes = self._run_group(group)
            self.dialect.wrote(found_room=True)
        except Exception as failure:  # noqa: BLE001 -- nothing in the group was stored: every caller raises it
            if isinstance(failure, StoreFull):
                self.dialect.wrote(found_room=False)
            outcomes = [partial(write.outcome.set_exception, failure) for write in group]
        for tell in outcomes:
            tell()

    def _run_group(self, group: Sequence[_AnyWrite]) -> list[Callable[[], None]]:
        """Run writes in one transaction, again if it collides with others. Return what reports to their callers."""
        tries, together = 1, True
        while True:
            outcomes: list[Callable[[], None]] = []
            try:
                with ExitStack() as held, self.exclusive(beside=group[0].beside) as connection:
                    for write in _joined(group) if together else group:
                        outcomes += _run(write, connection, held)
            except _JoinRaised:
                together = False
            except Collided:
                if tries == WRITE_TRIES_MAX:
                    raise
                tries += 1
            else:
                return outcomes


def _share_of(large: deque[_AnyWrite]) -> list[_AnyWrite]:
    """Take the first write that waits, and those after it that are not large together with it."""
    taken = [large.popleft()]
    size_bytes = taken[0].size_bytes
    while large and large[0].beside is taken[0].beside:
        size_bytes += large[0].size_bytes
        if size_bytes >= LARGE_WRITE_MIN_BYTES:
            break
        taken.append(large.popleft())
    return taken


_SAVEPOINT = "one_write"  # plain SQL: SQLAlchemy's own savepoints cost as much as the write of one event


def _joined(group: Sequence[_AnyWrite]) -> Iterator[_Write[Any] | list[_Joined[Any]]]:
    """Go through writes in the order in which they came. Joined ones come together, with the first of them."""
    together: dict[Join[Any], list[_Joined[Any]]] = {}
    for write in group:
        if isinstance(write, _Joined):
            together.setdefault(write.join, []).append(write)
    for write in group:
        if isinstance(write, _Write):
            yield write
        elif found := together.pop(write.join, None):
            yield found


def _run(write: _AnyWrite | list[_Joined[Any]], connection: Connection, held: ExitStack) -> list[Callable[[], None]]:
    """Run one write of a group in a savepoint, or joined ones without. Return functions that report to their callers.

    A database error ends the group, because it may have rolled back the complete transaction.
    """
    if isinstance(write, list):
        try:
            return _run_joined(write, connection, held)
        except (SQLAlchemyError, StoreUnavailable):
            raise
        except Exception as refusal:
            raise _JoinRaised from refusal
    run_text(connection, f"SAVEPOINT {_SAVEPOINT}")
    told: list[Callable[[], None]]
    try:
        if isinstance(write, _Joined):
            told = _run_joined([write], connection, held)
        else:
            told = [partial(write.outcome.set_result, write.run(connection))]
    except SQLAlchemyError:
        raise
    except Exception as refusal:  # noqa: BLE001 -- passed on to the caller, which raises it
        run_text(connection, f"ROLLBACK TO SAVEPOINT {_SAVEPOINT}")
        return [partial(write.outcome.set_exception, refusal)]
    run_text(connection, f"RELEASE SAVEPOINT {_SAVEPOINT}")
    return told


def _run_joined(writes: Sequence[_Joined[Any]], connection: Connection, held: ExitStack) -> list[Callable[[], None]]:
    found = writes[0].join(connection, [one.item for one in writes], held)
    return [_told(one.outcome, refused) for one, refused in zip(writes, found, strict=True)]


def _told(outcome: Promise[None], refused: Exception | None) -> Callable[[], None]:
    return partial(outcome.set_result, None) if refused is None else partial(outcome.set_exception, refused)
