"""The option `--database` of every command that opens the database."""

from __future__ import annotations

import functools
import inspect
from typing import TYPE_CHECKING, Annotated, Any

import typer

from smsevents.catalog.dialects import EXAMPLES, is_known
from smsevents.cli.in_force import OPTION, chosen_database
from smsevents.settings import Settings, variable_of

if TYPE_CHECKING:
    from collections.abc import Callable

_VARIABLE = variable_of("database")
_DEFAULT = Settings().database


def _checked(url: str | None) -> str | None:
    """Refuse a value that is not a URL. It is usually a plain path, which would give a confusing error later."""
    if url is not None and not is_known(url):
        raise typer.BadParameter(f"{url!r} is not a database URL; use {EXAMPLES}")
    return url


_Option = Annotated[
    str | None,
    typer.Option(
        OPTION,
        metavar="URL",
        callback=_checked,
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
        token = chosen_database.set(database)
        try:
            command(*words, **options)
        finally:
            chosen_database.reset(token)

    # typer reads the options from here
    run.__signature__ = signature.replace(parameters=[*signature.parameters.values(), option])  # type: ignore[attr-defined]
    run.__annotations__ = {name: one.annotation for name, one in signature.parameters.items()} | {"database": _Option}
    return run
