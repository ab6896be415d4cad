"""Runs the client or a command as on a desk: without the server's packages and without what only POSIX systems have.

    python desk.py smsevents pull 7 folder          the command
    python desk.py export 7                         prints the lines of an export, blocking and on an event loop

The modules in HIDDEN cannot be imported, nor those that the variable DESK_HIDDEN names. Locks and folders are those of
Windows, over a stand-in for its `msvcrt`. The process ends with exit code NOT_HIDDEN if any module of the server was
imported.
"""

from __future__ import annotations

import atexit
import importlib.util
import os
import sys
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, NoReturn

if TYPE_CHECKING:
    from collections.abc import Sequence

HIDDEN = {
    *("alembic", "httptools", "litestar", "prometheus_client", "sqlalchemy", "starlette", "structlog", "uvicorn"),
    *("fcntl", "grp", "pwd", "resource", "termios", "uvloop"),
    *("sqlite3", "zlib_ng"),
    *os.environ.get("DESK_HIDDEN", "").split(),
}
SERVER = {"accounts", "catalog", "demo", "log", "logging_config", "segments", "timekeeper", "upkeep", "web", "worker"}
NOT_HIDDEN = 99


class Hidden:
    """Refuses the hidden modules, as if they were not installed."""

    def find_spec(self, name: str, _path: Sequence[str] | None = None, _target: ModuleType | None = None) -> None:
        """Raise for a hidden module; leave any other to the finders after this one."""
        if name.partition(".")[0] in HIDDEN:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)


def msvcrt() -> ModuleType:
    """Return a stand-in for Windows' `msvcrt`: locks of bytes at the position of an open file."""
    import fcntl  # noqa: PLC0415 -- before it is hidden

    def locking(descriptor: int, mode: int, size: int) -> None:
        """Lock bytes. Raises `OSError` if another process has locked one of them."""
        assert mode == module.LK_NBLCK
        fcntl.lockf(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB, size, 0, os.SEEK_CUR)

    module = ModuleType("msvcrt")
    module.LK_NBLCK = 2  # type: ignore[attr-defined]
    module.locking = locking  # type: ignore[attr-defined]
    return module


def hide() -> None:
    """Hide the modules, and load what differs between systems as Windows would."""
    sys.modules["msvcrt"] = msvcrt()
    for name in [name for name in sys.modules if name.partition(".")[0] in HIDDEN]:
        del sys.modules[name]
    sys.meta_path.insert(0, Hidden())
    name = "smsevents.client.platforms"
    [package] = importlib.util.find_spec("smsevents").submodule_search_locations  # type: ignore[union-attr, misc]
    spec = importlib.util.spec_from_file_location(name, Path(package) / "client" / "platforms.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    there, sys.platform = sys.platform, "win32"
    try:
        spec.loader.exec_module(module)
    finally:
        sys.platform = there
    sys.modules[name] = module
    del sys.modules["msvcrt"]  # others would take it for the real one
    atexit.register(check)


def check() -> None:
    """End the process with NOT_HIDDEN if a module of the server, or a hidden one, was imported."""
    parts = [name.split(".") for name in sys.modules]
    found = {".".join(part) for part in parts if part[0] == "smsevents" and part[1:2] and part[1] in SERVER}
    found |= {part[0] for part in parts if part[0] in HIDDEN}
    if found:
        sys.stderr.write(f"imported: {' '.join(sorted(found))}\n")
        sys.stderr.flush()
        os._exit(NOT_HIDDEN)


def export(trackpoint: int) -> None:
    """Print the lines of an export twice: by `Client`, and by `AsyncClient`."""
    import asyncio  # noqa: PLC0415 -- after modules are hidden

    from smsevents.client import AsyncClient, Client  # noqa: PLC0415 -- the same

    with Client(trackpoint) as client:
        for line in client.export_lines():
            sys.stdout.buffer.write(line + b"\n")

    async def run() -> None:
        """Print the lines on an event loop."""
        async with AsyncClient(trackpoint) as client:
            async for line in client.export_lines():
                sys.stdout.buffer.write(line + b"\n")

    asyncio.run(run())


def main() -> NoReturn:
    """Run what the words on the command line name."""
    del sys.path[0]  # the folder of this file: its modules are named like others
    hide()
    if sys.argv[1] == "export":
        export(int(sys.argv[2]))
        sys.exit()
    del sys.argv[0]
    from smsevents.cli import main as command  # noqa: PLC0415 -- after modules are hidden

    command()
    sys.exit()


if __name__ == "__main__":
    main()
