"""The networks that an operator trusts, and the client address of a request."""

from __future__ import annotations

import re
from functools import lru_cache
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import TYPE_CHECKING, TypeAlias

from smsevents.errors import SettingError

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

Network: TypeAlias = IPv4Network | IPv6Network

# An address as proxies write it in X-Forwarded-For: bare, or with a port. IPv6 with a port needs brackets.
_hop = re.compile(r"\[([0-9A-Fa-f:.]+)\](?::[0-9]{1,5})?|([0-9.]+):[0-9]{1,5}|([0-9A-Fa-f:.]+)")


def parse_networks(variable: str, text: str) -> tuple[Network, ...]:
    """Parse addresses and networks separated by commas. Raises `SettingError`, which names the variable."""
    names = [name.strip() for name in text.split(",")]
    try:
        return tuple(ip_network(name) for name in names if name)
    except ValueError as error:
        raise SettingError(
            f"{variable} cannot be read: {error}. Give addresses or networks with commas between them,"
            " like 127.0.0.1,10.0.0.0/8."
        ) from error


def is_trusted(address: str | None, trusted: Iterable[Network]) -> bool:
    """Return whether an address is in one of the networks."""
    read = None if address is None else _read(address)
    return read is not None and any(read in network for network in trusted)


def client_of(peer: str | None, forwarded_for: Sequence[str], trusted: Iterable[Network]) -> str | None:
    """Return the address that a request came from: the one next to the outermost trusted proxy.

    `peer` is the other end of the connection; `forwarded_for` holds the X-Forwarded-For headers in order. They are
    read from right to left, because each proxy appends the address that it sees. Anything to the left of the first
    untrusted address may be made up.
    """
    address = None if peer is None else _normal(peer)
    if not forwarded_for:
        return address
    for hop in reversed(",".join(forwarded_for).split(",")):
        if not is_trusted(address, trusted):
            break
        match = _hop.fullmatch(hop.strip())
        read = _read(match[1] or match[2] or match[3]) if match else None
        if read is None:
            break
        address = str(read)
    return address


@lru_cache(maxsize=1024)
def _normal(peer: str) -> str:
    return str(_read(peer) or peer)


def _read(text: str) -> IPv4Address | IPv6Address | None:
    """Parse an address. An IPv4-mapped IPv6 address becomes the IPv4 address."""
    try:
        address = ip_address(text)
    except ValueError:
        return None
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    return mapped or address
