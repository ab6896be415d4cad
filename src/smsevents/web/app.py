"""The HTTP application: its routes, its errors, and what it opens and closes."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from litestar import Litestar

from smsevents.logs import configure_logs
from smsevents.networks import parse_networks
from smsevents.settings import Settings, variable_of
from smsevents.web import problems
from smsevents.web.docs import docs_routes
from smsevents.web.exports import export_sms_events
from smsevents.web.health import live, ready
from smsevents.web.imports import import_sms_events
from smsevents.web.memory import keep_freed_memory
from smsevents.web.metrics import forget_process, show_metrics
from smsevents.web.requests import Requests
from smsevents.web.state import Shared
from smsevents.web.users import forget_user

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


def create_app(settings: Settings | None = None) -> Requests:
    """Build the application; the settings are the environment's unless given.

    A worker process of `serve` calls this without arguments.
    """
    settings = settings or Settings.from_environment()
    configure_logs(settings.log_format, settings.log_level)

    @asynccontextmanager
    async def lifespan(app: Litestar) -> AsyncIterator[None]:
        """Open what requests share, and close it when the process ends."""
        keep_freed_memory()
        app.state.shared = Shared.open(settings)
        try:
            yield
        finally:
            app.state.shared.close()
            forget_process()

    return Requests(
        Litestar(
            route_handlers=[export_sms_events, import_sms_events, forget_user, live, ready, show_metrics, *docs_routes],
            exception_handlers=problems.HANDLERS,
            openapi_config=None,
            lifespan=[lifespan],
            request_max_body_size=None,  # `body.stream` holds the limits, each with its own name
            logging_config=None,
        ),
        parse_networks(variable_of("trusted_proxies"), settings.trusted_proxies),
    )
