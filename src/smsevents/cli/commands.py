"""The commands: which module has each of them. A module is imported only when its command runs.

So `pull` and `sync` run where the packages of the server are not installed or do not exist, as on Windows, and no
command waits for the imports of another one.
"""

from __future__ import annotations

import importlib
from collections.abc import MutableMapping
from typing import TYPE_CHECKING, Any, NamedTuple

import typer
from typer.core import TyperCommand, TyperGroup

from smsevents.errors import SmsEventsError

if TYPE_CHECKING:
    from collections.abc import Iterator


class NotOnThisSystem(SmsEventsError):
    """The command needs a module that this system or this installation does not have."""


class Place(NamedTuple):
    """Where a command is: a module of `smsevents.cli`, and the name of its function or group there."""

    module: str
    name: str
    help: str  # the first paragraph of the command's own help, for the list of commands


COMMANDS = {
    "serve": Place("serve", "serve", "Serve the API, the page and delivery receipts over HTTP until Ctrl-C."),
    "shop": Place("shop", "app", "Add and list shops."),
    "key": Place("key", "app", "Create, list and revoke API keys."),
    "receiver": Place("receiver", "app", "Create, list, test and revoke receivers of delivery receipts."),
    "import": Place(
        "transfer",
        "import_",
        "Record the events of a file: all of them, or none if a line is bad. Events already stored are not duplicated.",
    ),
    "export": Place(
        "transfer",
        "export",
        "Write a shop's events to standard output, by the rules of the HTTP export; the last 90 days by default.",
    ),
    "generate": Place("transfer", "generate", "Write realistic sample events to standard output."),
    "compact": Place(
        "upkeep",
        "compact",
        "Merge small and overlapping segments now, and pack what has settled. `serve` does this automatically.",
    ),
    "expire": Place("upkeep", "expire", "Delete events older than the history now. `serve` does this automatically."),
    "forget": Place(
        "upkeep",
        "forget",
        "Erase every event of users from a shop's log (GDPR, Article 17), and print what was removed as JSON.",
    ),
    "erasures": Place(
        "erasures",
        "erasures",
        "Keep a copy of the record of erasures in a folder, and repeat those that this database does not know.",
    ),
    "verify": Place(
        "upkeep",
        "verify",
        "Check every segment: checksums, bounds, count, order, form, shop, tally. Exits with 1 if one is damaged.",
    ),
    "backup": Place(
        "upkeep", "backup", "Write a complete copy of the database and its packs, even while they are in use."
    ),
    "copy": Place(
        "copying",
        "copy",
        "Copy everything from a SQLite database, whose server is stopped, into an empty one, to move to PostgreSQL.",
    ),
    "compare": Place(
        "comparing",
        "compare",
        "Compare the events with those of another database. Exits with 1 if it lacks events that are here.",
    ),
    "move": Place("packs", "move", "Move the settled events of all shops, while the log is in use."),
    "adopt": Place(
        "packs", "adopt", "Take over SMSEVENTS_SEGMENTS after the database was restored from a backup, or moved."
    ),
    "stats": Place("upkeep", "stats", "Show the size of the log of each shop: events, segments, bytes."),
    "pull": Place(
        "pull",
        "pull",
        "Pull missing days, and days that may have changed, into files, one per day; each event exactly once.",
    ),
    "sync": Place(
        "sync", "sync", "Load new and late events since the last sync into a warehouse, each event exactly once."
    ),
    "demo": Place(
        "demo",
        "demo",
        "Create a temporary shop with 90 days of events, serve it, and export it with the documented call.",
    ),
    "doctor": Place(
        "doctor",
        "doctor",
        "Show the settings in force and check what they refer to. Exits with 1 if a check fails. Changes nothing.",
    ),
}


class _Loaded(MutableMapping[str, Any]):
    """The commands by name, each loaded when it is looked up."""

    def __init__(self, markup: Any) -> None:  # noqa: ANN401 -- typer's own type is private
        self._markup = markup
        self._known: dict[str, Any] = {}

    def __getitem__(self, name: str) -> Any:  # noqa: ANN401 -- a command of the library that typer brings along
        if name not in self._known:
            self._known[name] = _load(name, COMMANDS[name], self._markup)
        return self._known[name]

    def __setitem__(self, name: str, command: Any) -> None:  # noqa: ANN401 -- the same
        self._known[name] = command

    def __delitem__(self, name: str) -> None:
        raise TypeError("the commands are fixed")

    def __iter__(self) -> Iterator[str]:
        return iter(COMMANDS)

    def __len__(self) -> int:
        return len(COMMANDS)

    def __contains__(self, name: object) -> bool:
        return name in COMMANDS


_PREFIX_OF_CHOICES = "Value error, "  # pydantic puts it before what typer says about an unknown choice


class LazyGroup(TyperGroup):
    """The group of all commands. Its help needs none of their modules."""

    def __init__(self, **attributes: Any) -> None:  # noqa: ANN401 -- those of the base class
        super().__init__(**attributes)
        self.commands = _Loaded(self.rich_markup_mode)

    def invoke(self, ctx: Any) -> Any:  # noqa: ANN401 -- the types are private
        """Run the command that the words name. Raises `typer.BadParameter` without the prefix of a library."""
        try:
            return super().invoke(ctx)
        except typer.BadParameter as error:
            error.message = error.message.removeprefix(_PREFIX_OF_CHOICES)
            raise

    def list_commands(self, _ctx: Any) -> list[str]:  # noqa: ANN401 -- the context type is private
        """Return the names, in the order of the help."""
        return list(COMMANDS)

    def get_command(self, _ctx: Any, cmd_name: str) -> Any:  # noqa: ANN401 -- the same
        """Return a command that has the name and the help only, or None. `resolve_command` returns the command."""
        if cmd_name not in COMMANDS:
            return None
        return TyperCommand(cmd_name, help=COMMANDS[cmd_name].help, rich_markup_mode=self.rich_markup_mode)

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:  # noqa: ANN401 -- the same
        """Return the name, the loaded command and the other words. Raises `NotOnThisSystem`."""
        name, command, rest = super().resolve_command(ctx, args)
        return name, self.commands[name] if name else command, rest


def _load(name: str, place: Place, markup: Any) -> Any:  # noqa: ANN401 -- types that typer keeps private
    """Import the module of a command. Return the command as typer builds it."""
    try:
        found = getattr(importlib.import_module(f"smsevents.cli.{place.module}"), place.name)
    except ModuleNotFoundError as error:
        if error.name is None or error.name.startswith("smsevents"):
            raise
        raise NotOnThisSystem(
            f"`smsevents {name}` needs the Python module {error.name}, which is not available here. The server and its"
            " database run on Linux; `pull` and `sync` run on any system."
        ) from error
    parts = typer.Typer(rich_markup_mode=markup)
    if isinstance(found, typer.Typer):
        parts.add_typer(found, name=name)
    else:
        parts.command(name)(found)
    return typer.main.get_group(parts).commands[name]
