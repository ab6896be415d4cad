"""`smsevents key`: the API keys."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Annotated

import typer

from smsevents.access import Access
from smsevents.cli.console import Trackpoint, opened_database, show_table
from smsevents.cli.database import with_database
from smsevents.cli.shop import day_of
from smsevents.clock import now_ms

app = typer.Typer(help="Create, list and revoke API keys.", no_args_is_help=True)


class ScopeName(StrEnum):
    """The scopes, as the command line knows them."""

    EXPORT = "export"
    IMPORT = "import"
    ADMIN = "admin"


@app.command("create")
@with_database
def create(
    trackpoint: Trackpoint,
    scope: Annotated[list[ScopeName], typer.Option(help="What the key may do; give it once for each.")],
    label: Annotated[str, typer.Option(help="What the key is for.")] = "",
    expires: Annotated[
        str | None,
        typer.Option(help="A day (2027-01-31, its end in UTC), a time (2027-01-31T12:00Z), or 30d, 12h."),
    ] = None,
) -> None:
    """Make a key of a shop and print it: once, as only its digest is kept."""
    expires_ms = None if expires is None else parse_expiry(expires)
    if expires_ms is not None and expires_ms <= now_ms():
        raise typer.BadParameter(f"{expires!r} is past", param_hint="--expires")
    with opened_database() as database:
        key = Access(database).create_key(trackpoint, [s.value for s in scope], label=label, expires_ms=expires_ms)
    typer.echo(key)


@app.command("list")
@with_database
def list_(trackpoint: Trackpoint) -> None:
    """List the keys of a shop, without their secrets."""
    with opened_database() as database:
        keys = Access(database).keys(trackpoint)
    show_table(
        ["ID", "SCOPES", "LABEL", "CREATED", "EXPIRES", "REVOKED"],
        [
            [
                key.id,
                " ".join(sorted(key.scopes)),
                key.label,
                day_of(key.created_ms),
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
    """Revoke a key for good; running servers refuse it within a few seconds."""
    with opened_database() as database:
        Access(database).revoke_key(key_id)
    typer.echo(f"Revoked key {key_id}.", err=True)


def parse_expiry(text: str) -> int:
    """Read when a key expires, as Unix milliseconds.

    `text` is a day (its end is meant), a time (UTC unless it says else), or a span from now: 30d, 12h.
    """
    if match := re.fullmatch(r"([1-9][0-9]{0,4})([dh])", text):
        unit = timedelta(days=1) if match[2] == "d" else timedelta(hours=1)
        return now_ms() + int(match[1]) * int(unit.total_seconds()) * 1000
    try:
        time = datetime.fromisoformat(text)
    except ValueError as error:
        raise typer.BadParameter(
            f"{text!r} is no day, time or span; give 2027-01-31, 2027-01-31T12:00Z, 30d or 12h",
            param_hint="--expires",
        ) from error
    if re.fullmatch(r"\d{4}-\d{2}-\d{2}", text):
        time += timedelta(days=1, milliseconds=-1)
    if time.tzinfo is None:
        time = time.replace(tzinfo=UTC)
    return int(time.timestamp() * 1000)
