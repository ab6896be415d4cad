"""SeaweedFS, a store of S3: three volume servers, on two of which each object is."""

import json
import os
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import httpx2

from bench.cluster.programs import POLL_SECONDS, START_MAX_SECONDS, Failed, Program, different_ports, listens

VOLUME_SERVERS = 3
BUCKET = "packs"
_KEY = {"accessKey": "demo", "secretKey": "demo-secret"}
_IDENTITIES = {
    "identities": [
        {"name": "anonymous", "actions": ["Admin"]},  # creates the bucket
        {"name": "demo", "credentials": [_KEY], "actions": ["Admin", "Read", "Write", "List", "Tagging"]},
    ]
}


def _bytes_in(folder: Path) -> int:
    return sum(file.stat().st_size for file in folder.glob("*.dat"))


def program() -> str:
    """Return the path of the program. Raises `Failed`."""
    path = Path(sys.executable).with_name("weed")
    if not path.exists():
        raise Failed("SeaweedFS is not installed. `make demo-cluster` installs it.")
    return str(path)


class Weed:
    """Masters, three volume servers, a filer and a server of S3, which is called the gateway here."""

    def __init__(self, folder: Path, masters: int = 1) -> None:
        """Choose the ports. Nothing is started yet. Of three masters, one leads, and another one takes its place."""
        self._folder = folder
        (folder / "s3.json").write_text(json.dumps(_IDENTITIES))
        named = [f"master-{number}" for number in range(masters)]
        names = [*named, "filer", "s3", *map(str, range(VOLUME_SERVERS))]
        ports = different_ports(2 * len(names))  # each has one for HTTP and one for gRPC
        self._ports = dict(zip(names, ports[::2], strict=True))
        self._rpc = dict(zip(self._ports, ports[1::2], strict=True))
        master = ",".join(map(self._address, named))
        filer = self._address("filer")
        ip = ["-ip=127.0.0.1", "-ip.bind=127.0.0.1"]
        of_all = ["-defaultReplication=001", "-volumeSizeLimitMB=64", "-telemetry=false", "-electionTimeout=2s"]
        peers = f"-peers={master if masters > 1 else 'none'}"
        self._masters = [self._one("master", name, [*ip, f"-mdir={self._dir(name)}", *of_all, peers]) for name in named]
        self._volumes = [
            self._one("volume", str(number), [*ip, f"-dir={self._dir(str(number))}", "-max=60", f"-master={master}"])
            for number in range(VOLUME_SERVERS)
        ]
        self._filer = self._one(
            "filer",
            "filer",
            [*ip, f"-master={master}", f"-defaultStoreDir={self._dir('filer')}", "-defaultReplicaPlacement=001"],
        )
        gateway = [f"-filer={filer}", "-ip.bind=127.0.0.1", f"-config={folder / 's3.json'}", "-iam=false"]
        self._s3 = self._one("s3", "s3", [*gateway, "-port.iceberg=0", "-port.lance=0"])

    @property
    def variables(self) -> Mapping[str, str]:
        """The variables by which smsevents uses the bucket."""
        return {
            "SMSEVENTS_SEGMENTS": f"s3://{BUCKET}/smsevents",
            "AWS_ENDPOINT_URL": self.endpoint,
            "AWS_REGION": "us-east-1",
            "AWS_ACCESS_KEY_ID": _KEY["accessKey"],
            "AWS_SECRET_ACCESS_KEY": _KEY["secretKey"],
        }

    @property
    def endpoint(self) -> str:
        """The URL of the server of S3. Nobody has to sign requests to it."""
        return f"http://127.0.0.1:{self._ports['s3']}"

    @property
    def pid(self) -> int:
        """The process of the server of S3."""
        return self._s3.pid

    def start(self) -> None:
        """Start all, and create the bucket."""
        self._start_all()
        self._wait_for_objects(lambda: self._created(BUCKET) and self._created(f"{BUCKET}/first"))

    def start_again(self) -> None:
        """Start all after they were stopped. They have what they had before."""
        self._start_all()
        self._wait_for_objects(lambda: self._created(f"{BUCKET}/first"))

    def _start_all(self) -> None:
        for number, master in enumerate(self._masters):
            master.start(listens(self._ports[f"master-{number}"]))
        for number in range(VOLUME_SERVERS):
            self.start_volume_server(number)
        self._filer.start(listens(self._ports["filer"]))
        self.start_gateway()

    def _wait_for_objects(self, takes_objects: Callable[[], bool]) -> None:
        deadline = time.monotonic() + START_MAX_SECONDS
        while not takes_objects():
            if time.monotonic() > deadline:
                raise Failed(f"SeaweedFS takes no objects. Its logs are in {self._folder}.")
            time.sleep(POLL_SECONDS)
        httpx2.delete(f"{self.endpoint}/{BUCKET}/first", timeout=30)

    def leader(self) -> int | None:
        """Return the number of the master that leads, or None if none does now."""
        for number in range(len(self._masters)):
            url = f"http://127.0.0.1:{self._ports[f'master-{number}']}/cluster/status"
            try:
                if httpx2.get(url, timeout=5).json().get("IsLeader"):
                    return number
            except httpx2.HTTPError:  # it was killed
                continue
        return None

    def kill_leader(self) -> int:
        """Kill the master that leads. Return its number."""
        number = self.leader()
        if number is None:
            raise Failed("No master of SeaweedFS leads.")
        self._masters[number].kill()
        return number

    def kill_gateway(self) -> None:
        """Kill the server of S3. The objects stay where they are."""
        self._s3.kill()

    def start_gateway(self) -> None:
        """Start the server of S3, also again after it was killed."""
        self._s3.start(listens(self._ports["s3"]))

    def start_volume_server(self, number: int) -> None:
        """Start a volume server, also again after it was killed."""
        self._volumes[number].start(listens(self._ports[str(number)]))

    def kill_fullest_volume_server(self) -> int:
        """Kill the volume server that has most bytes, so that objects are read from the others. Return its number."""
        number = max(range(VOLUME_SERVERS), key=lambda one: _bytes_in(self._dir(str(one))))
        self._volumes[number].kill()
        return number

    def stop(self) -> None:
        """Kill all: they may not end when they are told to."""
        for one in (self._s3, self._filer, *self._volumes, *self._masters):
            one.kill()

    def _created(self, path: str) -> bool:
        try:
            return httpx2.put(f"{self.endpoint}/{path}", content=b"", timeout=30).is_success
        except httpx2.HTTPError:
            return False

    def _address(self, name: str) -> str:
        return f"127.0.0.1:{self._ports[name]}.{self._rpc[name]}"

    def _dir(self, name: str) -> Path:
        path = self._folder / f"weed-{name}"
        path.mkdir(exist_ok=True)
        return path

    def _one(self, kind: str, name: str, arguments: list[str]) -> Program:
        log = self._folder / f"weed-{kind}-{name}"
        log.mkdir()
        ports = [f"-port={self._ports[name]}", f"-port.grpc={self._rpc[name]}"]
        command = [program(), f"-logdir={log}", kind, *ports, *arguments]
        environment = os.environ | {"TMPDIR": str(self._folder)}
        return Program(f"SeaweedFS {kind}", command, self._folder / f"weed-{kind}-{name}.log", environment=environment)


@contextmanager
def started(folder: Path) -> Iterator[Weed]:
    """Run SeaweedFS in a folder while the block runs."""
    weed = Weed(folder)
    try:
        weed.start()
        yield weed
    finally:
        weed.stop()
