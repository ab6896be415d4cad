"""A process that ends when its parent ends, however the parent ended."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
import time
from multiprocessing.connection import wait

import structlog

logger = structlog.get_logger()


def end_with_parent(patience_seconds: float) -> None:
    """Send this process SIGTERM when its parent is gone, even after `kill -9`.

    If the process has not ended after `patience_seconds`, it is ended at once. The end of an inherited pipe shows that
    the parent is gone, so it does not matter how early that happens. Only processes that `multiprocessing` started
    have such a pipe; for any other process this does nothing.
    """
    parent = multiprocessing.parent_process()
    if parent is not None:
        arguments = (parent.sentinel, patience_seconds)
        threading.Thread(target=_end_after, args=arguments, name="smsevents-lifeline", daemon=True).start()


def _end_after(sentinel: int, patience_seconds: float) -> None:
    wait([sentinel])
    logger.warning("the process that started this one is gone", pid=os.getpid())
    # to the main thread: it is the one that must wake up, whatever it waits for
    signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGTERM)
    time.sleep(patience_seconds)
    os._exit(1)
