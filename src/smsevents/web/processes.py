"""Several workers on the same sockets.

uvicorn starts and stops them. It also asks each every half second whether it lives, and kills one that does not
reply within five: a worker that is busy in one long call would be lost, with all exports that it serves. Here a worker
is replaced when its process has ended, and not before.
"""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING

import structlog
from uvicorn.config import STARTUP_FAILURE
from uvicorn.supervisors import Multiprocess
from uvicorn.supervisors.multiprocess import Process

if TYPE_CHECKING:
    from socket import socket

    from uvicorn.config import Config

logger = structlog.get_logger()


class ServerProcess(Process):
    """A worker. It leaves SIGHUP, which a terminal sends to all of its processes, to the one that supervises."""

    def target(self, sockets: list[socket] | None = None) -> None:
        """Serve; uvicorn calls it in the new process."""
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
        super().target(sockets)


class ServerProcesses(Multiprocess):
    """Keeps as many workers running as the configuration says, until the process is told to stop."""

    failed = False  # whether they stopped because one could not start

    def __init__(self, config: Config, sockets: list[socket]) -> None:
        """Serve on sockets that listen."""
        hangup = signal.getsignal(signal.SIGHUP)
        super().__init__(config, sockets)
        if hangup is signal.SIG_IGN:  # by `nohup`
            signal.signal(signal.SIGHUP, hangup)

    def init_processes(self) -> None:
        """Start the workers, unless a stop is asked for meanwhile; uvicorn calls it."""
        while len(self.processes) < self.processes_num and not self.should_exit.is_set():
            self.processes.append(self._started())
            self.handle_signals()

    def _started(self) -> ServerProcess:
        worker = ServerProcess(self.config, self.sockets)
        worker.start()
        return worker

    def keep_subprocess_alive(self) -> None:
        """Replace workers that have ended; uvicorn calls it twice a second."""
        for number, worker in enumerate(self.processes):
            if self.should_exit.is_set() or worker.process.is_alive():
                continue
            worker.join()
            if worker.exitcode == STARTUP_FAILURE:
                logger.error("worker could not start", pid=worker.pid)
                self.failed = True
                self.should_exit.set()
                return
            logger.error("worker ended", pid=worker.pid, exit_code=worker.exitcode)
            self.processes[number] = self._started()

    def terminate_all(self) -> None:
        """Stop the workers; who connects from now on is refused at once, as with one worker."""
        for one in self.sockets:
            one.close()  # a worker closes its own when it is told to stop
        super().terminate_all()

    def handle_hup(self) -> None:
        """Stop, as for SIGTERM: settings are read at the start alone, so there is nothing to be read again."""
        logger.info("stopped by SIGHUP")
        self.should_exit.set()
