"""Content negotiation: which media type and which coding the client asked for (RFC 9110, section 12.5)."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from litestar import Request

JSON_SEQ = "application/json-seq"
NDJSON = "application/x-ndjson"

_QUOTED_OR_NOT = re.compile(r'"(?:[^"\\]|\\.)*"|.', re.DOTALL)
_WEIGHT = re.compile(r"0(?:\.[0-9]*)?|1(?:\.0*)?", re.ASCII)


def media_type(accept: str) -> str:
    """Choose the media type of an export: the contract's own, unless the client would rather have the other."""
    weights = _weights(accept)
    return NDJSON if _wish(weights, NDJSON) > _wish(weights, JSON_SEQ) else JSON_SEQ


def _wish(weights: dict[str, float], media: str) -> tuple[float, bool]:
    """Tell how much a client wants a media type: its weight, and whether it named the type itself."""
    for pattern in (media, "application/*", "*/*"):
        if pattern in weights:
            return weights[pattern], pattern == media and weights[pattern] > 0
    return 0.0, False


def wants_gzip(accept_encoding: str) -> bool:
    """Tell whether a client would rather have gzip than plain bytes; a tie goes to gzip."""
    weights = _weights(accept_encoding)
    anything = weights.get("*", 0.0)
    gzip = weights.get("gzip", weights.get("x-gzip", anything))
    return gzip > 0 and gzip >= weights.get("identity", 0.0)


def joined(request: Request[Any, Any, Any], name: str) -> str:
    """Give the value of a header that is a list, whose members may stand in several fields (RFC 9110, section 5.3)."""
    return ", ".join(request.headers.getall(name, []))


def codings(request: Request[Any, Any, Any]) -> list[str]:
    """Give the codings of the body in the order of their application, in lower case, without what changes nothing.

    `utf-8` stands there by mistake, often: it names no coding but the charset, which is that of every body here.
    """
    members = (part.strip(" \t").lower() for part in joined(request, "content-encoding").split(","))
    return [coding for coding in members if coding not in {"", "identity", "utf-8", "utf8"}]


def _weights(header: str) -> dict[str, float]:
    """Read a list of names with weights: `a, b;q=0.5`. What cannot be read as a weight counts as none.

    A quoted string may hold the commas and semicolons that otherwise separate. Of a name that stands there twice the
    first counts, unless that one is `q=0`: a media type with other parameters may be wanted all the same.
    """
    weights: dict[str, float] = {}
    for item in _split(header, ","):
        name, *parameters = (part.strip(" \t").lower() for part in _split(item, ";"))
        if name:
            weight = next((_weight(part[2:]) for part in parameters if part.startswith("q=")), 1.0)
            weights[name] = weights.get(name) or weight
    return weights


def _split(text: str, separator: str) -> list[str]:
    """Split at a separator that does not stand in a quoted string (RFC 9110, section 5.6.4)."""
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
    """Read a weight (RFC 9110, section 12.4.2)."""
    return float(text) if _WEIGHT.fullmatch(text) else 0.0
