"""Hosts on networks of a test's own, which can be cut: nothing arrives any more, and nobody is told.

Each host is a network namespace of Linux (https://man7.org/linux/man-pages/man7/network_namespaces.7.html). It needs
root and `ip`. What a thread starts while it is inside of a host is on that host: processes, sockets and threads. A
namespace ends with the last process in it, so nothing is left of a test that was killed.
"""

from __future__ import annotations

import ctypes
import os
import shutil
import subprocess
from contextlib import ExitStack, contextmanager
from itertools import count
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import TracebackType
    from typing import Self

_NEW_NETWORK = 0x40000000  # CLONE_NEWNET of <sched.h>
_libc = ctypes.CDLL(None, use_errno=True)


def require_networks() -> None:
    """Skip the test unless this process may create networks."""
    if os.getuid() != 0:
        pytest.skip("networks of a test's own need root")
    if shutil.which("ip") is None or shutil.which("unshare") is None:
        assert "CI" not in os.environ, "CI must have iproute2"
        pytest.skip("iproute2 is not installed; `make test` installs it where it may")
    tried = subprocess.run(["unshare", "--net", "true"], check=False, capture_output=True, timeout=30)
    if tried.returncode != 0:
        pytest.skip(f"this container may not create networks: {tried.stderr.decode().strip()}")


def _enter(namespace: int) -> None:
    if _libc.setns(namespace, _NEW_NETWORK) != 0:
        raise OSError(ctypes.get_errno(), "setns")


def _ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True, capture_output=True, timeout=30)


class Host:
    """A host without a link to any other one. `close` it."""

    def __init__(self) -> None:
        """Make a network namespace, which a process holds that ends with this one."""
        self._holder = subprocess.Popen(["unshare", "--net", "cat"], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        assert self._holder.stdin is not None
        assert self._holder.stdout is not None
        self._holder.stdin.write(b"\n")
        self._holder.stdin.flush()
        assert self._holder.stdout.read(1) == b"\n"  # so it is `cat` by now, in the namespace
        self.pid = self._holder.pid
        self._namespace = os.open(f"/proc/{self.pid}/ns/net", os.O_RDONLY)
        with self.inside():
            _ip("link", "set", "lo", "up")

    @contextmanager
    def inside(self) -> Iterator[None]:
        """Be on this host for the block, with this thread."""
        before = os.open("/proc/thread-self/ns/net", os.O_RDONLY)
        try:
            _enter(self._namespace)
            try:
                yield
            finally:
                _enter(before)
        finally:
            os.close(before)

    def close(self) -> None:
        """End the process that holds the namespace."""
        os.close(self._namespace)
        assert self._holder.stdin is not None
        assert self._holder.stdout is not None
        self._holder.stdin.close()
        self._holder.stdout.close()
        self._holder.wait(30)


class Link:
    """A network of two hosts. `near_address` and `far_address` are their IPv4 addresses there."""

    def __init__(self, near: Host, far: Host, number: int) -> None:
        """Connect two hosts by a network with a number of its own."""
        self._far = far
        self._far_end = f"far{number}"
        self.near_address, self.far_address = f"10.98.{number}.1", f"10.98.{number}.2"
        near_end = f"near{number}"
        with near.inside():
            _ip("link", "add", near_end, "type", "veth", "peer", "name", self._far_end)
            _ip("link", "set", self._far_end, "netns", str(far.pid))
            _ip("address", "add", f"{self.near_address}/24", "dev", near_end)
            _ip("link", "set", near_end, "up")
        with far.inside():
            _ip("address", "add", f"{self.far_address}/24", "dev", self._far_end)
            _ip("link", "set", self._far_end, "up")

    def cut(self) -> None:
        """Let nothing arrive any more, on either side. No connection is closed."""
        with self._far.inside():
            _ip("link", "set", self._far_end, "down")

    def heal(self) -> None:
        """Let everything arrive again."""
        with self._far.inside():
            _ip("link", "set", self._far_end, "up")


class Network:
    """Hosts and links, which are gone after a `with` statement."""

    def __init__(self) -> None:
        """Begin without hosts."""
        self._hosts = ExitStack()
        self._numbers = count(1)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._hosts.close()

    def host(self) -> Host:
        """Add a host."""
        host = Host()
        self._hosts.callback(host.close)
        return host

    def link(self, near: Host, far: Host) -> Link:
        """Connect two hosts."""
        return Link(near, far, next(self._numbers))
