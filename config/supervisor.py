"""Keep the web server and the worker of one machine running, as one process in the foreground.

    python -m config.supervisor --host 127.0.0.1 --port 8000 [--only web|worker]

`manage.py serve` becomes this process once the database is up to date.

A program that ends is started again, a little later each time it ends soon. A signal to stop is
handed on; workers then finish or give back what they hold, and whoever takes too long is killed.
"""

import argparse
import logging
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import FrameType

log = logging.getLogger(__name__)

GRACE = 15.0
SOON = 10.0
LONGEST_PAUSE = 30.0


@dataclass(slots=True)
class Program:
    """One program to keep running: its name, its arguments, and what it is doing now."""

    name: str
    argv: Sequence[str]
    process: "subprocess.Popen[bytes] | None" = None
    started: float = 0.0
    failures: int = 0
    not_before: float = 0.0
    environment: Mapping[str, str] = field(default_factory=dict)


class Supervisor:
    def __init__(self, programs: Sequence[Program]) -> None:
        self._programs = programs
        self._stopping = threading.Event()

    def run(self) -> None:
        """Run until SIGINT or SIGTERM, or until `stop` is called from another thread."""
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGINT, signal.SIGTERM):
                signal.signal(number, self._on_signal)
        try:
            while not self._stopping.is_set():
                for program in self._programs:
                    self._keep(program)
                self._stopping.wait(0.2)
        finally:
            self._end_all()

    def stop(self) -> None:
        self._stopping.set()

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        self.stop()

    def _keep(self, program: Program) -> None:
        now = time.monotonic()
        if program.process is not None and program.process.poll() is None:
            return
        if program.process is not None:
            code, leader = program.process.returncode, program.process.pid
            program.process = None
            # Whatever it had started goes with it, before another one starts the same.
            _kill_group(leader)
            program.failures = program.failures + 1 if now - program.started < SOON else 0
            pause = min(2.0**program.failures - 1, LONGEST_PAUSE)
            program.not_before = now + pause
            log.error("%s ended with status %s; again in %.0f s", program.name, code, pause)
        if now >= program.not_before:
            program.started = now
            # A session of its own: Ctrl+C at the terminal reaches this process alone, which then
            # stops the others in order.
            program.process = subprocess.Popen(
                list(program.argv),
                env={**os.environ, **program.environment},
                stdin=subprocess.DEVNULL,
                start_new_session=True,
            )

    def _end_all(self) -> None:
        running = [each.process for each in self._programs if each.process is not None]
        for process in running:
            if process.poll() is None:
                process.terminate()
        deadline = time.monotonic() + GRACE
        for process in running:
            try:
                process.wait(max(0.1, deadline - time.monotonic()))
            except subprocess.TimeoutExpired:
                log.warning("%s took longer than %.0f s to stop", process.args, GRACE)
            _kill_group(process.pid)
            process.wait()


def _kill_group(leader: int) -> None:
    try:
        os.killpg(leader, signal.SIGKILL)
    except ProcessLookupError:
        return


def _count(name: str, default: int) -> str:
    value = os.environ.get(name, "").strip() or str(default)
    if not value.isascii() or not value.isdigit() or not 1 <= int(value[:4]) <= 256:
        sys.exit(f"Sluice cannot start: {name}={value!r} is not a whole number from 1 to 256.")
    return value


def programs(port: int, *, host: str = "127.0.0.1") -> list[Program]:
    """What one machine runs: the web server, a worker, and the schedule of the sweeps."""
    python = sys.executable
    web = [python, "-m", "granian", "--interface", "wsgi", "--host", host, "--port", str(port)]
    web += ["--workers", _count("SLUICE_WEB_WORKERS", 1), "--blocking-threads", "32"]
    # Whoever follows a log holds a connection, for which a web process would wait before it stops.
    web += ["--workers-kill-timeout", "5"]
    # At each start it would warn that so many threads are more than the processors can serve. Most
    # of them wait for something to tell.
    web += ["--no-access-log", "--log-level", "error", "config.wsgi:application"]
    celery = [python, "-m", "celery", "--quiet", "--app", "config.celery:app"]
    worker = [*celery, "worker"]
    worker += ["--pool", "threads", "--loglevel", "WARNING"]
    worker += ["--concurrency", _count("SLUICE_WORKER_THREADS", 4)]
    worker += ["--without-gossip", "--without-mingle", "--without-heartbeat"]
    # Celery warns at each start as root. Whether that is right is the operator's decision.
    quiet = {"PYTHONWARNINGS": "ignore:You're running the worker with superuser privileges"}
    return [
        Program("web", web),
        Program("worker", worker, environment=quiet),
        # A program of its own: inside the worker it would outlive a worker that is killed.
        Program("beat", [*celery, "beat", "--loglevel", "WARNING"]),
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description="Keep Sluice's web server and worker running.")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=8000)
    parser.add_argument("--only", choices=["web", "worker", "runner"])
    options = parser.parse_args()
    logging.basicConfig(format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    # Where web and worker are apart, the schedule goes with the worker.
    parts = {"web": {"web"}, "worker": {"worker", "beat"}, "runner": {"worker"}}
    part = parts.get(options.only)
    if options.only == "runner":
        os.environ["SLUICE_RUNNER_ONLY"] = "1"
    wanted = [
        program
        for program in programs(options.port, host=options.host)
        if part is None or program.name in part
    ]
    Supervisor(wanted).run()


if __name__ == "__main__":
    main()
