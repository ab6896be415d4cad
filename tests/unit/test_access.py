"""Shops and keys: who may do what, what is at rest, and how long a key is remembered."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from smsevents.accounts.access import KEY_CACHE_SECONDS, SCOPES, Access, parse_trackpoint
from smsevents.catalog import open_catalog
from smsevents.errors import Forbidden, InvalidRequest, ShopExists, Unauthorized, UnknownKey, UnknownShop
from tests.support.databases import file_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from smsevents.accounts.access import Scope
    from smsevents.catalog import Database

NOW = 1_676_380_261_000
NOWHERE = 999


class Clocks:
    """A clock in milliseconds and one in seconds, moved by hand."""

    def __init__(self) -> None:
        """Start both."""
        self.now = NOW
        self.seconds = 1000.0

    def access(self, database: Database) -> Access:
        """Return access to a database, by these clocks."""
        return Access(database, lambda: self.now, lambda: self.seconds)


@pytest.fixture
def database(url: str) -> Iterator[Database]:
    """Yield an open database."""
    database = open_catalog(url)
    yield database
    database.close()


@pytest.fixture
def clocks() -> Clocks:
    """Return clocks."""
    return Clocks()


@pytest.fixture
def access(database: Database, clocks: Clocks) -> Access:
    """Return access to a database with the shops 1 and 2."""
    access = clocks.access(database)
    access.add_shop(1, "One")
    access.add_shop(2, "")
    return access


def id_of(key: str) -> str:
    """Return the id that is part of a key."""
    return key.split("_")[1]


def refusal(access: Access, key: str | None, trackpoint: int = 1, scope: Scope = "export") -> str:
    """Return the text with which a key is refused with 401."""
    with pytest.raises(Unauthorized) as refused:
        access.authorize(key, trackpoint, scope)
    return str(refused.value)


def test_a_key_has_its_shape_and_is_random(access: Access) -> None:
    """A key is `sms_`, an id and 256 random bits in a form that needs no quoting, and no two are alike."""
    keys = [access.create_key(1, ["export"]) for _ in range(20)]
    assert all(re.fullmatch(r"sms_[0-9a-f]{12}_[A-Za-z0-9_-]{43}", key) for key in keys)
    assert len({id_of(key) for key in keys}) == len({key[17:] for key in keys}) == 20


def test_a_key_may_do_what_it_was_made_for(access: Access) -> None:
    """A key allows what its scopes say in its shop, and is described as it was created."""
    text = access.create_key(1, ["export", "import"], label="nightly", expires_ms=NOW + 1)
    key = access.authorize(text, 1, "export")
    assert key == access.authorize(text, 1, "import") == access.authenticate(text)
    assert (key.id, key.trackpoint, key.label) == (id_of(text), 1, "nightly")
    assert sorted(key.scopes) == ["export", "import"]
    assert (key.created_ms, key.expires_ms, key.revoked_ms) == (NOW, NOW + 1, None)


@pytest.mark.parametrize("scope", SCOPES)
def test_a_key_may_do_nothing_else(access: Access, scope: Scope) -> None:
    """Each scope lets a key do that alone: no scope includes another."""
    key = access.create_key(1, [scope])
    access.authorize(key, 1, scope)
    for other in set(SCOPES) - {scope}:
        with pytest.raises(Forbidden, match=f"`{other}`"):
            access.authorize(key, 1, other)


def test_the_digest_alone_is_at_rest(database: Database, access: Access) -> None:
    """Neither the key nor its secret occurs in any file of the database, used or not; its SHA-256 does."""
    key = access.create_key(1, ["export"])
    access.authorize(key, 1, "export")
    files = list(Path(file_of(database)).parent.iterdir())
    at_rest = b"".join(file.read_bytes() for file in files)
    assert any(file.name.endswith("-wal") for file in files)
    assert key.encode() not in at_rest
    assert key[17:].encode() not in at_rest
    assert hashlib.sha256(key.encode()).digest() in at_rest


def wrong_keys(key: str) -> list[str | None]:
    """Return values that are not keys, that look like keys, and that nearly match the valid key."""
    other = "A" if key[-1] != "A" else "B"
    return [
        None,
        "",
        "sms",
        "x" * 10_000,
        "sms_" + "0" * 12 + "_" + "A" * 43,
        key[:-1],
        key[:-1] + other,
        key + "A",
        key + "\n",
        " " + key,
        key.upper(),
        key.replace("sms_", "SMS_"),
        key.replace(id_of(key), "0" * 12),
        f"sms_{id_of(key)}_" + "A" * 43,
        "žluťoučký",
        "\x00",
    ]


def test_a_wrong_key_is_refused_with_one_text(access: Access) -> None:
    """No key, a malformed one, an unknown one and one with another secret are refused alike, and never shown."""
    key = access.create_key(1, ["export"])
    texts = {refusal(access, wrong) for wrong in wrong_keys(key)}
    assert len(texts) == 1
    assert "X-Api-Key" in texts.pop()
    assert access.authorize(key, 1, "export").id == id_of(key)


def test_a_key_that_is_no_unicode_is_refused(access: Access) -> None:
    """Text with an unpaired surrogate, as decoding invalid UTF-8 produces, is refused as a wrong key."""
    assert refusal(access, "\udcff") == refusal(access, None)


@pytest.mark.slow
@given(text=st.text())
def test_any_text_is_refused(text: str, tmp_path_factory: pytest.TempPathFactory) -> None:
    """Whatever is sent as a key, it is refused as a wrong key and raises nothing else."""
    database = open_catalog(f"sqlite:///{tmp_path_factory.getbasetemp() / 'any-text.db'}")
    try:
        assert "X-Api-Key" in refusal(Access(database), text)
    finally:
        database.close()


def test_a_revoked_key_is_refused(access: Access, clocks: Clocks) -> None:
    """A revoked key is refused at once where it was revoked, with its id; other keys go on."""
    key, other = access.create_key(1, ["export"]), access.create_key(1, ["export"])
    access.authorize(key, 1, "export")
    clocks.now += 5
    access.revoke_key(id_of(key))
    assert f"{id_of(key)} was revoked" in refusal(access, key)
    access.authorize(other, 1, "export")
    clocks.now += 5
    access.revoke_key(id_of(key))
    assert {one.id: one.revoked_ms for one in access.keys(1)} == {id_of(key): NOW + 5, id_of(other): None}


def test_a_key_revoked_elsewhere_is_refused_after_the_cache(database: Database, access: Access, clocks: Clocks) -> None:
    """A key that another process revoked is refused once the cache is older than its time, and not much later."""
    key = access.create_key(1, ["export"])
    access.authorize(key, 1, "export")
    clocks.access(database).revoke_key(id_of(key))
    clocks.seconds += KEY_CACHE_SECONDS - 0.01
    access.authorize(key, 1, "export")
    clocks.seconds += 0.01
    refusal(access, key)


def test_the_cache_is_not_kept_alive_by_use(database: Database, access: Access, clocks: Clocks) -> None:
    """A key in constant use is looked up again after the cache's time all the same."""
    key = access.create_key(1, ["export"])
    access.authorize(key, 1, "export")
    clocks.access(database).revoke_key(id_of(key))
    for _ in range(9):
        clocks.seconds += KEY_CACHE_SECONDS / 10
        access.authorize(key, 1, "export")
    clocks.seconds += KEY_CACHE_SECONDS / 10 + 0.01
    refusal(access, key)


