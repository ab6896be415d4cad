"""Content negotiation: the media type and the coding that the client prefers (RFC 9110, section 12.5)."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from litestar import Request

JSON_SEQ = "application/json-seq"
NDJSON = "application/x-ndjson"
JSON, CSV = "application/json", "text/csv"

_QUOTED_OR_NOT = re.compile(r'"(?:[^"\\]|\\.)*"|.', re.DOTALL)
_WEIGHT = re.compile(r"0(?:\.[0-9]*)?|1(?:\.0*)?", re.ASCII)


def media_type(accept: str) -> str:
    """Return the media type of an export: the one of the contract, unless the client prefers the other."""
    if not accept:
        return JSON_SEQ
    weights = _weights(accept)
    return NDJSON if _wish(weights, NDJSON) > _wish(weights, JSON_SEQ) else JSON_SEQ


def prefers_csv(accept: str) -> bool:
    """Return whether a client names CSV, and does not prefer JSON."""
    weights = _weights(accept)
    return weights.get(CSV, 0.0) > 0 and weights[CSV] >= weights.get(JSON, 0.0)


def _wish(weights: dict[str, float], media: str) -> tuple[float, bool]:
    """Return a client's preference for a media type: its weight, and whether the client named the type itself."""
    for pattern in (media, "application/*", "*/*"):
        if pattern in weights:
            return weights[pattern], pattern == media and weights[pattern] > 0
    return 0.0, False


def wants_gzip(accept_encoding: str) -> bool:
    """Return whether a client prefers gzip to plain bytes; a tie goes to gzip."""
    weights = _weights(accept_encoding)
    anything = weights.get("*", 0.0)
    gzip = weights.get("gzip", weights.get("x-gzip", anything))
    return gzip > 0 and gzip >= weights.get("identity", 0.0)


def preferred_language(accept_language: str) -> str:
    """Return `cs` or `en`, whichever a person prefers. Slovak readers read Czech more easily than English."""
    weights = _weights(accept_language)
    czech = max((weight for name, weight in weights.items() if name[:2] in {"cs", "sk"}), default=0.0)
    english = max((weight for name, weight in weights.items() if name[:2] == "en"), default=0.0)
    return "cs" if czech > english else "en"


def values_of(request: Request[Any, Any, Any], name: bytes) -> list[str]:
    """Return the values of a header, one for each field. `name` is in lower case."""
    return [value.decode("latin-1") for field, value in request.scope["headers"] if field == name]


def joined(request: Request[Any, Any, Any], name: bytes) -> str:
    """Return the value of a list header whose members may be spread over several fields (RFC 9110, section 5.3)."""
    return ", ".join(values_of(request, name))


def codings(request: Request[Any, Any, Any]) -> list[str]:
    """Return the codings of the body in the order of application, in lower case, without those that change nothing.

    Clients often send `utf-8` by mistake. It is not a coding but a charset, the one of every body here.
    """
    values = values_of(request, b"content-encoding")
    if not values:
        return []
    members = (part.strip(" \t").lower() for part in ",".join(values).split(","))
    return [coding for coding in members if coding not in {"", "identity", "utf-8", "utf8"}]


def _weights(header: str) -> dict[str, float]:
    """Parse a list of names with weights: `a, b;q=0.5`. An invalid weight counts as absent.

    A quoted string may contain commas and semicolons. If a name occurs twice, the first one counts unless it has
    `q=0`: the client may still want the media type with other parameters.
    """
    weights: dict[str, float] = {}
    for item in _split(header, ","):
        name, *parameters = (part.strip(" \t").lower() for part in _split(item, ";"))
        if name:
            weight = next((_weight(part[2:]) for part in parameters if part.startswith("q=")), 1.0)
            weights[name] = weights.get(name) or weight
    return weights


def _split(text: str, separator: str) -> list[str]:
    """Split at each separator outside quoted strings (RFC 9110, section 5.6.4)."""
    if '"' not in text:
        return text.split(separator)
    parts = [""]
    for token in _QUOTED_OR_NOT.findall(text):
        if token == separator:
            parts.append("")
        else:
            parts[-1] += token
    return parts


def _weight(text: str) -> float:
    """Parse a weight (RFC 9110, section 12.4.2)."""
    return float(text) if _WEIGHT.fullmatch(text) else 0.0
