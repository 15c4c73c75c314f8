"""A Spark Connect server that can be killed and started again, and runs that lose it."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import tempfile
from pathlib import Path

from publishing import failpoints
from resources import engine
from tests.faults.harness import Injection, On, World, difference, fork, run_phase


class Server:
    """One server at a time; `address` changes with each."""

    def __init__(self) -> None:
        self.address = ""
        self._folder = Path()
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Server:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()

    def start(self) -> None:
        self._folder = Path(tempfile.mkdtemp(prefix="datalake-faults-spark-"))
        port = engine._free_port()
        command = engine._server_command(engine.find_java(), self._folder, port)
        log = self._folder / "server.log"
        with log.open("wb") as out:
            self._process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=out, stderr=out, env=engine._server_environment()
            )
        engine._await_port(self._process, port, log)
        self.address = f"sc://127.0.0.1:{port}"

    def kill(self) -> None:
        """As a machine that is gone."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
        shutil.rmtree(self._folder, ignore_errors=True)


def server_killed(world: World, server: Server, injection: Injection) -> str:
    """The server is killed while a run stands at a point. The run has to say so by itself; the next ends it."""
    root = world.fresh(injection.phase)
    errors = world.root / "server-killed.txt"

    def armed() -> None:
        failpoints.arm(injection.point, injection.passing, signal.SIGSTOP)
        run_phase(root, injection.phase, world.on)

    child = fork(armed, errors)
    _, status = os.waitpid(child, os.WUNTRACED)
    if not os.WIFSTOPPED(status):
        return "not reached"
    server.kill()
    os.kill(child, signal.SIGCONT)
    _, status = os.waitpid(child, 0)
    server.start()
    world.on = On("spark", server.address)
    if not status or "EngineUnavailable" not in errors.read_text():
        return f"the run does not say that the engine is gone: {status} {errors.read_text()[-300:] if status else ''}"
    return difference(world.ended(root, injection.phase), world.documents[injection.phase])