def test_a_remembered_key_is_checked_without_the_database(database: Database, access: Access, clocks: Clocks) -> None:
    """A key is checked without the database for the cache's time after it was looked up, by the same rules."""
    key = access.create_key(1, ["export"])
    assert not access.authorize_remembered(key, 1, "export")
    access.authorize(key, 1, "export")
    database.close()
    file_of(database).rename(file_of(database).with_suffix(".away"))  # from here on reading it would fail
    assert access.authorize_remembered(key, 1, "export")
    with pytest.raises(Forbidden):
        access.authorize_remembered(key, 1, "import")
    with pytest.raises(Unauthorized):
        access.authorize_remembered(key[:-1] + ("a" if key[-1] != "a" else "b"), 1, "export")
    for no_key in (None, "", "no key"):
        with pytest.raises(Unauthorized):
            access.authorize_remembered(no_key, 1, "export")
    clocks.seconds += KEY_CACHE_SECONDS
    assert not access.authorize_remembered(key, 1, "export")


def test_a_key_expires_to_the_millisecond(access: Access, clocks: Clocks) -> None:
    """A key is good until the millisecond before it expires, and refused from then on, also while remembered."""
    key = access.create_key(1, ["export"], expires_ms=NOW + 100)
    clocks.now = NOW + 99
    access.authorize(key, 1, "export")
    clocks.now = NOW + 100
    assert f"{id_of(key)} has expired" in refusal(access, key)
    assert f"{id_of(key)} has expired" in refusal(access, key, 2)


def test_a_revoked_or_expired_key_says_so_to_its_owner_only(access: Access) -> None:
    """Knowing only the id of a revoked or expired key reveals no more than an unknown key does."""
    revoked = access.create_key(1, ["export"])
    access.revoke_key(id_of(revoked))
    expired = access.create_key(1, ["export"], expires_ms=NOW - 1)
    unknown = refusal(access, None)
    for key in (revoked, expired):
        assert refusal(access, key) != unknown
        assert refusal(access, f"sms_{id_of(key)}_" + "A" * 43) == unknown


