"""`smsevents receiver`: where gateways send delivery receipts to."""

from __future__ import annotations

import sys
from enum import StrEnum
from pathlib import Path  # noqa: TC003 -- typer evaluates the annotations
from typing import Annotated

import typer

from smsevents.cli.console import JsonOption, Trackpoint, day_of, minute_of, show_json, show_once, show_table
from smsevents.cli.database import settings_in_force, with_database
from smsevents.cli.opening import opened_database
from smsevents.errors import InvalidRequest
from smsevents.receipts.explain import Sample, explain
from smsevents.receipts.mapping import MAPPING_MAX_BYTES
from smsevents.receipts.receivers import Receivers
from smsevents.timekeeper import Timekeeper

app = typer.Typer(help="Create, list, test and revoke receivers of delivery receipts.", no_args_is_help=True)


class GatewayName(StrEnum):
    """The gateways, as spelled on the command line."""

    KANNEL = "kannel"
    JASMIN = "jasmin"
    TWILIO = "twilio"
    VONAGE = "vonage"
    VONAGE_MESSAGES = "vonage-messages"
    INFOBIP = "infobip"
    BULKGATE = "bulkgate"
    SMSMANAGER = "smsmanager"
    SMSGATE = "smsgate"
    TEXT421 = "text421"
    VIAMOBILE = "viamobile"
    BREVO = "brevo"
    GENERIC = "generic"


ReceiverId = Annotated[str, typer.Argument(metavar="ID", help="The id that `receiver list` shows.")]


@app.command("create")
@with_database
def create(
    trackpoint: Trackpoint,
    gateway: Annotated[GatewayName, typer.Option(help="The gateway that calls it.")],
    time_zone: Annotated[str, typer.Option(help="The zone of times that the gateway sends without an offset.")] = "UTC",
    mapping: Annotated[
        Path | None, typer.Option(help="For `generic`: a JSON file with the places of the fields, and the statuses.")
    ] = None,
    secret: Annotated[
        Path | None,
        typer.Option(help="For gateways that sign: a file with the secret of the signatures; - for standard input."),
    ] = None,
) -> None:
    """Create a receiver and print its address once; only a digest of its token is stored."""
    found = None if mapping is None else _read(mapping)
    signing = None if secret is None else (_read_input() if str(secret) == "-" else _read(secret)).strip()
    with opened_database() as database:
        receivers = Receivers(database)
        token = receivers.create(trackpoint, gateway.value, zone=time_zone, mapping=found, secret=signing)
        show_once("address", f"{_base()}/receipts/{token}", revoke=lambda: receivers.revoke(token.split("_")[0]))
    typer.echo(
        "Put this address into the gateway's configuration, as docs/receipts.md shows for each gateway. It is a secret:"
        " all who know it can record events of the shop.",
        err=True,
    )
    if not settings_in_force().public_url:
        typer.echo(
            "SMSEVENTS_PUBLIC_URL is not set, so the address begins as on this machine. Replace that part by the one"
            " under which the gateway reaches the server.",
            err=True,
        )


@app.command("list")
@with_database
def list_(trackpoint: Trackpoint, as_json: JsonOption = False) -> None:
    """List the receivers of a shop, without their tokens."""
    with opened_database() as database:
        receivers = Receivers(database).all_of(trackpoint)
    if as_json:
        show_json(
            {
                "id": one.id,
                "gateway": one.gateway,
                "zone": one.zone,
                "created_ms": one.created_ms,
                "last_call_ms": one.last_call_ms,
                "unmatched": one.unmatched,
                "revoked_ms": one.revoked_ms,
            }
            for one in receivers
        )
        return
    show_table(
        ["ID", "GATEWAY", "TIME ZONE", "CREATED", "LAST CALL", "UNMATCHED", "REVOKED"],
        [
            [
                one.id,
                one.gateway,
                one.zone,
                day_of(one.created_ms),
                minute_of(one.last_call_ms),
                str(one.unmatched),
                day_of(one.revoked_ms),
            ]
            for one in receivers
        ],
    )


@app.command("revoke")
@with_database
def revoke(receiver_id: ReceiverId) -> None:
    """Revoke a receiver permanently. Running servers refuse its calls within a few seconds."""
    with opened_database() as database:
        was_good = Receivers(database).revoke(receiver_id)
    typer.echo(
        f"Revoked receiver {receiver_id}." if was_good else f"Receiver {receiver_id} was already revoked.", err=True
    )


@app.command("test")
@with_database
def explain_call(
    receiver_id: ReceiverId,
    call: Annotated[str, typer.Argument(help="The address that the gateway would call, or only its query.")] = "",
    body: Annotated[Path | None, typer.Option(help="A file with the body of the call; - for standard input.")] = None,
    content_type: Annotated[str, typer.Option(help="The Content-Type of the body.")] = "",
) -> None:
    """Explain what a call would become. Nothing is stored."""
    data = b"" if body is None else _read_input() if str(body) == "-" else _read(body)
    with opened_database() as database:
        receiver = Receivers(database).get(receiver_id)
        explained = explain(database, receiver, Sample(call, data, content_type), Timekeeper(database).judge())
    if receiver.revoked_ms is not None:
        typer.echo("The receiver was revoked: a real call gets 404.", err=True)
    for one in explained:
        typer.echo(one.text, err=True)
        if one.line is not None:
            typer.echo(one.line.decode())


def _base() -> str:
    settings = settings_in_force()
    return settings.public_url.rstrip("/") or f"http://{settings.host}:{settings.port}"


def _read_input() -> bytes:
    return sys.stdin.buffer.read(MAPPING_MAX_BYTES + 1)


def _read(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(MAPPING_MAX_BYTES + 1)
    except OSError as error:
        raise InvalidRequest(f"The file {path} cannot be read: {error.strerror}.") from error
