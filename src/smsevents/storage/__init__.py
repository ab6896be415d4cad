"""Where packs are kept: immutable objects under keys that are never used twice.

base.py    what a store of objects must do
files.py   a folder, where each object is a file
memory.py  a dictionary, for tests and for trying things out
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from smsevents.errors import SettingError
from smsevents.storage.files import FileStore, folder_of

if TYPE_CHECKING:
    from smsevents.storage.base import ByteStore

EXAMPLES = "file:///srv/smsevents/packs"


def open_store(url: str) -> ByteStore:
    """Open the store that a URL names. It must exist.

    Raises `SettingError` for a URL that cannot be used, and `StoreUnavailable` if the store cannot be used.
    """
    scheme, separator, _ = url.partition(":")
    if separator and scheme == "file":
        return FileStore(folder_of(url))
    raise SettingError(
        f"SMSEVENTS_SEGMENTS is {url!r}, which does not name a folder. Use a URL such as {EXAMPLES}, or leave it empty"
        " to keep everything in the database."
    )
