"""The options that the client commands share: the address of the account, the API key, the pace, and silence."""

from __future__ import annotations

import os
import sys
from enum import StrEnum
from typing import Annotated

import typer

from smsevents.client import ACCOUNTS, Timeouts
from smsevents.client.account import KEY_VARIABLE, URL_VARIABLE
from smsevents.client.errors import ConfigurationError

PACE_MAX_BYTES_PER_MINUTE = 10**9


class AccountName(StrEnum):
    """The accounts with known addresses."""

    SAMBA = "samba"
    ENTERPRISE = "enterprise"


AccountOption = Annotated[
    AccountName | None, typer.Option(help=f"Use a Samba account: {', '.join(ACCOUNTS.values())}.")
]
UrlOption = Annotated[str | None, typer.Option(help=f"The address of the server; overrides {URL_VARIABLE}.")]
PaceOption = Annotated[
    int | None,
    typer.Option(
        "--min-rate",
        min=0,
        max=PACE_MAX_BYTES_PER_MINUTE,
        help="Abort an export that receives fewer bytes of events per minute. Default: 4096; 0 disables the limit.",
    ),
]
QuietOption = Annotated[
    bool,
    typer.Option("--quiet", "-q", help="Print only what is wrong: for cron, which mails all output."),
]


def timeouts_of(min_rate: int | None) -> Timeouts:
    """Return the client's timeouts, with the minimum rate that was chosen, if any."""
    return Timeouts() if min_rate is None else Timeouts(events_bytes_per_minute_min=min_rate)


def address_of(account: AccountName | None, url: str | None) -> str | None:
    """Return the address chosen by an option or the environment, or None."""
    if account and url:
        raise typer.BadParameter("use either --account or --url, not both", param_hint="--account")
    address = ACCOUNTS[account.value] if account else url or os.environ.get(URL_VARIABLE, "")
    return address.strip().rstrip("/") or None


def named_address(account: AccountName | None, url: str | None) -> str:
    """Return the address that was chosen. Raises `ConfigurationError` if none was."""
    address = address_of(account, url)
    if address is None:
        raise ConfigurationError(f"No server address is set. Use --account or --url, or set {URL_VARIABLE}.")
    return address


def asked_key() -> str:
    """Return the API key from the environment, or prompt for it without echo. It is never on the command line.

    Raises `ConfigurationError` if there is no key and no terminal to prompt on.
    """
    if key := os.environ.get(KEY_VARIABLE, "").strip():
        return key
    if sys.stdin is None or not sys.stdin.isatty():
        raise ConfigurationError(f"No API key is set. Set {KEY_VARIABLE}; on a terminal, the command prompts for it.")
    asked: str = typer.prompt("API key", hide_input=True, err=True)
    return asked
