r"""The register of sent messages: a sender names the user and the source of each message, and receipts find them there.

    {"receiver": "…", "messageId": "…", "userId": "…", "source": {"type": "one-off", …}}

`gateway` may stand in place of `receiver`: then receipts of all receivers of the shop with that gateway match. With
`accepted`, a time in Unix milliseconds, the line itself records that the gateway accepted the message.

Lines are stored REGISTER_ROWS_IN_WRITE_MAX at a time, so that imports do not wait long. Those of several calls share a
commit. A repeated call changes nothing.

On a database with several writers, a receipt and its line may come at the same moment in two processes. One of the two
must see the other. So a write of the register has the shop for itself, while receipts share it (`begin_block`).
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Annotated

import msgspec
from msgspec import Meta, Struct

from smsevents.catalog.dialects.base import dialect_of
from smsevents.catalog.pending_scrubs import mark_rows_left
from smsevents.catalog.periods import Filling, days_kept
from smsevents.catalog.receivers import receivers_of
from smsevents.catalog.sent import (
    SentRow,
    any_waiting,
    find_arrivals,
    name_users,
    register,
    remember_arrivals,
    stop_waiting,
    take_waiting,
)
from smsevents.catalog.shops import blocked_digests, require_shop
from smsevents.errors import InvalidLines, RefusedLine
from smsevents.log.checked_lines import BAD_LINES_MAX
from smsevents.log.plausible import why_impossible
from smsevents.receipts.message_ids import (
    MESSAGE_ID_MAX_CHARACTERS,
    digest_of_id,
    normalized,
    other_spellings,
)
from smsevents.receipts.recording import event_of, refusal_of
from smsevents.receipts.times import Reported
from smsevents.wire.events import Flow, Milliseconds, OneOff, digest_of, encode
from smsevents.wire.limits import DAY_MS, FUTURE_MAX_MS, TEXT_MAX_CHARACTERS
from smsevents.wire.reference import Reference, encode_source
from smsevents.wire.results import SentResult

if TYPE_CHECKING:
    from collections.abc import Sequence
    from concurrent.futures import Future

    from sqlalchemy import Connection

    from smsevents.catalog import Database
    from smsevents.catalog.receivers import Receiver
    from smsevents.catalog.sent import WaitingRow
    from smsevents.clock.trusted import Judgement
    from smsevents.log.joining import Joining
    from smsevents.wire.lines import Entry

REGISTER_ROWS_IN_WRITE_MAX = 2000


class SentSms(Struct, frozen=True, gc=False, forbid_unknown_fields=True):
    """A line of the register."""

    messageId: Annotated[  # noqa: N815 -- the name on the wire
        str, Meta(min_length=1, max_length=MESSAGE_ID_MAX_CHARACTERS, description="The id that the gateway returned.")
    ]
    userId: Annotated[  # noqa: N815 -- the name on the wire
        str, Meta(min_length=1, max_length=TEXT_MAX_CHARACTERS, description="The recipient, as events name it.")
    ]
    source: Annotated[Flow | OneOff, Meta(description="What sent the message, as in an event.")]
    receiver: Annotated[str | None, Meta(description="The id of the receiver that gets the receipts.")] = None
    gateway: Annotated[str | None, Meta(description="The gateway, in place of the receiver.")] = None
    accepted: Annotated[
        Milliseconds | None, Meta(description="When the gateway accepted the message; records that event.")
    ] = None

    @property
    def scope(self) -> str:
        """The receiver's id, or the gateway."""
        return self.receiver or self.gateway or ""


_decoder = msgspec.json.Decoder(SentSms)


class _Bad(ValueError):
    """Why a line is refused."""


def parse_sent(body: bytes, receivers: Sequence[Receiver], newest_ms: int) -> list[SentSms]:
    """Read the lines of a body. `newest_ms` is the latest time (Unix ms) that a line may have.

    Raises `InvalidLines` with the numbers of the bad lines.
    """
    scopes = {one.id for one in receivers if one.revoked_ms is None}
    gateways = {one.gateway for one in receivers if one.revoked_ms is None}
    found: list[SentSms] = []
    bad: list[RefusedLine] = []
    malformed = more = False
    for number, line in enumerate(body.split(b"\n"), 1):
        if not line or line.isspace():
            continue
        try:
            found.append(_parsed(line, scopes, gateways, newest_ms))
        except msgspec.ValidationError as error:
            bad.append(RefusedLine(number, str(error)))
        except _Bad as error:
            bad.append(RefusedLine(number, str(error)))
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            malformed = True
            bad.append(RefusedLine(number, f"not JSON: {error}"))
        if len(bad) == BAD_LINES_MAX:
            more = True
            break
    if bad:
        raise InvalidLines(bad, malformed=malformed, more=more)
    return found


