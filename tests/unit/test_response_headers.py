"""What an exchange does with headers that cannot be sent."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from smsevents.web.connection.exchange import Exchange
from smsevents.web.connection.head import parse_head


class Silent:
    """A connection that must send nothing."""

    default_headers: tuple[tuple[bytes, bytes], ...] = ((b"server", b"smsevents"),)
    is_complete = True

    def response_ended(self, *, complete: bool) -> None:
        """Note how the response ended."""
        self.is_complete = complete


@pytest.mark.parametrize("wrong", [(b"x-bad", b"a\r\nb"), (b"x bad", b"a"), (b"x-bad:", b"")])
def test_a_wrong_header_is_named_without_the_values_of_others(wrong: tuple[bytes, bytes]) -> None:
    """Nothing is sent then, and the error, which is logged, names that header alone: another may be a session."""
    line = Silent()
    texts: list[str] = []

    async def application(_scope: Any, _receive: Any, send: Any) -> None:
        """Respond with a cookie and the wrong header."""
        headers = [(b"set-cookie", b"session=secret"), wrong]
        with pytest.raises(ValueError, match="cannot be sent") as caught:
            await send({"type": "http.response.start", "status": 200, "headers": headers})
        texts.append(str(caught.value))

    asyncio.run(Exchange(line, parse_head(b"GET / HTTP/1.1\r\nHost: a"), {}).run(application))  # type: ignore[arg-type]
    assert not line.is_complete
    assert texts == [f"{[wrong[0]]!r} cannot be sent as headers"]
