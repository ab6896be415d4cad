"""A dump of the database by pg_dump, and what is read at the same moment.

pg_dump sets parameters of its session. In a pool of connections, these would stay for the next user of the connection,
so a pool is refused.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from typing import TYPE_CHECKING, Any

from psycopg.conninfo import conninfo_to_dict, make_conninfo

from smsevents.errors import InvalidRequest, StoreUnavailable

if TYPE_CHECKING:
    from pathlib import Path

    import psycopg

    from smsevents.catalog.dialects.postgres.location import Location

PROGRAM = "pg_dump"
DUMP_COMPRESSION_LEVEL = 1  # what takes most of the space is compressed already, and written as text of twice its size
# They say what runs now, which means nothing in a restored database.
_WITHOUT_ROWS = ("leases", "pins")


def dump(connection: psycopg.Connection[Any], location: Location, target: Path) -> None:
    """Write the state that the transaction of a connection sees into an empty file, in the custom format of pg_dump.

    Raises `InvalidRequest` if pg_dump is missing or a pool of connections is between, and `StoreUnavailable`.
    """
    program = shutil.which(PROGRAM)
    if program is None:
        raise InvalidRequest(
            f"A backup of PostgreSQL needs {PROGRAM}, which is not installed. Install the client programs of"
            " PostgreSQL, of the version of the server or a newer one (Debian: postgresql-client)."
        )
    ((pid, snapshot),) = connection.execute("SELECT pg_backend_pid(), pg_export_snapshot()").fetchall()
    if pid != connection.info.backend_pid:
        raise InvalidRequest(
            f"{location.where} is a pool of connections, such as pgbouncer, and {PROGRAM} must not use it. Name the"
            " server itself with --server and its URL."
        )
    parts = conninfo_to_dict(location.conninfo)
    environment = os.environ | {"PGAPPNAME": "smsevents backup"}
    if password := parts.pop("password", None):
        environment["PGPASSWORD"] = str(password)  # other users see the arguments of a process
    command = [
        program,
        "--format=custom",
        f"--compress={DUMP_COMPRESSION_LEVEL}",
        "--no-owner",
        "--no-privileges",
        f"--snapshot={snapshot}",
        *(f"--exclude-table-data={name}" for name in _WITHOUT_ROWS),
        f"--file={target}",
        f"--dbname={make_conninfo('', **parts)}",
    ]
    done = subprocess.run(command, env=environment, capture_output=True, check=False)  # noqa: S603 -- no shell
    if done.returncode:
        told = " ".join(done.stderr.decode(errors="replace").split())
        raise StoreUnavailable(f"{PROGRAM} failed: {told}.")
