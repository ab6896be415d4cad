"""The files of messages, in the format of the files of events."""

from __future__ import annotations

from functools import lru_cache
from typing import IO, TYPE_CHECKING

import msgspec

from smsevents.client.messages import MESSAGE_COLUMNS
from smsevents.client.pull.formats import Csv, Format, JsonLines, sent_text, time_text
from smsevents.wire.columns import FLOW, ONE_OFF
from smsevents.wire.events import Flow, OneOff

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from smsevents.client.pull.drafts import Writer
    from smsevents.client.pull.messages import Message

_decoder = msgspec.json.Decoder(Flow | OneOff)
_text_decoder = msgspec.json.Decoder(str)


def message_writer(format_: Format, trackpoint: int) -> Callable[[IO[bytes]], Writer[list[Message]]]:
    """Return what makes the writer of a file of messages of a shop, in a format."""
    if isinstance(format_, JsonLines):
        return lambda file: format_.text_writer(file, lambda messages: _lines(trackpoint, messages))
    if isinstance(format_, Csv):
        return lambda file: format_.table_writer(file, MESSAGE_COLUMNS, lambda messages: _cells(trackpoint, messages))
    from smsevents.client.pull.message_parquet import writer  # noqa: PLC0415 -- pyarrow is an extra

    return writer(format_, trackpoint)


def user_of(message: Message) -> str:
    """Return the user of a message."""
    return _text_decoder.decode(message.user)


@lru_cache(maxsize=1024)
def source_cells(source: bytes) -> tuple[str, str, str, str | None, str | None]:
    """Return a source from its type to the name of its node, from its JSON up to the send date."""
    found = _decoder.decode(source + b',"sendDate":0}')
    node = found.node if isinstance(found, Flow) else None
    campaign = found.campaign
    return (
        FLOW if node else ONE_OFF,
        campaign.id,
        campaign.name,
        node.id if node else None,
        node.name if node else None,
    )


def _lines(trackpoint: int, messages: list[Message]) -> bytes:
    return b"".join([_line(trackpoint, message) for message in messages])


def _line(trackpoint: int, message: Message) -> bytes:
    return (
        b'{"trackpoint":%d,"userId":%b,"source":%b,"sendDate":%d},"state":"%b","stateDate":%d,"eventCount":%d,'
        b'"firstDate":%d,"acceptedDate":%b,"deliveredDate":%b}\n'
    ) % (
        trackpoint,
        message.user,
        message.source,
        message.sent_ms,
        message.state,
        message.state_ms,
        message.events,
        message.first_ms,
        _number(message.accepted_ms),
        _number(message.delivered_ms),
    )


def _number(time_ms: int | None) -> bytes:
    return b"null" if time_ms is None else b"%d" % time_ms


def _cells(trackpoint: int, messages: list[Message]) -> Iterator[tuple[str, ...]]:
    for message in messages:
        yield (
            str(trackpoint),
            user_of(message),
            *(cell or "" for cell in source_cells(message.source)),
            sent_text(message.sent_ms),
            message.state.decode(),
            time_text(message.state_ms),
            str(message.events),
            time_text(message.first_ms),
            _optional_time(message.accepted_ms),
            _optional_time(message.delivered_ms),
        )


def _optional_time(time_ms: int | None) -> str:
    return "" if time_ms is None else time_text(time_ms)
