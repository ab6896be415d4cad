"""The settings: defaults, the variables that change them, and what is refused."""

from __future__ import annotations

import importlib
import re
from dataclasses import FrozenInstanceError, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import smsevents
from smsevents.errors import SettingError
from smsevents.settings import ENVIRONMENT_PREFIX, Settings, variable_of
from smsevents.wire.limits import FUTURE_MAX_MS, HISTORY_MS, TEXT_MAX_CHARACTERS

if TYPE_CHECKING:
    from collections.abc import Iterator

SOURCE = Path(smsevents.__file__).parent
SOURCES = [path for path in SOURCE.rglob("*.py") if "migrations" not in path.parts and path.name != "__main__.py"]

DEFAULTS: dict[str, Any] = {
    "database": "sqlite:///smsevents.db",
    "segments": "",
    "host": "127.0.0.1",
    "port": 8080,
    "public_url": "",
    "import_body_max_mib": 256,
    "import_lines_max_mib": 1024,
    "export_body_max_kib": 16,
    "imports_at_once_max": 64,
    "exports_at_once_max": 256,
    "body_idle_max_seconds": 60,
    "body_rate_min_bytes_per_second": 256,
    "stall_max_seconds": 300,
    "shutdown_max_seconds": 30,
    "upkeep": "on",
    "sent_sms_kept_days": 7,
    "erasures_kept_days": 35,
    "log_level": "info",
    "trusted_proxies": "",
    "log_format": "auto",
}
NUMBERS = [name for name, default in DEFAULTS.items() if isinstance(default, int)]
TEXTS = [name for name in DEFAULTS if name not in NUMBERS]
OTHER_TEXTS = {
    "database": "sqlite:///other.db",
    "segments": "file:///srv/packs",
    "host": "0.0.0.0",  # noqa: S104 -- not bound
    "upkeep": "off",
    "log_format": "json",
    "log_level": "debug",
    "public_url": "https://sms.example.com/x",
    "trusted_proxies": "127.0.0.1,10.0.0.0/8",
}

# A number is in one of these units, or counts one of these things.
UNITS = r"_(bytes_per_second|bytes_per_minute|ms|seconds|bytes|kib|mib|characters|level|ratio|niceness|tries)$"
COUNTED = (
    r"(^|_)(lines|segments|rows|days|tries|fields|receivers|buckets|cells|events|groups|needles|outlines|statistics|generations|messages|periods|receipts|shares|jobs|imports"
    r"|exports|erasures|packs|parts|objects|passes|rounds|runs|readers|mergers|workers|writes"
    r"|connections|keys|names|results|sessions|hours|quarters|intervals|minutes?|shops|sources|headers|digits|files|entries|seconds|bytes_per_minute)(_|$)"
)
# Codes, modes, names, factors: what is not measured or counted.
NOT_QUANTITIES = {
    *(
        "EXAMPLE_TRACKPOINT",
        "READER",
        "TALLY_VERSION",
        "MESSAGE_DAY_VERSION",
        "SUM_VERSION",
        "SUM_START",
        "EXIT_FAILED",
        "EXIT_CANNOT_LISTEN",
        "EXIT_BROKEN_PIPE",
        "EXIT_INTERRUPTED",
        "FILES_MODE",
        "FOLDERS_MODE",
        "HTTP_OK",
        "PRIVATE_MODE",
        "OTHERS",
    ),
    *("GZIP_WBITS", "INT64_MAX", "KIB", "MIB", "NEW", "RAW_DEFLATE", "TRACKPOINT", "VERSION"),
}


def test_defaults() -> None:
    """Without variables, every setting has the default that operators rely on."""
    settings = Settings.from_environment({})
    assert {field.name: getattr(settings, field.name) for field in fields(settings)} == DEFAULTS
    assert settings == Settings()


@pytest.mark.parametrize("name", DEFAULTS)
def test_each_variable_sets_its_setting_alone(name: str) -> None:
    """Each setting is read from `SMSEVENTS_<NAME>`, and no other is changed by it."""
    value = OTHER_TEXTS[name] if name in TEXTS else DEFAULTS[name] + 1
    settings = Settings.from_environment({f"SMSEVENTS_{name.upper()}": str(value), "PATH": "/bin", name: "1"})
    assert {field.name: getattr(settings, field.name) for field in fields(settings)} == {**DEFAULTS, name: value}


