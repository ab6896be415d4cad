"""The documentation: what it shows is what the program does, and its tables are those of the code."""

from __future__ import annotations

import json
import re
import shlex
from contextlib import closing
from dataclasses import fields
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, get_args

import httpx
import msgspec
import pytest
import typer
from prometheus_client import REGISTRY
from prometheus_client.metrics import MetricWrapperBase
from typer.core import TyperGroup

from smsevents.catalog import open_catalog
from smsevents.cli import app
from smsevents.cli.checks import examine
from smsevents.client.account import KEY_VARIABLE, URL_VARIABLE
from smsevents.clock.system import now_ms
from smsevents.errors import InvalidRequest
from smsevents.settings import Settings, variable_of
from smsevents.timekeeper import Timekeeper
from smsevents.web import metrics, receipt_metrics, tenant_metrics
from smsevents.web.export_request import ExportRequest
from smsevents.web.house_metrics import House
from smsevents.web.problems import STATUSES, Problem
from smsevents.wire import events
from smsevents.wire.window import resolve
from tests.support.documents import ROOT, Page, bare

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.servers import Server

SOURCE = ROOT / "src" / "smsevents"
PAGES = sorted((ROOT / "docs").glob("*.md"))
ENGLISH, CZECH = ROOT / "docs" / "api.md", ROOT / "docs" / "api.cs.md"
OPERATING = ROOT / "docs" / "operating.md"
ARCHITECTURE = ROOT / "docs" / "architecture.md"


@pytest.fixture(params=PAGES, ids=lambda path: path.name)
def page(request: pytest.FixtureRequest) -> Page:
    """Return each page in turn."""
    return Page(request.param)


@pytest.fixture(params=[ENGLISH, CZECH], ids=lambda path: path.name)
def api(request: pytest.FixtureRequest) -> Page:
    """Return the API page, in English and in Czech."""
    return Page(request.param)


def test_settings() -> None:
    """The table of settings says what `Settings` says: variables, defaults and help, in that order."""
    assert Page(OPERATING).table("Variable") == [
        [f"`{variable_of(setting.name)}`", f"`{setting.default}`" if setting.default else "", setting.metadata["help"]]
        for setting in fields(Settings)
    ]


def test_checks_of_the_doctor(tmp_path: Path) -> None:
    """The table of checks has every check of `smsevents doctor`, in its order."""
    url = f"sqlite:///{tmp_path / 'log.db'}"
    open_catalog(url).close()

    checks = examine(Settings(database=url), now_ms())

    assert [bare(name) for name, _ in Page(OPERATING).table("Check")] == [check.name for check in checks]


def test_metrics(url: str) -> None:
    """The table of metrics has every metric that `/metrics` can give, with its type and its labels."""
    with closing(open_catalog(url)) as database:
        house = list(House(database, Timekeeper(database), 0).collect())
    families = {found.name: found for found in [*REGISTRY.collect(), *house] if found.name.startswith("smsevents_")}
    labels = {family.name: list(family.samples[0].labels) if family.samples else [] for family in house} | {
        family.name: wrapper._labelnames  # noqa: SLF001 -- there is no public way to ask before the first use
        for wrapper in (vars(metrics) | vars(tenant_metrics) | vars(receipt_metrics)).values()
        if isinstance(wrapper, MetricWrapperBase)
        for family in wrapper.describe()
    }

    documented = {
        bare(name): (kind, [bare(label) for label in labels.split(", ") if label])
        for name, kind, labels, _ in Page(OPERATING).table("Metric")
    }

    assert documented == {
        name + ("_total" if family.type == "counter" else ""): (family.type, list(labels[name]))
        for name, family in families.items()
    }


def test_event_lines_are_canonical(page: Page) -> None:
    """Every event line that a page shows is the line that an export would send."""
    for language, text in page.blocks:
        for line in text.encode().splitlines() if language == "jsonl" else []:
            assert events.decode(line)[1] == line


def test_json_can_be_read(page: Page) -> None:
    """All JSON on a page is valid: blocks, bodies of calls, and JSON in the prose."""
    shown = [text for language, text in page.blocks if language == "json"]
    shown += [span for span in page.spans if span.startswith("{")]
    for text in shown:
        json.loads(text)


def test_problems_have_the_form_of_problems(page: Page) -> None:
    """Every problem on a page has exactly the members of a problem."""
    for language, text in page.blocks:
        if language == "json" and '"detail"' in text:
            problem = msgspec.json.decode(text, type=Problem)
            assert msgspec.json.encode(problem).decode() == text.strip()


