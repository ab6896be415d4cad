"""Where packs are kept: immutable objects under keys that are never used twice.

base.py         what a store of objects must do
files.py        a folder, where each object is a file
memory.py       a dictionary, for tests and for trying things out
s3.py           a bucket of Amazon S3 or of a store like it; needs the extra `s3`
s3_address.py   the URL of a bucket, and the limits of requests
s3_errors.py    what a bucket reports, as errors
s3_incoming.py  a long part of an object, which arrives while it is taken
"""

from __future__ import annotations

from importlib.util import find_spec
from typing import TYPE_CHECKING

from smsevents.errors import SettingError
from smsevents.storage.files import FileStore, folder_of
from smsevents.storage.s3_address import SCHEME

if TYPE_CHECKING:
    from smsevents.storage.base import ByteStore

EXAMPLES = "file:///srv/smsevents/packs or s3://bucket/prefix"


def open_store(url: str) -> ByteStore:
    """Open the store that a URL names. It must exist.

    Raises `SettingError` for a URL that cannot be used, and `StoreUnavailable` if the store cannot be used.
    """
    scheme, separator, _ = url.partition(":")
    if separator and scheme == "file":
        return FileStore(folder_of(url))
    if separator and scheme == SCHEME:
        return _open_bucket(url)
    raise SettingError(
        f"SMSEVENTS_SEGMENTS is {url!r}, which names neither a folder nor a bucket. Use a URL such as {EXAMPLES}, or"
        " leave it empty to keep everything in the database."
    )


def _open_bucket(url: str) -> ByteStore:
    if find_spec("obstore") is None:
        raise SettingError(
            "SMSEVENTS_SEGMENTS names a bucket, which needs the extra `s3`. Install it:"
            " pip install 'smsevents[s3]' (or: make install WITH=s3)."
        )
    from smsevents.storage.s3 import S3Store  # noqa: PLC0415 -- what it needs may not be installed

    return S3Store(url)
