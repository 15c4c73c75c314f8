"""Kills real processes at named places of a batch, lets the next run take up what is left, and compares with no crash.

A warm parent has imported everything and forks: the child arms one failpoint and runs a phase of the `loans` golden
case; it dies by SIGKILL there. A second child runs the phase to its end, and a document of tables, quarantine, ledger,
exports and leftovers is compared, record by record, with that of an undisturbed run.

To add a phase, add it to PHASES: a name, what lands before it, and a function of the lake that does its work. It is
called again after each crash, and has to take up what the crash left.
"""

from __future__ import annotations

import gzip
import json
import os
import shutil
import tempfile
import time
import traceback
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipeline_xml.load import load_catalog
from processing.transformations import registry
from publishing import failpoints
from publishing.lake import Lake, open_lake
from resources.quarantine_key import quarantine_key
from resources.settings import Settings
from tests.faults.document import CASE, difference, tell
from tests.faults.flow import load, make_again, reprocess
from tests.faults.steward_phases import change_mind, correct, give_up, replay_all, take_back

LANDING = Path("landing") / "branches"
PACKED = ("south_20240116.txt",)  # lands compressed: what is unpacked is killed in between as well


@dataclass(frozen=True, slots=True)
class Phase:
    """A stretch of work: `lands` are files of the case's input, `work` is done once they lie in the zone."""

    name: str
    lands: tuple[str, ...]
    work: Callable[[Lake], object]


PHASES: Sequence[Phase] = (
    Phase("first", ("north_20240115.txt", "south_20240116.txt"), load),
    # An older and a newer version, and a file whose trailer lies.
    Phase("second", ("north_20240131_late.txt", "west_20240201.txt"), load),
    Phase("third", (), reprocess),
    Phase("revoked", (), change_mind),
    Phase("corrected", (), correct),
    Phase("discarded", (), give_up),
    Phase("replayed", (), replay_all),
    Phase("unpublished", (), take_back),
    Phase("made again", (), make_again),
)
LANDED: Mapping[str, tuple[str, ...]] = {phase.name: phase.lands for phase in PHASES}


@dataclass(frozen=True, slots=True)
class Injection:
    """A crash when a point is passed for the `passing`-th time in a phase; with `after`, after that many seconds."""

    phase: str
    point: str
    passing: int = 1
    after: float | None = None


@dataclass(frozen=True, slots=True)
class On:
    """The engine that a run is on; `remote` is the address of a Spark Connect server."""

    engine: str = "sail"
    remote: str | None = None


class World:
    """States of the lake before each phase; document, passings and duration of each when nothing goes wrong."""

    def __init__(self, root: Path, on: On = On(), phases: Sequence[Phase] = PHASES) -> None:
        self.root = root
        self.on = on
        self.states: dict[str, Path] = {}
        self.documents: dict[str, dict[str, Any]] = {}
        self.passings: dict[str, dict[str, int]] = {}
        self.seconds: dict[str, float] = {}
        state = root / "empty"
        state.mkdir(parents=True)
        quarantine_key(Settings(config=CASE / "config", data=state))  # one key for all: its id stands in every entry
        for phase in phases:
            self.states[phase.name] = state
            done = self._copy(state, root / f"after-{phase.name}")
            land(done, phase.name)
            self.passings[phase.name] = self._counted(done, phase.name)
            self.documents[phase.name] = document_of(done)
            clear_landing(done)
            state = done

    def crash(self, injection: Injection, through: Callable[[Path, Injection], bool] | None = None) -> str:
        """`not reached`, or after the crash and a second run: `same`, or what differs.

        `through` is another way to run the phase and die in it; True when it died.
        """
        root = self.fresh(injection.phase)
        died = through or (lambda at, wanted: dies(lambda: run_phase(at, wanted.phase, self.on), wanted))
        if not died(root, injection):
            return "not reached"
        self.between(root)
        return difference(self.ended(root, injection.phase), self.documents[injection.phase])

    def fresh(self, phase: str) -> Path:
        """The lake as it stands before a phase, with what lands for it."""
        root = self._copy(self.states[phase], self.root / f"crash-{os.getpid()}")
        land(root, phase)
        return root

    def between(self, root: Path) -> None:
        """What happens to the lake after the crash and before the second run: nothing here."""

    def ended(self, root: Path, phase: str) -> dict[str, Any]:
        """The document of the lake after the phase was run to its end."""
        return _told(root, lambda: run_phase(root, phase, self.on))

    def _counted(self, root: Path, phase: str) -> dict[str, int]:
        counts = root.with_name(f"{root.name}.passings")
        begun = time.monotonic()

        def counted() -> None:
            found = failpoints.count()
            run_phase(root, phase, self.on)
            counts.write_text(json.dumps(found))

        succeeds(counted)
        self.seconds[phase] = time.monotonic() - begun
        passed: dict[str, int] = json.loads(counts.read_text())
        return passed

    def _copy(self, state: Path, target: Path) -> Path:
        shutil.rmtree(target, ignore_errors=True)
        shutil.copytree(state, target)
        return target


