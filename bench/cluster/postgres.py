"""PostgreSQL with a synchronous standby: a commit is acknowledged when both have it on their disks."""

import shutil
import signal
import time
from pathlib import Path

import psycopg

from bench.cluster.programs import POLL_SECONDS, START_MAX_SECONDS, Failed, Program, different_ports, own, run

STANDBY = "standby"
DATABASE = "smsevents"


def programs() -> Path:
    """Return the folder of the newest PostgreSQL on this machine. Raises `Failed`."""
    if path := shutil.which("initdb"):
        return Path(path).resolve().parent
    for folder in sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda one: int(one.parent.name), reverse=True):
        if (folder / "initdb").exists():
            return folder
    raise Failed("PostgreSQL is not installed. `make demo-cluster` says what to install.")


class Pair:
    """A primary and its standby, each with a folder and a port."""

    def __init__(self, folder: Path) -> None:
        """Choose the ports. Nothing is started yet."""
        self._folder = folder
        self._bin = programs()
        self._ports = different_ports(2)
        self._primary = 0
        self._servers = [self._server(number) for number in range(2)]

    @property
    def url(self) -> str:
        """The URL for smsevents: both hosts, of which it takes the one that is the primary."""
        hosts = ",".join(f"127.0.0.1:{port}" for port in self._ports)
        return f"postgresql://{DATABASE}@{hosts}/{DATABASE}?connect_timeout=2"

    def start(self) -> None:
        """Make the primary, the database, and the standby."""
        data = self._data(0)
        run(
            self._bin / "initdb",
            "-D",
            data,
            "-U",
            "postgres",
            "-A",
            "trust",
            "-E",
            "UTF8",
            "--locale=C",
            unprivileged=True,
        )
        self._servers[0].start(self._accepts(0))
        with self.connected() as connection:
            connection.execute(f"CREATE ROLE {DATABASE} LOGIN IN ROLE pg_read_all_stats")
            connection.execute(f"CREATE DATABASE {DATABASE} OWNER {DATABASE}")
        self.add_standby()

    def add_standby(self) -> None:
        """Copy the primary, and let the copy follow it. From then on commits wait for it."""
        other = 1 - self._primary
        shutil.rmtree(self._data(other))
        data = self._data(other)
        primary = f"host=127.0.0.1 port={self._ports[self._primary]} user=postgres application_name={STANDBY}"
        run(self._bin / "pg_basebackup", "-d", primary, "-D", data, "-R", "-c", "fast", unprivileged=True)
        self._servers[other].start(self._accepts(other))
        with self.connected() as connection:
            connection.execute(f"ALTER SYSTEM SET synchronous_standby_names = '{STANDBY}'")
            connection.execute("SELECT pg_reload_conf()")
            deadline = time.monotonic() + START_MAX_SECONDS
            while connection.execute("SELECT sync_state FROM pg_stat_replication").fetchall() != [("sync",)]:
                if time.monotonic() > deadline:
                    raise Failed("The standby of PostgreSQL does not follow its primary.")
                time.sleep(POLL_SECONDS)

    def fail_over(self) -> None:
        """Kill the primary, and promote the standby."""
        self._servers[self._primary].kill()
        self._primary = 1 - self._primary
        with self.connected() as connection:
            # it must not wait for a standby that is gone; the operator, or Patroni, does the same
            connection.execute("SELECT pg_promote()")
            connection.execute("ALTER SYSTEM SET synchronous_standby_names = ''")
            connection.execute("SELECT pg_reload_conf()")

    def stop(self) -> None:
        """End both."""
        for server in self._servers:
            server.stop(signal.SIGINT)

    def connected(self) -> psycopg.Connection[tuple[object, ...]]:
        """Connect to the primary as the superuser, each statement being a transaction of its own."""
        port = self._ports[self._primary]
        return psycopg.connect(f"host=127.0.0.1 port={port} user=postgres dbname=postgres", autocommit=True)

    def _server(self, number: int) -> Program:
        data = self._folder / f"postgres-{number + 1}"
        data.mkdir(mode=0o700)
        own(data)
        settings = ["listen_addresses=127.0.0.1", f"port={self._ports[number]}", "unix_socket_directories="]
        command = [str(self._bin / "postgres"), "-D", str(data), *(word for one in settings for word in ("-c", one))]
        return Program(
            f"PostgreSQL {number + 1}", command, self._folder / f"postgres-{number + 1}.log", unprivileged=True
        )

    def _data(self, number: int) -> Path:
        data = self._folder / f"postgres-{number + 1}"
        data.mkdir(mode=0o700, exist_ok=True)
        return own(data)

    def _accepts(self, number: int) -> "_Accepts":
        return _Accepts(self._ports[number])


class _Accepts:
    """Returns whether a server takes connections."""

    def __init__(self, port: int) -> None:
        self._port = port

    def __call__(self) -> bool:
        try:
            psycopg.connect(f"host=127.0.0.1 port={self._port} user=postgres dbname=postgres connect_timeout=2").close()
        except psycopg.Error:
            return False
        return True
