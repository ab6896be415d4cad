"""A bucket behind a network that fails: each request ends with the right bytes, or with an error that says why."""

from __future__ import annotations

import os
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from smsevents.errors import ObjectGone, SettingError, StoreUnavailable
from smsevents.storage import open_store, s3, s3_address
from smsevents.storage.s3_address import address_of
from tests.support.faulty import FaultyProxy
from tests.support.seaweed import READER, environment, seaweedfs, variables

if TYPE_CHECKING:
    from collections.abc import Iterator

    from smsevents.storage.base import ByteStore
    from tests.support.faulty import Fault

pytestmark = pytest.mark.slow

KEY = "7/20260101/0199.pack"
OTHER = "7/20260101/0200.pack"
DATA = os.urandom(1_500_000)
PASSING: tuple[Fault, ...] = ("500", "503", "reset", "stall", "truncated")
LASTING: tuple[Fault, ...] = (*PASSING, "short range")


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a request that does not go on be given up after a short time."""
    monkeypatch.setattr(s3_address, "READ_PAUSE_MAX_SECONDS", 0.3)
    monkeypatch.setattr(s3_address, "RETRY_MAX_SECONDS", 2)
    monkeypatch.setattr(s3_address, "PAUSE_MAX_MS", 100)


@pytest.fixture
def proxy(impatient: None) -> Iterator[FaultyProxy]:  # noqa: ARG001 -- for its effect
    """Put a proxy between the stores that a test opens and the server."""
    server = seaweedfs()
    with FaultyProxy(server.endpoint) as proxy, environment(server.environment(endpoint=proxy.endpoint)):
        yield proxy


@pytest.fixture
def store(proxy: FaultyProxy) -> ByteStore:
    """Open a store with one object, through the proxy."""
    opened = open_store(seaweedfs().place())
    opened.put(KEY, [DATA])
    proxy.well()
    return opened


@pytest.mark.parametrize("fault", PASSING)
def test_a_read_is_repeated_if_it_fails_once(store: ByteStore, proxy: FaultyProxy, fault: Fault) -> None:
    """A request that fails once, in whatever way, is repeated, and the bytes are right."""
    proxy.on("GET", fault, number=0)
    assert store.read(KEY, 1000, 1_000_000) == DATA[1000:1_001_000]
    assert len(proxy.requests) >= 2
    proxy.on("GET", fault, number=0)
    part = store.incoming(KEY, 1000, 1_400_000)
    assert b"".join(part.take(200_000) for _ in range(7)) == DATA[1000:1_401_000]


@pytest.mark.parametrize("fault", LASTING)
def test_a_read_that_fails_each_time_is_an_error(store: ByteStore, proxy: FaultyProxy, fault: Fault) -> None:
    """If the store keeps failing, a read ends with an error, and never with fewer bytes. Afterwards it works again."""
    proxy.on("GET", fault)
    with pytest.raises(StoreUnavailable) as told:
        store.read(KEY, 1000, 1_000_000)
    assert "SMSEVENTS_SEGMENTS" in str(told.value)
    part = store.incoming(KEY, 0, len(DATA))
    taken: list[bytes] = []
    with pytest.raises(StoreUnavailable):
        taken.extend(part.take(100_000) for _ in range(15))
    assert b"".join(taken) == DATA[: 100_000 * len(taken)]
    proxy.released.set()
    proxy.well()
    assert store.read(KEY, 0, len(DATA)) == DATA


def test_a_long_part_that_is_deleted_meanwhile_is_gone(store: ByteStore, proxy: FaultyProxy) -> None:
    """If the response breaks off and the object is gone then, the reader learns that it is gone."""
    proxy.on("GET", "truncated")
    part = store.incoming(KEY, 0, len(DATA))
    assert part.take(100_000) == DATA[:100_000]
    proxy.well()
    store.delete([KEY])
    with pytest.raises(ObjectGone):
        part.take(1_400_000)


@pytest.mark.parametrize("fault", [*PASSING[:3], "lost response"])
def test_a_put_is_repeated_if_it_fails_once(store: ByteStore, proxy: FaultyProxy, fault: Fault) -> None:
    """An object is written once the put returns, also if the first response was lost."""
    proxy.on("PUT", fault, number=0)
    store.put(OTHER, [DATA, b"x"])
    assert [method for method, _, _ in proxy.requests] == ["PUT", "PUT"]
    proxy.well()
    assert store.read(OTHER, 0, len(DATA) + 9) == DATA + b"x"


@pytest.mark.parametrize("fault", PASSING[:3])
def test_a_put_that_fails_each_time_is_an_error(store: ByteStore, proxy: FaultyProxy, fault: Fault) -> None:
    """A put that cannot be done says so, and leaves nothing."""
    proxy.on("PUT", fault)
    with pytest.raises(StoreUnavailable, match="cannot be written"):
        store.put(OTHER, [DATA])
    proxy.well()
    assert [one.key for one in store.objects()] == [KEY]


@pytest.mark.parametrize("fault", PASSING[:3])
def test_a_deletion_that_fails_confirms_nothing(store: ByteStore, proxy: FaultyProxy, fault: Fault) -> None:
    """A deletion that the store does not confirm is an error, and what it did confirm is gone."""
    proxy.on("POST", fault)
    with pytest.raises(StoreUnavailable, match="cannot be changed"):
        store.delete([KEY, OTHER])
    proxy.well()
    assert store.read(KEY, 0, 5) == DATA[:5]
    assert sorted(store.delete([KEY, OTHER])) == [KEY, OTHER]
    with pytest.raises(ObjectGone):
        store.read(KEY, 0, 5)


def test_a_deletion_that_is_done_in_part_confirms_only_that_part(store: ByteStore, proxy: FaultyProxy) -> None:
    """If the store reports an error for one of many keys, that key is not confirmed, and the others are."""
    store.put(OTHER, [DATA])
    proxy.on("POST", "partial")
    with pytest.raises(StoreUnavailable, match="InternalError"):
        store.delete([KEY, OTHER])
    proxy.on("POST", "partial", number=0)
    assert sorted(store.delete([KEY, OTHER])) == [KEY, OTHER]  # repeated, one by one
    proxy.well()
    assert list(store.objects()) == []


@pytest.mark.parametrize("fault", PASSING[:3])
def test_a_listing_that_fails_is_an_error(store: ByteStore, proxy: FaultyProxy, fault: Fault) -> None:
    """A listing is complete, or an error."""
    proxy.on("GET", fault)
    with pytest.raises(StoreUnavailable, match="cannot be listed"):
        list(store.objects())
    proxy.on("GET", fault, number=0)
    assert [one.key for one in store.objects()] == [KEY]


def test_many_keys_are_deleted_with_few_requests(store: ByteStore, proxy: FaultyProxy) -> None:
    """Keys are deleted together, and listed together."""
    keys = [f"7/20260101/{number}.pack" for number in range(1200)]
    assert list(store.delete(keys)) == keys
    assert [method for method, _, _ in proxy.requests] == ["POST", "POST"]


def test_a_long_part_is_one_request(store: ByteStore, proxy: FaultyProxy) -> None:
    """However it is taken, a long part is requested once; ahead, before it is taken from."""
    part = store.incoming(KEY, 100, 1_200_000, ahead=True)
    assert b"".join(part.take(1000) for _ in range(1200)) == DATA[100:1_200_100]
    ((_, _, asked),) = proxy.requests
    assert asked == "bytes=100-1200099"


def test_who_may_only_read_is_refused() -> None:
    """A store that cannot be written says which rights are missing, and does not show the secret."""
    server = seaweedfs()
    with environment(server.environment(READER)):
        store = open_store(server.place())
        with pytest.raises(StoreUnavailable, match="s3:PutObject") as told:
            store.check_writable()
        assert f"{READER}-secret" not in str(told.value)
        assert told.value.__cause__ is None
        assert list(store.objects()) == []


def test_wrong_credentials_are_refused() -> None:
    """The message names the variables, and nothing that is in them."""
    server = seaweedfs()
    for changed in ({"AWS_SECRET_ACCESS_KEY": "mistyped-secret"}, {"AWS_ACCESS_KEY_ID": "nobody-here"}):
        with environment({**server.environment(), **changed}), pytest.raises(StoreUnavailable) as told:
            open_store(server.place()).check_writable()
        assert "check AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY" in str(told.value)
        assert not any(value in str(told.value) for value in changed.values())


def test_a_bucket_that_is_missing_is_refused_and_not_created() -> None:
    """In a missing bucket nothing counts as gone, and nothing is written."""
    server = seaweedfs()
    with environment(server.environment()):
        store = open_store("s3://there-is-no-such-bucket/packs")
        for _ in range(2):
            with pytest.raises(StoreUnavailable, match="there is no bucket there-is-no-such-bucket"):
                store.check_writable()
        with pytest.raises(StoreUnavailable, match="there is no bucket"):
            store.read(KEY, 0, 1)
        with pytest.raises(StoreUnavailable, match="there is no bucket"):
            store.delete([KEY, OTHER])


def test_a_bucket_that_keeps_versions_is_unsafe() -> None:
    """A bucket with versioning can be written, but what is deleted stays in it."""
    server = seaweedfs()
    with environment(server.environment()):
        store = open_store(f"s3://{server.bucket(versioned=True)}/packs")
        assert "keeps old versions" in (store.unsafe() or "")
        assert list(store.objects()) == []


def test_a_store_that_is_away_says_so(impatient: None) -> None:  # noqa: ARG001 -- for its effect
    """A connection that is refused is an error that names the endpoint's variable."""
    with environment(variables("http://127.0.0.1:1")):
        store = open_store("s3://bucket/packs")
        with pytest.raises(StoreUnavailable, match="AWS_ENDPOINT_URL") as told:
            store.read(KEY, 0, 1)
    assert "S3" not in told.value.outside


