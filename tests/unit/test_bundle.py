"""Modules of JavaScript as one file."""

from __future__ import annotations

import shutil
import subprocess
from typing import TYPE_CHECKING

import pytest

from smsevents.web.bundle import bundle, modules_of

if TYPE_CHECKING:
    from pathlib import Path

SOURCES = {
    "start.js": (
        'import { add as plus, ONE } from "./lib/sums.js";\n'
        'import texts from "./texts.js";\n'
        'import {\n  Told,\n  late,\n} from "./lib/passed.js";\n'
        "const add = 5; // the same name as in another module\n"
        "console.log(plus(add, ONE), texts.hello, new Told().text, typeof late);\n"
    ),
    "lib/sums.js": "export const ONE = 1;\nexport function add(a, b) {\n  return a + b;\n}\n",
    "lib/passed.js": (
        'import { ONE } from "./sums.js";\n'
        'export { first } from "../vendor/made.js";\n'
        "export class Told {\n  text = `told ${ONE}`;\n}\n"
        "export async function late() {\n  return 'late';\n}\n"
    ),
    "texts.js": 'export default {\n  hello: "import { a } from b",\n};\n',
    "vendor/made.js": "export const first=1;",
}


def test_each_module_comes_once_and_after_those_that_it_imports() -> None:
    """The order is one in which each module can run, whatever imports it."""
    found = modules_of("start.js", SOURCES)
    assert sorted(found) == sorted(SOURCES)
    for earlier, later in [
        ("lib/sums.js", "lib/passed.js"),
        ("vendor/made.js", "lib/passed.js"),
        ("lib/passed.js", "start.js"),
        ("texts.js", "start.js"),
    ]:
        assert found.index(earlier) < found.index(later)


def test_a_vendored_file_is_imported_and_not_copied() -> None:
    """What is vendored stays a file of its own, found from where the bundle is."""
    text = bundle("start.js", SOURCES)
    assert 'from "../vendor/made.js";' in text
    assert SOURCES["vendor/made.js"] not in text


@pytest.mark.skipif(shutil.which("node") is None, reason="node is not installed; only this check needs it")
def test_a_bundle_does_what_its_modules_do(tmp_path: Path) -> None:
    """Node prints the same for the modules and for the bundle of them."""
    (tmp_path / "package.json").write_text('{"type": "module"}')
    for name, text in (SOURCES | {"bundle/start.js": bundle("start.js", SOURCES)}).items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)

    def printed(name: str) -> bytes:
        """Return what a module prints."""
        return subprocess.run(["node", tmp_path / name], capture_output=True, check=True).stdout

    assert printed("bundle/start.js") == printed("start.js") == b"6 import { a } from b told 1 function\n"
