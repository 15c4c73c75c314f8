"""Runs of a pipeline in processes of their own: forked from a warm server, held and killed at failpoints, looked at.

    child = start(feed, at="target.linked", by=signal.SIGSTOP)
    child.held()                # waits until it stands there
    child.go_on()
    child.ended()               # its batches, or AssertionError with what it said
"""

from __future__ import annotations

import json
import multiprocessing
import os
import signal
import time
import traceback
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import pytest

from pipeline_xml.load import load_catalog
from processing.transformations import registry
from publishing import failpoints
from publishing.lake import open_lake
from publishing.run import run_pipeline
from resources.engine import Engine
from resources.settings import Settings
from tests.promised_feed import Feed

PROJECT = Path(__file__).resolve().parents[2]
PATIENCE = 60
NO_ENGINE = Engine("sail", None)  # type: ignore[arg-type]  # each child starts its own

_server: Any = None


def _context() -> Any:
    global _server
    if _server is None:
        _server = multiprocessing.get_context("forkserver")
        _server.set_forkserver_preload([
            "tests.faults.children", "deltalake", "pyarrow.dataset", "pysail.spark", "pyspark.sql.connect.session",
            "processing.read", "processing.read_table", "alembic.config",
        ])  # fmt: skip
        with pytest.MonkeyPatch.context() as patched:  # the server starts with the first child, under this path
            patched.setenv("PYTHONPATH", str(PROJECT))
            _server.Process(target=_nothing).start()
    return _server


def _nothing() -> None:
    """What the first child does."""


def some(points: Sequence[str]) -> Sequence[str]:
    """Every third failpoint; all of them in `make faults`."""
    return points if os.environ.get("FAULTS") == "all" else points[::3]


def feed_at(root: Path) -> Feed:
    """A feed whose runs are children."""
    return Feed(root, NO_ENGINE)


@dataclass(frozen=True)
class Child:
    """A run in a process of its own."""

    process: BaseProcess
    told: Connection
    _said: list[str]

    def held(self) -> None:
        """Waits until it is stopped at its failpoint."""
        self._until(lambda: self.state == "T", "was not held")

    def go_on(self) -> None:
        os.kill(self.pid, signal.SIGCONT)

    def kill(self) -> None:
        os.kill(self.pid, signal.SIGKILL)
        self.process.join(PATIENCE)

    @property
    def pid(self) -> int:
        assert self.process.pid is not None
        return self.process.pid

    @property
    def state(self) -> str:
        """R, S, T (stopped) … as the system says it."""
        try:
            return Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()[0]
        except (FileNotFoundError, ProcessLookupError):
            return "gone"

    def code(self) -> int:
        """Its exit code: -9 where it was killed."""
        self.process.join(PATIENCE)
        assert self.process.exitcode is not None, "it does not end"
        return self.process.exitcode

    def ended(self) -> list[dict[str, Any]]:
        """Its batches, as the document of `lake run --json` tells them."""
        code = self.code()
        found = self.error() if code else ""
        assert code == 0, f"ended with {code}: {found}"
        batches: list[dict[str, Any]] = json.loads(self.said())["batches"]
        return batches

    def passed(self) -> list[str]:
        """The failpoints that a run passed, in the order in which it first did."""
        self.ended()
        return list(json.loads(self.said())["passed"])

    def error(self) -> str:
        """What it raised: `Type: message`, the last line of its trace."""
        self.code()
        return self.said()

    def said(self) -> str:
        """What it told before it ended; empty where it was killed."""
        if not self._said:
            try:
                self._said.append(self.told.recv())
            except EOFError:
                self._said.append("")
        return self._said[0]

    def _until(self, true: Callable[[], bool], otherwise: str) -> None:
        deadline = time.monotonic() + PATIENCE
        while not true():
            assert self.process.is_alive(), f"{otherwise}; it ended: {self.error()}"
            assert time.monotonic() < deadline, otherwise
            time.sleep(0.01)


def start(
    feed: Feed,
    name: str = "feed",
    *,
    at: str = "",
    passing: int = 1,
    by: int = signal.SIGKILL,
    reprocess: bool = False,
    before: Callable[..., object] | None = None,
    given: Mapping[str, Any] | None = None,
    environment: Mapping[str, str] | None = None,
) -> Child:
    """Runs a pipeline of the feed in a child. `before(**given)` is called there first.

    With an environment of its own it is a fresh process: libraries that are preloaded come in at its start only.
    """
    started = feed.settings
    context = _context() if environment is None else multiprocessing.get_context("spawn")
    told, telling = context.Pipe(duplex=False)
    where = (started.config, started.data, started.ledger)
    asked = (where, name, (at, passing, int(by)), reprocess, telling, before, dict(given or {}))
    process = context.Process(target=_run, args=asked)
    with pytest.MonkeyPatch.context() as patched:
        for key, value in {} if environment is None else {"PYTHONPATH": str(PROJECT), **environment}.items():
            patched.setenv(key, value)
        process.start()
    telling.close()
    return Child(process, told, [])


def run(feed: Feed, name: str = "feed", reprocess: bool = False) -> list[dict[str, Any]]:
    """A run that nobody disturbs."""
    return start(feed, name, reprocess=reprocess).ended()


def _run(
    where: tuple[Path, Path, str | None],
    name: str,
    armed: tuple[str, int, int],
    reprocess: bool,
    telling: Connection,
    before: Callable[..., object] | None,
    given: dict[str, Any],
) -> None:
    said = ""
    try:
        config, data, ledger = where
        settings = Settings(config, data, "sail", ledger=ledger)
        catalog = load_catalog(settings.config, registry())
        pipeline = catalog.pipeline("app", name)
        assert pipeline is not None
        if before is not None:
            before(**given)
        with open_lake(settings, catalog) as lake:
            passed = failpoints.count()
            if armed[0]:
                failpoints.arm(*armed)
            outcome = run_pipeline(lake, pipeline, run_id=f"run of {os.getpid()}", reprocess=reprocess)
        batches = [{**b.as_dict(), "transient": b.transient} for b in outcome.batches]
        said = json.dumps({"batches": batches, "passed": passed}, default=str)
    except Exception as error:
        said = f"{type(error).__name__}: {error}\n{traceback.format_exc()}"
        raise
    finally:
        telling.send(said)
