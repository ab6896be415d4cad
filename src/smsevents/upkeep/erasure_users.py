"""Whose events an erasure removes: users by their ids, or by digests alone, as after a restore."""

from __future__ import annotations

import hashlib
import re
from typing import TYPE_CHECKING, Protocol

from smsevents.wire.events import digest_of, encode_text

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

# A canonical line contains `"userId":` exactly once: within a string, its quotes would be escaped.
_KEY = b'"userId":'
USER = re.compile(_KEY + rb'("(?:[^"\\]|\\.)*")')


class Users(Protocol):
    """Users of one shop."""

    @property
    def digests(self) -> Collection[bytes]:
        """Their digests, as of `wire.events.digest_of`."""

    def named_in(self, lines: bytes) -> Collection[bytes]:
        """Return the ids that lines may name, as they appear in canonical lines, with quotes."""

    def ids_among(self, candidates: Iterable[str]) -> Collection[str]:
        """Return their ids, or at least those of the candidates, which are gone through only if that is needed."""


class UsersNamed:
    """Users whose ids are known."""

    def __init__(self, trackpoint: int, user_ids: Collection[str]) -> None:
        """Take the ids of users of a shop."""
        self._user_ids = frozenset(user_ids)
        self._marks = {encode_text(user_id) for user_id in user_ids}
        self.digests: Collection[bytes] = {digest_of(trackpoint, user_id) for user_id in user_ids}

    def named_in(self, lines: bytes) -> Collection[bytes]:
        """Search the lines for each id: far cheaper than parsing each line."""
        return {mark for mark in self._marks if _KEY + mark in lines}

    def ids_among(self, candidates: Iterable[str]) -> Collection[str]:  # noqa: ARG002 -- they are known
        """Return all of their ids."""
        return self._user_ids


class UsersByDigest:
    """Users of whom only digests are known. So the digest of each user in the log has to be calculated."""

    def __init__(self, trackpoint: int, digests: Collection[bytes]) -> None:
        """Take the digests of users of a shop."""
        self._trackpoint = trackpoint
        self._begun = hashlib.sha256(b"%d\0" % trackpoint)  # as `digest_of` begins
        self.digests = digests

    def named_in(self, lines: bytes) -> Collection[bytes]:
        """Calculate the digest of each user that the lines name, once."""
        return {mark for mark in set(USER.findall(lines)) if self._digest(mark) in self.digests}

    def ids_among(self, candidates: Iterable[str]) -> Collection[str]:
        """Return those of the candidates that are theirs."""
        return {user_id for user_id in candidates if digest_of(self._trackpoint, user_id) in self.digests}

    def _digest(self, mark: bytes) -> bytes:
        made = self._begun.copy()
        made.update(mark)
        return made.digest()