def test_another_shop_is_forbidden_whether_or_not_it_exists(access: Access) -> None:
    """A good key is refused for another shop, for one that does not exist and for a missing scope with one text."""
    key = access.create_key(1, ["export"])
    texts = set()
    for trackpoint in (1, 2, NOWHERE):
        with pytest.raises(Forbidden) as forbidden:
            access.authorize(key, trackpoint, "import")
        texts.add(str(forbidden.value))
    assert len(texts) == 1
    with pytest.raises(Forbidden) as existing:
        access.authorize(key, 2, "export")
    with pytest.raises(Forbidden) as missing:
        access.authorize(key, NOWHERE, "export")
    assert str(existing.value) == str(missing.value)


def test_a_wrong_key_learns_nothing_of_shops(access: Access) -> None:
    """Without a valid key, the response is the same whether or not the shop exists."""
    assert refusal(access, "sms_x", 1) == refusal(access, "sms_x", NOWHERE)


def test_a_shop_is_added_once(access: Access) -> None:
    """Shops are listed by trackpoint; adding one that exists is refused and leaves it unchanged."""
    access.add_shop(2**63 - 1, "Last")
    with pytest.raises(ShopExists, match="1 already"):
        access.add_shop(1, "Other")
    found = [(shop.trackpoint, shop.name, shop.created_ms) for shop in access.shops()]
    assert found == [(1, "One", NOW), (2, "", NOW), (2**63 - 1, "Last", NOW)]


@pytest.mark.parametrize("trackpoint", [0, -1, 2**63, 10**30])
def test_a_shop_needs_a_trackpoint(access: Access, trackpoint: int) -> None:
    """Anything but a positive 64-bit integer is refused, and no shop is added."""
    with pytest.raises(InvalidRequest, match=f"{trackpoint} is not a trackpoint"):
        access.add_shop(trackpoint, "")
    assert [shop.trackpoint for shop in access.shops()] == [1, 2]


def test_keys_of_an_unknown_shop_are_refused(access: Access) -> None:
    """An unknown shop has no keys to list and gets none; an unknown key is not revoked; nothing is changed."""
    key = access.create_key(1, ["export"])
    before = access.keys(1)
    with pytest.raises(UnknownShop, match=str(NOWHERE)):
        access.create_key(NOWHERE, ["export"])
    with pytest.raises(UnknownShop, match=str(NOWHERE)):
        access.keys(NOWHERE)
    with pytest.raises(UnknownKey, match="0123456789ab"):
        access.revoke_key("0123456789ab")
    assert access.keys(1) == before
    assert [one.id for one in before] == [id_of(key)]
    assert access.keys(2) == []


@pytest.mark.parametrize("scopes", [[], ["everything"], ["export", "write"], [""]])
def test_a_key_needs_scopes_that_exist(access: Access, scopes: list[Scope]) -> None:
    """A key without a scope, or with one that does not exist, is refused with those that do, and not stored."""
    with pytest.raises(InvalidRequest, match="export, import, admin"):
        access.create_key(1, scopes)
    assert access.keys(1) == []


def test_keys_are_listed_oldest_first(access: Access, clocks: Clocks) -> None:
    """The keys of a shop are listed in the order in which they were made."""
    made = []
    for _ in range(5):
        made.append(id_of(access.create_key(1, ["export"])))
        clocks.now += 1
    assert [key.id for key in access.keys(1)] == made


TRACKPOINTS = {
    "1": 1,
    "4541245641234564": 4541245641234564,
    "9223372036854775807": 2**63 - 1,
    "9223372036854775808": None,
    "9999999999999999999": None,
    "9" * 5000: None,
    "0": None,
    "-1": None,
    "+1": None,
    "007": None,
    "1.0": None,
    "1e3": None,
    "1_000": None,
    "0x10": None,
    " 1": None,
    "1 ": None,
    "1\n": None,
    "": None,
    "abc": None,
    "\u0661": None,
    "\u0967\u0968": None,
    "\uff11": None,
    "1\u0660": None,
    "\u00b2": None,
}


@pytest.mark.parametrize(("text", "trackpoint"), TRACKPOINTS.items())
def test_a_trackpoint_is_a_positive_integer_in_one_spelling(text: str, trackpoint: int | None) -> None:
    """A path names a shop by the plain decimal digits of a positive 64-bit integer, and by nothing else."""
    assert parse_trackpoint(text) == trackpoint


@given(text=st.text(st.characters(categories=["Nd"]) | st.sampled_from("0123456789+-_. "), max_size=22))
def test_no_text_breaks_the_trackpoint(text: str) -> None:
    """A text is a trackpoint exactly if it is how a positive 64-bit integer is written in ASCII."""
    written = text.isascii() and text.isdigit() and str(int(text)) == text and 0 < int(text) < 2**63
    assert parse_trackpoint(text) == (int(text) if written else None)
