"""The nodes of smsevents, and nginx before them as the documentation says."""

import os
import re
import signal
import sys
from collections.abc import Mapping
from http import HTTPStatus
from pathlib import Path

import httpx2

from bench.cluster.programs import Failed, Program, different_ports, found, listens, run

DOCS = Path(__file__).parents[2] / "docs"
NODES = 2
_BLOCK = re.compile(r"^```nginx\n(.*?)^```", re.DOTALL | re.MULTILINE)
_MAIN = """\
daemon off;
{user}
pid {folder}/nginx.pid;
error_log {folder}/nginx-errors.log;
worker_processes 1;
events {{ }}
http {{
  access_log off;
  client_body_temp_path {folder}/nginx-body;
  proxy_temp_path {folder}/nginx-proxy;
  fastcgi_temp_path {folder}/nginx-fastcgi;
  uwsgi_temp_path {folder}/nginx-uwsgi;
  scgi_temp_path {folder}/nginx-scgi;
  {blocks}
}}
"""


class Nodes:
    """Servers of smsevents, each with its upkeep worker, that share one database and one bucket."""

    def __init__(self, folder: Path, settings: Mapping[str, str]) -> None:
        """Choose the ports. Nothing is started yet."""
        self.environment = os.environ | settings
        self.ports = different_ports(NODES)
        self._nodes = [
            Program(
                f"smsevents {number + 1}",
                [sys.executable, "-m", "smsevents", "serve", "--port", str(port)],
                folder / f"smsevents-{number + 1}.log",
                environment=self.environment,
            )
            for number, port in enumerate(self.ports)
        ]

    def start(self, number: int) -> None:
        """Start a node, also again after it was killed."""
        self._nodes[number].start(lambda: self._is_ready(number))

    def kill(self, number: int) -> None:
        """Kill a node, with its upkeep worker."""
        self._nodes[number].kill()

    def kill_upkeep_worker(self, number: int) -> None:
        """Kill the upkeep worker of a node. The node starts another one."""
        parent = self._nodes[number].pid
        for children in Path(f"/proc/{parent}/task").glob("*/children"):
            for child in children.read_text().split():
                if b"spawn_main" in Path(f"/proc/{child}/cmdline").read_bytes():
                    os.kill(int(child), signal.SIGKILL)
                    return
        raise Failed(f"smsevents {number + 1} has no upkeep worker.")

    def stop(self) -> None:
        """End all nodes."""
        for one in self._nodes:
            one.stop()

    def command(self, *words: str) -> str:
        """Run a command of smsevents with the settings of the nodes. Return its output."""
        return run(sys.executable, "-m", "smsevents", *words, environment=self.environment)

    def url(self, number: int) -> str:
        """Return the address of a node, past nginx."""
        return f"http://127.0.0.1:{self.ports[number]}"

    def _is_ready(self, number: int) -> bool:
        try:
            return httpx2.get(f"{self.url(number)}/health/ready", timeout=5).status_code == HTTPStatus.OK
        except httpx2.HTTPError:
            return False


class Proxy:
    """nginx with the documented blocks, in which only addresses and files are replaced."""

    def __init__(self, folder: Path, ports: list[int]) -> None:
        """Write the configuration for nodes on these ports, and a certificate."""
        (port,) = different_ports(1)
        self.url = f"https://127.0.0.1:{port}"
        self.certificate, key = folder / "cert.pem", folder / "key.pem"
        words = "req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=localhost -addext subjectAltName=IP:127.0.0.1"
        run(found("openssl"), *words.split(), "-keyout", key, "-out", self.certificate)
        (server,), (upstream, *_) = (
            _BLOCK.findall((DOCS / page).read_text("utf-8")) for page in ("operating.md", "scale.md")
        )
        replaced = {
            "listen 443 ssl;": f"listen 127.0.0.1:{port} ssl;",
            "/etc/ssl/certs/events.example.org.pem": str(self.certificate),
            "/etc/ssl/private/events.example.org.key": str(key),
            "http://127.0.0.1:8080": "http://smsevents",
            "app1.example.com:8080": f"127.0.0.1:{ports[0]}",
            "app2.example.com:8080": f"127.0.0.1:{ports[1]}",
        }
        blocks = upstream + server
        for old, new in replaced.items():
            if old not in blocks:
                raise Failed(f"The documented configuration of nginx has no {old!r} any more.")
            blocks = blocks.replace(old, new)
        user = "user root;" if os.geteuid() == 0 else ""
        configuration = folder / "nginx.conf"
        configuration.write_text(_MAIN.format(folder=folder, user=user, blocks=blocks))
        errors = folder / "nginx-errors.log"
        command = [found("nginx"), "-c", str(configuration), "-p", str(folder), "-e", str(errors)]
        self._program = Program("nginx", command, folder / "nginx.log")
        self._port = port

    def start(self) -> None:
        """Start it."""
        self._program.start(listens(self._port))

    def stop(self) -> None:
        """End it."""
        self._program.stop()
