"""Every setting, limit and timeout. The unit is part of each name.

`Settings` holds what an operator may change with an environment variable `SMSEVENTS_<NAME>`. The constants
below it are part of the contract or of the stored format and are the same everywhere. `docs/operating.md`
shows the table of settings; a test compares the two.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING, Any

from smsevents.errors import SettingError
from smsevents.networks import parse_networks

if TYPE_CHECKING:
    from collections.abc import Mapping

ENVIRONMENT_PREFIX = "SMSEVENTS_"
PORT_MAX = 65535
CHOICES = {
    "log_format": ("auto", "console", "json"),
    "log_level": ("info", "debug", "warning", "error"),
    "upkeep": ("on", "off"),
}


def _setting(default: object, help_: str) -> Any:  # noqa: ANN401 -- dataclasses.field has the same type
    return field(default=default, metadata={"help": help_})


@dataclass(frozen=True, kw_only=True)
class Settings:
    """The settings that an operator may change. Create them with `Settings.from_environment`."""

    database: str = _setting(
        "sqlite:///smsevents.db",
        "where the log is kept: `sqlite:///` and a path, from the working directory, or `postgresql://` and a database",
    )
    segments: str = _setting(
        "",
        "where settled events are kept: `file://` and the absolute path of a folder, or `s3://bucket/prefix`;"
        " empty keeps all in the database",
    )
    host: str = _setting("127.0.0.1", "the address that `serve` listens on; `0.0.0.0` for every network")
    port: int = _setting(8080, "the TCP port that `serve` listens on")
    import_body_max_mib: int = _setting(256, "largest body of an import as sent, MiB")
    import_lines_max_mib: int = _setting(1024, "largest body of an import after decompression, MiB")
    export_body_max_kib: int = _setting(16, "largest body of an export request, KiB")
    imports_at_once_max: int = _setting(64, "concurrent imports per process; more get 429")
    exports_at_once_max: int = _setting(256, "concurrent exports per process; more get 429")
    body_idle_max_seconds: int = _setting(60, "how long a client may pause within a body, seconds")
    body_rate_min_bytes_per_second: int = _setting(256, "how fast a body must arrive on average, bytes per second")
    stall_max_seconds: int = _setting(300, "how long a client may stop reading an export, seconds")
    shutdown_max_seconds: int = _setting(30, "how long a stop waits for running requests, seconds")
    upkeep: str = _setting("on", "`off` keeps `serve` from compacting and expiring: then do it by hand or from cron")
    sent_sms_kept_days: int = _setting(7, "how long registered messages are kept for delivery receipts, days")
    erasures_kept_days: int = _setting(
        35, "how long erasures are recorded for a restore, days: longer than backups are kept"
    )
    log_level: str = _setting(
        "info", "`debug`, `info`, `warning` or `error`: the lowest level logged; debug adds health and metrics requests"
    )
    public_url: str = _setting(
        "",
        "the address at which people and gateways reach the server, like `https://sms.example.com`: with https,"
        " browsers send the cookie of a session only over https; `receiver create` prints it, and signatures are"
        " checked with it",
    )
    trusted_proxies: str = _setting(
        "",
        "proxies whose X-Forwarded-For, X-Forwarded-Proto and X-Request-Id are trusted: addresses or networks,"
        " separated by commas",
    )
    log_format: str = _setting("auto", "`console`, `json`, or `auto`: console on a terminal, json elsewhere")

    @classmethod
    def from_environment(
        cls, environment: Mapping[str, str] = os.environ, given: Mapping[str, str | int | None] | None = None
    ) -> Settings:
        """Read each setting from its variable. An empty variable counts as unset.

        A value in `given` that is not None takes precedence, and the variable is not read at all. Raises
        `SettingError` for a value that cannot be used.
        """
        values: dict[str, Any] = {name: value for name, value in (given or {}).items() if value is not None}
        for setting in fields(cls):
            variable = variable_of(setting.name)
            text = environment.get(variable, "").strip()
            if not text or setting.name in values or is_injected(variable, text):
                continue
            values[setting.name] = _positive(variable, text) if setting.type == "int" else text
        if values.get("port", 0) > PORT_MAX:
            raise SettingError(f"{variable_of('port')} is {values['port']}; give a port from 1 to {PORT_MAX}.")
        for name, choices in CHOICES.items():
            if values.get(name, choices[0]) not in choices:
                raise SettingError(f"{variable_of(name)} is {values[name]!r}; give one of {', '.join(choices)}.")
        if re.search(r"[/\s]", values.get("host", "")):
            where = variable_of("host") if (given or {}).get("host") is None else "--host"
            raise SettingError(f"{where} is {values['host']!r}; give an address alone, without `http://` and path.")
        _check_public_url(values.get("public_url", ""))
        parse_networks(variable_of("trusted_proxies"), values.get("trusted_proxies", ""))
        return cls(**values)


# Kubernetes sets such variables in each pod for each Service of the namespace, and Docker for each link. With a Service
# named `smsevents`, `SMSEVENTS_PORT` is `tcp://10.96.0.12:8080`.
_injected = re.compile(r".*_SERVICE_HOST|.*_SERVICE_PORT(_.*)?|.*_PORT_[0-9]+_(TCP|UDP|SCTP)(_(PROTO|PORT|ADDR))?")


def is_injected(variable: str, text: str) -> bool:
    """Return whether a container platform set a variable to this value, for a service of the same name."""
    return _injected.fullmatch(variable) is not None or (variable.endswith("_PORT") and "://" in text)


def variable_of(name: str) -> str:
    """Return the environment variable of a setting: `import_body_max_mib` → `SMSEVENTS_IMPORT_BODY_MAX_MIB`."""
    return ENVIRONMENT_PREFIX + name.upper()


# A scheme, a host, perhaps a port and a path; without a user, a query and a fragment.
_address = re.compile(r"https?://[^\s/?#@]+(/[^\s?#]*)?", re.IGNORECASE)


def _check_public_url(text: str) -> None:
    if text and not _address.fullmatch(text):
        raise SettingError(
            f"{variable_of('public_url')} is {text!r}; give the address that people open, like"
            " https://sms.example.com, with a path if a proxy adds one."
        )


def _positive(variable: str, text: str) -> int:
    if not re.fullmatch("0*[1-9][0-9]{0,8}", text):
        raise SettingError(f"{variable} is {text!r}; give a whole number above zero, of at most 9 digits.")
    return int(text)