@pytest.mark.parametrize(
    ("url", "bucket", "prefix", "again"),
    [
        ("s3://bucket", "bucket", "", "s3://bucket"),
        ("s3://bucket/", "bucket", "", "s3://bucket"),
        ("s3://my.bucket-7/packs", "my.bucket-7", "packs", "s3://my.bucket-7/packs"),
        ("s3://bucket/a/b_c/", "bucket", "a/b_c", "s3://bucket/a/b_c"),
    ],
)
def test_a_url_names_bucket_and_prefix(url: str, bucket: str, prefix: str, again: str) -> None:
    """Slashes at the end of a URL mean nothing."""
    found = address_of(url)
    assert (found.bucket, found.prefix, found.url) == (bucket, prefix, again)


@pytest.mark.parametrize(
    "url",
    [
        *("s3://", "s3:/bucket/x", "s3:bucket", "s3://Bucket/x", "s3://b/x", "s3://bucket/a//b", "s3://bucket/../x"),
        *("s3://bucket/ä", "s3://bucket/a b", "s3://bucket/x#y"),
    ],
)
def test_a_url_that_names_no_bucket_is_refused(url: str) -> None:
    """The message shows what is right."""
    with pytest.raises(SettingError, match=r"s3://bucket/prefix"):
        open_store(url)


