"""SeaweedFS, a server of S3 on this machine, for the tests of buckets."""

from __future__ import annotations

import atexit
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager
from functools import cache
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING

import httpx2
import pytest

from tests.support.servers import free_port

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

START_MAX_SECONDS = 60
SHARED = "shared-by-tests"
OWNER, READER = "owner", "reader"  # who may do everything, and who may only read

_IDENTITIES = {
    "identities": [
        {"name": "anonymous", "actions": ["Admin"]},  # creates the buckets, so that nothing here has to sign requests
        {
            "name": OWNER,
            "credentials": [{"accessKey": OWNER, "secretKey": f"{OWNER}-secret"}],
            "actions": ["Admin", "Read", "Write", "List", "Tagging"],
        },
        {
            "name": READER,
            "credentials": [{"accessKey": READER, "secretKey": f"{READER}-secret"}],
            "actions": ["Read", "List"],
        },
    ]
}
_ENABLED = (
    b'<VersioningConfiguration xmlns="http://s3.amazonaws.com/doc/2006-03-01/"><Status>Enabled</Status>'
    b"</VersioningConfiguration>"
)


def weed() -> Path | None:
    """Return the program, or None if it is not installed."""
    found = Path(sys.executable).with_name("weed")
    return found if found.exists() else None


class SeaweedFS:
    """A running server, with its data in a temporary folder."""

    def __init__(self, program: Path) -> None:
        """Start it, and wait until it takes requests."""
        self.folder = Path(tempfile.mkdtemp(prefix="seaweedfs-"))
        self._numbers = count()
        data = self.folder / "data"
        data.mkdir()
        (self.folder / "s3.json").write_text(json.dumps(_IDENTITIES))
        ports = {name: free_port() for name in ("master", "volume", "filer", "s3")}
        rpc = {name: free_port() for name in ports}
        self.endpoint = f"http://127.0.0.1:{ports['s3']}"
        command = [
            *(["setpriv", "--pdeathsig", "KILL"] if shutil.which("setpriv") else []),
            str(program),
            f"-logdir={self.folder}",
            "server",
            f"-dir={data}",
            "-ip=127.0.0.1",
            "-ip.bind=127.0.0.1",
            "-master.telemetry=false",
            "-master.peers=none",
            "-master.volumeSizeLimitMB=64",
            "-volume.max=500",  # each bucket has a few of its own
            "-volume.preStopSeconds=0",
            "-filer",
            "-s3",
            f"-s3.config={self.folder / 's3.json'}",
            "-s3.port.iceberg=0",
            "-s3.port.lance=0",
            "-s3.iam=false",
            *(f"-{name}.port={port}" for name, port in ports.items()),
            *(f"-{name}.port.grpc={port}" for name, port in rpc.items()),
        ]
        with (self.folder / "output").open("wb") as output:
            self._process = subprocess.Popen(
                command, stdout=output, stderr=output, env=os.environ | {"TMPDIR": str(self.folder)}
            )
        self._wait()

    def _wait(self) -> None:
        ends = time.monotonic() + START_MAX_SECONDS
        while True:
            try:
                self._put(SHARED)
            except httpx2.HTTPError as error:
                if time.monotonic() > ends or self._process.poll() is not None:
                    self.kill()
                    raise RuntimeError((self.folder / "output").read_text(errors="replace")[-4000:]) from error
                time.sleep(0.1)
            else:
                return

    def bucket(self, *, versioned: bool = False) -> str:
        """Create a bucket, and return its name."""
        name = f"packs-{os.getpid()}-{next(self._numbers)}"
        self._put(name)
        if versioned:
            self.keep_versions(name)
        return name

    def keep_versions(self, bucket: str) -> None:
        """Turn versioning on for a bucket."""
        self._put(f"{bucket}?versioning", _ENABLED)

    def place(self) -> str:
        """Return the URL of a place that is empty, in the bucket that all tests share: a bucket takes long to make."""
        return f"s3://{SHARED}/packs/{os.getpid()}-{next(self._numbers)}"

    def _put(self, path: str, body: bytes = b"") -> None:
        httpx2.put(f"{self.endpoint}/{path}", content=body, timeout=30).raise_for_status()

    def environment(self, who: str = OWNER, *, endpoint: str | None = None) -> Mapping[str, str]:
        """Return the variables by which somebody uses it, perhaps through a proxy."""
        return variables(endpoint or self.endpoint, who)

    def kill(self) -> None:
        """End it. It may not end on SIGTERM."""
        self._process.kill()
        self._process.wait()
        shutil.rmtree(self.folder, ignore_errors=True)


def variables(endpoint: str, who: str = OWNER) -> Mapping[str, str]:
    """Return the variables by which somebody uses a store of S3 at an endpoint."""
    return {
        "AWS_ENDPOINT_URL": endpoint,
        "AWS_REGION": "us-east-1",
        "AWS_ACCESS_KEY_ID": who,
        "AWS_SECRET_ACCESS_KEY": f"{who}-secret",
    }


@cache
def _running(program: Path) -> SeaweedFS:
    server = SeaweedFS(program)
    atexit.register(server.kill)
    return server


def seaweedfs() -> SeaweedFS:
    """Return the server, which is started once and ends with this process. Skip the test if it is not installed."""
    program = weed()
    if program is None:
        pytest.skip("SeaweedFS is not installed; `make test` installs it")
    return _running(program)


@contextmanager
def environment(wanted: Mapping[str, str]) -> Iterator[None]:
    """Set variables for the block."""
    with pytest.MonkeyPatch.context() as patch:
        for name, value in wanted.items():
            patch.setenv(name, value)
        yield
