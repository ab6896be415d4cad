"""nginx, sending the very bytes of smsevents' exports as static files: what the machine and loopback allow."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from bench.measure import curl
from bench.plan import ENCODINGS
from bench.systems import Peer, free_port, running

_WORLD_READABLE = 0o755
_CONFIGURATION = Path(__file__).with_suffix(".conf")


@contextmanager
def opened(ours: Peer, folder: Path) -> Iterator[Peer]:
    """Serve what ours exports; with gzip nginx sends a file that was packed beforehand."""
    www = folder / "www"
    www.mkdir(parents=True)
    folder.chmod(_WORLD_READABLE)
    www.chmod(_WORLD_READABLE)
    for (_, encoding), save in ours.exports.items():
        save(www / ("events.jsonl.gz" if encoding == "gzip" else "events.jsonl"))
    port = free_port()
    configuration = folder / "nginx.conf"
    configuration.write_text(_CONFIGURATION.read_text().replace("FOLDER", str(folder)).replace("PORT", str(port)))
    program = shutil.which("nginx", path=f"{os.environ['PATH']}:/usr/sbin") or "nginx"
    with running([program, "-c", str(configuration), "-p", str(folder)], folder / "server.log", f"{port}/") as pid:
        export = partial(curl, pid, f"http://127.0.0.1:{port}/events.jsonl")
        yield Peer("nginx", {("static file", encoding): partial(export, encoding) for encoding in ENCODINGS})
