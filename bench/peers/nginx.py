"""nginx, sending the very bytes of smsevents' exports as static files: what the machine and loopback allow."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from bench.measure import Figures, curl
from bench.peers import ENCODINGS, Encoding, Peer
from bench.processes import free_port, running

_WORLD_READABLE = 0o755
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
  client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy; fastcgi_temp_path {folder}/fastcgi;
  uwsgi_temp_path {folder}/uwsgi; scgi_temp_path {folder}/scgi;
  server {{ listen 127.0.0.1:{port}; root {folder}/www; gzip_static on; }}
}}
"""


@contextmanager
def opened(ours: Peer, folder: Path) -> Iterator[Peer]:
    """Serve what ours exports; with gzip nginx sends a file that was packed beforehand."""
    www = folder / "www"
    www.mkdir(parents=True)
    folder.chmod(_WORLD_READABLE)
    www.chmod(_WORLD_READABLE)
    for (_, encoding), export in ours.exports.items():
        export(www / ("events.jsonl.gz" if encoding == "gzip" else "events.jsonl"))
    port = free_port()
    configuration = folder / "nginx.conf"
    configuration.write_text(_CONFIGURATION.format(folder=folder, port=port))
    program = shutil.which("nginx", path=f"{os.environ['PATH']}:/usr/sbin") or "nginx"
    with running([program, "-c", str(configuration), "-p", str(folder)], folder / "server.log", f"{port}/") as pid:

        def export_static(encoding: Encoding, path: Path) -> Figures:
            return curl(pid, f"http://127.0.0.1:{port}/events.jsonl", encoding, output=path)

        yield Peer("nginx", {("static file", one): partial(export_static, one) for one in ENCODINGS})
