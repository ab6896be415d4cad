"""What a disk may hold after a power loss: the calls on a folder are recorded, and unsynced ones may be lost.

A disk keeps what was synced: the bytes of a file after `fsync` of that file, and the names in a folder after `fsync` of
that folder. Of everything else it may keep any part, in any order. A file may then be shorter than it was, or have
zeros where bytes were lost.
"""

from __future__ import annotations

import os
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import chain, product
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import random
    from collections.abc import Callable, Iterator, Mapping

    import pytest

EVERY_LOSS_MAX = 9  # calls that may be lost: up to so many, every combination is tried
SOME_LOSSES = 150

Tree = dict[str, bytes]  # the contents of the files, by their paths


@dataclass(frozen=True)
class Call:
    """A completed call: names in a folder or bytes of a file change, one of both is synced, or a time is marked."""

    node: int = 0  # the folder or file
    names: Mapping[str, int | None] = field(default_factory=dict)
    at: int = 0
    data: bytes | None = None
    empties: bool = False
    syncs: bool = False
    mark: tuple[str, ...] = ()

    @property
    def may_be_lost(self) -> bool:
        """Whether it changes something."""
        return bool(self.names) or self.data is not None or self.empties


class Recorded:
    """The calls that were made in a folder, which was empty and durable when the recording began."""

    ROOT = 1

    def __init__(self, folder: Path) -> None:
        """Record the calls in a folder."""
        self._folder = str(folder)
        self.calls: list[Call] = []
        self._nodes = {self._folder: self.ROOT}
        self._last = self.ROOT
        self._folders = {self.ROOT}
        self._handles: dict[int, tuple[int, int]] = {}  # file and position, by handle

    def mark(self, *what: str) -> None:
        """Note that something happened at this point."""
        self.calls.append(Call(mark=what))

    @contextmanager
    def recording(self, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
        """Record for the block."""
        with monkeypatch.context() as patch:
            for name in ("open", "close", "write", "fsync", "rename", "mkdir", "unlink", "rmdir"):
                patch.setattr(os, name, self._wrapped(getattr(os, name), getattr(self, f"_{name}")))
            yield

    def _wrapped(self, real: Callable[..., Any], record: Callable[..., None]) -> Callable[..., Any]:
        def call(*arguments: Any, **options: Any) -> Any:
            result = real(*arguments, **options)
            record(result, *arguments)
            return result

        return call

    def _is_here(self, path: object) -> bool:
        return str(path) == self._folder or str(path).startswith(f"{self._folder}/")

    def _new(self, path: str) -> int:
        self._last += 1
        self._nodes[path] = self._last
        return self._last

    def _named(self, path: str, names: dict[str, int | None]) -> None:
        self.calls.append(Call(self._nodes[os.path.dirname(path)], names))  # noqa: PTH120 -- text, as it was passed

    def _open(self, handle: int, path: object, flags: int, *_: object) -> None:
        if not self._is_here(path):
            return
        if str(path) not in self._nodes:
            self._named(str(path), {Path(str(path)).name: self._new(str(path))})
        elif flags & os.O_TRUNC:
            self.calls.append(Call(self._nodes[str(path)], empties=True))
        self._handles[handle] = self._nodes[str(path)], 0

    def _close(self, _: None, handle: int) -> None:
        self._handles.pop(handle, None)

    def _write(self, written: int, handle: int, data: bytes) -> None:
        if handle in self._handles:
            node, at = self._handles[handle]
            self.calls.append(Call(node, at=at, data=bytes(data[:written])))
            self._handles[handle] = node, at + written

    def _fsync(self, _: None, handle: int) -> None:
        if handle in self._handles:
            self.calls.append(Call(self._handles[handle][0], syncs=True))

    def _rename(self, _: None, source: object, target: object) -> None:
        if self._is_here(source):
            assert Path(str(source)).parent == Path(str(target)).parent  # else two folders change
            node = self._nodes[str(target)] = self._nodes.pop(str(source))
            self._named(str(target), {Path(str(source)).name: None, Path(str(target)).name: node})

    def _mkdir(self, _: None, path: object, *__: object) -> None:
        if self._is_here(path):
            node = self._new(str(path))
            self._folders.add(node)
            self._named(str(path), {Path(str(path)).name: node})

    def _unlink(self, _: None, path: object) -> None:
        if self._is_here(path):
            self._named(str(path), {Path(str(path)).name: None})
            del self._nodes[str(path)]

    _rmdir = _unlink

    def trees(self, until: int, chance: random.Random) -> Iterator[Tree]:
        """Go through what the folder may hold if the power fails after the first `until` calls."""
        synced: set[int] = set()
        durable: set[int] = set()
        for number in reversed(range(until)):
            call = self.calls[number]
            if call.syncs:
                synced.add(call.node)
            elif call.may_be_lost and call.node in synced:
                durable.add(number)
        unsure = [n for n in range(until) if n not in durable and self.calls[n].may_be_lost]
        for kept in _choices(unsure, chance):
            yield self._tree([call for n, call in enumerate(self.calls[:until]) if n in durable or n in kept])

    def _tree(self, calls: list[Call]) -> Tree:
        names: dict[int, dict[str, int]] = {}
        contents: dict[int, bytearray] = {}
        for call in calls:
            for name, node in call.names.items():
                names.setdefault(call.node, {}).pop(name, None)
                if node is not None:
                    names[call.node][name] = node
            content = contents.setdefault(call.node, bytearray())
            if call.empties:
                content.clear()
            if call.data is not None:
                content.extend(bytes(max(0, call.at - len(content))))
                content[call.at : call.at + len(call.data)] = call.data
        return dict(self._files(names, contents, self.ROOT, ""))

    def _files(
        self, names: dict[int, dict[str, int]], contents: dict[int, bytearray], folder: int, path: str
    ) -> Iterator[tuple[str, bytes]]:
        for name, node in names.get(folder, {}).items():
            if node in self._folders:
                yield from self._files(names, contents, node, f"{path}{name}/")
            else:
                yield f"{path}{name}", bytes(contents.get(node, b""))


def _choices(unsure: list[int], chance: random.Random) -> Iterator[set[int]]:
    """Go through which of the calls that are not synced were kept: every combination if they are few."""
    if len(unsure) <= EVERY_LOSS_MAX:
        for kept in product((False, True), repeat=len(unsure)):
            yield {n for n, is_kept in zip(unsure, kept, strict=True) if is_kept}
        return
    alone = ({n} for n in unsure)
    all_but = (set(unsure) - {n} for n in unsure)
    yield from chain([set(), set(unsure)], alone, all_but)
    for _ in range(SOME_LOSSES):
        share = chance.random()
        yield {n for n in unsure if chance.random() < share}


def write_tree(tree: Tree, folder: Path) -> None:
    """Write what a disk holds into an empty folder."""
    for name, data in tree.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
