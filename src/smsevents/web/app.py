"""The HTTP application: its routes, its error handlers, and the resources that it opens and closes."""

from __future__ import annotations

import os
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from litestar import Litestar

from smsevents.logging_config import configure_logging
from smsevents.networks import parse_networks
from smsevents.settings import Settings, variable_of
from smsevents.web import problems
from smsevents.web.docs import docs_routes
from smsevents.web.downloads import download_sms_events
from smsevents.web.exports import export_sms_events
from smsevents.web.gathering import ADDRESS_VARIABLE, reported
from smsevents.web.health import live, ready
from smsevents.web.imports import import_sms_events
from smsevents.web.memory import forget_the_start, keep_freed_memory
from smsevents.web.metrics import show_metrics
from smsevents.web.page import page_routes
from smsevents.web.receipts import take_receipts
from smsevents.web.request_log import RequestLog
from smsevents.web.sent_sms import register_sent_sms
from smsevents.web.session import show_session, sign_in, sign_out
from smsevents.web.state import AppState
from smsevents.web.statistics import delivery_time, messages, sms_stats
from smsevents.web.users import forget_user
from smsevents.worker.attendance import attended
from smsevents.worker.lifeline import end_with_parent

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

WORKER_END_SECONDS = 5  # in addition to SMSEVENTS_SHUTDOWN_MAX_SECONDS: for closing what a worker has open


def create_app(settings: Settings | None = None) -> RequestLog:
    """Build the application. Settings come from the environment unless given.

    A worker process of `serve` calls this without arguments.
    """
    settings = settings or Settings.from_environment()
    configure_logging(settings.log_format, settings.log_level)
    end_with_parent(settings.shutdown_max_seconds + WORKER_END_SECONDS)

    @asynccontextmanager
    async def lifespan(app: Litestar) -> AsyncIterator[None]:
        """Open the state that requests share, and close it when the process ends."""
        keep_freed_memory()
        app.state.app = AppState.open(settings)
        forget_the_start()
        try:
            with (
                attended(
                    app.state.app.timekeeper,
                    upkeep=settings.upkeep != "off",
                    concerns=app.state.app.database.concerns,
                    forget=app.state.app.forget_events,
                ),
                reported(os.environ.get(ADDRESS_VARIABLE)),
            ):
                yield
        finally:
            app.state.app.close()

    return RequestLog(
        Litestar(
            route_handlers=[
                export_sms_events,
                download_sms_events,
                import_sms_events,
                take_receipts,
                register_sent_sms,
                forget_user,
                sms_stats,
                delivery_time,
                messages,
                sign_in,
                show_session,
                sign_out,
                live,
                ready,
                show_metrics,
                *page_routes,
                *docs_routes,
            ],
            exception_handlers=problems.HANDLERS,
            openapi_config=None,
            lifespan=[lifespan],
            request_max_body_size=None,  # `body.stream` enforces the limits, each with its own name
            logging_config=None,
        ),
        parse_networks(variable_of("trusted_proxies"), settings.trusted_proxies),
    )
