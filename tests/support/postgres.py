"""A PostgreSQL server of the tests' own: in a temporary folder, on a free port, gone when they are over.

Each test that keeps a log in it has a database of its own there, whose owner is an ordinary user.
"""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
from contextlib import contextmanager
from pathlib import Path
from secrets import token_hex
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import psycopg
import pytest

from tests.support.servers import free_port

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

START_MAX_SECONDS = 60
# the server refuses to run as root, so root runs it as one of these users
UNPRIVILEGED = ("postgres", "nobody")
OWNER = "keeper"  # of the databases of tests


def programs() -> Path:
    """Return the folder of initdb and postgres, or skip the test if they are not installed."""
    found = shutil.which("initdb")
    if found:
        return Path(found).resolve().parent
    for folder in sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda bin_: bin_.parent.name, reverse=True):
        if (folder / "initdb").is_file():
            return folder
    assert "CI" not in os.environ, "CI must have PostgreSQL"
    pytest.skip("PostgreSQL is not installed; `make test` installs it where it may")


@contextmanager
def open_folder() -> Iterator[Path]:
    """Make a folder that other users can reach, for the block. Each run of pytest closes the folders of all runs."""
    with tempfile.TemporaryDirectory(prefix="smsevents-postgres-") as folder:
        path = Path(folder)
        path.chmod(0o755)
        yield path


def running(folder: Path, *settings: str) -> Iterator[str]:
    """Start a server in an empty folder, yield its URL, and stop it. Settings are those of its configuration.

    Other hosts of its own networks may use it, too, if it listens to them.
    """
    data, runs_as = _prepared(folder)
    make = [str(programs() / "initdb"), "-D", str(data), "-U", "tester", "-A", "trust", "-E", "UTF8", "--locale=C"]
    subprocess.run([*make, "--no-sync"], check=True, capture_output=True, timeout=120, **runs_as)
    with (data / "pg_hba.conf").open("a") as rules:
        rules.write("host all,replication all samenet trust\n")
    yield from _served(folder, data, runs_as, settings)


def standing_by(folder: Path, url: str, *settings: str) -> Iterator[str]:
    """Start a synchronous standby of a server in an empty folder, yield its URL, and stop it."""
    data, runs_as = _prepared(folder)
    place = urlsplit(url)
    primary = f"host={place.hostname} port={place.port} user=tester application_name=standby"
    copy = [str(programs() / "pg_basebackup"), "-d", primary, "-D", str(data), "-R", "-c", "fast", "--no-sync"]
    subprocess.run(copy, check=True, capture_output=True, timeout=120, **runs_as)
    with administered(url) as connection:  # after the copy, so that the standby needs none when it is promoted
        connection.execute("ALTER SYSTEM SET synchronous_standby_names = 'standby'")
        connection.execute("SELECT pg_reload_conf()")
    yield from _served(folder, data, runs_as, settings)


@contextmanager
def pair() -> Iterator[tuple[str, str]]:
    """Yield the URLs of a server and of its synchronous standby, both new."""
    with (
        open_folder() as first,
        contextmanager(running)(first) as primary,
        open_folder() as second,
        contextmanager(standing_by)(second, primary) as standby,
    ):
        yield primary, standby


def kill(url: str) -> None:
    """Kill a server, as a lost machine would. Its other processes end by themselves."""
    with administered(url) as connection:
        ((folder,),) = connection.execute("SELECT current_setting('data_directory')").fetchall()
    os.kill(int((Path(folder) / "postmaster.pid").read_text().split()[0]), signal.SIGKILL)


def _prepared(folder: Path) -> tuple[Path, dict[str, Any]]:
    """Make the folder of a server's data, and return it with the user to run as."""
    data = folder / "data"
    data.mkdir(mode=0o700)
    user = _user()
    runs_as: dict[str, Any] = {"cwd": "/"}
    if user is not None:
        os.chown(data, user.pw_uid, user.pw_gid)
        _let_through(folder)
        runs_as |= {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []}
    return data, runs_as


def _served(folder: Path, data: Path, runs_as: dict[str, Any], settings: Sequence[str]) -> Iterator[str]:
    server, port = programs(), free_port()
    usual = ["listen_addresses=127.0.0.1", f"port={port}", "unix_socket_directories=", "fsync=off"]
    every = [word for one in (*usual, *settings) for word in ("-c", one)]
    command = [str(server / "postgres"), "-D", str(data), *every]
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log, **runs_as)
    try:
        _wait_until_ready(server, port, process, folder / "log")
        yield f"postgresql://tester:unused@127.0.0.1:{port}/postgres"
    finally:
        process.terminate()
        process.wait(60)


