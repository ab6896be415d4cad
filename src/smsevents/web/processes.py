"""Several workers on the same sockets.

uvicorn starts and stops them. By default it also pings each of them every half second, and kills one that does not
reply within five seconds. A worker that is busy in one long call would be lost, with all exports that it serves. Here
a worker is only replaced once its process has ended.
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
    """A worker. It ignores SIGHUP, which a terminal sends to all of its processes; the supervisor handles it."""

    def target(self, sockets: list[socket] | None = None) -> None:
        """Serve. uvicorn calls this in the new process."""
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
        super().target(sockets)


class ServerProcesses(Multiprocess):
    """Keeps the configured number of workers running until the process is told to stop."""

    failed = False  # whether the workers stopped because one could not start

    def __init__(self, config: Config, sockets: list[socket]) -> None:
        """Serve on sockets that already listen."""
        hangup = signal.getsignal(signal.SIGHUP)
        super().__init__(config, sockets)
        if hangup is signal.SIG_IGN:  # as set by `nohup`
            signal.signal(signal.SIGHUP, hangup)

    def init_processes(self) -> None:
        """Start the workers, unless a stop is requested in the meantime. uvicorn calls this."""
        while len(self.processes) < self.processes_num and not self.should_exit.is_set():
            self.processes.append(self._started())
            self.handle_signals()

    def _started(self) -> ServerProcess:
        worker = ServerProcess(self.config, self.sockets)
        worker.start()
        return worker

    def keep_subprocess_alive(self) -> None:
        """Replace workers that have ended. uvicorn calls this twice a second."""
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
        """Stop the workers. New connections are refused at once, as with one worker."""
        for one in self.sockets:
            one.close()  # a worker closes its own sockets when it is told to stop
        super().terminate_all()

    def handle_hup(self) -> None:
        """Stop, as for SIGTERM: settings are only read at the start, so there is nothing to reload."""
        logger.info("stopped by SIGHUP")
        self.should_exit.set()
