"""Programs that are started, killed, and ended with this process."""

import contextlib
import os
import pwd
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from bench.systems import free_port

START_MAX_SECONDS = 60
STOP_MAX_SECONDS = 20
POLL_SECONDS = 0.1
UNPRIVILEGED = ("postgres", "nobody")  # PostgreSQL refuses to run as root


class Failed(Exception):
    """A step of the demonstration failed; the text says which one and where its log is."""


class Program:
    """A program in a session of its own, whose output goes to a log. The kernel ends it with this process."""

    def __init__(
        self,
        name: str,
        command: Sequence[str],
        log: Path,
        *,
        environment: Mapping[str, str] | None = None,
        unprivileged: bool = False,
    ) -> None:
        """Describe the program. `unprivileged` runs it as another user if this process is root."""
        self.name = name
        self._command = [*(["setpriv", "--pdeathsig", "KILL"] if shutil.which("setpriv") else []), *command]
        self._log = log
        self._environment = environment
        self._as = run_as() if unprivileged else {}
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        """The id of its process, which must have been started."""
        if self.process is None:
            raise Failed(f"{self.name} was not started.")
        return self.process.pid

    def start(self, is_ready: Callable[[], bool]) -> None:
        """Start the program, and wait until it is ready. Raises `Failed`."""
        with self._log.open("ab") as log:
            self.process = subprocess.Popen(
                self._command, env=self._environment, stdout=log, stderr=log, start_new_session=True, **self._as
            )
        deadline = time.monotonic() + START_MAX_SECONDS
        while not is_ready():
            if self.process.poll() is not None or time.monotonic() > deadline:
                raise Failed(f"{self.name} did not start:\n{self._log.read_text(errors='replace')[-2000:]}")
            time.sleep(POLL_SECONDS)

    def kill(self) -> None:
        """Kill the program and its processes at once, as a lost machine would."""
        if self.process is not None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()

    def stop(self, how: signal.Signals = signal.SIGTERM) -> None:
        """End the program. It is killed if it does not end."""
        if self.process is not None and self.process.poll() is None:
            self.process.send_signal(how)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.process.wait(STOP_MAX_SECONDS)
        self.kill()


def run_as() -> dict[str, Any]:
    """Return how to start a program that refuses to run as root: as another user, if this process is root."""
    if os.getuid() != 0:
        return {"cwd": "/"}
    for name in UNPRIVILEGED:
        with contextlib.suppress(KeyError):
            user = pwd.getpwnam(name)
            return {"cwd": "/", "user": user.pw_uid, "group": user.pw_gid, "extra_groups": []}
    raise Failed(f"None of the users {', '.join(UNPRIVILEGED)} exists, and PostgreSQL does not run as root.")


def own(path: Path) -> Path:
    """Let the user of `run_as` own a folder. Return it."""
    user = run_as()
    if "user" in user:
        os.chown(path, user["user"], user["group"])
    return path


def listens(port: int) -> Callable[[], bool]:
    """Return a function that returns whether something listens on a port of this machine."""

    def check() -> bool:
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", port)) == 0

    return check


def different_ports(count: int) -> list[int]:
    """Return so many free ports."""
    found: set[int] = set()
    while len(found) < count:
        found.add(free_port())
    return sorted(found)


def found(program: str) -> str:
    """Return the path of a program, also of those that are not on the path of ordinary users. Raises `Failed`."""
    path = shutil.which(program, path=f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin")
    if path is None:
        raise Failed(f"{program} is not installed. `make demo-cluster` says what to install.")
    return path


def run(*command: str | Path, environment: Mapping[str, str] | None = None, unprivileged: bool = False) -> str:
    """Run a program to its end, and return its output. Raises `Failed` with its errors."""
    who = run_as() if unprivileged else {}
    done: subprocess.CompletedProcess[str] = subprocess.run(
        command, env=environment, capture_output=True, text=True, timeout=300, check=False, **who
    )
    if done.returncode:
        raise Failed(f"{' '.join(map(str, command))} failed:\n{done.stderr[-2000:]}")
    return done.stdout
