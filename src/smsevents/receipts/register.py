r"""The register of sent messages: a sender names the user and the source of each message, and receipts find them there.

    {"receiver": "…", "messageId": "…", "userId": "…", "source": {"type": "one-off", …}}

`gateway` may stand in place of `receiver`: then receipts of all receivers of the shop with that gateway match. With
`accepted`, a time in Unix milliseconds, the line itself records that the gateway accepted the message.

Lines are stored REGISTER_ROWS_IN_WRITE_MAX at a time, so that imports do not wait long. A repeated call changes
nothing.

On a database with several writers, a receipt and its line may come at the same moment in two processes. One of the two
must see the other. So a write of the register has the shop for itself, while receipts share it (`begin_block`).
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Annotated

import msgspec
from msgspec import Meta, Struct

from smsevents.catalog.dialects.base import dialect_of
from smsevents.catalog.pending_scrubs import mark_rows_left
from smsevents.catalog.receivers import receivers_of
from smsevents.catalog.sent import (
    SentRow,
    days_kept,
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
from smsevents.receipts.message_ids import MESSAGE_ID_MAX_CHARACTERS, digests_of
from smsevents.receipts.recording import event_of, refusal_of
from smsevents.receipts.times import Reported
from smsevents.wire.events import Flow, Milliseconds, OneOff, digest_of, encode
from smsevents.wire.limits import DAY_MS, FUTURE_MAX_MS, TEXT_MAX_CHARACTERS
from smsevents.wire.reference import Reference, encode_source
from smsevents.wire.results import SentResult

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from sqlalchemy import Connection

    from smsevents.catalog import Database
    from smsevents.catalog.receivers import Receiver
    from smsevents.catalog.sent import WaitingRow
    from smsevents.clock.trusted import Judgement
    from smsevents.log.joining import Joining
    from smsevents.wire.lines import Entry

REGISTER_ROWS_IN_WRITE_MAX = 1000


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


class Register:
    """The register of one database."""

    def __init__(self, database: Database, joining: Joining) -> None:
        """Store events together with those of small imports."""
        self._database = database
        self._joining = joining

    def add(self, trackpoint: int, body: bytes, judgement: Judgement) -> SentResult:
        """Register the messages in the lines of a body, and record the receipts that waited for them.

        Raises `InvalidLines`, with nothing stored; `UnknownShop`; and `StoreUnavailable`, after which a part may be
        stored: the call can be repeated.
        """
        with self._database.read() as connection:
            receivers = receivers_of(connection, trackpoint)
        newest_ms = judgement.clock_ms + FUTURE_MAX_MS
        lines = parse_sent(body, receivers, newest_ms)
        result = SentResult(received=len(lines))
        for some in _parts(lines):
            store = partial(self._store, trackpoint=trackpoint, lines=some, receivers=receivers, judgement=judgement)
            done = self._database.write(store)
            result = SentResult(len(lines), result.matched + done.matched, result.blocked + done.blocked)
        return result

    def _store(
        self,
        connection: Connection,
        *,
        trackpoint: int,
        lines: Sequence[SentSms],
        receivers: Sequence[Receiver],
        judgement: Judgement,
    ) -> SentResult:
        dialect = dialect_of(connection)
        dialect.begin_block(connection, trackpoint)
        dialect.begin_append(connection, trackpoint)
        require_shop(connection, trackpoint)
        batch = _Batch(trackpoint, lines, receivers, blocked_digests(connection, trackpoint), judgement)
        if batch.rows and register(connection, judgement.clock_ms // DAY_MS, trackpoint, batch.rows):
            mark_rows_left(connection, judgement.clock_ms)
        waiting = take_waiting(connection, trackpoint, batch.messages, [one.id for one in receivers])
        for row in waiting:
            batch.match(row)
        self._joining.store_entries(connection, trackpoint, batch.entries, None)
        stop_waiting(connection, trackpoint, batch.matched)
        days = days_kept(connection)
        remembered = find_arrivals(connection, days, trackpoint, batch.users.keys())
        name_users(connection, days, trackpoint, {receipt: batch.users[receipt] for receipt in remembered})
        for day, arrivals in batch.arrivals.items():
            remember_arrivals(connection, day, trackpoint, arrivals)
        return SentResult(len(lines), len(batch.matched), batch.blocked)


def _parts(lines: list[SentSms]) -> Iterator[list[SentSms]]:
    for start in range(0, len(lines), REGISTER_ROWS_IN_WRITE_MAX):
        yield lines[start : start + REGISTER_ROWS_IN_WRITE_MAX]


class _Batch:
    """Lines of one write: the rows of the register, and the events of receipts that waited for them."""

    def __init__(
        self,
        trackpoint: int,
        lines: Sequence[SentSms],
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
        self._own: dict[tuple[bytes, str], SentSms] = {}
        self._other: dict[tuple[bytes, str], list[SentSms]] = {}
        self._blocked = blocked
        for line in lines:
            self._add(line)

    def _add(self, line: SentSms) -> None:
        own, *others = digests_of(line.messageId)
        self._own[own, line.scope] = line
        for message in others:
            self._other.setdefault((message, line.scope), []).append(line)
        if self._is_blocked(line):
            self.blocked += 1
            return
        self.rows.append(SentRow(own, line.scope, line.userId, encode_source(line.source)))
        if line.accepted is not None:
            self._record(line, "ACCEPTED", line.accepted)

    def _is_blocked(self, line: SentSms) -> bool:
        return bool(self._blocked) and digest_of(self._trackpoint, line.userId) in self._blocked

    @property
    def messages(self) -> set[bytes]:
        """The digests of the ids, in all spellings."""
        return {message for message, _ in (*self._own, *self._other)}

    def match(self, row: WaitingRow) -> None:
        """Record a receipt that waited, if exactly one of the lines is its message."""
        line = self._line_of(row)
        if line is None:
            return
        self.matched.append(row)
        if self._is_blocked(line):
            return
        user = self.users[row.receipt] = digest_of(self._trackpoint, line.userId)
        time = Reported(row.first_ms, row.resolution_ms, row.second_ms)
        if time.is_before_sending(line.source.sendDate):
            time = Reported(row.arrived_ms)
            self.arrivals.setdefault(row.arrived_ms // DAY_MS, {})[row.receipt] = (row.arrived_ms, user)
        self._record(line, row.status, time.resolved(line.source.sendDate))

    def _line_of(self, row: WaitingRow) -> SentSms | None:
        scopes = (row.receiver_id, self._gateways.get(row.receiver_id, ""))
        for scope in scopes:
            if (own := self._own.get((row.message, scope))) is not None:
                return own
        others = [line for scope in scopes for line in self._other.get((row.message, scope), ())]
        return others[0] if len({line.messageId for line in others}) == 1 else None

    def _record(self, line: SentSms, status: str, date_ms: int) -> None:
        event = event_of(self._trackpoint, Reference(line.userId, line.source), status, date_ms)  # type: ignore[arg-type]  # it was stored as one
        if refusal_of(event, self._judgement) is None:
            self.entries.append((event.smsEvent.date, encode(event)))
