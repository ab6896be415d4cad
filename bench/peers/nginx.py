"""nginx, giving the very bytes of smsevents' exports as static files: what the machine and loopback allow."""

from __future__ import annotations

import os
import shutil
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING

from bench.measure import Download, download
from bench.peers import ENCODINGS, Contender
from bench.peers.processes import free_port, running

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from bench.measure import Run
    from bench.peers import Encoding

NAME = "nginx"
VARIANT = "static file"
WORLD_READABLE = 0o755

_CONFIGURATION = """\
daemon off;
pid {folder}/nginx.pid;
error_log {folder}/error.log;
worker_processes 1;
events {{ }}
http {{
  access_log off;
  sendfile on;
  tcp_nopush on;
  default_type application/json-seq;
  client_body_temp_path {folder}/body;
  proxy_temp_path {folder}/proxy;
  fastcgi_temp_path {folder}/fastcgi;
  uwsgi_temp_path {folder}/uwsgi;
  scgi_temp_path {folder}/scgi;
  server {{
    listen 127.0.0.1:{port};
    root {folder}/www;
    gzip_static on;
  }}
}}
"""


@contextmanager
def contenders(plain: Path, packed: Path, folder: Path) -> Iterator[list[Contender]]:
    """Serve the two files; with gzip nginx sends the one that was packed beforehand."""
    www = folder / "www"
    www.mkdir(parents=True)
    folder.chmod(WORLD_READABLE)
    www.chmod(WORLD_READABLE)
    plain.rename(www / "events.jsonl")
    packed.rename(www / "events.jsonl.gz")
    port = free_port()
    configuration = folder / "nginx.conf"
    configuration.write_text(_CONFIGURATION.format(folder=folder, port=port))
    program = shutil.which("nginx", path=f"{os.environ['PATH']}:/usr/sbin") or "nginx"
    command = [program, "-c", str(configuration), "-p", str(folder)]
    with running(command, folder / "server.log", f"{port}/") as pid:

        def asked(encoding: Encoding) -> Download:
            return Download(f"http://127.0.0.1:{port}/events.jsonl", encoding == "gzip")

        def export(encoding: Encoding) -> Run:
            return download(asked(encoding), pid)

        def save(encoding: Encoding, path: Path) -> None:
            download(asked(encoding), pid, path)

        yield [
            Contender(NAME, VARIANT, encoding, partial(export, encoding), partial(save, encoding))
            for encoding in ENCODINGS
        ]
