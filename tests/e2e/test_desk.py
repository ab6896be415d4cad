"""The client on any desk: without the server's packages and without the modules that only POSIX systems have.

The processes run here, on Linux, with these modules hidden and with the locks of Windows over a stand-in
(`support/desk.py`).
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import duckdb
import pytest

from smsevents.clock.system import now_ms
from tests.support.desk import NOT_HIDDEN
from tests.support.documents import ROOT
from tests.support.lines import HOUR_MS
from tests.support.servers import eventually
from tests.support.standin import Account, Answer, StandIn
from tests.support.warehouses import TRACKPOINT, some_lines

DESK = Path(__file__).parents[1] / "support" / "desk.py"
# what a desk needs of the packages of pyproject.toml, besides the extras
PACKAGES_OF_CLIENT = {"httpx2", "isal", "msgspec", "rich", "typer"}
VERSIONS = ["3.11", "3.13"]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
PLATFORMS = [
    "x86_64-pc-windows-msvc",
    "x86_64-apple-darwin",
    "aarch64-apple-darwin",
]


def uv(*words: str) -> subprocess.CompletedProcess[str]:
    """Run uv. Skip the test if it is not installed, or if the package index cannot be reached."""
    program = shutil.which("uv", path=f"{ROOT / '.uv' / 'bin'}{os.pathsep}{os.environ['PATH']}")
    if program is None:
        pytest.skip("uv is not installed")
    done = subprocess.run([program, *words], capture_output=True, text=True, check=False, timeout=600)
    if done.returncode and re.search(r"network|offline|dns error|connect|timed? ?out", done.stderr, re.IGNORECASE):
        pytest.skip(f"the package index cannot be reached: {done.stderr[-300:]}")
    return done


@pytest.fixture(scope="module")
def python(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> str:
    """Return a Python: that of the tests, or one of a version, which has the packages of a desk only."""
    if request.param is None:
        return sys.executable
    found = python_of(request.param)
    if found is None:
        pytest.skip(f"Python {request.param} is not installed")
    folder = tmp_path_factory.mktemp("desk")
    assert uv("venv", "--python", found, str(folder)).returncode == 0
    for words in (["--no-deps", str(ROOT)], [*requirements_of_client(), *requirements_of_extras()]):
        done = uv("pip", "install", "--python", str(folder), *words)
        assert done.returncode == 0, done.stderr
    return str(folder / "bin" / "python")


def python_of(version: str) -> str | None:
    """Return the path of an installed Python, also of one that pyenv has but does not show; None if there is none."""
    found = uv("python", "find", "--no-project", "--no-python-downloads", version)
    if not found.returncode:
        return found.stdout.strip()
    pyenv = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv"))
    return next((str(path) for path in sorted(pyenv.glob(f"versions/{version}.*/bin/python3"))), None)


def requirements_of_client() -> list[str]:
    """Return what pyproject.toml requires for the client, without the packages of the server."""
    found = [one for one in PROJECT["dependencies"] if re.split(r"\W", one.replace("-", "_"))[0] in PACKAGES_OF_CLIENT]
    assert len(found) == len(PACKAGES_OF_CLIENT)
    return found


def requirements_of_extras() -> list[str]:
    """Return what the extras of pyproject.toml require."""
    return [one for extra in PROJECT["optional-dependencies"].values() for one in extra]


@pytest.fixture
def environment(standin: StandIn, tmp_path: Path) -> dict[str, str]:
    """Return an environment that names the stand-in."""
    return os.environ | {
        "SMSEVENTS_API_KEY": "sms_key",
        "SMSEVENTS_URL": standin.url,
        "HOME": str(tmp_path),
    }


@pytest.fixture
def lines(standin: StandIn) -> list[bytes]:
    """Return the lines of the account that the stand-in has."""
    some = some_lines(300, now_ms() - HOUR_MS)
    standin.answers(Account(lines=some, options={"gzip": True}))
    return sorted(some)


def run(python: str, *words: str, environment: dict[str, str]) -> subprocess.CompletedProcess[bytes]:
    """Run the client or a command on the desk."""
    done = subprocess.run(
        [python, str(DESK), *words],
        env=environment,
        capture_output=True,
        timeout=240,
        check=False,
        stdin=subprocess.DEVNULL,
    )
    assert done.returncode != NOT_HIDDEN, done.stderr
    return done


def rows_of(query: str, file: Path | None = None) -> list[tuple[object, ...]]:
    """Run a query in DuckDB, on a file of its own if one is given."""
    with duckdb.connect(str(file) if file else ":memory:") as connection:
        return connection.execute(query).fetchall()


everywhere = pytest.mark.parametrize(
    "python",
    [
        pytest.param(None, marks=pytest.mark.slow, id="this Python"),
        *(pytest.param(one, marks=pytest.mark.campaign, id=one) for one in VERSIONS),
    ],
    indirect=True,
)


@everywhere
def test_the_client_exports(python: str, environment: dict[str, str], lines: list[bytes]) -> None:
    """`Client` and `AsyncClient` export all lines, also where isal is not installed."""
    for hidden in ("", "isal"):
        done = run(python, "export", str(TRACKPOINT), environment=environment | {"DESK_HIDDEN": hidden})

        assert done.returncode == 0, done.stderr
        assert set(done.stdout.splitlines()) == set(lines)


@everywhere
def test_pull(python: str, environment: dict[str, str], lines: list[bytes], tmp_path: Path) -> None:
    """`pull` writes all events in each format, with isal and without, and a second pull changes no file."""
    for hidden in ("", "isal"):
        for format_ in ("jsonl", "csv", "parquet"):
            folder = tmp_path / f"{format_}{hidden}"
            words = ("smsevents", "pull", str(TRACKPOINT), str(folder), "--format", format_)
            for _ in range(2):
                done = run(python, *words, environment=environment | {"DESK_HIDDEN": hidden})
                assert done.returncode == 0, done.stderr
            reader = {"jsonl": "read_json", "csv": "read_csv", "parquet": "read_parquet"}[format_]
            [(count,)] = rows_of(f"SELECT count(*) FROM {reader}('{folder}/20*')")  # noqa: S608 -- our own path
            assert count == len(lines)


@everywhere
def test_sync(python: str, environment: dict[str, str], lines: list[bytes], tmp_path: Path) -> None:
    """`sync` loads all events into DuckDB once, and its lock leaves no file."""
    (tmp_path / "home").mkdir()
    file = tmp_path / "warehouse.duckdb"
    words = ("smsevents", "sync", str(TRACKPOINT), "--destination", f"duckdb:///{file}")
    for _ in range(2):
        done = run(python, *words, environment=environment | {"HOME": str(tmp_path / "home")})
        assert done.returncode == 0, done.stderr

    assert rows_of("SELECT count(*) FROM sms.sms_events", file) == [(len(lines),)]
    assert not list((tmp_path / "home").rglob("*.lock"))


@everywhere
def test_help(python: str, environment: dict[str, str]) -> None:
    """The list of commands, and the help of `pull` and `sync`, need nothing of the server."""
    for words in (["--help"], ["pull", "--help"], ["sync", "--help"], ["--version"]):
        done = run(python, "smsevents", *words, environment=environment)
        assert (done.returncode, done.stderr) == (0, b"")


@pytest.mark.slow
def test_a_truncated_stream_without_isal(environment: dict[str, str], standin: StandIn) -> None:
    """A gzip stream that is truncated or damaged is an error without isal too."""
    good = Answer(lines=some_lines(300), gzip=True, framing="length")
    for answer in (Answer(lines=good.lines, gzip=True, cut_at=-20), Answer(tail=b"no event")):
        standin.answers(answer)
        done = run(sys.executable, "export", str(TRACKPOINT), environment=environment | {"DESK_HIDDEN": "isal"})
        assert done.returncode == 1
        assert b"smsevents.client.errors." in done.stderr


@pytest.mark.slow
def test_only_one_pull_runs(environment: dict[str, str], standin: StandIn, tmp_path: Path) -> None:
    """A second pull into the same directory is refused and names the first, which continues."""
    standin.answers(Answer(silent_at=0))
    words = [sys.executable, str(DESK), "smsevents", "pull", str(TRACKPOINT), str(tmp_path / "events")]
    with subprocess.Popen(words, env=environment, stderr=subprocess.PIPE, stdin=subprocess.DEVNULL) as first:
        try:
            assert eventually(lambda: bool(standin.requests))
            second = run(sys.executable, *words[2:], environment=environment)
            assert first.poll() is None
        finally:
            first.kill()

    assert second.returncode == 1
    assert f"(process {first.pid})".encode() in second.stderr


def test_commands_of_the_server_say_what_is_missing(environment: dict[str, str]) -> None:
    """A command of the server, run where its packages are missing, says so on one line."""
    done = run_unchecked("serve", environment=environment)

    assert done.returncode in {1, NOT_HIDDEN}  # its package was begun to be imported, which the desk reports
    assert b"`smsevents serve` needs the Python module sqlalchemy" in done.stderr
    assert b"Traceback" not in done.stderr


def run_unchecked(*words: str, environment: dict[str, str]) -> subprocess.CompletedProcess[bytes]:
    """Run a command that may import modules of the server."""
    return subprocess.run(
        [sys.executable, str(DESK), "smsevents", *words],
        env=environment,
        capture_output=True,
        timeout=60,
        check=False,
        stdin=subprocess.DEVNULL,
    )


@pytest.mark.slow
@pytest.mark.parametrize("version", [pytest.param(VERSIONS[0], marks=pytest.mark.campaign), *VERSIONS[1:]])
@pytest.mark.parametrize("platform", [*PLATFORMS[:2], pytest.param(PLATFORMS[2], marks=pytest.mark.campaign)])
def test_every_package_has_a_wheel(platform: str, version: str) -> None:
    """All packages that `pip install '.[parquet,sync]'` needs have wheels for the platform."""
    options = ["--only-binary", ":all:", "--python-platform", platform, "--python-version", version, "--quiet"]
    extras = ["--extra", "parquet", "--extra", "sync"]

    done = uv("pip", "compile", *options, *extras, str(ROOT / "pyproject.toml"))

    assert done.returncode == 0, done.stderr
    found = {row.partition("==")[0] for row in done.stdout.splitlines() if re.match(r"[a-z]", row)}
    assert found >= PACKAGES_OF_CLIENT | {"pyarrow", "dlt", "duckdb"}
    assert ("uvloop" in found) == ("windows" not in platform)


@pytest.mark.slow
@pytest.mark.parametrize("version", [pytest.param(VERSIONS[0], marks=pytest.mark.campaign), *VERSIONS[1:]])
def test_windows_on_arm_does_without_isal(version: str, tmp_path: Path) -> None:
    """On Windows on ARM, for which isal has no wheel, the client's packages have wheels without it."""
    file = tmp_path / "requirements.in"
    file.write_text("\n".join(requirements_of_client()))
    options = ["--only-binary", ":all:", "--python-platform", "aarch64-pc-windows-msvc", "--python-version", version]

    done = uv("pip", "compile", *options, "--quiet", str(file))

    assert done.returncode == 0, done.stderr
    found = {row.partition("==")[0] for row in done.stdout.splitlines()}
    assert found >= PACKAGES_OF_CLIENT - {"isal"}
    assert "isal" not in found
