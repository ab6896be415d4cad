"""From SQLite to PostgreSQL: `smsevents copy` against an export and an import."""

import os
import secrets
import shlex
from collections.abc import Mapping
from typing import TYPE_CHECKING

from bench.dataset import dataset
from bench.measure import Figures, run, run_watched, take_turns
from bench.peers.postgres import cluster
from bench.peers.smsevents import COMMAND, Store
from bench.plan import TRACKPOINT, Plan
from bench.render import Bars, Case
from bench.results import Row, row
from bench.same import Different

if TYPE_CHECKING:
    from collections.abc import Callable

_OURS, _PEER = "copy", "export | import"
_MILLION = 1_000_000
_EXPORT = shlex.join([*COMMAND, "export", str(TRACKPOINT), "--days", "90", "--quiet"])


def _digest(environment: Mapping[str, str]) -> str:
    """Return the checksum of an export."""
    return run(["sh", "-c", f"{_EXPORT} | sha256sum"], environment)[0]


def _measure(plan: Plan) -> list[Row]:
    with plan.workplace("move") as folder, cluster(plan.folder) as connection:
        data = dataset(plan.folder, plan.events)
        store = Store(folder / "log.db")
        store.add_shop()
        store.command("import", str(TRACKPOINT), str(data.path))
        store.command("compact")
        parts = dict(word.split("=", 1) for word in connection.split())
        expected = _digest(store.environment)

        def emptied() -> str:
            name = f"log_{secrets.token_hex(4)}"
            run(["psql", connection, "--quiet", "--command", f"CREATE DATABASE {name}"])
            return f"postgresql://{parts['user']}@{parts['host']}:{parts['port']}/{name}"

        def copied() -> Figures:
            url = emptied()
            figures = run_watched([*COMMAND, "copy", url], store.environment)
            if _digest(os.environ | {"SMSEVENTS_DATABASE": url}) != expected:
                raise Different("the copy exports other lines")
            return figures

        def imported() -> Figures:
            url = emptied()
            environment = store.environment | {"SMSEVENTS_TARGET": url}
            run([*COMMAND, "shop", "add", str(TRACKPOINT)], os.environ | {"SMSEVENTS_DATABASE": url})
            into = shlex.join([*COMMAND, "import", str(TRACKPOINT), "-"])
            return run_watched(["sh", "-c", f'{_EXPORT} | {into} --database "$SMSEVENTS_TARGET"'], environment)

        ways: dict[str, Callable[[], Figures]] = {_OURS: copied, _PEER: imported}
        turns = take_turns(list(ways.values()), plan.rounds, plan.way_max_seconds)
    found = [row({"events": plan.events, "system": name}, **figures) for name, figures in zip(ways, turns, strict=True)]
    peer = found[1].median("cpu_seconds")
    for one in found:
        one.figures["cpu_by_import_ratio"] = [round(one.median("cpu_seconds") / peer, 4)]
        one.figures["of_a_million_seconds"] = [
            round(value * _MILLION / plan.events, 4) for value in one.figures["seconds"]
        ]
    return found


CASE = Case(
    _measure,
    "{events:,} events of one shop without packs, into an empty PostgreSQL on the same machine. The processor time is"
    " that of the commands, not of PostgreSQL.",
    ("system", "seconds", "seconds~", "of_a_million_seconds", "cpu_seconds", "cpu_by_import_ratio", "peak_bytes"),
    Bars("From SQLite to PostgreSQL, {events:,} events: shorter is better", "system", "seconds", "seconds"),
    together="events",
)