def test_the_environment_of_the_process_is_read_by_default(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without an argument the variables are those of the process."""
    monkeypatch.setenv("SMSEVENTS_PORT", "9999")
    assert Settings.from_environment().port == 9999


@pytest.mark.parametrize("name", DEFAULTS)
@pytest.mark.parametrize("nothing", ["", " ", "\t\n"])
def test_an_empty_variable_is_the_same_as_none(name: str, nothing: str) -> None:
    """A variable that is set to nothing, as compose files do, leaves the default."""
    assert Settings.from_environment({variable_of(name): nothing}) == Settings()


@pytest.mark.parametrize("name", DEFAULTS)
def test_white_space_around_a_value_is_no_part_of_it(name: str) -> None:
    """A line end that a file left after a value does not change it."""
    assert Settings.from_environment({variable_of(name): f" {DEFAULTS[name]}\n"}) == Settings()


@pytest.mark.parametrize("name", NUMBERS)
@pytest.mark.parametrize(
    "bad", ["0", "-1", "+1", "1.5", "1e3", "0x10", "ten", "1 000", "1_000", "\u0661", "\u00b2", "000", "9" * 5000]
)
def test_a_bad_number_is_refused_with_its_variable(name: str, bad: str) -> None:
    """Anything but a positive integer is refused, and the text names the variable and the valid values."""
    with pytest.raises(SettingError, match=f"{variable_of(name)} is .*; give a whole number above zero"):
        Settings.from_environment({variable_of(name): bad})


@pytest.mark.parametrize("bad", ["localhost", "10.0.0.1/8", "10.0.0.0/33", "127.0.0.1;10.0.0.1", "*", "300.1.1.1"])
def test_proxies_that_are_not_addresses_are_refused(bad: str) -> None:
    """Proxies to trust are addresses and networks; anything else is refused, with the variable and an example."""
    with pytest.raises(SettingError, match=r"SMSEVENTS_TRUSTED_PROXIES cannot be read: .*10\.0\.0\.0/8"):
        Settings.from_environment({"SMSEVENTS_TRUSTED_PROXIES": f"127.0.0.1, {bad}"})


@given(text=st.text())
def test_any_text_is_a_number_or_refused(text: str) -> None:
    """Whatever a variable holds, it is a number of 1 to 9 digits above zero, empty, or refused."""
    given = text.strip()
    if given == "" or re.fullmatch(r"0*[1-9][0-9]{0,8}", given):
        expected = int(given) if given else DEFAULTS["import_body_max_mib"]
        settings = Settings.from_environment({variable_of("import_body_max_mib"): text})
        assert settings.import_body_max_mib == expected
    else:
        with pytest.raises(SettingError):
            Settings.from_environment({variable_of("import_body_max_mib"): text})


def test_the_prefix_is_that_of_the_product() -> None:
    """A setting's variable is its name in capitals after the product's name."""
    assert ENVIRONMENT_PREFIX == "SMSEVENTS_"
    assert variable_of("import_body_max_mib") == "SMSEVENTS_IMPORT_BODY_MAX_MIB"


def test_settings_do_not_change() -> None:
    """Settings are read once and stay as they are."""
    settings = Settings()
    with pytest.raises(FrozenInstanceError):
        setattr(settings, "port", 1)  # noqa: B010 -- an assignment would be refused by mypy before it runs
    assert settings.port == 8080


def test_every_setting_says_what_it_is() -> None:
    """Each setting has a help text, and that of a number in a unit tells the unit."""
    words = {"_seconds": "seconds", "_mib": "MiB", "_kib": "KiB"}
    for field in fields(Settings):
        help_text = field.metadata["help"]
        assert help_text
        for suffix, word in words.items():
            assert not field.name.endswith(suffix) or word in help_text


def test_every_number_carries_its_unit() -> None:
    """The name of each number, set or constant, ends in its unit or says what it counts; a port is a port."""
    constants = [name for path in SOURCES for name in _numbers_in(path)]
    assert {"HISTORY_MS", "SEGMENT_LINES_BYTES", "WRITES_IN_GROUP_MAX"} <= set(constants)
    for name in [*NUMBERS, *constants]:
        assert name.lower().startswith("port") or re.search(UNITS, name.lower()) or re.search(COUNTED, name.lower()), (
            name
        )


def _numbers_in(path: Path) -> Iterator[str]:
    """Find the public constants of a module whose values are whole numbers, also where they are calculated."""
    names = re.findall(r"^([A-Z][A-Z0-9_]*) = ", path.read_text(encoding="utf-8"), flags=re.MULTILINE)
    module = importlib.import_module(".".join(path.relative_to(SOURCE.parent).with_suffix("").parts)) if names else None
    return (name for name in names if type(getattr(module, name)) is int and name not in NOT_QUANTITIES)


def test_limits_are_those_of_the_contract() -> None:
    """The numbers that clients can see are those that the contract states."""
    assert HISTORY_MS == 90 * 24 * 60 * 60 * 1000
    assert FUTURE_MAX_MS == 24 * 60 * 60 * 1000
    assert TEXT_MAX_CHARACTERS == 1024
