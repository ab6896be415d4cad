"""The body of an export request: the interval, and the filter if there is one."""

from __future__ import annotations

import codecs
import json
from typing import TYPE_CHECKING, Annotated, NamedTuple, TypeAlias

import msgspec
from msgspec import Meta, Struct

from smsevents.errors import InvalidRequest
from smsevents.wire.event_filter import EVERYTHING, MEMBERS, TEXT_MEMBERS, TIME_MEMBERS, EventFilter
from smsevents.wire.events import STATUSES, Milliseconds, Text
from smsevents.wire.file_formats import START_MAX_BYTES, format_of
from smsevents.wire.limits import DAY_MS
from smsevents.wire.reasons import SOURCE_TYPES, listed, nearest
from smsevents.wire.times import is_time, unit_of
from smsevents.wire.window import Window, resolve

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

Texts: TypeAlias = Text | Annotated[list[Text], Meta(min_length=1)] | None


class ExportRequest(Struct, frozen=True, forbid_unknown_fields=True):
    """The body of an export request. A member that is null counts as omitted."""

    from_: Milliseconds | None = msgspec.field(name="from", default=None)
    to: Milliseconds | None = None
    status: Annotated[Texts, Meta(description="Only events with this status, or with one of these.")] = None
    campaign: Annotated[Texts, Meta(description="Only events of this campaign, by its id or its name.")] = None
    node: Annotated[Texts, Meta(description="Only events of this node of a flow, by its id or its name.")] = None
    type: Annotated[Texts, Meta(description="Only events of this type of source: `flow` or `one-off`.")] = None
    userId: Annotated[Texts, Meta(description="Only events of this user.")] = None  # noqa: N815 -- the name on the wire
    sentFrom: Annotated[Milliseconds | None, Meta(description="The earliest `sendDate`, Unix milliseconds.")] = None  # noqa: N815 -- the same
    sentTo: Annotated[Milliseconds | None, Meta(description="The latest `sendDate`, Unix milliseconds.")] = None  # noqa: N815 -- the same


class Asked(NamedTuple):
    """What a request asks for."""

    window: Window
    wanted: EventFilter


_decoder = msgspec.json.Decoder(ExportRequest)
KNOWN_TEXTS: dict[str, Sequence[str]] = {"status": STATUSES, "type": SOURCE_TYPES}
_SHOWN_VALUES_MAX = 3
_SHOWN_MAX_CHARACTERS = 60
_NAMES = ("from", "to", *MEMBERS)
_UNKNOWN = "Object contains unknown field `"


def read_request(body: bytes, now: int) -> Asked:
    """Read the body, and apply the rules of the interval at a time (Unix ms). Raises `InvalidRequest`."""
    if not body.strip():
        raise InvalidRequest("The body is empty. Send {} for the last 90 days, or an object with `from` and `to`.")
    try:
        asked = _decoder.decode(body)
        _refuse_repeated_keys(body, asked)
    except msgspec.ValidationError as error:
        raise InvalidRequest(f"{error}{_advice(str(error), now)}") from error
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        found = format_of(body[:START_MAX_BYTES])
        why = "it starts with a byte order mark" if body.startswith(codecs.BOM_UTF8) else error
        wrong = f"is {found.split(';')[0]}" if found else f"is not valid JSON: {why}"
        raise InvalidRequest(
            f"The body {wrong}. Send {{}} or an object with `from` and `to`, as JSON in UTF-8."
        ) from error
    return Asked(resolve(asked.from_, asked.to, now), _filter_of(asked))


def _advice(reason: str, now: int) -> str:
    if reason.startswith(_UNKNOWN):
        name = reason.removeprefix(_UNKNOWN).partition("`")[0]
        meant = nearest(name, _NAMES)
        return f"{f' (did you mean {meant}?)' if meant else ''}. The members are {listed(_NAMES, 'and')}."
    if any(f"`$.{name}" in reason for name in TEXT_MEMBERS):
        return ". Send a string, or an array of at least one string, to filter by it."
    return f'. Send an object like {{"from": {now - DAY_MS}, "to": {now}}}, in Unix milliseconds.'


def _refuse_repeated_keys(body: bytes, asked: ExportRequest) -> None:
    # Without texts, the only strings of a valid body are its keys, and each colon follows one. So there are as many
    # colons as members, if no key is repeated and none is null.
    if not any(getattr(asked, name) is not None for name in TEXT_MEMBERS) and body.count(b":") == sum(
        time is not None for time in (asked.from_, asked.to, asked.sentFrom, asked.sentTo)
    ):
        return
    json.loads(body, object_pairs_hook=_without_repetition)


def _without_repetition(pairs: Iterable[tuple[str, object]]) -> None:
    seen: set[str] = set()
    for name, _ in pairs:
        if name in seen:
            raise InvalidRequest(f"`{name}` stands twice in the body. Send each member once.")
        seen.add(name)


def _filter_of(asked: ExportRequest) -> EventFilter:
    if all(getattr(asked, name) is None for name in MEMBERS):
        return EVERYTHING
    texts = {name: _several(getattr(asked, name)) for name in TEXT_MEMBERS}
    return checked_filter(EventFilter(**texts, sentFrom=asked.sentFrom, sentTo=asked.sentTo))


def _several(texts: str | list[str] | None) -> frozenset[str]:
    return frozenset(() if texts is None else (texts,) if isinstance(texts, str) else texts)


def checked_filter(wanted: EventFilter) -> EventFilter:
    """Return a filter itself. Raises `InvalidRequest` if its times are in the wrong order."""
    start, end = wanted.sentFrom, wanted.sentTo
    if start is not None and end is not None and start > end:
        raise InvalidRequest(
            f"`sentFrom` ({start}) is after `sentTo` ({end}). Send the earlier time as `sentFrom`, both in Unix"
            " milliseconds."
        )
    return wanted


def filter_warning(wanted: EventFilter) -> str | None:
    """Return a warning about values of the filter that no event has, or None. They are valid: they match nothing.

    A status or a type may be unknown, and a time of sending may be in another unit.
    """
    if not wanted:
        return None
    unknown = {name: sorted(getattr(wanted, name) - {*names}) for name, names in KNOWN_TEXTS.items()}
    warnings = [_of_unknown(name, values) for name, values in unknown.items() if values]
    for name in TIME_MEMBERS:
        time: int | None = getattr(wanted, name)
        if time is not None and not is_time(time):
            unit = unit_of(time)
            guess = "" if unit is None else f" (is it {unit}?)"
            warnings.append(f"{name} is not in the years 2000 to 2099{guess}; times are Unix milliseconds.")
    return " ".join(warnings) or None


def _of_unknown(name: str, unknown: Sequence[str]) -> str:
    """Name values that no event has. A header takes ASCII without control characters alone, so others are escaped."""
    names = KNOWN_TEXTS[name]
    shown = [ascii(value[:_SHOWN_MAX_CHARACTERS]) for value in unknown[:_SHOWN_VALUES_MAX]]
    more = len(unknown) - len(shown)
    also = f" and {more} more" if more else ""
    meant = nearest(unknown[0], names) if len(unknown) == 1 else None
    guess = f" (did you mean {meant}?)" if meant else ""
    return f"No event has the {name} {', '.join(shown)}{also}{guess}. Send one of {', '.join(names)}."
