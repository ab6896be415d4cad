"""The option `--database` of every command that opens the database, and the settings in force with it."""

from __future__ import annotations

import functools
import inspect
import os
import shlex
from contextvars import ContextVar
from dataclasses import fields
from typing import TYPE_CHECKING, Annotated, Any

import typer

from smsevents.catalog.dialects import EXAMPLES, is_known, shown
from smsevents.settings import Settings, is_injected, variable_of

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

OPTION = "--database"
_VARIABLE = variable_of("database")
_DEFAULT = Settings().database

_chosen: ContextVar[str | None] = ContextVar("chosen_database", default=None)


def check_url(url: str | None) -> str | None:
    """Return the URL of a database, or None. Raises `typer.BadParameter` for anything else.

    That is usually a plain path, which would give a confusing error later.
    """
    if url is not None and not is_known(url):
        raise typer.BadParameter(f"{shown(url)!r} is not a database URL; use {EXAMPLES}")
    return url


_Option = Annotated[
    str | None,
    typer.Option(
        OPTION,
        metavar="URL",
        callback=check_url,
        help=f"URL of the database that holds the log, such as {EXAMPLES} [{_VARIABLE}, {_DEFAULT}].",
        show_default=False,
    ),
]


def with_database(command: Callable[..., None]) -> Callable[..., None]:
    """Add the option `--database` to a command. It overrides the variable while the command runs."""
    signature = inspect.signature(command, eval_str=True)
    option = inspect.Parameter("database", inspect.Parameter.KEYWORD_ONLY, default=None, annotation=_Option)

    @functools.wraps(command)
    def run(*words: Any, database: str | None = None, **options: Any) -> None:  # noqa: ANN401 -- the command's own types
        token = _chosen.set(database)
        try:
            command(*words, **options)
        finally:
            _chosen.reset(token)

    # typer reads the options from here
    run.__signature__ = signature.replace(parameters=[*signature.parameters.values(), option])  # type: ignore[attr-defined]
    run.__annotations__ = {name: one.annotation for name, one in signature.parameters.items()} | {"database": _Option}
    return run


def settings_in_force(
    environment: Mapping[str, str] = os.environ, given: Mapping[str, str | int | None] | None = None
) -> Settings:
    """Return the settings of the environment, overridden by the options of the command.

    Raises `SettingError` for a value that cannot be used.
    """
    return Settings.from_environment(environment, {**(given or {}), "database": _chosen.get()})


def sources(environment: Mapping[str, str] = os.environ) -> dict[str, str]:
    """Return the source of each setting: the option, the name of its variable, or the default."""
    found = {
        setting.name: variable if _is_set(variable := variable_of(setting.name), environment) else "default"
        for setting in fields(Settings)
    }
    return found if _chosen.get() is None else found | {"database": OPTION}


def repeated() -> str:
    """Return a space and the option, quoted for a shell, to repeat it in a hint; empty if it was not given."""
    url = _chosen.get()
    return "" if url is None else f" {OPTION} {shlex.quote(url)}"


def _is_set(variable: str, environment: Mapping[str, str]) -> bool:
    text = environment.get(variable, "").strip()
    return bool(text) and not is_injected(variable, text)
