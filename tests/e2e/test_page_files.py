"""The files of the page: how they are served, that they name no other host, and what is vendored."""

from __future__ import annotations

import hashlib
import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import httpx
import pytest

from smsevents.web.page import PAGE, VENDOR, files
from tests.support.servers import PLAIN

if TYPE_CHECKING:
    from tests.support.servers import Server

ROOT = Path(__file__).parents[2]
NAMESPACES = {"http://www.w3.org/1998/Math/MathML", "http://www.w3.org/1999/xhtml", "http://www.w3.org/2000/svg"}
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data: blob:; connect-src 'self';"
    " form-action 'self'; frame-ancestors 'none'; base-uri 'none'"
)
FILES_MAX_BYTES = 160_000


def texts() -> dict[str, str]:
    """Return the text of every file that is served, by its name."""
    return {name: file.content.decode() for name, file in files().items()}


def test_each_file_has_its_type_its_policy_and_a_tag(server: Server) -> None:
    """Every file comes with its type, a strict policy, and a tag that saves sending it again."""
    served = {"/": files()["index.html"]} | {f"/page/{name}": one for name, one in files().items()}
    for path, file in served.items():
        answer = httpx.get(server.base + path, verify=PLAIN)
        assert (answer.status_code, answer.content) == (200, file.content)
        assert answer.headers["content-type"] == file.media_type
        assert answer.headers["content-security-policy"] == POLICY
        assert answer.headers["x-content-type-options"] == "nosniff"
        again = httpx.get(server.base + path, headers={"If-None-Match": answer.headers["etag"]}, verify=PLAIN)
        assert (again.status_code, again.content) == (304, b"")
        assert ("immutable" in answer.headers["cache-control"]) == bool(re.fullmatch(r"/page/vendor/.*\.js", path))
        assert httpx.head(server.base + path, verify=PLAIN).status_code == 200


@pytest.mark.parametrize("path", ["nothing.js", "../docs.html", "%2e%2e/docs.html", "vendor/../../docs.js", ""])
def test_nothing_else_is_served(server: Server, path: str) -> None:
    """Under /page/ there are the files of the page and nothing beside them."""
    answer = httpx.get(f"{server.base}/page/{path}")
    assert (answer.status_code, answer.headers["content-type"]) == (404, "application/problem+json")


def test_no_file_names_another_host() -> None:
    """No file has an address of another host, apart from the names of XML namespaces, which are never fetched."""
    found = {
        (name, address)
        for name, text in texts().items()
        if not name.endswith(".txt")
        for address in re.findall(r"""\w+://[^\s"'`)<]+|["'(]//\w[^\s"'`)]*""", text)
    }
    assert {address for _, address in found} <= NAMESPACES


def test_the_page_has_no_inline_code_and_is_small() -> None:
    """The page has no inline script, style or handler, which its policy would block; all its files are small."""
    assert re.findall(r"<style|\sstyle=|\son\w+=|<script(?![^>]*\ssrc=)", files()["index.html"].content.decode()) == []
    assert sum(len(file.content) for file in files().values()) < FILES_MAX_BYTES


def test_every_import_is_there() -> None:
    """Every module that a module imports, and every file that the page links, exists."""
    for name, text in texts().items():
        folder = (PAGE / name).parent
        wanted = re.findall(r'^(?:import|\}|export).*?from "(\.[^"]+)"', text, flags=re.MULTILINE)
        for path in wanted if not name.startswith("vendor/") else ():
            target = (folder / path).resolve().relative_to(PAGE.resolve()).as_posix()
            assert target in files(), f"{name} imports {path}"
    linked = re.findall(r'(?:href|src)="page/([^"]+)"', files()["index.html"].content.decode())
    assert set(linked) <= set(files())


def test_the_languages_have_the_same_texts() -> None:
    """Each text exists in each language, with the same members; Czech has its forms one, few and other."""
    both = [
        dict(
            re.findall(
                r"^  (\w+):\s*(.*?),\n(?=  \w+:|\};|\n)", texts()[f"i18n/{language}.js"], re.MULTILINE | re.DOTALL
            )
        )
        for language in ("en", "cs")
    ]
    assert both[0].keys() == both[1].keys()
    for name, english in both[0].items():
        assert set(re.findall(r"\{\w+\}", english)) == set(re.findall(r"\{\w+\}", both[1][name])), name
    used = set(re.findall(r'\bt\("(\w+)"', "".join(text for name, text in texts().items() if "i18n" not in name)))
    assert used <= both[0].keys()


def test_what_is_vendored_is_what_was_built() -> None:
    """Each vendored file has the checksum of its list, and each library its version and its licence."""
    listed = json.loads((VENDOR / "vendor.json").read_text())
    wanted = json.loads((ROOT / "frontend" / "vendor" / "package.json").read_text())
    axe_folder = ROOT / "tests" / "data" / "axe"
    axe = json.loads((axe_folder / "vendor.json").read_text())

    assert {one["name"]: one["version"] for one in listed["libraries"]} == wanted["dependencies"]
    assert {path.name for path in VENDOR.glob("*.js")} == {one["name"] for one in listed["files"]}
    for one in listed["files"]:
        assert hashlib.sha256((VENDOR / one["name"]).read_bytes()).hexdigest() == one["sha256"]
    for one in listed["libraries"]:
        assert one["licence"] in {"MIT", "Apache-2.0"}
        assert len((VENDOR / one["licenceFile"]).read_text()) > 500
    assert axe["version"] == wanted["devDependencies"]["axe-core"]
    assert hashlib.sha256((axe_folder / "axe.min.js").read_bytes()).hexdigest() == axe["sha256"]


def test_the_lock_names_no_registry() -> None:
    """The lock of the vendored libraries has a checksum for each package, and no address of a registry."""
    packages = json.loads((ROOT / "frontend" / "vendor" / "package-lock.json").read_text())["packages"]
    assert all("integrity" in one and "resolved" not in one for name, one in packages.items() if name)


@pytest.mark.skipif(shutil.which("node") is None, reason="node is not installed; only this check needs it")
def test_every_module_is_valid() -> None:
    """Every module of the page parses as a module."""
    script = """
        import { readFileSync } from "node:fs";
        import vm from "node:vm";
        for (const identifier of process.argv.slice(1))
            new vm.SourceTextModule(readFileSync(identifier, "utf8"), { identifier });
    """
    command = ["node", "--experimental-vm-modules", "--no-warnings", "--input-type=module", "--eval", script]
    checked = subprocess.run([*command, *sorted(PAGE.rglob("*.js"))], capture_output=True, check=False)
    assert checked.returncode == 0, checked.stderr.decode()
