"""Content negotiation: which media type and which coding the client asked for (RFC 9110, section 12.5)."""

from __future__ import annotations

JSON_SEQ = "application/json-seq"
NDJSON = "application/x-ndjson"


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


def _weights(header: str) -> dict[str, float]:
    """Read a list of names with weights: `a, b;q=0.5`. What cannot be read as a weight counts as none."""
    weights: dict[str, float] = {}
    for item in header.lower().split(","):
        name, *parameters = (part.strip() for part in item.split(";"))
        weights[name] = next((_weight(part[2:]) for part in parameters if part.startswith("q=")), 1.0)
    return weights


def _weight(text: str) -> float:
    try:
        weight = float(text)
    except ValueError:
        return 0.0
    return weight if 0 <= weight <= 1 else 0.0
