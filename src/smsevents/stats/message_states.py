"""Events, in any order → the messages that they belong to, each with its state. Memory is bounded.

An event becomes a **record** of RECORD_BYTES: a digest of its message, then what decides on the state. The records of a
message are merged into one. If there are many events, their records are first divided by their digests into shares, in
a temporary file, and the messages of one share after the other are put together. So each line is read once.
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import IO, TYPE_CHECKING, NamedTuple

from smsevents.segments.spool import MIB, SpoolAllowance, open_temporary, write_temporary
from smsevents.wire.events import STATUSES
from smsevents.wire.lines import NotLines

if TYPE_CHECKING:
    from collections.abc import Iterator

SHARE_EVENTS = 250_000  # whose messages are held at a time, of about 150 bytes each
SHARES_MAX = 256  # the first byte of a digest tells the share
RECORDS_HELD_MAX_BYTES = 4 * MIB  # in memory, before they are written
RECORDS_ON_DISK_MAX_BYTES = 1024 * MIB  # for all counts of a process together
_room = SpoolAllowance("statistics", RECORDS_ON_DISK_MAX_BYTES)

DIGEST_BYTES = 16
# A state is one number, so that the greatest is the one that counts: whether it is final, the date, whether it is
# DELIVERED, the status in the order of bytes. What all events of a message have in common comes after these, then the
# number of events.
_BY_BYTES = sorted(STATUSES)
_COUNT_BITS = 32
_GROUP_BITS = 32
_TIME_BITS = 64
_ORDER_BITS = 4
_SENT_SHIFT = _COUNT_BITS + _GROUP_BITS
_ORDER_SHIFT = _SENT_SHIFT + _TIME_BITS
_DATE_SHIFT = _ORDER_SHIFT + _ORDER_BITS
_COUNT_MASK, _GROUP_MASK, _TIME_MASK = (1 << _COUNT_BITS) - 1, (1 << _GROUP_BITS) - 1, (1 << _TIME_BITS) - 1
_ZERO = 1 << _TIME_BITS - 1  # added to a time, so that none is negative
_ORDERS = {
    status.encode(): (status != "ACCEPTED") << (_DATE_SHIFT + _TIME_BITS)
    | ((status == "DELIVERED") << 3 | number) << _ORDER_SHIFT
    for number, status in enumerate(_BY_BYTES)
}
_STATE_BYTES = -(-(_DATE_SHIFT + _TIME_BITS + 1) // 8)
RECORD_BYTES = DIGEST_BYTES + _STATE_BYTES


class Message(NamedTuple):
    """The state of a message: its status, since `date`. Times are Unix milliseconds."""

    status: str
    date: int
    sent: int
    group: int
    events: int


def state_of(status: bytes, date: int, sent: int, group: int) -> int:
    """Return the state of a message with a single event. Raises `NotLines` if the status is unknown."""
    try:
        order = _ORDERS[status]
    except KeyError as error:
        raise NotLines from error
    return order | date + _ZERO << _DATE_SHIFT | sent + _ZERO << _SENT_SHIFT | group << _COUNT_BITS | 1


def _message(state: int) -> Message:
    return Message(
        _BY_BYTES[state >> _ORDER_SHIFT & 0b111],
        (state >> _DATE_SHIFT & _TIME_MASK) - _ZERO,
        (state >> _SENT_SHIFT & _TIME_MASK) - _ZERO,
        state >> _COUNT_BITS & _GROUP_MASK,
        state & _COUNT_MASK,
    )


class MessageStates:
    """The messages of events, which are added in any order. Close it in the end."""

    def __init__(self, events: int) -> None:
        """Expect about so many events."""
        shares = min(SHARES_MAX, -(-events // SHARE_EVENTS))
        self._states: dict[bytes, int] = {}
        self._shares = _Shares(shares) if shares > 1 else None

    def add(self, digest: bytes, state: int) -> None:
        """Add an event of the message with a digest. Raises `StoreFull` and `StoreUnavailable`."""
        if self._shares is None:
            _merge(self._states, digest, state)
        else:
            self._shares.add(digest, state)

    def messages(self) -> Iterator[Message]:
        """Go through the messages once all events were added."""
        if self._shares is None:
            yield from map(_message, self._states.values())
            return
        for number in range(self._shares.shares):
            states: dict[bytes, int] = {}
            for digest, state in self._shares.records(number):
                _merge(states, digest, state)
            yield from map(_message, states.values())

    def close(self) -> None:
        """Release the temporary file."""
        if self._shares is not None:
            self._shares.close()


def _merge(states: dict[bytes, int], digest: bytes, state: int) -> None:
    known = states.get(digest, 0)
    states[digest] = known + 1 if known > state else state + (known & _COUNT_MASK)


class _Shares:
    """Records in a temporary file, divided by their digests."""

    def __init__(self, shares: int) -> None:
        self.shares = shares
        self._buffers = [bytearray() for _ in range(shares)]
        self._places: list[list[tuple[int, int]]] = [[] for _ in range(shares)]  # where each is, and its size
        self._file: IO[bytes] | None = None
        self._size = 0
        self._held = 0

    def add(self, digest: bytes, state: int) -> None:
        self._buffers[digest[0] * self.shares >> 8] += digest + state.to_bytes(_STATE_BYTES, "big")
        self._held += RECORD_BYTES
        if self._held >= RECORDS_HELD_MAX_BYTES:
            self._write()

    def _write(self) -> None:
        if self._file is None:
            self._file = open_temporary()
        _room.take(self._held, held=self._size)
        taken = self._size
        self._size += self._held  # also if it cannot be written: `close` releases it
        self._file.seek(taken)
        for buffer, places in zip(self._buffers, self._places, strict=True):
            places.append((taken, len(buffer)))
            write_temporary(self._file, bytes(buffer))
            taken += len(buffer)
            buffer.clear()
        self._held = 0

    def records(self, number: int) -> Iterator[tuple[bytes, int]]:
        """Go through the records of a share."""
        for start, size in self._places[number]:
            yield from _records(self._read(start, size))
        yield from _records(bytes(self._buffers[number]))

    def _read(self, start: int, size: int) -> bytes:
        if self._file is None:
            raise ValueError("closed")
        self._file.seek(start)
        return self._file.read(size)

    def close(self) -> None:
        """Release the file and its room."""
        if self._file is not None:
            self._file.close()
            self._file = None
        _room.give_back(self._size)
        self._size = 0


def _records(data: bytes) -> Iterator[tuple[bytes, int]]:
    for start in range(0, len(data), RECORD_BYTES):
        end = start + RECORD_BYTES
        yield data[start : start + DIGEST_BYTES], int.from_bytes(data[start + DIGEST_BYTES : end], "big")


@contextmanager
def message_states(events: int) -> Iterator[MessageStates]:
    """Yield the messages of about so many events, and release their temporary file in the end."""
    states = MessageStates(events)
    try:
        yield states
    finally:
        states.close()