def _parsed(line: bytes, receiver_ids: set[str], gateways: set[str], newest_ms: int) -> SentSms:
    sms = _decoder.decode(line)
    if (sms.receiver is None) == (sms.gateway is None):
        raise _Bad("name either `receiver` or `gateway`")
    if sms.receiver is not None and sms.receiver not in receiver_ids:
        raise _Bad("`receiver` is not the id of a receiver of this shop that is in use")
    if sms.gateway is not None and sms.gateway not in gateways:
        raise _Bad(
            "the shop does not have a receiver in use for this `gateway`; ask the server's operator to create one"
        )
    if not sms.messageId.strip():
        raise _Bad("`messageId` is blank")
    date = sms.source.sendDate if sms.accepted is None else sms.accepted
    impossible = why_impossible(event_of(1, Reference(sms.userId, sms.source), "ACCEPTED", date))
    if impossible:
        raise _Bad(impossible.replace("`date`", "`sendDate`" if sms.accepted is None else "`accepted`"))
    if date > newest_ms:
        raise _Bad("the time is more than 24 hours ahead of the server's clock; send Unix milliseconds, UTC")
    return sms


@dataclass(frozen=True, slots=True)
class _Line:
    """A line, and what is stored of it."""

    sms: SentSms
    row: SentRow

    @property
    def scope(self) -> str:
        """The receiver's id, or the gateway."""
        return self.row.scope

    @property
    def other_messages(self) -> list[bytes]:
        """The digests of the other spellings of the id."""
        return [digest_of_id(text) for text in other_spellings(self.sms.messageId)]


def _line_of(sms: SentSms) -> _Line:
    message = digest_of_id(normalized(sms.messageId))
    return _Line(sms, SentRow(message, sms.scope, sms.userId, encode_source(sms.source)))


class Registration:
    """The messages of one call, which are stored part by part."""

    def __init__(self, register: Register, trackpoint: int, body: bytes, judgement: Judgement) -> None:
        """Read the lines of a body. Nothing is stored yet. Raises `InvalidLines`."""
        self._register = register
        self._trackpoint = trackpoint
        self._judgement = judgement
        self._receivers = register.receivers(trackpoint)
        found = parse_sent(body, self._receivers, judgement.clock_ms + FUTURE_MAX_MS)
        lines = [_line_of(sms) for sms in found]
        starts = range(0, len(lines), REGISTER_ROWS_IN_WRITE_MAX)
        self._parts = deque(lines[start : start + REGISTER_ROWS_IN_WRITE_MAX] for start in starts)
        self._line_bytes = len(body) // max(1, len(lines))
        self.result = SentResult(received=len(lines))

    def store_some(self) -> Future[SentResult] | None:
        """Begin to store the next part. The future has what it led to, once it is durable. None if all is stored."""
        if not self._parts:
            return None
        lines = self._parts.popleft()
        return self._register.submit(
            self._trackpoint, lines, self._receivers, self._judgement, len(lines) * self._line_bytes
        )

    def stored(self, part: SentResult) -> None:
        """Add what a part led to."""
        matched, blocked = self.result.matched + part.matched, self.result.blocked + part.blocked
        self.result = SentResult(self.result.received, matched, blocked)


