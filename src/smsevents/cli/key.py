"""`smsevents key`: the API keys."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

import typer

from smsevents.accounts.access import Access
from smsevents.cli.console import JsonOption, Trackpoint, day_of, minute_of, show_json, show_once, show_table
from smsevents.cli.database import with_database
from smsevents.cli.opening import opened_database, say_doubt
from smsevents.cli.times import option_time
from smsevents.clock.system import now_ms
from smsevents.timekeeper import Timekeeper

app = typer.Typer(help="Create, list and revoke API keys.", no_args_is_help=True)


class ScopeName(StrEnum):
    """The scopes, as spelled on the command line."""

    EXPORT = "export"
    IMPORT = "import"
    ADMIN = "admin"
    STATS = "stats"


SCOPE_HELP = (
    "What the key may do: `export` events, by the API and on the page, with its statistics; `import` events, and"
    " register sent messages; `admin`: erase the events of users; `stats`: statistics and the page, without events and"
    " user ids. Repeat the option for several scopes."
)


@app.command("create")
@with_database
def create(
    trackpoint: Trackpoint,
    scope: Annotated[list[ScopeName], typer.Option(help=SCOPE_HELP)],
    label: Annotated[str, typer.Option(help="What the key is for.")] = "",
    expires: Annotated[
        str | None,
        typer.Option(help="Expiry: a day (2027-01-31, its end in UTC), a time (2027-01-31T12:00Z), or 30d, 12h."),
    ] = None,
) -> None:
    """Create an API key and print it once; only its digest is stored."""
    expires_ms = None if expires is None else parse_expiry(expires)
    if expires_ms is not None and expires_ms <= now_ms():
        raise typer.BadParameter(f"{expires!r} is in the past", param_hint="--expires")
    with opened_database() as database:
        if expires_ms is not None:
            say_doubt(Timekeeper(database).judge())
        access = Access(database)
        key = access.create_key(trackpoint, [s.value for s in scope], label=label, expires_ms=expires_ms)
        show_once("key", key, revoke=lambda: access.revoke_key(key.split("_")[1]))


@app.command("list")
@with_database
def list_(trackpoint: Trackpoint, as_json: JsonOption = False) -> None:
    """List the keys of a shop, without their secrets."""
    with opened_database() as database:
        keys = Access(database).keys(trackpoint)
    if as_json:
        show_json(
            {
                "id": key.id,
                "scopes": sorted(key.scopes),
                "label": key.label,
                "created_ms": key.created_ms,
                "last_used_ms": key.last_used_ms,
                "expires_ms": key.expires_ms,
                "revoked_ms": key.revoked_ms,
            }
            for key in keys
        )
        return
    show_table(
        ["ID", "SCOPES", "LABEL", "CREATED", "LAST USED", "EXPIRES", "REVOKED"],
        [
            [
                key.id,
                " ".join(sorted(key.scopes)),
                key.label,
                day_of(key.created_ms),
                minute_of(key.last_used_ms),
                day_of(key.expires_ms),
                day_of(key.revoked_ms),
            ]
            for key in keys
        ],
    )


@app.command("revoke")
@with_database
def revoke(
    key_id: Annotated[str, typer.Argument(metavar="ID", help="The id that `key list` shows.")],
) -> None:
    """Revoke a key permanently. Running servers refuse it within a few seconds."""
    with opened_database() as database:
        was_good = Access(database).revoke_key(key_id)
    typer.echo(f"Revoked key {key_id}." if was_good else f"Key {key_id} was already revoked.", err=True)


def parse_expiry(text: str) -> int:
    """Return the expiry of a key in Unix milliseconds. A day means its end; a duration counts from now.

    Raises `typer.BadParameter`.
    """
    return option_time("--expires", text, now_ms(), ahead=True).end
