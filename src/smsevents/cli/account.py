"""What the commands share that use the client: whom to ask, and with which key."""

from __future__ import annotations

import os
import sys
from enum import StrEnum
from typing import Annotated

import typer

from smsevents.client import ACCOUNTS
from smsevents.client.account import KEY_VARIABLE, URL_VARIABLE


class AccountName(StrEnum):
    """The accounts whose addresses are known."""

    SAMBA = "samba"
    ENTERPRISE = "enterprise"


AccountOption = Annotated[AccountName | None, typer.Option(help=f"A Samba account: {', '.join(ACCOUNTS.values())}.")]
UrlOption = Annotated[str | None, typer.Option(help=f"The address of the server, if not {URL_VARIABLE}.")]


def address_of(account: AccountName | None, url: str | None) -> str | None:
    """Give the address that was chosen; None leaves it to the environment."""
    if account and url:
        raise typer.BadParameter("give either --account or --url", param_hint="--account")
    return ACCOUNTS[account.value] if account else url


def asked_key() -> str | None:
    """Ask a person for the key, unseen; None leaves it to the environment. It is never on the command line."""
    if os.environ.get(KEY_VARIABLE) or not sys.stdin.isatty():
        return None
    key: str = typer.prompt("API key", hide_input=True, err=True)
    return key
