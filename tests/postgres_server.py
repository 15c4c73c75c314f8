"""A real PostgreSQL server for tests: of the package pgserver, on a free port of 127.0.0.1, gone with the test run.

The server refuses to run as root. There it runs as `nobody`, from a copy in the temporary folder, which `nobody` can
read.
"""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import socket
import subprocess
import sysconfig
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg2

USER = "tester"
PATIENCE = 30


@contextmanager
def postgres_server() -> Iterator[PostgresServer]:
    """Starts a server and waits until it answers; kills it at the end and removes what it wrote."""
    # Not imported: importing it looks for a running server's folder, and warns where there is none.
    packages = Path(sysconfig.get_paths()["purelib"])
    root = Path(tempfile.mkdtemp(prefix="datalake-postgres-"))
    owner = "nobody" if os.geteuid() == 0 else None
    try:
        if owner is not None:
            for name in ("pgserver", "pgserver.libs"):  # the libraries lie beside the programs
                shutil.copytree(packages / name, root / name, symlinks=True)
            packages = root
            entry = pwd.getpwnam(owner)
            for path in (root, *root.rglob("*")):
                os.chown(path, entry.pw_uid, entry.pw_gid, follow_symlinks=False)
        programs = packages / "pgserver" / "pginstall" / "bin"
        options = ["-A", "trust", "-U", USER, "-E", "UTF8", "--no-locale", "-N"]
        _run([programs / "initdb", "-D", root / "data", *options], owner, root)
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        listening = ["-h", "127.0.0.1", "-p", str(port), "-k", "", "-F"]
        command = [programs / "postgres", "-D", root / "data", *listening]

        def begin() -> subprocess.Popen[bytes]:
            with (root / "log").open("ab") as log:
                server = subprocess.Popen(command, user=owner, cwd=root, stdout=log, stderr=log)
            _await(server, port, root / "log")
            return server

        server = PostgresServer(port, begin)
        try:
            yield server
        finally:
            server.stop()
    finally:
        shutil.rmtree(root, ignore_errors=True)


class PostgresServer:
    """`database` makes an empty database and returns its URL, as DATALAKE_LEDGER takes it."""

    def __init__(self, port: int, begin: Callable[[], subprocess.Popen[bytes]]) -> None:
        self.port = port
        self._begin = begin
        self._process = begin()
        self._made = 0

    def stop(self) -> None:
        """At once, as a machine that fails: who is connected is cut off."""
        self._process.send_signal(signal.SIGQUIT)
        self._process.wait(PATIENCE)

    def start_again(self) -> None:
        """With everything that was committed."""
        self._process = self._begin()

    def database(self) -> str:
        self._made += 1
        name = f"ledger{self._made}"
        connection = psycopg2.connect(host="127.0.0.1", port=self.port, user=USER, dbname="postgres")
        connection.autocommit = True
        with connection.cursor() as cursor:
            cursor.execute(f"CREATE DATABASE {name}")
        connection.close()
        return f"postgresql+psycopg2://{USER}@127.0.0.1:{self.port}/{name}"


def _run(command: list[str | Path], owner: str | None, where: Path) -> None:
    done = subprocess.run(command, user=owner, cwd=where, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def _await(server: subprocess.Popen[bytes], port: int, log: Path) -> None:
    deadline = time.monotonic() + PATIENCE
    while True:
        try:
            psycopg2.connect(host="127.0.0.1", port=port, user=USER, dbname="postgres").close()
        except psycopg2.OperationalError:
            assert server.poll() is None, log.read_text()
            assert time.monotonic() < deadline, log.read_text()
            time.sleep(0.05)
        else:
            return
