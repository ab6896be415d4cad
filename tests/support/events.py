"""Events in every spelling, for property tests of the wire model."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import strategies as st

STATUSES = ["DELIVERED", "ACCEPTED", "EXPIRED", "DELETED", "UNDELIVERABLE", "REJECTED", "SKIPPED"]
LINE_ENDS = "\u0085\u2028\u2029"
INT64_MAX = 2**63 - 1


def canonical_of(data: dict[str, Any]) -> bytes:
    """Write the canonical line by hand: fixed key order, compact, no unnecessary escapes."""
    sms, source = data["smsEvent"], data["source"]
    ordered: dict[str, Any] = {
        "smsEvent": {name: sms[name] for name in ("trackpoint", "userId", "status", "date")},
        "source": {"type": source["type"]},
    }
    for part in ("campaign", "node"):
        if part in source:
            ordered["source"][part] = {"id": source[part]["id"], "name": source[part]["name"]}
    ordered["source"]["sendDate"] = source["sendDate"]
    text = json.dumps(ordered, ensure_ascii=False, separators=(",", ":"))
    for character in LINE_ENDS:
        text = text.replace(character, f"\\u{ord(character):04x}")
    return text.encode()


characters = st.characters(codec="utf-8") | st.sampled_from(LINE_ENDS + '":\\/\x00\x1f\x7f\r\n\t\b\f\U0001f600')
texts = st.text(characters, max_size=30) | st.sampled_from(['":', '\\":', "x" * 1024, "\U0001f600" * 1024, "\u0001"])
int64s = st.integers(-INT64_MAX - 1, INT64_MAX) | st.sampled_from([0, -1, INT64_MAX, -INT64_MAX - 1])
named = st.fixed_dictionaries({"id": texts, "name": texts})
sources = st.fixed_dictionaries({"type": st.just("one-off"), "campaign": named, "sendDate": int64s}) | (
    st.fixed_dictionaries({"type": st.just("flow"), "campaign": named, "node": named, "sendDate": int64s})
)


sms_events = st.fixed_dictionaries(
    {
        "trackpoint": st.integers(1, INT64_MAX) | st.sampled_from([1, INT64_MAX]),
        "userId": texts.filter(bool),
        "status": st.sampled_from(STATUSES),
        "date": int64s,
    }
)


events = st.fixed_dictionaries({"smsEvent": sms_events, "source": sources})


def escaped(character: str) -> str:
    r"""Spell a character as `\uXXXX`, or as a pair of them."""
    units = character.encode("utf-16-be")
    return "".join(f"\\u{units[i : i + 2].hex()}" for i in range(0, len(units), 2))


@st.composite
def spelled(draw: st.DrawFn, value: Any) -> str:
    """Return some valid JSON spelling of a value: white space, keys in any order, unnecessary escapes."""
    space = draw(st.text(" \t\r\n", max_size=3))
    if isinstance(value, dict):
        members = [
            f"{draw(spelled(name))}{space}:{draw(spelled(value[name]))}" for name in draw(st.permutations(list(value)))
        ]
        return f"{space}{{{space}{','.join(members)}}}{space}"
    if isinstance(value, str):
        odds = draw(st.integers(1, 6))
        spelling = (
            escaped(one) if index % odds == 0 else json.dumps(one, ensure_ascii=False)[1:-1]
            for index, one in enumerate(value)
        )
        return f'{space}"{"".join(spelling)}"{space}'
    return f"{space}{value}{space}"
