"""A client that reads from the stand-in and never waits: its clock stands still, and its sleeps are noted."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from smsevents.client import Client, ClientError
from tests.support.lines import line
from tests.support.servers import PLAIN

if TYPE_CHECKING:
    from tests.support.standin import StandIn

TRACKPOINT = 1001
START = 1_700_000_000_000
NOW_MS = 1_760_000_000_000
LINES = [line(TRACKPOINT, START + index, user=f"{index * 7919}") for index in range(400)]


class Sleeps(list[float]):
    """The waits of a client in seconds, noted instead of waited."""

    def __call__(self, seconds: float) -> None:
        """Note a wait."""
        self.append(seconds)

    async def on_a_loop(self, seconds: float) -> None:
        """Note a wait of an asynchronous client."""
        self.append(seconds)


def client_of(standin: StandIn, sleeps: Sleeps | None = None, **options: Any) -> Client:
    """Return a client that does not wait, whose clock stands still, and whose waits are not random."""
    sleep = Sleeps() if sleeps is None else sleeps
    fixed: dict[str, Any] = {"sleep": sleep, "jitter": lambda: 0.0, "now_ms": lambda: NOW_MS, "ssl_context": PLAIN}
    return Client(TRACKPOINT, "sms_secret", url=standin.url, **fixed | options)


def read(client: Client) -> tuple[list[bytes], ClientError | None]:
    """Read an export once. Return the lines that came, and the error or None."""
    got: list[bytes] = []
    try:
        for one in client.export_lines():
            got.append(one)  # noqa: PERF402 -- what came before an error counts
    except ClientError as error:
        return got, error
    return got, None