def test_bodies_of_export_calls_are_taken(page: Page) -> None:
    """Every export body on a page is accepted by the export."""
    for _, text in page.blocks:
        for body in re.findall(r"-d '(\{[^']*)'", text):
            msgspec.json.decode(body, type=ExportRequest)
        for body in re.findall(r'-d "(\{(?:[^"\\]|\\.)*)"', text):
            computed = re.sub(r"\$\([^)]*\)", "1795478400000", body)  # the shell puts times there
            msgspec.json.decode(computed.replace('\\"', '"'), type=ExportRequest)


def test_intervals(api: Page) -> None:
    """The worked examples of the interval agree with the rules at the time that the page names."""
    [(now, day)] = re.findall(r"\b(\d{13})\s+\((\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ)\)", api.prose)
    assert datetime.fromtimestamp(int(now) / 1000, UTC) == datetime.fromisoformat(day)
    rows = api.table("`X-Export-From`", 1)

    for body, start, end, _ in rows:
        asked = msgspec.json.decode(bare(body), type=ExportRequest)
        assert resolve(asked.from_, asked.to, int(now)) == (int(start), int(end)), body
    assert len(rows) > 5


def test_from_after_to_is_refused_as_documented() -> None:
    """The one interval rule documented as an error raises an error."""
    assert ["`from` after `to`, both sent", "400"] in Page(ENGLISH).table("Rule")
    with pytest.raises(InvalidRequest):
        resolve(2, 1, 0)


def test_statuses_of_events(api: Page) -> None:
    """The table of statuses has exactly the statuses of an event."""
    assert sorted(bare(status) for status, *_ in api.table("`message_state`", 1)) == sorted(get_args(events.Status))


def errors_table(page: Page) -> list[list[str]]:
    """Return the rows of the table of errors: status, when, detail, what to do."""
    [found] = [rows for header, *rows in page.tables if len(header) == 4 and "`detail`" in header[2]]
    return found


def test_statuses_of_errors(api: Page) -> None:
    """Every HTTP status of our errors is in the table of errors, with advice."""
    rows = errors_table(api)

    assert {int(row[0]) for row in rows} >= {outcome.status.value for outcome in STATUSES.values()} | {405, 422, 431}
    assert all(all(row) for row in rows)


CALLS: dict[str, tuple[str, str, dict[str, Any]]] = {
    "no key": ("POST", "export", {"headers": {"X-Api-Key": ""}}),
    "other shop": ("POST", "/shop/7/export-sms-events", {}),
    "no trackpoint": ("POST", "/shop/abc/export-sms-events", {}),
    "wrong method": ("GET", "export", {}),
    "empty body": ("POST", "export", {"content": b""}),
    "wrong type": ("POST", "export", {"content": b'{"from": "x"}'}),
    "no JSON": ("POST", "import", {"content": b"hello"}),
    "cut gzip": ("POST", "import", {"content": b"\x1f\x8b\x08", "headers": {"Content-Encoding": "gzip"}}),
    "other coding": ("POST", "import", {"content": b"", "headers": {"Content-Encoding": "br"}}),
}


@pytest.mark.parametrize("call", CALLS)
def test_errors_say_what_the_page_shows(server: Server, api: Page, call: str) -> None:
    """The server's response to a bad request is on the page, word for word, under its status."""
    method, target, options = CALLS[call]
    shop = server.shop()
    url = (
        f"{server.base}{target}"
        if target.startswith("/")
        else f"{shop.base}/shop/{shop.trackpoint}/{target}-sms-events"
    )
    headers = shop.headers | options.get("headers", {})

    problem = httpx.request(method, url, headers=headers, content=options.get("content")).json()

    shown = {(int(status), bare(detail)) for status, _, detail, _ in errors_table(api)}
    for language, text in api.blocks:
        if language == "json" and '"detail"' in text:
            shown.add((json.loads(text)["status"], json.loads(text)["detail"]))
    assert (problem["status"], timeless(problem["detail"])) in {(status, timeless(detail)) for status, detail in shown}


def timeless(detail: str) -> str:
    """Return a detail without its times, which depend on the moment."""
    return re.sub(r"\b\d{13}\b", "<time>", detail)


def commands_of(page: Page) -> list[list[str]]:
    """Return the words after `smsevents` of every command in the code blocks of a page, with the page's variables."""
    found = []
    assigned = dict(re.findall(r"^([a-z]+)=(\S+)$", page.text, re.MULTILINE))
    for language, text in page.blocks:
        if language in {"sh", "bash", "ini"}:
            joined = re.sub(r"\$([a-z]+)\b", lambda match: assigned.get(match[1], match[0]), text.replace("\\\n", " "))
            found += re.findall(r"(?:^|[\s(/])smsevents ([a-z][^|&;)>\n]*)", joined, re.MULTILINE)
    return [shlex.split(words) for words in found]


