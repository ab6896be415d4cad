"""`smsevents doctor`: the settings in force, the source of each, and checks of what they refer to."""

from __future__ import annotations

import os
from dataclasses import fields
from typing import TYPE_CHECKING, Annotated

import msgspec
import typer

from smsevents.catalog.checks import Check, State
from smsevents.catalog.dialects import shown
from smsevents.cli.checks import examine
from smsevents.cli.console import EXIT_FAILED, show_table
from smsevents.cli.database import settings_in_force, sources, with_database
from smsevents.clock.system import now_ms
from smsevents.errors import SettingError
from smsevents.settings import Settings, variable_of

if TYPE_CHECKING:
    from collections.abc import Mapping


class Setting(msgspec.Struct, frozen=True):
    """A setting in force, and its source: the option, the variable or `default`."""

    variable: str
    value: str | int
    source: str


class DoctorReport(msgspec.Struct, frozen=True):
    """All settings and checks. `ok` is true if no check failed."""

    ok: bool
    settings: list[Setting]
    checks: list[Check]


@with_database
def doctor(
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Show the settings in force and check what they refer to. Exits with 1 if a check fails. Changes nothing."""
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


def _report() -> DoctorReport:
    environment, wrong = _usable(os.environ)
    settings = settings_in_force(environment)
    source = sources()
    shown = [
        Setting(
            variable,
            _shown(os.environ[variable] if variable in wrong else getattr(settings, one.name)),
            source[one.name],
        )
        for one in fields(Settings)
        for variable in [variable_of(one.name)]
    ]
    checks = [Check("settings", State.WRONG, detail) for detail in wrong.values()]
    checks += examine(settings, now_ms())
    return DoctorReport(ok=all(one.state is not State.WRONG for one in checks), settings=shown, checks=checks)


def _shown(value: str | int) -> str | int:
    """Return a value without passwords."""
    return shown(value) if isinstance(value, str) else value


def _usable(environment: Mapping[str, str]) -> tuple[dict[str, str], dict[str, str]]:
    """Return the variables with usable values, and the reason for each variable that is refused."""
    usable: dict[str, str] = {}
    wrong: dict[str, str] = {}
    for setting in fields(Settings):
        variable = variable_of(setting.name)
        alone = {variable: environment.get(variable, "")}
        try:
            settings_in_force(alone)
        except SettingError as error:
            wrong[variable] = str(error)
        else:
            usable |= alone
    return usable, wrong
