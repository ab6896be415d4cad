"""The reason why a line is not an event: the decoder's text, and advice on what is allowed.

The decoder says what is wrong and where, but not what is allowed there. Each reason begins with the decoder's own
words. The advice follows them and never changes them.
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
_SHOWN_END_CHARACTERS = 80  # the decoder names the place at the end

_THE_ERROR_OF_A_SERVER = "; this is the error of a server, saved in the place of events"
_INSTEAD_OF_OBJECT = {  # in place of the complete line
    "Expected `object`, got `array`": "; give each object a line of its own, without an array around them",
    "Expected `object`, got `str`": "; leave out the quotes around the object, and the backslashes within it",
}
_NEAR_RATIO = 0.6
_wrong_status = re.compile(r"Invalid enum value '(?P<value>.*)' - at `\$\.smsEvent\.status`", re.DOTALL)
_wrong_type = re.compile(r"Invalid value '(?P<value>.*)' - at `\$\.source\.type`", re.DOTALL)
_unknown = re.compile(r"Object contains unknown field `(?P<value>[^`]*)`(?P<place> - at `.*`)?", re.DOTALL)
_problem = re.compile(rb'\s*\{\s*"type"\s*:\s*"[^"]*"\s*,\s*"title"\s*:')


def reason_of(text: str, line: bytes, statuses: Sequence[str]) -> str:
    """Return the decoder's `text` about a line, followed by what is allowed or what was probably meant.

    `statuses` are the valid names of `status`.
    """
    return shown(text[:1].lower() + text[1:]) + _advice(text, line, statuses)


def shown(text: str) -> str:
    """Return a text from outside in printable form: shortened, and with control characters escaped."""
    if len(text) > _SHOWN_START_CHARACTERS + _SHOWN_END_CHARACTERS:
        text = f"{text[:_SHOWN_START_CHARACTERS]}…{text[-_SHOWN_END_CHARACTERS:]}"
    return printable(text)


def printable(text: str) -> str:
    """Return a text with its control characters written as escapes."""
    return "".join(one if one.isprintable() else f"\\u{ord(one):04x}" for one in text)


def _advice(text: str, line: bytes, statuses: Sequence[str]) -> str:
    if found := _wrong_status.fullmatch(text):
        return f"{_meant(found['value'].strip().upper(), statuses)}; the statuses are {listed(statuses, 'and')}"
    if found := _wrong_type.fullmatch(text):
        return f"{_meant(found['value'].strip().lower(), SOURCE_TYPES)}; use {listed(SOURCE_TYPES, 'or')}"
    if found := _unknown.fullmatch(text):
        if found["place"] is None and _problem.match(line):
            return _THE_ERROR_OF_A_SERVER
        # a name that is right elsewhere is not misspelt
        return "; it does not belong there" if found["value"] in MEMBERS else _meant(found["value"], MEMBERS)
    if "got `float`" in text:
        return "; write an integer, without a fraction and without an exponent"
    return _INSTEAD_OF_OBJECT.get(text, "")


def _meant(value: str, names: Iterable[str]) -> str:
    near = nearest(value, names)
    return "" if near is None else f" (did you mean {near}?)"


def nearest(value: str, names: Iterable[str]) -> str | None:
    """Return the name that is most similar to `value`, ignoring case, or None if no name is similar enough."""
    by_letters = {name.lower(): name for name in names}
    found = difflib.get_close_matches(value.lower(), by_letters, n=1, cutoff=_NEAR_RATIO)
    return by_letters[found[0]] if found else None


def listed(names: Sequence[str], word: str) -> str:
    """Return two names or more as a list in prose: `a, b or c`, where `word` is "or"."""
    return f"{', '.join(names[:-1])} {word} {names[-1]}"
