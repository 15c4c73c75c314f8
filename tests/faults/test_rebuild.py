"""The ledger is thrown away after a crash at each failpoint, made again, and the run after it ends like no crash.

    python -m tests.faults.test_rebuild            every failpoint at every passing
    python -m tests.faults.test_rebuild --short    each failpoint once
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from pipeline_xml.load import load_catalog
from processing.transformations import registry
from publishing import failpoints
from publishing.lake import open_lake
from publishing.rebuild_ledger import rebuild
from resources.settings import Settings
from stewardship.rebuild_stores import restore_stores
from tests.faults.harness import (
    CASE,
    LANDED,
    LANDING,
    Injection,
    World,
    clear_landing,
    dies,
    difference,
    document_of,
    run_phase,
    succeeds,
)
from tests.faults.run import SAME, each_once, every_passing, once_each, outcomes, warm_up

PROJECT = Path(__file__).resolve().parents[2]
ONE_AUDIT_ENTRY = re.compile(r"journal: too much \[\], missing \['\"journal/audit/\d+\.json\"'\]")
FEWER = 5  # with cleaned logs, a short run takes every fifth failpoint
LONG_AGO = 1_600_000_000  # seconds of the epoch: longer ago than any log is kept


def lose_and_rebuild(root: Path) -> None:
    """Removes the ledger with all that belongs to it, and makes it again."""
    for path in root.glob("ledger.db*"):
        path.unlink()
    settings = Settings(config=CASE / "config", data=root)
    catalog = load_catalog(settings.config, registry())
    with open_lake(settings, catalog) as lake:
        rebuild(lake, catalog, (restore_stores,))


class Rebuilding(World):
    """As its base, but between the crash and the second run the ledger is lost and made again."""

    def between(self, root: Path) -> None:
        succeeds(lambda: lose_and_rebuild(root))

    def crash(self, injection: Injection, through: Callable[[Path, Injection], bool] | None = None) -> str:
        found = super().crash(injection, through)
        # Who decided stands with the decision. The trail's own entry was not in the journal yet, and is gone.
        if injection.point == "decision.made" and ONE_AUDIT_ENTRY.fullmatch(found):
            return SAME
        return found


class Cleaned(World):
    """As its base, with the logs of all tables cut down to a checkpoint after the crash.

    What a reader has not read by then it holds, by its own rules. So the run over the ledger made again is compared
    with the run over the one that was kept.
    """

    def crash(self, injection: Injection, through: Callable[[Path, Injection], bool] | None = None) -> str:
        root, kept = self.fresh(injection.phase), self.root / f"kept-{os.getpid()}"
        if not dies(lambda: run_phase(root, injection.phase), injection):
            return "not reached"
        succeeds(lambda: clean_logs(root))
        self._copy(root, kept)
        clear_landing(kept)
        if (root / LANDING).exists():  # the same files, and not copies: those would be other looks
            shutil.copytree(root / LANDING, kept / LANDING, copy_function=os.link)
        succeeds(lambda: lose_and_rebuild(root))
        return difference(self._told(root, injection.phase), self._told(kept, injection.phase))

    def _told(self, root: Path, phase: str) -> dict[str, Any]:
        """The document after the second run; where that cannot be made over a cleaned log, only why.

        Not who says it: a decision that was lost with the ledger is refused, one that was kept cannot be followed.
        """
        try:
            return self.ended(root, phase)
        except AssertionError as error:
            return {"error": str(error).strip().splitlines()[-1].partition(": ")[2]}


def clean_logs(root: Path) -> None:
    """What a table service does in time: a checkpoint, and the entries before it gone. They are made to look old."""
    from deltalake import DeltaTable

    for log in sorted((root / "applications").rglob("_delta_log")):
        for path in log.glob("*.json"):
            os.utime(path, (LONG_AGO, LONG_AGO))
        table = DeltaTable(str(log.parent))
        table.create_checkpoint()
        table.cleanup_metadata()
        assert len(list(log.glob("*.json"))) <= 1, "the log was not cleaned"


def after_each_phase(world: World) -> Iterator[tuple[str, str]]:
    """The ledger is lost before a phase, and again after it: it ends as if it had not been, and nothing differs."""
    for phase in world.states:
        root = world.fresh(phase)
        succeeds(lambda at=root: lose_and_rebuild(at))
        yield phase, difference(world.ended(root, phase), world.documents[phase])
        succeeds(lambda at=root: lose_and_rebuild(at))
        yield phase, difference(document_of(root), world.documents[phase])


def main(arguments: list[str]) -> int:
    warm_up()
    wrong: list[str] = []
    short = "--short" in arguments
    chosen: Callable[[World], Iterator[tuple[Injection, str]]] = each_once if short else every_passing
    with tempfile.TemporaryDirectory(prefix="datalake-rebuild-") as folder:
        world: World = Rebuilding(Path(folder) / "world")
        phases = list(after_each_phase(world))
        wrong += [f"after {phase}: {outcome}" for phase, outcome in phases if outcome != SAME]
        print(f"lost before a phase, and after it: {len(phases)}", flush=True)
        cleaned = Cleaned(Path(folder) / "cleaned")
        for name, each in (("lost after a crash", world), ("logs cleaned, and lost after a crash", cleaned)):
            if short and each is cleaned:
                crashes = list(outcomes(each, once_each(each)[::FEWER]))
            else:
                crashes = list(chosen(each))
            wrong += [f"{name}: {injection}: {outcome}" for injection, outcome in crashes if outcome != SAME]
            print(f"{name}: {len(crashes)}", flush=True)
    for line in wrong:
        print(line[:1000])
    print(f"{len(wrong)} with a difference")
    return int(bool(wrong))


def test_a_ledger_lost_at_each_failpoint_is_made_again() -> None:
    """In a process of its own: it forks, and this one may have an engine's threads."""
    command = [sys.executable, "-m", "tests.faults.test_rebuild", "--short"]
    done = subprocess.run(command, cwd=PROJECT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-2000:]
    lines = done.stdout.splitlines()
    assert f"lost after a crash: {len(failpoints.POINTS)}" in lines
    assert f"logs cleaned, and lost after a crash: {len(range(0, len(failpoints.POINTS), FEWER))}" in lines
    assert lines[0] == f"lost before a phase, and after it: {2 * len(LANDED)}"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
