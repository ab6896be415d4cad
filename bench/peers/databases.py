"""The databases that smsevents is measured on: a file of SQLite and a server of PostgreSQL, in one run."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import psycopg

from bench.peers.postgres import cluster
from bench.peers.smsevents import Store
from bench.plan import Plan

SQLITE, POSTGRES = "SQLite", "PostgreSQL"


@dataclass(frozen=True)
class Databases:
    """A folder for files of SQLite and, if there is one, how to connect to a server of PostgreSQL."""

    folder: Path
    server: str | None

    @property
    def kinds(self) -> list[str]:
        """The kinds of databases that can be made."""
        return [SQLITE] if self.server is None else [SQLITE, POSTGRES]

    def empty(self, kind: str, name: str, *settings: tuple[str, str]) -> Store:
        """Return an empty database of a kind, in place of one that had the name before."""
        for old in self.folder.glob(f"{name}.db*"):
            old.unlink()
        path = self.folder / f"{name}.db"
        if kind == SQLITE or self.server is None:
            return Store(path, settings)
        with psycopg.connect(self.server, autocommit=True) as connection:
            connection.execute(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")
            connection.execute(f"CREATE DATABASE {name}")
            info = connection.info
            url = f"postgresql://{info.user}@{info.host}:{info.port}/{name}"
        return Store(path, (("SMSEVENTS_DATABASE", url), *settings))


@contextmanager
def databases(plan: Plan, folder: Path) -> Iterator[Databases]:
    """Yield the databases, with PostgreSQL if it is among the peers of the plan."""
    with ExitStack() as stack:
        server = stack.enter_context(cluster(folder)) if "postgres" in plan.peers else None
        yield Databases(folder, server)
