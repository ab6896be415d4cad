"""The options that choose events: those of `pull`, `sync` and `export`."""

from __future__ import annotations

import functools
import inspect
from typing import TYPE_CHECKING, Annotated, Any

import typer

from smsevents.cli.times import option_time
from smsevents.client import Filter
from smsevents.client.errors import ConfigurationError
from smsevents.client.filters import TYPES
from smsevents.clock.system import now_ms
from smsevents.wire.events import STATUSES

if TYPE_CHECKING:
    from collections.abc import Callable

# the name of each parameter, and its option
_OPTIONS: dict[str, Any] = {
    name: Annotated[list[str] | None, typer.Option(f"--{name.rstrip('_').replace('_', '-')}", metavar=word, help=text)]
    for name, word, text in (
        ("status", "STATUS", f"Only events with this status: {', '.join(STATUSES)}."),
        ("campaign", "CAMPAIGN", "Only events of this campaign, by its id or name."),
        ("node", "NODE", "Only events of this node of a flow, by its id or name."),
        ("type_", "TYPE", f"Only events of this type of source: {', '.join(TYPES)}."),
        ("user_id", "USERID", "Only events of this user. Repeat any of these options for several values."),
    )
} | {
    "sent_from": Annotated[
        str | None,
        typer.Option("--sent-from", help="Only events of messages sent at or after this time, in the forms of --from."),
    ],
    "sent_to": Annotated[
        str | None,
        typer.Option("--sent-to", help="Only events of messages sent until this time; a day is included to its end."),
    ],
}


def with_filter(command: Callable[..., None]) -> Callable[..., None]:
    """Add the options to a command, which gets the filter as the argument `where`, or None without these options."""
    signature = inspect.signature(command, eval_str=True)
    own = [one for one in signature.parameters.values() if one.name != "where"]
    added = [
        inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=option)
        for name, option in _OPTIONS.items()
    ]

    @functools.wraps(command)
    def run(**options: Any) -> None:  # noqa: ANN401 -- the command's own types
        command(**{name: value for name, value in options.items() if name not in _OPTIONS}, where=_filter(options))

    # typer reads the options from here
    parameters = [one.replace(kind=inspect.Parameter.KEYWORD_ONLY) for one in own] + added
    run.__signature__ = signature.replace(parameters=parameters)  # type: ignore[attr-defined]
    run.__annotations__ = {one.name: one.annotation for one in parameters}
    return run


def _filter(options: dict[str, Any]) -> Filter | None:
    """Return the filter that the options describe. Raises `typer.BadParameter` for one that cannot be meant."""
    now = now_ms()
    start, end = options["sent_from"], options["sent_to"]
    members = {
        "status": options["status"],
        "campaign": options["campaign"],
        "node": options["node"],
        "type": options["type_"],
        "userId": options["user_id"],
        "sentFrom": None if start is None else option_time("--sent-from", start, now).start,
        "sentTo": None if end is None else option_time("--sent-to", end, now).end,
    }
    if start and end and members["sentFrom"] > members["sentTo"]:
        raise typer.BadParameter(f"{start} is after {end}", param_hint="--sent-from")
    try:
        return Filter(**{name: value for name, value in members.items() if value not in (None, [])}) or None
    except ConfigurationError as error:
        name = next((f"--{name}" for name in ("status", "type") if f"is not a {name}." in str(error)), "the filter")
        raise typer.BadParameter(str(error), param_hint=name) from error
