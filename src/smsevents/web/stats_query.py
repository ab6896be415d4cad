"""The query parameters of statistics → what is asked. Each error names the parameter and what it takes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

from smsevents.errors import InvalidRequest
from smsevents.segments.selection import Selection
from smsevents.stats.calendar import STEPS, shown, zone_of
from smsevents.stats.grouping import TYPES
from smsevents.stats.interval import interval
from smsevents.stats.question import AXES, PARTS, Axis, Part, Question
from smsevents.web import negotiate, query
from smsevents.wire.events import STATUSES
from smsevents.wire.limits import TEXT_MAX_CHARACTERS

if TYPE_CHECKING:
    from collections.abc import Collection

    from litestar import Request
    from litestar.datastructures import MultiDict


TOP_GROUPS_MAX = 1000
NO_STATUS = tuple(part for part in PARTS if part != "status")  # what can be grouped by if there is one status
FORMATS = ("json", "csv")
PARAMETERS = {"from", "to", "tz", "at", "step", "by", "top", "status", "type", "campaign", "node", "format"}

T = TypeVar("T", bound=str)


def read_question(
    request: Request[Any, Any, Any], now: int, *, axis: Axis = "event", groups_by: tuple[Part, ...] = PARTS
) -> Question:
    """Return what a request asks for at `now` (Unix ms). Raises `InvalidRequest`.

    `axis` is the default, `groups_by` is what `by` may name.
    """
    given = query.decoded(request)
    query.refuse_others(given, PARAMETERS)
    zone = zone_of(_one(given, "tz") or "UTC")
    by = _by(given, groups_by)
    return Question(
        window=interval(_one(given, "from"), _one(given, "to"), zone, now),
        zone=zone,
        at=_choice(given, "at", AXES, axis),
        step=_choice(given, "step", STEPS, "all"),
        now=now,
        by=by,
        top=_top(given, by),
        wanted=Selection(
            statuses=frozenset(_choices(given, "status", STATUSES)),
            types=frozenset(_choices(given, "type", TYPES)),
            campaigns=frozenset(_ids(given, "campaign")),
            nodes=frozenset(_ids(given, "node")),
        ),
    )


def wants_csv(request: Request[Any, Any, Any]) -> bool:
    """Return whether a request asks for CSV, by the parameter `format` or else by `Accept`. Raises `InvalidRequest`."""
    if "format" in request.query_params:
        return _choice(request.query_params, "format", FORMATS, "json") == "csv"
    return negotiate.prefers_csv(negotiate.joined(request, b"accept"))


def _one(given: MultiDict[Any], name: str) -> str | None:
    values: list[str] = given.getall(name, [])
    if len(values) > 1:
        raise InvalidRequest(f"`{name}` is in the URL {len(values)} times. Send it once.")
    if not values:
        return None
    if not values[0]:
        raise InvalidRequest(f"`{name}` is empty. Send a value, or leave the parameter out.")
    return values[0]


def _choice(given: MultiDict[Any], name: str, known: Collection[T], default: T) -> T:
    value = _one(given, name)
    return default if value is None else query.known(name, value, known)


def _choices(given: MultiDict[Any], name: str, known: Collection[T]) -> list[T]:
    return [query.known(name, value, known) for value in given.getall(name, [])]


def _ids(given: MultiDict[Any], name: str) -> list[str]:
    values: list[str] = given.getall(name, [])
    for value in values:
        if len(value) > TEXT_MAX_CHARACTERS:
            raise InvalidRequest(f"`{name}` has {len(value)} characters. An id has at most {TEXT_MAX_CHARACTERS}.")
    return values


def _by(given: MultiDict[Any], groups_by: tuple[Part, ...]) -> tuple[Part, ...]:
    named = [part for value in given.getall("by", []) for part in value.split(",") if part]
    found = {query.known("by", part, groups_by) for part in named}
    return tuple(part for part in PARTS if part in found)


def _top(given: MultiDict[Any], by: tuple[Part, ...]) -> int | None:
    value = _one(given, "top")
    if value is None:
        return None
    if not {"campaign", "node"} & set(by):
        raise InvalidRequest("`top` limits the campaigns or nodes that are named. Send it with `by` campaign or node.")
    if not (
        value.isascii()
        and value.isdigit()
        and len(value) <= len(str(TOP_GROUPS_MAX))
        and 1 <= int(value) <= TOP_GROUPS_MAX
    ):
        raise InvalidRequest(f"`top` {shown(value)} is not a number from 1 to {TOP_GROUPS_MAX}.")
    return int(value)