def land(root: Path, phase: str) -> None:
    for name in LANDED[phase]:
        (root / LANDING).mkdir(parents=True, exist_ok=True)
        content = (CASE / "input" / name).read_bytes()
        (root / LANDING / name).write_bytes(gzip.compress(content, mtime=0) if name in PACKED else content)


def clear_landing(root: Path) -> None:
    """What was taken is removed: a copied file would have another inode, and so be another look."""
    shutil.rmtree(root / LANDING, ignore_errors=True)


def run_phase(root: Path, phase: str, on: On = On()) -> None:
    """Does the work of a phase in this process."""
    settings = Settings(config=CASE / "config", data=root, engine=on.engine, spark_remote=on.remote)
    (work,) = (each.work for each in PHASES if each.name == phase)
    with open_lake(settings, load_catalog(settings.config, registry())) as lake:
        work(lake)


def document_of(root: Path) -> dict[str, Any]:
    """Everything that a crash could disturb, told in a child of its own: forks and threads do not mix."""
    return _told(root, lambda: None)


def _told(root: Path, first: Callable[[], object]) -> dict[str, Any]:
    target = root.with_name(f"{root.name}.document")

    def work() -> None:
        first()
        target.write_text(json.dumps(tell(root), default=str, sort_keys=True))

    succeeds(work)
    found: dict[str, Any] = json.loads(target.read_text())
    return found


def fork(work: Callable[[], object], errors: Path) -> int:
    """The id of a child that does the work and ends; what it raises goes to the file."""
    child = os.fork()
    if child:
        return child
    try:
        work()
    except BaseException:  # noqa: BLE001 - the child tells its parent by a file, whatever went wrong
        errors.write_text(traceback.format_exc())
        os._exit(1)
    os._exit(0)


def succeeds(work: Callable[[], object]) -> None:
    errors = Path(tempfile.gettempdir()) / f"faults-{os.getpid()}.txt"
    _, status = os.waitpid(fork(work, errors), 0)
    if status:
        raise AssertionError(f"a run without a crash ended with {status}: {errors.read_text() if status else ''}")


def dies(work: Callable[[], object], injection: Injection) -> bool:
    """True when the crash happened; False when the work ended before its point was passed often enough."""
    errors = Path(tempfile.gettempdir()) / f"faults-{os.getpid()}.txt"

    def armed() -> None:
        if injection.after is None:
            failpoints.arm(injection.point, injection.passing)
        work()

    child = fork(armed, errors)
    if injection.after is not None:
        time.sleep(injection.after)
        os.kill(child, 9)
    _, status = os.waitpid(child, 0)
    if os.WIFSIGNALED(status):
        return True
    if status:
        raise AssertionError(f"the armed run failed by itself: {errors.read_text()}")
    return False
