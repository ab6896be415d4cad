"""Objects in a bucket of Amazon S3, or of any store that understands its requests.

An object is written with one request, whatever its size. So it is there completely or not at all, and a process that
was killed leaves no parts that nothing lists.
"""

from __future__ import annotations

import os
import secrets
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

import obstore
from obstore.exceptions import BaseError
from obstore.store import S3Store as Client

from smsevents.errors import ObjectGone, StoreUnavailable
from smsevents.storage.base import StoredObject, ends_early
from smsevents.storage.s3_address import address_of, options_for
from smsevents.storage.s3_errors import code_of, status_of, unavailable
from smsevents.storage.s3_incoming import IncomingObject

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from obstore import GetResult
    from typing_extensions import Buffer

KEYS_IN_REQUEST_MAX = 1000  # what one request of S3 lists, or deletes
FAILED_KEYS_IN_ROW_MAX = 3  # after so many deletions that fail, the others would fail, too
PROBE_KEY = (
    "smsevents-store.json.probe-"  # begins as the marker does, so that a store with nothing else counts as empty
)
PROBE_BYTES = 16
CONNECTIONS_AHEAD_MAX = 8  # that wait for their responses at the same time, in a process

_RANGE_NOT_SATISFIABLE = 416


class S3Store:
    """Objects whose keys begin with a prefix, in a bucket."""

    prefers_long_reads = True

    def __init__(self, url: str) -> None:
        """Use the bucket and the prefix of an `s3:` URL. Nothing is requested yet. Raises `SettingError`."""
        self._address = address_of(url)
        self._reads = self._client(writing=False)
        self._writes = self._client(writing=True)
        self._requests = ThreadPoolExecutor(CONNECTIONS_AHEAD_MAX, "smsevents-requests")  # no thread until it is used

    def _client(self, *, writing: bool) -> Client:
        try:
            return Client(self._address.bucket, prefix=self._address.prefix or None, **options_for(writing=writing))
        except (BaseError, ValueError) as error:
            raise unavailable(self._address, "used", error) from None

    @property
    def url(self) -> str:
        """The URL that opens this store."""
        return self._address.url

    def is_current(self) -> bool:
        """Return True: a bucket is opened by its name with each request."""
        return True

    def put(self, key: str, parts: Sequence[bytes]) -> None:
        """Write an object in one request. If the response is lost, it is written again: its bytes are the same."""
        self._put(key, b"".join(parts))

    def _put(self, key: str, data: bytes) -> str | None:
        """Write an object. Return its version, or None if the bucket keeps none."""
        with self._translated("written"):
            version: str | None = obstore.put(self._writes, key, data, use_multipart=False)["version"]
            return version

    def read(self, key: str, start: int, size: int) -> bytes:
        """Return a part of an object. A response that is shorter than it should be is `StoreUnavailable`."""
        if not size:
            return b""
        try:
            with self._translated("read", key):
                found, due = self._get(key, start, size)
                data = found.bytes().to_bytes()
        except _AfterTheEnd:
            return b""
        if len(data) != due:
            raise ends_early(self.url, key)
        return data

    def incoming(self, key: str, start: int, size: int, *, ahead: bool = False) -> IncomingObject:
        """Return a long part of an object, which is taken in order, while the rest of it arrives."""
        return IncomingObject(self, key, start, size, self._requests if ahead else None)

    def stream(self, key: str, start: int, size: int, chunk_bytes: int) -> Iterator[Buffer]:
        """Request a part of an object, which must have it. Return its chunks, which arrive as they are taken.

        Raises what `read` does. The iterator raises what the library does, see `failed`.
        """
        with self._translated("read", key):
            try:
                found, due = self._get(key, start, size)
            except _AfterTheEnd:
                due = 0
            if due != size:
                raise ends_early(self.url, key)
            return iter(found.stream(chunk_bytes))

    def _get(self, key: str, start: int, size: int) -> tuple[GetResult, int]:
        """Request a part of an object. Return the response, and the number of bytes that it should have.

        The object may end before the part does. Then the response ends with the object, and says so.
        """
        try:
            found = obstore.get(self._reads, key, options={"range": (start, start + size)})
        except BaseError as error:
            if status_of(error) == _RANGE_NOT_SATISFIABLE:
                raise _AfterTheEnd from None
            raise
        end = min(start + size, found.meta["size"])
        if found.range != (start, end):
            raise ends_early(self.url, key)
        return found, end - start

    def failed(self, error: Exception) -> StoreUnavailable:
        """Return the error for chunks that do not arrive."""
        return unavailable(self._address, "read", error)

    def delete(self, keys: Sequence[str]) -> Sequence[str]:
        """Delete objects, many with one request. What that does not confirm is deleted one by one."""
        gone: list[str] = []
        for start in range(0, len(keys), KEYS_IN_REQUEST_MAX):
            some = keys[start : start + KEYS_IN_REQUEST_MAX]
            try:
                obstore.delete(self._writes, list(some))
            except (BaseError, OSError) as error:  # some may be gone, but it is not known which
                gone += self._delete_each(some, error)
            else:
                gone += some
        if keys and not gone:
            with self._translated("changed"):
                obstore.delete(self._writes, [keys[0]])
            gone.append(keys[0])
        return gone

    def _delete_each(self, keys: Sequence[str], error: Exception) -> list[str]:
        gone: list[str] = []
        if not code_of(error) or code_of(error) == "NoSuchBucket":  # it concerns the store, and not one of the keys
            return gone
        failed = 0
        for key in keys:
            try:
                obstore.delete(self._writes, [key])
            except (BaseError, OSError):
                failed += 1
                if failed >= FAILED_KEYS_IN_ROW_MAX:
                    return gone
            else:
                gone.append(key)
                failed = 0
        return gone

    def objects(self, prefix: str = "") -> Iterator[StoredObject]:
        """Go through the objects. One request lists KEYS_IN_REQUEST_MAX."""
        folder = prefix.rpartition("/")[0]
        with self._translated("listed"):
            for some in obstore.list(self._reads, folder or None, chunk_size=KEYS_IN_REQUEST_MAX):
                for one in some:
                    if one["path"].startswith(prefix):
                        written_ms = int(one["last_modified"].timestamp() * 1000)
                        yield StoredObject(one["path"], one["size"], written_ms)

    def unsafe(self) -> str | None:
        """Return why deleted objects would stay, found out with an object that is written and deleted."""
        return self._probe()

    def check_writable(self) -> None:
        """Check that the bucket is there, and that an object can be written, read and deleted."""
        with suppress(StopIteration):  # a store may create a bucket that is missing when an object is written
            next(self.objects(PROBE_KEY))
        self._probe()

    def free_bytes(self) -> int | None:
        """Return None: a bucket has no end."""
        return None

    def _probe(self) -> str | None:
        key, data = f"{PROBE_KEY}{secrets.token_hex(8)}", os.urandom(PROBE_BYTES)
        version = self._put(key, data)
        try:
            if self.read(key, 0, PROBE_BYTES + 1) != data:
                raise StoreUnavailable(f"{self.url} of SMSEVENTS_SEGMENTS does not return what was written.")
        finally:
            with self._translated("changed"):
                obstore.delete(self._writes, [key])
        with suppress(ObjectGone):
            self.read(key, 0, PROBE_BYTES)
            return "an object that was deleted can still be read. Use a store that deletes at once."
        if version is None or self._is_version_gone(key, version):
            return None
        return (
            f"the bucket {self._address.bucket} keeps old versions of its objects, so erased events would stay in it."
            " Use a bucket without versioning and without object lock."
        )

    def _is_version_gone(self, key: str, version: str) -> bool:
        """Return whether a version of a deleted object is certainly gone: some stores number them and keep none."""
        try:
            obstore.get(self._reads, key, options={"version": version})
        except (BaseError, OSError) as error:
            return code_of(error) in {"NoSuchKey", "NoSuchVersion"}
        return False

    @contextmanager
    def _translated(self, done: str, key: str | None = None) -> Iterator[None]:
        """Translate the errors of the library. With a key, an object that is not there is `ObjectGone`."""
        try:
            yield
        except (BaseError, OSError, ValueError) as error:
            if key is not None and code_of(error) == "NoSuchKey":
                raise ObjectGone(key) from None
            raise unavailable(self._address, done, error) from None


class _AfterTheEnd(Exception):
    """An object ends before the part that was requested of it."""
