"""Content negotiation: which media type and which coding the client asked for (RFC 9110, section 12.5)."""

from __future__ import annotations

from litestar.datastructures.headers import Accept

JSON_SEQ = "application/json-seq"
NDJSON = "application/x-ndjson"


def media_type(accept: str) -> str:
    """Choose the media type of an export; whatever is not understood gets the contract's own."""
    return Accept(accept).best_match([JSON_SEQ, NDJSON], default=JSON_SEQ) or JSON_SEQ


def wants_gzip(accept_encoding: str) -> bool:
    """Tell whether a client would rather have gzip than plain bytes; a tie goes to gzip."""
    weights: dict[str, float] = {}
    for item in accept_encoding.lower().split(","):
        coding, _, parameter = item.partition(";")
        weights[coding.strip()] = _weight(parameter)
    anything = weights.get("*", 0.0)
    gzip = weights.get("gzip", weights.get("x-gzip", anything))
    return gzip > 0 and gzip >= weights.get("identity", 0.0)


def _weight(parameter: str) -> float:
    name, _, value = parameter.replace(" ", "").partition("=")
    if name != "q":
        return 1.0
    try:
        return float(value)
    except ValueError:
        return 0.0
