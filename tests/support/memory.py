"""What is in the memory of the process."""

from __future__ import annotations

import gc
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator


def kept_bytes() -> Iterator[bytes]:
    """Go through the bytes that containers of the process refer to."""
    for container in gc.get_objects():
        for one in gc.get_referents(container):
            if isinstance(one, bytes):
                yield one
