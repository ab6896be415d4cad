"""What is known about a request while it is served, for its log line, its response and the metrics."""

from __future__ import annotations

import re
from dataclasses import dataclass
from random import Random
from typing import TYPE_CHECKING, Any

from smsevents.errors import InvalidLines
from smsevents.networks import client_of, is_trusted

if TYPE_CHECKING:
    from collections.abc import Sequence

    from smsevents.networks import Network

_IN_SCOPE = "smsevents.note"
DETAIL_MAX_CHARACTERS = 400
# A proxy's request id is reused if it consists only of characters that are safe in an id.
_request_id = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:/+=@-]{0,127}")
# Our messages put what clients sent in quotes. None of it is logged: it may come from a body or be a user's id. It may
# contain quotes itself, so everything after the first quote is omitted.
_first_quote = re.compile(r"[`\"]|(?<![A-Za-z])'")
# Seeded by the system once: asking it for each request lets all other threads run first.
_chance = Random()  # noqa: S311 -- an id distinguishes requests; it need not be secret
_capital = re.compile(r"(?<!^)(?=[A-Z])")


@dataclass(slots=True)
class RequestInfo:
    """A request: its id, its client's address, its shop, its key or receiver, and why it was refused.

    `forwarded_https` says that a trusted proxy received it over https. `direct_bytes` of the response's body were sent
    past the ASGI messages.
    """

    request_id: str
    client: str | None
    key_id: str | None = None
    receiver_id: str | None = None
    trackpoint: int | None = None
    reason: str | None = None
    detail: str | None = None
    forwarded_https: bool = False
    direct_bytes: int = 0

    def refused(self, error: Exception) -> None:
        """Store the error that a request ended with, without anything that the client sent."""
        self.reason = _capital.sub("_", type(error).__name__).lower()
        if isinstance(error, InvalidLines):
            lines = ", ".join(str(bad.line) for bad in error.bad_lines)
            self.detail = f"lines {lines}" + (" and perhaps more" if error.more else "")
        else:
            text = str(error)[:DETAIL_MAX_CHARACTERS]
            quote = _first_quote.search(text)
            self.detail = text if quote is None else text[: quote.start()] + "…"


def begin_info(scope: Any, trusted: Sequence[Network]) -> RequestInfo:  # noqa: ANN401 -- an ASGI scope
    """Create the info of a request and store it in its scope."""
    peer = scope["client"][0] if scope.get("client") else None
    forwarded: list[str] = []
    request_id = None
    is_https = False
    if trusted and is_trusted(peer, trusted):
        for name, value in scope["headers"]:
            if name == b"x-forwarded-for":
                forwarded.append(value.decode("latin-1"))
            elif name == b"x-request-id":
                found = _request_id.fullmatch(value.decode("latin-1").strip())
                request_id = found[0] if found else request_id
            elif name == b"x-forwarded-proto":
                is_https = value.split(b",")[0].strip().lower() == b"https"
    info = RequestInfo(request_id or f"{_chance.getrandbits(64):016x}", client_of(peer, forwarded, trusted))
    info.forwarded_https = is_https
    scope[_IN_SCOPE] = info
    return info


def info_of(scope: Any) -> RequestInfo:  # noqa: ANN401 -- an ASGI scope
    """Return the info of a request that `begin_info` stored."""
    info: RequestInfo = scope[_IN_SCOPE]
    return info
