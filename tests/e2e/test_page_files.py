"""The files of the page: how they are served, that they name no other host, and what is vendored."""

from __future__ import annotations

import base64
import hashlib
import json
import re
import shutil
import subprocess
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

import httpx
import pytest

from smsevents.accounts.access import Access
from smsevents.catalog import open_catalog
from smsevents.web.bundle import modules_of
from smsevents.web.page import PAGE, STYLES, VENDOR, files, sources, version
from smsevents.web.static_files import STATIC, UNCHANGING
from tests.support.servers import PLAIN

if TYPE_CHECKING:
    from tests.support.servers import Server

ROOT = Path(__file__).parents[2]
NAMESPACES = {"http://www.w3.org/1998/Math/MathML", "http://www.w3.org/1999/xhtml", "http://www.w3.org/2000/svg"}
EXAMPLE_SERVER = "http://127.0.0.1:8080"  # the one that /docs replaces by its own address
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data: blob:; connect-src 'self';"
    " form-action 'self'; frame-ancestors 'none'; base-uri 'none'"
)


def texts() -> dict[str, str]:
    """Return the text of every file that the pages are made of, by its name."""
    return {name: path.read_text("utf-8") for name, path in sources().items()}


def test_each_file_has_its_type_its_policy_and_a_tag(server: Server) -> None:
    """Every file comes with its type, a strict policy, compressed or not, and a tag that saves sending it again."""
    for name, file in files().items():
        for coding, content in [("gzip", file.compressed), ("identity", file.content)]:
            url, headers = f"{server.base}/page/{name}", {"Accept-Encoding": coding}
            with httpx.stream("GET", url, headers=headers, verify=PLAIN) as answer:
                assert (answer.status_code, b"".join(answer.iter_raw())) == (200, content)
            assert answer.headers["content-type"] == file.media_type
            assert answer.headers["content-security-policy"] == POLICY
            assert answer.headers["x-content-type-options"] == "nosniff"
            assert answer.headers["cache-control"] == "no-cache"
            again = httpx.get(url, headers=headers | {"If-None-Match": answer.headers["etag"]}, verify=PLAIN)
            assert (again.status_code, again.content) == (304, b"")


def test_a_browser_keeps_the_files_of_a_version(server: Server) -> None:
    """A file is never requested again under this version; under another one the answer is not kept."""
    for asked, caching in [(version(), UNCHANGING), ("0123456789ab", "no-cache")]:
        answer = httpx.get(f"{server.base}/page/{asked}/bundle/page.js", verify=PLAIN)
        assert (answer.status_code, answer.content) == (200, files()["bundle/page.js"].content)
        assert answer.headers["cache-control"] == caching
    assert httpx.get(f"{server.base}/", verify=PLAIN).headers["cache-control"] == "no-cache"


@pytest.mark.parametrize("path", ["nothing.js", "../docs/en.html", "%2e%2e/docs/en.html", "0123456789ab/", ""])
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
    assert {address for _, address in found} <= NAMESPACES | {EXAMPLE_SERVER}


def test_the_page_has_one_inline_script_which_its_policy_names(server: Server) -> None:
    """The policy allows the script in the page by its digest; there is no other, nor an inline style or handler."""
    answer = httpx.get(f"{server.base}/", verify=PLAIN)
    assert re.findall(r"<style|\sstyle=|\son\w+=", answer.text) == []
    data, script = re.findall(r"<script(?![^>]*\ssrc=)[^>]*>(.*?)</script>", answer.text, re.DOTALL)
    assert data == "null"
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    assert answer.headers["content-security-policy"] == POLICY.replace(
        "script-src 'self'", f"script-src 'self' 'sha256-{digest}'"
    )


def test_the_page_says_who_is_signed_in(server: Server) -> None:
    """The page says who opened it, is kept in no cache then, and no name of a shop can become markup."""
    name = "</script><script>alert(1)</script>"
    number = 99_001
    with closing(open_catalog(server.url)) as database:
        access = Access(database)
        access.add_shop(number, name)
        key = access.create_key(number, ["stats"])
    cookies = httpx.post(f"{server.base}/session", json={"key": key}, verify=PLAIN).cookies
    answer = httpx.get(f"{server.base}/", cookies=cookies, verify=PLAIN)
    data, _ = re.findall(r"<script(?![^>]*\ssrc=)[^>]*>(.*?)</script>", answer.text, re.DOTALL)
    told = json.loads(data)
    assert (told["name"], told["trackpointId"], told["scopes"]) == (name, str(number), ["stats"])
    assert answer.headers["cache-control"] == "private, no-store"
    httpx.request("DELETE", f"{server.base}/session", cookies=cookies, headers={"X-Smsevents": "1"}, verify=PLAIN)
    after = httpx.get(f"{server.base}/", cookies=cookies, verify=PLAIN)
    assert 'id="session">null<' in after.text


def test_each_module_is_in_the_bundle_that_needs_it() -> None:
    """No module is left over, and every file that a page loads is served."""
    modules = {name for name in texts() if name.endswith(".js")}
    needed = [set(modules_of(script, texts())) for script in ("app.js", "docs/docs.js", "early.js")]
    assert set().union(*needed) == modules
    for text in (
        texts()["index.html"],
        *((STATIC / "docs" / f"{one}.html").read_text("utf-8") for one in ("en", "cs")),
    ):
        assert set(re.findall(r'(?:href|src)="page/([^"]+)"', text)) <= set(files())
    styles = {name for parts in STYLES.values() for name in parts}
    assert styles == {name for name in texts() if name.endswith(".css")}


@pytest.mark.parametrize("place", ["", "docs/"])
def test_the_languages_have_the_same_texts(place: str) -> None:
    """Each text exists in each language, with the same members; Czech has its forms one, few and other."""
    both = [
        dict(
            re.findall(
                r"^  (\w+):\s*(.*?),\n(?=  \w+:|\};|\n)",
                texts()[f"{place}i18n/{language}.js"],
                re.MULTILINE | re.DOTALL,
            )
        )
        for language in ("en", "cs")
    ]
    assert both[0].keys() == both[1].keys()
    for name, english in both[0].items():
        assert set(re.findall(r"\{\w+\}", english)) == set(re.findall(r"\{\w+\}", both[1][name])), name
    own = "".join(
        text for name, text in texts().items() if "i18n" not in name and name.startswith("docs/") == bool(place)
    )
    used = set(re.findall(r'\bt\("(\w+)"', own))
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