def pooled(folder: Path, url: str) -> Iterator[str]:
    """Start a pgbouncer before a server, yield its URL for the same user, and stop it."""
    program = shutil.which("pgbouncer", path=f"{os.environ.get('PATH', '')}:/usr/sbin")
    if program is None:
        assert "CI" not in os.environ, "CI must have pgbouncer"
        pytest.skip("pgbouncer is not installed; `make test` installs it where it may")
    parts, port = urlsplit(url), free_port()
    users = folder / "users"
    users.write_text(f'"{parts.username}" ""\n"{OWNER}" ""\n')
    settings = folder / "pgbouncer.ini"
    settings.write_text(
        f"[databases]\n* = host=127.0.0.1 port={parts.port}\n[pgbouncer]\nlisten_addr = 127.0.0.1\n"
        f"listen_port = {port}\nunix_socket_dir =\nauth_type = trust\nauth_file = {users}\n"
        "pool_mode = transaction\ndefault_pool_size = 30\nmax_client_conn = 500\n"
    )
    runs_as: dict[str, Any] = {"cwd": "/"}
    if (user := _user()) is not None:
        _let_through(folder)
        runs_as |= {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []}
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen([program, str(settings)], stdout=log, stderr=log, **runs_as)
    try:
        _wait_until_ready(programs(), port, process, folder / "log")
        yield f"postgresql://{parts.username}:unused@127.0.0.1:{port}/postgres"
    finally:
        process.terminate()
        process.wait(60)


@contextmanager
def administered(url: str) -> Iterator[psycopg.Connection[Any]]:
    """Connect to a server as the superuser for the block, each statement being a transaction of its own."""
    with psycopg.connect(url, autocommit=True) as connection:
        yield connection


def create_database(url: str) -> str:
    """Create an empty database of the ordinary user on a server, and return its name."""
    name = f"log_{token_hex(6)}"
    with administered(url) as connection:
        if connection.execute("SELECT 1 FROM pg_roles WHERE rolname = %s", (OWNER,)).fetchone() is None:
            connection.execute(f"CREATE ROLE {OWNER} LOGIN IN ROLE pg_read_all_stats")
        connection.execute(f"CREATE DATABASE {name} OWNER {OWNER}")
    return name


def url_of(url: str, name: str, user: str = OWNER, host: str = "127.0.0.1") -> str:
    """Return the URL of a database for a user, on the server of a URL or through its pgbouncer."""
    return f"postgresql://{user}@{host}:{urlsplit(url).port}/{name}"


def drop_database(url: str, name: str) -> None:
    """Remove a database, with all connections to it."""
    with administered(url) as connection:
        connection.execute(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")


@contextmanager
def restored(url: str, dump: Path) -> Iterator[tuple[str, str]]:
    """Restore a dump into a new database of the ordinary user, for the block. Yield the name and the URL."""
    name = create_database(url)
    try:
        command = ["pg_restore", "--no-owner", "--exit-on-error", f"--dbname={url_of(url, name)}", str(dump)]
        subprocess.run(command, check=True, capture_output=True, timeout=120)
        yield name, url_of(url, name)
    finally:
        drop_database(url, name)


def _user() -> pwd.struct_passwd | None:
    """Return the user to run as, or None if this process is not root."""
    if os.getuid() != 0:
        return None
    for name in UNPRIVILEGED:
        try:
            return pwd.getpwnam(name)
        except KeyError:
            continue
    raise AssertionError(f"none of the users {UNPRIVILEGED} exists")


def _let_through(folder: Path) -> None:
    """Let other users reach the folder: pytest makes its parent folders accessible to their owner only."""
    for above in [folder, *folder.parents]:
        mode = above.stat().st_mode
        if above.stat().st_uid == os.getuid() and not mode & 0o001:
            above.chmod(mode | 0o001)


def _wait_until_ready(server: Path, port: int, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + START_MAX_SECONDS
    ready = [str(server / "pg_isready"), "-q", "-h", "127.0.0.1", "-p", str(port)]
    while subprocess.run(ready, check=False, timeout=30).returncode != 0:
        if process.poll() is not None or time.monotonic() > deadline:
            raise AssertionError(f"PostgreSQL did not start:\n{log.read_text()}")
        time.sleep(0.05)
