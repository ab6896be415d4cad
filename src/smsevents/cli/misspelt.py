"""Environment variables that resemble settings but are unknown: probably misspelt."""

from __future__ import annotations

import difflib
from dataclasses import fields
from typing import TYPE_CHECKING

from smsevents.settings import ENVIRONMENT_PREFIX, Settings, is_injected, variable_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

CLIENT_VARIABLES = ("SMSEVENTS_URL", "SMSEVENTS_API_KEY")
WARNED_VARIABLE = "SMSEVENTS_WARNED"  # set for child processes, so that they do not warn again

_LIKE_ONES_OF_OURS = "SMS"  # a name with this prefix is compared with ours
_NEAR_RATIO = 0.6
_SAME_RATIO = 0.9  # for a name without our prefix


def known_variables() -> list[str]:
    """Return the names of all variables that a command reads."""
    return [*(variable_of(setting.name) for setting in fields(Settings)), *CLIENT_VARIABLES, WARNED_VARIABLE]


def warnings(environment: Mapping[str, str], known: Iterable[str] | None = None) -> Iterator[str]:
    """Yield a warning for each unknown variable that resembles a known one, with the nearest known name."""
    names = list(known_variables() if known is None else known)
    for variable in sorted(environment):
        if variable in names or is_injected(variable, environment[variable]):
            continue
        written = variable.upper()
        ours = written.startswith(ENVIRONMENT_PREFIX)
        if not ours and not written.startswith(_LIKE_ONES_OF_OURS):
            continue
        near = difflib.get_close_matches(written, names, n=1, cutoff=_NEAR_RATIO if ours else _SAME_RATIO)
        if near:
            yield f"{variable} is not a setting and is ignored. Did you mean {near[0]}?"
        elif ours:
            yield f"{variable} is not a setting and is ignored. docs/operating.md lists the settings."