@pytest.mark.parametrize("url", ["s3://key:hidden@bucket/x", "s3://bucket/x?secret=hidden"])
def test_a_secret_in_a_url_is_not_repeated(url: str) -> None:
    """A URL with credentials is refused with words that do not show them."""
    with pytest.raises(SettingError, match="AWS_ACCESS_KEY_ID") as told:
        open_store(url)
    assert "hidden" not in str(told.value)


def test_without_the_extra_the_message_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    """A bucket needs a library that is not always installed."""
    monkeypatch.setattr("smsevents.storage.find_spec", lambda _: None)
    with pytest.raises(SettingError, match=r"smsevents\[s3\]"):
        open_store("s3://bucket/packs")


def test_plain_http_is_for_endpoints_that_ask_for_it() -> None:
    """Requests are encrypted unless the endpoint is one of `http://`; each has a limit."""
    for endpoint, allowed in (("", None), ("https://s3.example.com", None), ("http://127.0.0.1:9000", True)):
        for writing in (False, True):
            options = s3_address.options_for(writing=writing, environment={"AWS_ENDPOINT_URL": endpoint})
            assert options["client_options"].get("allow_http") is allowed
            assert options["client_options"]["timeout"] <= timedelta(seconds=120)
            assert options["retry_config"]["max_retries"] == 3


def test_a_probe_leaves_nothing(store: ByteStore, proxy: FaultyProxy) -> None:
    """Checking a store writes, reads and deletes one small object, also if reading it fails."""
    store.check_writable()
    proxy.on("GET", "404", number=1)
    with pytest.raises((StoreUnavailable, ObjectGone)):
        store.check_writable()
    proxy.well()
    assert [one.key for one in store.objects()] == [KEY]
    assert s3.PROBE_KEY.startswith("smsevents-store.json")