def test_commands_can_be_called(page: Page) -> None:
    """The command line accepts every command in a code block exactly as shown: names, options and values."""
    for words in commands_of(page):
        command: Any = typer.main.get_command(app)
        rest = words
        while isinstance(command, TyperGroup):
            command, *rest = command.commands[rest[0]], *rest[1:]
        command.make_context("smsevents", list(rest))


def test_commands_are_found() -> None:
    """The search for commands finds those on the operator's page."""
    names = {words[0] for words in commands_of(Page(OPERATING))}

    assert names >= {"serve", "shop", "key", "export", "import"}


def test_commands_in_prose_exist(page: Page) -> None:
    """Every command that the prose names exists, and so does every option named with it."""
    for span in page.spans:
        command: Any = typer.main.get_command(app)
        words = span.removeprefix("smsevents ").split()
        if words[0] not in command.commands:
            assert not re.match(r"smsevents [a-z]", span), span
            continue
        while isinstance(command, TyperGroup) and words:
            command = command.commands[words.pop(0)]
        known = {option for parameter in command.params for option in parameter.opts}
        assert {word for word in words if word.startswith("--")} <= known, span


def slug(heading: str) -> str:
    """Return the anchor of a heading, as code hosts make it."""
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")


@pytest.mark.parametrize("path", [*PAGES, ROOT / "README.md"], ids=lambda path: path.name)
def test_links_lead_somewhere(path: Path) -> None:
    """Every relative link names an existing file and, after `#`, one of its headings."""
    targets = re.findall(r"\]\(([^)]+)\)", Page(path).prose)
    for target in targets:
        if target.startswith(("http://", "https://")):
            continue
        name, _, anchor = target.partition("#")
        linked = path.parent / name if name else path
        assert linked.is_file(), target
        if anchor:
            assert anchor in [slug(heading) for _, heading in Page(linked).headings], target
    assert targets


def code_without_comments(page: Page) -> list[tuple[str, str]]:
    """Return the code blocks of a page without their comments, which are in the page's language."""
    return [(language, re.sub(r" +(#|//) .*", "", text)) for language, text in page.blocks]


def test_the_czech_page_is_the_english_one() -> None:
    """The two pages of the API have the same headings by level, the same code and the same tables by size."""
    english, czech = Page(ENGLISH), Page(CZECH)

    assert [level for level, _ in czech.headings] == [level for level, _ in english.headings]
    assert code_without_comments(czech) == code_without_comments(english)
    assert [[len(row) for row in table] for table in czech.tables] == [
        [len(row) for row in table] for table in english.tables
    ]
    assert [row[0] for row in errors_table(czech)] == [row[0] for row in errors_table(english)]


def test_python_can_be_compiled(page: Page) -> None:
    """Every Python example compiles."""
    for language, text in page.blocks:
        if language == "python":
            compile(text, page.path.name, "exec")


def test_names_of_settings_exist(page: Page) -> None:
    """Every variable and named limit on a page exists in the code."""
    variables = {variable_of(setting.name) for setting in fields(Settings)} | {KEY_VARIABLE, URL_VARIABLE}
    constants = {
        name
        for path in SOURCE.rglob("*.py")
        for name in re.findall(r"^([A-Z][A-Z_]+) = ", path.read_text("utf-8"), flags=re.MULTILINE)
    }
    for span in page.spans:
        if re.fullmatch(r"SMSEVENTS_[A-Z_]+", span):
            assert span in variables
        elif re.fullmatch(r"[A-Z_]+_(BYTES|SECONDS|MS|MAX|READERS|WORKERS|CHARACTERS)", span):
            assert span in constants, span


def test_names_of_code_exist() -> None:
    """Every file and function named on the architecture page is in the source."""
    code = "\n".join(path.read_text("utf-8") for path in SOURCE.rglob("*.py"))
    for span in Page(ARCHITECTURE).spans:
        if re.fullmatch(r"[a-z_/]+\.py", span):
            assert (SOURCE / span).is_file() or (ROOT / span).is_file(), span
        elif match := re.fullmatch(r"[A-Za-z]+\.([a-z_]+)", span):
            assert match[1] in {"md", "toml"} or f"def {match[1]}(" in code, span
