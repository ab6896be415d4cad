"""The settings in force: the environment, and the option `--database` of the command that runs."""

from __future__ import annotations

import os
import shlex
from contextvars import ContextVar
from dataclasses import fields
from typing import TYPE_CHECKING

from smsevents.settings import Settings, is_injected, variable_of

if TYPE_CHECKING:
    from collections.abc import Mapping

OPTION = "--database"

chosen_database: ContextVar[str | None] = ContextVar("chosen_database", default=None)


def settings_in_force(
    environment: Mapping[str, str] = os.environ, given: Mapping[str, str | int | None] | None = None
) -> Settings:
    """Return the settings of the environment, overridden by the options of the command.

    Raises `SettingError` for a value that cannot be used.
    """
    return Settings.from_environment(environment, {**(given or {}), "database": chosen_database.get()})


def sources(environment: Mapping[str, str] = os.environ) -> dict[str, str]:
    """Return the source of each setting: the option, the name of its variable, or the default."""
    found = {
        setting.name: variable if _is_set(variable := variable_of(setting.name), environment) else "default"
        for setting in fields(Settings)
    }
    return found if chosen_database.get() is None else found | {"database": OPTION}


def repeated() -> str:
    """Return a space and the option, quoted for a shell, to repeat it in a hint; empty if it was not given."""
    url = chosen_database.get()
    return "" if url is None else f" {OPTION} {shlex.quote(url)}"


def _is_set(variable: str, environment: Mapping[str, str]) -> bool:
    text = environment.get(variable, "").strip()
    return bool(text) and not is_injected(variable, text)
