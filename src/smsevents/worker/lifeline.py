"""A process that ends with the one that started it, however that one ended."""

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
    """Have this process told to stop (SIGTERM) when the one that started it is gone, also by `kill -9`.

    If it has not ended `patience_seconds` later, it is ended at once. The system tells by the end of a pipe that was
    inherited at the start, so it does not matter how early the other one goes. Only processes that `multiprocessing`
    started have one; for any other this does nothing.
    """
    parent = multiprocessing.parent_process()
    if parent is not None:
        arguments = (parent.sentinel, patience_seconds)
        threading.Thread(target=_end_after, args=arguments, name="smsevents-lifeline", daemon=True).start()


def _end_after(sentinel: int, patience_seconds: float) -> None:
    wait([sentinel])
    logger.warning("the process that started this one is gone", pid=os.getpid())
    # to the main thread, as it is the one that has to wake up from whatever it waits for
    signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGTERM)
    time.sleep(patience_seconds)
    os._exit(1)
