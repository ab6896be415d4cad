"""Query parameters: parameters that would be ignored silently are refused, where no client depends on them.

Imports and erasures are our own calls, and an unknown parameter of theirs is a mistake. The export is documented by
others: their clients may send any parameters, except the names that belong in its body.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import unquote_to_bytes

from smsevents.errors import InvalidRequest
from smsevents.stats.calendar import shown

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable
    from collections.abc import Set as AbstractSet

    from litestar import Request
    from litestar.datastructures import MultiDict

_SHOWN_MAX_CHARACTERS = 60

T = TypeVar("T", bound=str)


def decoded(request: Request[Any, Any, Any]) -> MultiDict[Any]:
    """Return the parameters. Raises `InvalidRequest` if they are not UTF-8: they would be replaced silently."""
    try:
        unquote_to_bytes(request.scope["query_string"]).decode()
    except UnicodeDecodeError as error:
        raise InvalidRequest(
            f"The parameters in the URL are not UTF-8 (byte {error.start}). Percent-encode them as UTF-8."
        ) from error
    return request.query_params


def refuse_others(given: Iterable[str], known: AbstractSet[str]) -> None:
    """Refuse parameters whose names are not known. Raises `InvalidRequest`."""
    for name in given:
        if name not in known:
            takes = f"This call takes {', '.join(sorted(known))}" if known else "This call takes none"
            raise InvalidRequest(f"Unknown parameter {_shown(name)} in the URL. {takes}; leave it out.")


def refuse_members(given: Iterable[str], members: AbstractSet[str]) -> None:
    """Refuse members of the body as parameters, where they would have no effect. Raises `InvalidRequest`."""
    for name in given:
        if name in members:
            raise InvalidRequest(
                f"{_shown(name)} is in the URL, where it has no effect. Send it in the body, as a JSON object:"
                ' {"from": …, "to": …, "status": "REJECTED"}, with times in Unix milliseconds.'
            )


def known(name: str, value: str, names: Collection[T]) -> T:
    """Return the one of `names` that a parameter has as its value. Raises `InvalidRequest`, which lists them."""
    for one in names:
        if value == one:
            return one
    raise InvalidRequest(f"`{name}` {shown(value)} is unknown. Send one of {', '.join(names)}.")


def _shown(name: str) -> str:
    return repr(name if len(name) <= _SHOWN_MAX_CHARACTERS else f"{name[:_SHOWN_MAX_CHARACTERS]}…")
