"""A real Kannel, from its Debian package, with a folder and ports of its own."""

from __future__ import annotations

import os
import shutil
import subprocess
from typing import TYPE_CHECKING

import httpx
import pytest

from tests.support.servers import PLAIN, eventually, free_port

if TYPE_CHECKING:
    from pathlib import Path

STOP_MAX_SECONDS = 10
_CONFIGURATION = """
group = core
admin-port = {admin}
admin-password = x
admin-interface = 127.0.0.1
smsbox-port = {boxes}
smsbox-interface = 127.0.0.1
box-allow-ip = "127.0.0.1"
dlr-storage = internal

group = smsc
smsc = smpp
smsc-id = sim
host = 127.0.0.1
port = {smsc}
transceiver-mode = true
smsc-username = u
smsc-password = p
system-type = ""

group = smsbox
bearerbox-host = 127.0.0.1
sendsms-port = {sending}
sendsms-interface = 127.0.0.1
global-sender = 13013
http-request-retry = 100
http-queue-delay = 1
http-timeout = 10

group = sendsms-user
username = t
password = t
concatenation = true
max-messages = 10

group = sms-service
keyword = default
text = "no"
"""


def program(name: str) -> str:
    """Return the path of a program of Kannel. Skip the test if it is not installed; in CI, fail."""
    found = shutil.which(name) or shutil.which(name, path="/usr/sbin")
    if found is None:
        (pytest.fail if os.environ.get("CI") else pytest.skip)("kannel is not installed")
    return found


class Kannel:
    """Kannel, which sends through an SMSC on a port of this machine."""

    def __init__(self, folder: Path, smsc_port: int) -> None:
        """Start it, and wait until it is connected."""
        programs = [program("bearerbox"), program("smsbox")]
        self._sending, admin = free_port(), free_port()
        self._status = f"http://127.0.0.1:{admin}/status.txt?password=x"
        file = folder / "kannel.conf"
        file.write_text(_CONFIGURATION.format(admin=admin, boxes=free_port(), smsc=smsc_port, sending=self._sending))
        self._log = (folder / "kannel.log").open("wb")
        self._processes: list[subprocess.Popen[bytes]] = []
        try:
            for one, is_up in zip(programs, ("sim", "smsbox"), strict=True):
                self._processes.append(
                    subprocess.Popen([one, str(file)], cwd=folder, stdout=self._log, stderr=self._log)
                )
                assert eventually(lambda is_up=is_up: self._is_up(is_up)), (folder / "kannel.log").read_text("latin-1")  # type: ignore[misc]  # the name of this round
        except BaseException:
            self.stop()
            raise

    def _is_up(self, name: str) -> bool:
        try:
            text = httpx.get(self._status, verify=PLAIN, timeout=5).text
            if name == "smsbox":
                httpx.get(f"http://127.0.0.1:{self._sending}/", verify=PLAIN, timeout=5)
                return "smsbox" in text
        except httpx.HTTPError:
            return False
        return "(online" in text

    def send(self, to: str, text: str, receipts_to: str, mask: int = 31) -> None:
        """Send a message whose receipts go to an address."""
        answer = httpx.get(
            f"http://127.0.0.1:{self._sending}/cgi-bin/sendsms",
            params={
                "username": "t",
                "password": "t",
                "to": to,
                "text": text,
                "dlr-mask": str(mask),
                "dlr-url": receipts_to,
            },
            verify=PLAIN,
            timeout=30,
        )
        assert answer.status_code == 202, answer.text

    def stop(self) -> None:
        """End its processes."""
        for process in reversed(self._processes):
            process.terminate()
        for process in reversed(self._processes):
            try:
                process.wait(STOP_MAX_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        self._log.close()