class Register:
    """The register of one database."""

    def __init__(self, database: Database, joining: Joining) -> None:
        """Store events together with those of small imports."""
        self._database = database
        self._joining = joining
        self._filling = Filling()  # only the database's writer uses it

    def add(self, trackpoint: int, body: bytes, judgement: Judgement) -> SentResult:
        """Register the messages in the lines of a body, and record the receipts that waited for them.

        Raises `InvalidLines`, with nothing stored; `UnknownShop`; and `StoreUnavailable`, after which a part may be
        stored: the call can be repeated.
        """
        registration = Registration(self, trackpoint, body, judgement)
        while (part := registration.store_some()) is not None:
            registration.stored(part.result())
        return registration.result

    def receivers(self, trackpoint: int) -> list[Receiver]:
        """Return the receivers of a shop."""
        with self._database.read() as connection:
            return receivers_of(connection, trackpoint)

    def submit(
        self,
        trackpoint: int,
        lines: Sequence[_Line],
        receivers: Sequence[Receiver],
        judgement: Judgement,
        size_bytes: int,
    ) -> Future[SentResult]:
        """Store lines in one write, of about `size_bytes` bytes."""
        store = partial(self._store, trackpoint=trackpoint, lines=lines, receivers=receivers, judgement=judgement)
        return self._database.submit(store, size_bytes, medium=True)

    def _store(
        self,
        connection: Connection,
        *,
        trackpoint: int,
        lines: Sequence[_Line],
        receivers: Sequence[Receiver],
        judgement: Judgement,
    ) -> SentResult:
        dialect = dialect_of(connection)
        dialect.begin_block(connection, trackpoint)
        dialect.begin_append(connection, trackpoint)
        require_shop(connection, trackpoint)
        batch = _Batch(trackpoint, lines, receivers, blocked_digests(connection, trackpoint), judgement)
        if batch.rows:
            period = self._filling.period(connection, judgement.clock_ms // DAY_MS, len(batch.rows))
            if register(connection, period, trackpoint, batch.rows):
                mark_rows_left(connection, judgement.clock_ms)
        if any_waiting(connection, trackpoint):
            messages = batch.messages()
            for row in take_waiting(connection, trackpoint, messages, [one.id for one in receivers]):
                batch.match(row)
        self._joining.store_entries(connection, {trackpoint: batch.entries}, None)
        if batch.matched:
            self._finish(connection, trackpoint, batch)
        return SentResult(len(lines), len(batch.matched), batch.blocked)

    @staticmethod
    def _finish(connection: Connection, trackpoint: int, batch: _Batch) -> None:
        """Delete receipts that have waited, and name their users where their arrivals are remembered."""
        stop_waiting(connection, trackpoint, batch.matched)
        days = days_kept(connection)
        remembered = find_arrivals(connection, days, trackpoint, batch.users.keys())
        name_users(connection, days, trackpoint, {receipt: batch.users[receipt] for receipt in remembered})
        for day, arrivals in batch.arrivals.items():
            remember_arrivals(connection, day, trackpoint, arrivals)


class _Batch:
    """Lines of one write: the rows of the register, and the events of receipts that waited for them."""

    def __init__(
        self,
        trackpoint: int,
        lines: Sequence[_Line],
        receivers: Sequence[Receiver],
        blocked: frozenset[bytes],
        judgement: Judgement,
    ) -> None:
        self.rows: list[SentRow] = []
        self.entries: list[Entry] = []
        self.matched: list[WaitingRow] = []
        self.users: dict[bytes, bytes] = {}  # digests of users, by those of their receipts
        self.arrivals: dict[int, dict[bytes, tuple[int, bytes | None]]] = {}  # by day: what `remember_arrivals` takes
        self.blocked = 0
        self._trackpoint = trackpoint
        self._judgement = judgement
        self._gateways = {one.id: one.gateway for one in receivers}
        self._lines = lines
        self._own: dict[tuple[bytes, str], SentSms] = {}
        self._other: dict[tuple[bytes, str], list[SentSms]] = {}
        self._blocked = blocked
        for line in lines:
            self._add(line)

    def _add(self, line: _Line) -> None:
        if self._is_blocked(line.sms):
            self.blocked += 1
            return
        self.rows.append(line.row)
        if line.sms.accepted is not None:
            self._record(line.sms, "ACCEPTED", line.sms.accepted)

    def _is_blocked(self, sms: SentSms) -> bool:
        return bool(self._blocked) and digest_of(self._trackpoint, sms.userId) in self._blocked

    def messages(self) -> set[bytes]:
        """Return the digests of the ids, in all spellings, for the receipts that wait. Then they can be matched."""
        for line in self._lines:
            self._own[line.row.message, line.scope] = line.sms
            for message in line.other_messages:
                self._other.setdefault((message, line.scope), []).append(line.sms)
        return {message for message, _ in (*self._own, *self._other)}

    def match(self, row: WaitingRow) -> None:
        """Record a receipt that waited, if exactly one of the lines is its message."""
        sms = self._sms_of(row)
        if sms is None:
            return
        self.matched.append(row)
        if self._is_blocked(sms):
            return
        user = self.users[row.receipt] = digest_of(self._trackpoint, sms.userId)
        time = Reported(row.first_ms, row.resolution_ms, row.second_ms)
        if time.is_before_sending(sms.source.sendDate):
            time = Reported(row.arrived_ms)
            self.arrivals.setdefault(row.arrived_ms // DAY_MS, {})[row.receipt] = (row.arrived_ms, user)
        self._record(sms, row.status, time.resolved(sms.source.sendDate))

    def _sms_of(self, row: WaitingRow) -> SentSms | None:
        scopes = (row.receiver_id, self._gateways.get(row.receiver_id, ""))
        for scope in scopes:
            if (own := self._own.get((row.message, scope))) is not None:
                return own
        others = [sms for scope in scopes for sms in self._other.get((row.message, scope), ())]
        return others[0] if len({sms.messageId for sms in others}) == 1 else None

    def _record(self, sms: SentSms, status: str, date_ms: int) -> None:
        event = event_of(self._trackpoint, Reference(sms.userId, sms.source), status, date_ms)  # type: ignore[arg-type]  # it was stored as one
        if refusal_of(event, self._judgement) is None:
            self.entries.append((event.smsEvent.date, encode(event)))
