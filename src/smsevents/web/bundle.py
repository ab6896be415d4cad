"""Modules of JavaScript as one file, so that a browser requests one and not forty, one import after the other.

It knows the forms of import and export that our own modules use, and no others: each module becomes a function that
returns what it exports. Vendored files stay files of their own, which are imported.
"""

from __future__ import annotations

import re
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

VENDORED = "vendor/"
_FROM = r'from "(?P<path>\.[^"]+)";\n'
_IMPORT = re.compile(rf"^import (?P<names>\{{[^}}]*\}}|\w+) {_FROM}", re.MULTILINE)
_PASSED_ON = re.compile(rf"^export (?P<names>\{{[^}}]*\}}) {_FROM}", re.MULTILINE)
_DEFAULT = re.compile(r"^export default ", re.MULTILINE)
_EXPORT = re.compile(r"^export (?=(?:async )?(?:function|const|class) (?P<name>\w+))", re.MULTILINE)


def modules_of(script: str, sources: Mapping[str, str]) -> list[str]:
    """Return the names of all modules that a script needs, each after those that it imports; the script is last."""
    found: list[str] = []

    def visit(name: str) -> None:
        """Add a module after its imports."""
        if name in found:
            return
        if not name.startswith(VENDORED):
            for pattern in (_IMPORT, _PASSED_ON):
                for match in pattern.finditer(sources[name]):
                    visit(_target(name, match["path"]))
        found.append(name)

    visit(script)
    return found


def bundle(script: str, sources: Mapping[str, str], vendored_from: str = "../") -> str:
    """Return a script and all that it imports as one module; `vendored_from` leads from it to the vendored files."""
    modules = modules_of(script, sources)
    variables = {name: f"module{place}" for place, name in enumerate(modules)}
    parts = []
    for name in modules:
        if name.startswith(VENDORED):
            parts.append(f'import * as {variables[name]} from "{vendored_from}{name}";')
        else:
            parts.append(f"const {variables[name]} = (() => {{\n{_body(name, sources[name], variables)}}})();")
    return "\n".join([*parts, ""])


def _body(name: str, text: str, variables: Mapping[str, str]) -> str:
    """Return the body of the function that a module becomes."""
    exported = [match["name"] for match in _EXPORT.finditer(text)]
    passed_on = [one.strip() for match in _PASSED_ON.finditer(text) for one in match["names"].strip("{}").split(",")]

    def imported(match: re.Match[str]) -> str:
        """Return the declaration that an import becomes."""
        names = match["names"]
        taken = names.replace(" as ", ": ") if names.startswith("{") else f"{{ default: {names} }}"
        return f"const {taken} = {variables[_target(name, match['path'])]};\n"

    text = _PASSED_ON.sub(imported, _IMPORT.sub(imported, text))
    if _DEFAULT.search(text):
        text, exported = _DEFAULT.sub("const exportedByDefault = ", text), [*exported, "default: exportedByDefault"]
    text = _EXPORT.sub("", text)
    return f"{text}return {{ {', '.join([*exported, *filter(None, passed_on)])} }};\n"


def _target(name: str, path: str) -> str:
    """Return the name of the module that a module imports by a relative path."""
    parts: list[str] = []
    for part in (PurePosixPath(name).parent / path).parts:
        if part == "..":
            parts.pop()
        else:
            parts.append(part)
    return "/".join(parts)
