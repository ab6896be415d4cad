"""What a person is told of a line that is not an event: the decoder's reason, and what would be right.

The decoder says what is wrong and where, but not what is allowed there. The text of each reason begins with
its words, so it is the same whatever is added.
"""

from __future__ import annotations

import difflib
import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

FIELDS = ("smsEvent", "source", "trackpoint", "userId", "status", "date", "type", "campaign", "node", "sendDate")
MEMBERS = (*FIELDS, "id", "name")
SOURCE_TYPES = ("flow", "one-off")

_SHOWN_START_CHARACTERS = 200
_SHOWN_END_CHARACTERS = 80  # the place that the decoder names stands at the end

_THE_ERROR_OF_A_SERVER = "; this is the error of a server, saved in the place of events"
_INSTEAD_OF_OBJECT = {  # in the place of the whole line
    "Expected `object`, got `array`": "; give each object a line of its own, without an array around them",
    "Expected `object`, got `str`": "; leave out the quotes around the object, and the backslashes within it",
}
_NEAR_RATIO = 0.6
_wrong_status = re.compile(r"Invalid enum value '(?P<value>.*)' - at `\$\.smsEvent\.status`", re.DOTALL)
_wrong_type = re.compile(r"Invalid value '(?P<value>.*)' - at `\$\.source\.type`", re.DOTALL)
_unknown = re.compile(r"Object contains unknown field `(?P<value>[^`]*)`(?P<place> - at `.*`)?", re.DOTALL)
_problem = re.compile(rb'\s*\{\s*"type"\s*:\s*"[^"]*"\s*,\s*"title"\s*:')


def reason_of(text: str, line: bytes, statuses: Sequence[str]) -> str:
    """Give the decoder's `text` about a line, and after it what is allowed or what was probably meant.

    `statuses` are the names that `status` may have.
    """
    return shown(text[:1].lower() + text[1:]) + _advice(text, line, statuses)


def shown(text: str) -> str:
    """Give a text that came from outside so that it can be printed: short, and without control characters."""
    if len(text) > _SHOWN_START_CHARACTERS + _SHOWN_END_CHARACTERS:
        text = f"{text[:_SHOWN_START_CHARACTERS]}…{text[-_SHOWN_END_CHARACTERS:]}"
    return printable(text)


def printable(text: str) -> str:
    """Give a text with its control characters written as escapes."""
    return "".join(one if one.isprintable() else f"\\u{ord(one):04x}" for one in text)


def _advice(text: str, line: bytes, statuses: Sequence[str]) -> str:
    if found := _wrong_status.fullmatch(text):
        return f"{_meant(found['value'].strip().upper(), statuses)}; the statuses are {listed(statuses, 'and')}"
    if found := _wrong_type.fullmatch(text):
        return f"{_meant(found['value'].strip().lower(), SOURCE_TYPES)}; use {listed(SOURCE_TYPES, 'or')}"
    if found := _unknown.fullmatch(text):
        if found["place"] is None and _problem.match(line):
            return _THE_ERROR_OF_A_SERVER
        # a name that is right elsewhere is not a misspelt one
        return "; it does not belong there" if found["value"] in MEMBERS else _meant(found["value"], MEMBERS)
    if "got `float`" in text:
        return "; write an integer, without a fraction and without an exponent"
    return _INSTEAD_OF_OBJECT.get(text, "")


def _meant(value: str, names: Iterable[str]) -> str:
    near = nearest(value, names)
    return "" if near is None else f" (did you mean {near}?)"


def nearest(value: str, names: Iterable[str]) -> str | None:
    """Give the one of `names` that is most like `value`, whatever the case of the letters, if one is near enough."""
    by_letters = {name.lower(): name for name in names}
    found = difflib.get_close_matches(value.lower(), by_letters, n=1, cutoff=_NEAR_RATIO)
    return by_letters[found[0]] if found else None


def listed(names: Sequence[str], word: str) -> str:
    """Give two names or more as a person lists them: `a, b or c`, where `word` is "or"."""
    return f"{', '.join(names[:-1])} {word} {names[-1]}"
