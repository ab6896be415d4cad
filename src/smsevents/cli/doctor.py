"""`smsevents doctor`: the settings in force, where each comes from, and what is wrong with what they name."""

from __future__ import annotations

from dataclasses import fields
from typing import Annotated

import msgspec
import typer

from smsevents.cli.checks import Check, State, examine
from smsevents.cli.console import EXIT_FAILED, show_table
from smsevents.cli.database import settings_in_force, sources
from smsevents.clock import now_ms
from smsevents.errors import SettingError
from smsevents.settings import Settings, variable_of


class Setting(msgspec.Struct, frozen=True):
    """A setting in force, and its source: the option, the variable or `default`."""

    variable: str
    value: str | int
    source: str


class Report(msgspec.Struct, frozen=True):
    """All that was found; `ok` tells whether nothing is wrong."""

    ok: bool
    settings: list[Setting]
    checks: list[Check]


def doctor(
    as_json: Annotated[bool, typer.Option("--json", help="As one JSON object.")] = False,
) -> None:
    """Show the settings in force and check what they name; exits with 1 if something is wrong. Changes nothing."""
    report = _report()
    if as_json:
        typer.echo(msgspec.json.encode(report))
    else:
        show_table(
            ["SETTING", "VALUE", "SOURCE"], [[one.variable, str(one.value), one.source] for one in report.settings]
        )
        typer.echo()
        show_table(["CHECK", "STATE", "DETAIL"], [[one.name, one.state, one.detail] for one in report.checks])
    if not report.ok:
        raise typer.Exit(EXIT_FAILED)


def _report() -> Report:
    try:
        settings = settings_in_force()
    except SettingError as error:
        return Report(ok=False, settings=[], checks=[Check("settings", State.WRONG, str(error))])
    source = sources()
    shown = [Setting(variable_of(one.name), getattr(settings, one.name), source[one.name]) for one in fields(Settings)]
    checks = examine(settings, now_ms())
    return Report(ok=all(one.state is not State.WRONG for one in checks), settings=shown, checks=checks)
