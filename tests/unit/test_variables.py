"""Variables: what is given goes first, what platforms inject is ignored, and what is misspelt is named."""

from __future__ import annotations

from dataclasses import fields

import pytest
from hypothesis import given
from hypothesis import strategies as st

from smsevents.cli.misspelt import known_variables, warnings
from smsevents.errors import SettingError
from smsevents.settings import Settings, is_injected, variable_of

INJECTED = {
    "SMSEVENTS_SERVICE_HOST": "10.96.0.12",
    "SMSEVENTS_SERVICE_PORT": "8080",
    "SMSEVENTS_SERVICE_PORT_HTTP": "8080",
    "SMSEVENTS_PORT": "tcp://10.96.0.12:8080",
    "SMSEVENTS_PORT_8080_TCP": "tcp://10.96.0.12:8080",
    "SMSEVENTS_PORT_8080_TCP_PROTO": "tcp",
    "SMSEVENTS_PORT_8080_TCP_PORT": "8080",
    "SMSEVENTS_PORT_8080_TCP_ADDR": "10.96.0.12",
    "SMSEVENTS_PORT_53_UDP_ADDR": "10.96.0.12",
    "SMSEVENTS_WEB_SERVICE_HOST": "10.96.0.13",
    "SMSEVENTS_WEB_PORT": "tcp://10.96.0.13:80",
    "SMSEVENTS_DATABASE_SERVICE_PORT_SQL": "5432",
}


def test_what_kubernetes_injects_changes_nothing() -> None:
    """The variables that a Service of our name brings into a pod leave all defaults, and nothing is said of them."""
    assert Settings.from_environment(INJECTED) == Settings()
    assert list(warnings(INJECTED)) == []


def test_a_port_of_our_own_is_no_injected_one() -> None:
    """A port that is a number is read as ever, beside all that Kubernetes injects."""
    assert Settings.from_environment({**INJECTED, "SMSEVENTS_PORT": "9000"}).port == 9000
    assert not is_injected("SMSEVENTS_PORT", "9000")


@pytest.mark.parametrize(
    ("name", "broken", "given_value"), [("port", "70000", 8081), ("port", "http", 8081), ("host", "http://x/", "::1")]
)
def test_what_is_given_wins_over_a_broken_variable(name: str, broken: str, given_value: str | int) -> None:
    """An option replaces its variable without a look at its value; without the option the variable is refused."""
    environment = {variable_of(name): broken}
    assert getattr(Settings.from_environment(environment, {name: given_value}), name) == given_value
    with pytest.raises(SettingError, match=variable_of(name)):
        Settings.from_environment(environment)
    with pytest.raises(SettingError, match=variable_of(name)):
        Settings.from_environment(environment, {name: None})


@pytest.mark.parametrize("host", ["http://0.0.0.0", "0.0.0.0/", "127.0.0.1 8080"])
def test_a_host_is_an_address_alone(host: str) -> None:
    """A URL, a path or a port with the address is refused with the variable's name."""
    with pytest.raises(SettingError, match=r"SMSEVENTS_HOST is .*; give an address alone"):
        Settings.from_environment({"SMSEVENTS_HOST": host})


@pytest.mark.parametrize("name", ["upkeep", "log_format"])
def test_a_choice_is_refused_with_what_was_given(name: str) -> None:
    """A value that is none of the choices is refused with itself and the choices."""
    with pytest.raises(SettingError, match=f"{variable_of(name)} is 'maybe'; give one of"):
        Settings.from_environment({variable_of(name): "maybe"})


@pytest.mark.parametrize(
    ("variable", "meant"),
    [
        ("SMSEVENTS_DATABSE", "SMSEVENTS_DATABASE"),
        ("SMSEVENTS_DATABASE_URL", "SMSEVENTS_DATABASE"),
        ("SMSEVENTS_DB", None),
        ("SMSEVENTS_LOGFORMAT", "SMSEVENTS_LOG_FORMAT"),
        ("SMSEVENTS_APIKEY", "SMSEVENTS_API_KEY"),
        ("SMSEVENTS_EXPORT_AT_ONCE_MAX", "SMSEVENTS_EXPORTS_AT_ONCE_MAX"),
        ("smsevents_database", "SMSEVENTS_DATABASE"),
        ("SMSEVENT_DATABASE", "SMSEVENTS_DATABASE"),
        ("SMS_EVENTS_DATABASE", "SMSEVENTS_DATABASE"),
    ],
)
def test_a_misspelt_variable_is_named_with_the_nearest(variable: str, meant: str | None) -> None:
    """An unknown variable that resembles ours is named once, with the one that was probably meant."""
    [warning] = warnings({variable: "x", "PATH": "/bin", "HOME": "/"})
    assert warning.startswith(f"{variable} is not a setting")
    if meant is not None:
        assert f"Did you mean {meant}?" in warning


@pytest.mark.parametrize("variable", ["PATH", "SMSC_HOST", "SMS_GATEWAY_URL", "DATABASE_URL", "MY_SMSEVENTS_DATABASE"])
def test_other_programs_may_have_variables(variable: str) -> None:
    """A variable that does not resemble ours is ignored."""
    assert list(warnings({variable: "x"})) == []


def test_no_known_variable_is_warned_of() -> None:
    """Each setting, and what the client reads, is known."""
    known = [*(variable_of(setting.name) for setting in fields(Settings)), "SMSEVENTS_URL", "SMSEVENTS_API_KEY"]
    assert set(known) <= set(known_variables())
    assert list(warnings(dict.fromkeys(known, "1"))) == []


@given(environment=st.dictionaries(st.text(min_size=1), st.text()))
def test_any_environment_can_be_looked_at(environment: dict[str, str]) -> None:
    """Whatever the environment holds, each variable is named at most once and without an error."""
    found = list(warnings(environment))
    assert len(found) <= len(environment)
