"""The sockets that `serve` listens on. They are opened before any output, for one worker and for several alike."""

from __future__ import annotations

import errno
import os
import socket
from contextlib import ExitStack

from smsevents.errors import CannotListen

BACKLOG_CONNECTIONS = 2048


def listen(host: str, port: int) -> list[socket.socket]:
    """Listen on every address of a host; `::` also accepts IPv4. Raises `CannotListen`."""
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except (OSError, UnicodeError) as error:
        raise CannotListen(
            f"{host!r} is not an address to listen on: {error}. Use 127.0.0.1, 0.0.0.0, :: or one of this machine."
        ) from error
    sockets: list[socket.socket] = []
    with ExitStack() as stack:
        for family, _, _, _, address in dict.fromkeys(found):
            one = stack.enter_context(socket.socket(family, socket.SOCK_STREAM))
            try:
                one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                if family == socket.AF_INET6:
                    # a host name may have IPv4 and IPv6 addresses, and each has its own socket
                    one.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, host != "::")
                one.bind(address)
                one.listen(BACKLOG_CONNECTIONS)
            except OSError as error:
                raise CannotListen(_reason(host, port, error)) from error
            sockets.append(one)
        stack.pop_all()
    return sockets


def url_of(host: str, port: int) -> str:
    """Return the URL of an address, with an IPv6 address in brackets."""
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def _reason(host: str, port: int, error: OSError) -> str:
    where = url_of(host, port)
    if error.errno == errno.EADDRINUSE:
        return (
            f"Port {port} is taken: another program listens on {where} already. Stop it, or choose another port with"
            " --port or SMSEVENTS_PORT."
        )
    if error.errno == errno.EADDRNOTAVAIL:
        return f"{host} is not an address of this machine. Use 127.0.0.1, 0.0.0.0, :: or one of its addresses."
    if error.errno == errno.EACCES:
        return f"This user may not listen on port {port}; ports below 1024 are for root. Choose one from 1024 on."
    return f"Cannot listen on {where}: {os.strerror(error.errno or 0)}."
