"""Almost valid requests over raw sockets: no 5xx, no growth, no traceback, and every client gets a response."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import httpx
import pytest

from smsevents.clock.system import now_ms
from tests.support.fuzzer import fuzz
from tests.support.lines import line
from tests.support.servers import STILL, Server

if TYPE_CHECKING:
    from pathlib import Path as Folder

GROWTH_MAX_MIB = 60
WARM_REQUESTS = 1000


def resident_mib(server: Server) -> float:
    """Return the resident memory of the server's process."""
    return int(Path(f"/proc/{server.process.pid}/status").read_text().split("VmRSS:")[1].split()[0]) / 1024


@pytest.mark.parametrize(
    ("seed", "requests"),
    [(9, 10_000), pytest.param(10, 200_000, marks=[pytest.mark.campaign, pytest.mark.timeout(3600)])],
    ids=["10,000", "200,000"],
)
def test_no_request_makes_a_5xx(tmp_path: Folder, seed: int, requests: int) -> None:
    """Whatever is sent, responses are 2xx to 4xx, memory does not grow, the log stays calm, and the server serves."""
    server = Server(tmp_path, settings=STILL)
    try:
        shop = server.shop(("export", "import"))
        assert shop.send(line(shop.trackpoint, now_ms())).status_code == 200
        fuzz(server.port, shop, seed + 1_000_000, WARM_REQUESTS)
        before = resident_mib(server)

        findings = fuzz(server.port, shop, seed, requests)

        assert findings.requests >= requests
        assert findings.failed == []
        assert findings.unanswered == []
        assert {200, 400, 401, 404, 405, 415, 431} <= set(findings.statuses)
        assert resident_mib(server) - before < GROWTH_MAX_MIB
        log = server.log_path.read_text()
        assert "Traceback" not in log
        assert '"level":"error"' not in log
        assert httpx.get(f"{server.base}/health/ready").status_code == 200
        assert server.process.poll() is None
    finally:
        server.stop()
