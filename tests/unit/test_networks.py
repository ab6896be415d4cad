"""The address of a client: whom a trusted proxy names, and never what somebody else made up."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from smsevents.networks import client_of, is_trusted, parse_networks

TRUSTED = parse_networks("X", "127.0.0.1, 10.0.0.0/8,2001:db8:1::/48,")


@pytest.mark.parametrize(
    ("peer", "forwarded", "client"),
    [
        ("192.0.2.1", [], "192.0.2.1"),
        ("192.0.2.1", ["198.51.100.7"], "192.0.2.1"),  # nobody trusts it
        ("127.0.0.1", [], "127.0.0.1"),
        ("127.0.0.1", ["198.51.100.7"], "198.51.100.7"),
        ("127.0.0.1", ["203.0.113.9, 198.51.100.7"], "198.51.100.7"),  # the first one was sent by the client
        ("127.0.0.1", ["203.0.113.9", "198.51.100.7"], "198.51.100.7"),  # a header a proxy
        ("127.0.0.1", ["198.51.100.7, 10.1.2.3"], "198.51.100.7"),
        ("127.0.0.1", ["198.51.100.7 ,10.1.2.3,\t10.4.5.6 "], "198.51.100.7"),
        ("127.0.0.1", ["10.1.2.3"], "10.1.2.3"),
        ("127.0.0.1", ["unknown"], "127.0.0.1"),
        ("127.0.0.1", ["198.51.100.7, unknown, 10.1.2.3"], "10.1.2.3"),
        ("127.0.0.1", [""], "127.0.0.1"),
        ("127.0.0.1", ["198.51.100.7:4711"], "198.51.100.7"),
        ("127.0.0.1", ["[2001:db8::7]:4711"], "2001:db8::7"),
        ("127.0.0.1", ["2001:db8::7"], "2001:db8::7"),
        ("127.0.0.1", ["2001:DB8:0::7"], "2001:db8::7"),
        ("127.0.0.1", ["\x1b[31m198.51.100.7"], "127.0.0.1"),
        ("127.0.0.1", ["999.1.1.1"], "127.0.0.1"),
        ("2001:db8:1::5", ["198.51.100.7"], "198.51.100.7"),
        ("::ffff:10.0.0.1", ["198.51.100.7"], "198.51.100.7"),
        ("::ffff:192.0.2.1", ["198.51.100.7"], "192.0.2.1"),
        (None, ["198.51.100.7"], None),
    ],
)
def test_the_client_is_read_from_right_to_left(peer: str | None, forwarded: list[str], client: str | None) -> None:
    """The client is the last address that is not a trusted proxy's, and only a trusted proxy is asked at all."""
    assert client_of(peer, forwarded, TRUSTED) == client


@given(made_up=st.text(), peer=st.sampled_from(["192.0.2.1", "127.0.0.1"]))
def test_what_a_client_makes_up_is_never_believed(made_up: str, peer: str) -> None:
    """Whatever stands before the address that the proxy added changes nothing, nor does any header without a proxy."""
    expected = "198.51.100.7" if peer == "127.0.0.1" else peer
    assert client_of(peer, [f"{made_up},198.51.100.7"], TRUSTED) == expected


def test_nobody_is_trusted_by_default() -> None:
    """An empty setting trusts no address, not even that of this machine."""
    assert parse_networks("X", "") == ()
    assert not is_trusted("127.0.0.1", ())
    assert client_of("127.0.0.1", ["198.51.100.7"], ()) == "127.0.0.1"
