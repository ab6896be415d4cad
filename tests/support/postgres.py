"""A PostgreSQL server of the tests' own: in a temporary folder, on a free port, gone when they are over."""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.support.servers import free_port

if TYPE_CHECKING:
    from collections.abc import Iterator

START_MAX_SECONDS = 60
# the server refuses to run as root, so root runs it as one of these users
UNPRIVILEGED = ("postgres", "nobody")


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


def running(folder: Path) -> Iterator[str]:
    """Start a server in an empty folder, yield its URL, and stop it."""
    server = programs()
    data = folder / "data"
    data.mkdir()
    user = _user()
    runs_as: dict[str, Any] = {"cwd": "/"}
    if user is not None:
        os.chown(data, user.pw_uid, user.pw_gid)
        _let_through(folder)
        runs_as |= {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []}
    make = [str(server / "initdb"), "-D", str(data), "-U", "tester", "-A", "trust", "-E", "UTF8", "--locale=C"]
    subprocess.run([*make, "--no-sync"], check=True, capture_output=True, timeout=120, **runs_as)
    port = free_port()
    settings = ["listen_addresses=127.0.0.1", f"port={port}", "unix_socket_directories=", "fsync=off"]
    command = [str(server / "postgres"), "-D", str(data), *(word for one in settings for word in ("-c", one))]
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log, **runs_as)
    try:
        _wait_until_ready(server, port, process, folder / "log")
        yield f"postgresql://tester:unused@127.0.0.1:{port}/postgres"
    finally:
        process.terminate()
        process.wait(60)


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
