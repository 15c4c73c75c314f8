"""Kills real processes at named places of a batch, lets the next run take up what is left, and compares with no crash.

A warm parent has imported everything and forks: the child arms one failpoint and runs a phase of the `loans` golden
case on the embedded engine; it dies by SIGKILL there. A second child runs the phase to its end, and a document of
tables, quarantine, ledger, exports and leftovers is compared, record by record, with that of an undisturbed run.

    first    two files land; staging, merge and aggregate run
    second   an older and a newer version land, and a file whose trailer lies; all runs again
    third    staging is reprocessed, and what it published flows on
"""

from __future__ import annotations

import gzip
import json
import os
import re
import shutil
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sqlalchemy import select

from pipeline_xml.checked import CheckedPipeline
from pipeline_xml.load import load_catalog
from processing.transformations import registry
from publishing import failpoints
from publishing.lake import Lake, open_lake
from publishing.ledger import Attempt, Batch, Delivery, LandedFile
from publishing.run import run_pipeline
from resources.quarantine_key import quarantine_key
from resources.settings import Settings
from tests.faults.ops_document import ops_document

CASE = Path(__file__).parent.parent / "cases" / "valid" / "loans"
LANDING = Path("landing") / "branches"
LANDED: dict[str, tuple[str, ...]] = {
    "first": ("north_20240115.txt", "south_20240116.txt"),
    "second": ("north_20240131_late.txt", "west_20240201.txt"),
    "third": (),
}
PIPELINES = ("loans", "loan", "exposure")
CLAIM_ID = re.compile("(?<=/)[0-9a-f]{32}(?=(\\.copied)?\\.json$)")
MOMENTS = {"_ingested_at", "ingest_date", "quarantined_at", "run_id", "raw"}


@dataclass(frozen=True, slots=True)
class Injection:
    """A crash when a point is passed for the `passing`-th time in a phase; with `after`, after that many seconds."""

    phase: str
    point: str
    passing: int = 1
    after: float | None = None


class World:
    """States of the lake before each phase, and the document of each phase when nothing goes wrong."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.states: dict[str, Path] = {}
        self.documents: dict[str, dict[str, Any]] = {}
        state = root / "empty"
        state.mkdir(parents=True)
        quarantine_key(Settings(config=CASE / "config", data=state))  # one key for all: its id stands in every entry
        for phase in LANDED:
            self.states[phase] = state
            done = self._copy(state, root / f"after-{phase}")
            land(done, phase)
            succeeds(lambda d=done, p=phase: run_phase(d, p))
            self.documents[phase] = document_of(done)
            clear_landing(done)
            state = done

    def crash(self, injection: Injection, through: Callable[[Path, Injection], bool] | None = None) -> str:
        """`not reached`, or after the crash and a second run: `same`, or what differs.

        `through` is another way to run the phase and die in it; True when it died.
        """
        root = self._copy(self.states[injection.phase], self.root / "crash")
        land(root, injection.phase)
        died = through or (lambda at, wanted: dies(lambda: run_phase(at, wanted.phase), wanted))
        if not died(root, injection):
            return "not reached"
        self.between(root)
        succeeds(lambda: run_phase(root, injection.phase))
        return difference(document_of(root), self.documents[injection.phase])

    def between(self, root: Path) -> None:
        """What happens to the lake after the crash and before the second run: nothing here."""

    def _copy(self, state: Path, target: Path) -> Path:
        shutil.rmtree(target, ignore_errors=True)
        shutil.copytree(state, target)
        return target


def land(root: Path, phase: str) -> None:
    for name in LANDED[phase]:
        (root / LANDING).mkdir(parents=True, exist_ok=True)
        shutil.copyfile(CASE / "input" / name, root / LANDING / name)


def clear_landing(root: Path) -> None:
    """What was taken is removed: a copied file would have another inode, and so be another look."""
    shutil.rmtree(root / LANDING, ignore_errors=True)


def run_phase(root: Path, phase: str) -> None:
    settings = Settings(config=CASE / "config", data=root)
    catalog = load_catalog(settings.config, registry())
    with open_lake(settings, catalog) as lake:
        for name in PIPELINES:
            pipeline = catalog.pipeline("lender", name)
            assert pipeline is not None
            again = phase == "third" and name == "loans" and not _reopened(lake, pipeline)
            run_pipeline(lake, pipeline, run_id=f"faults {phase}", reprocess=again)


def _reopened(lake: Lake, pipeline: CheckedPipeline) -> bool:
    """Whether the reprocess that a crash interrupted had begun: then a plain run brings it to its end."""
    with lake.ledger.read() as session:
        chosen = select(Batch.id).where(Batch.pipeline == pipeline.key, Batch.attempt > 1)
        return session.scalars(chosen).first() is not None


def document_of(root: Path) -> dict[str, Any]:
    """Everything a crash could disturb, told in a child of its own: forks and threads do not mix."""
    target = root.with_name("document.json")
    succeeds(lambda: target.write_text(json.dumps(_document(root), default=str, sort_keys=True)))
    found: dict[str, Any] = json.loads(target.read_text())
    return found


def _document(root: Path) -> dict[str, Any]:
    settings = Settings(config=CASE / "config", data=root)
    catalog = load_catalog(settings.config, registry())
    found: dict[str, Any] = {"tables": {}, "quarantine": {}, "exports": {}}
    with open_lake(settings, catalog) as lake:
        for pipeline in catalog.applications[0].pipelines:
            for target in pipeline.targets:
                if lake.table(target.asset).exists:
                    found["tables"][".".join(target.asset)] = _rows(lake.table(target.asset).snapshot().dataset())
            if lake.quarantine(pipeline.key).exists:
                found["quarantine"][pipeline.key] = _rows(lake.quarantine(pipeline.key).snapshot().dataset())
        found["ops"] = ops_document(lake, "lender")
        with lake.ledger.read() as session:
            landed = session.scalars(select(LandedFile).order_by(LandedFile.arrival))
            found["files"] = [(f.arrival, f.name, f.status, f.reason) for f in landed]
            batches = session.scalars(select(Batch).order_by(Batch.key))
            found["batches"] = [(b.key, b.status, b.attempt, b.reason) for b in batches]
            found["deliveries"] = sorted((d.key, d.batch_id) for d in session.scalars(select(Delivery)))
            found["outcomes"] = sorted(
                json.dumps([a.batch_id, a.number, a.outcome and _comparable(a.outcome)], sort_keys=True)
                for a in session.scalars(select(Attempt))
            )
    for path in sorted((root / "applications").rglob("*.csv.gz")):
        found["exports"][str(path.relative_to(root))] = gzip.decompress(path.read_bytes()).decode()
    found["staged"] = sorted(str(p.relative_to(root)) for p in (root / "staged").rglob("*") if p.is_file())
    # Runs are as many as there were; ops_document holds them against their rows.
    entries = [p for p in (root / "journal").rglob("*") if p.is_file() and not p.is_relative_to(root / "journal/runs")]
    # A claim's id holds the moment it was made: only how many there are is the same each time.
    found["journal"] = sorted(CLAIM_ID.sub("claim", str(p.relative_to(root))) for p in entries)
    found["raw"] = sorted(str(p.relative_to(root)) for p in (root / "raw").rglob("*") if p.is_file())
    return found


def _comparable(outcome: dict[str, Any]) -> dict[str, Any]:
    """An outcome without the folder it was made in, and the run and the moment that it ended in."""
    out = {**outcome, "ops": None, "files": [{**f, "uri": Path(f["uri"]).name} for f in outcome["files"]]}
    out["targets"] = [{**t, "path": ""} for t in outcome["targets"]]
    out["quarantine"] = outcome["quarantine"] and outcome["quarantine"]["records"]
    return out


def _rows(dataset: Any) -> list[str]:
    rows = [{k: v for k, v in row.items() if k not in MOMENTS} for row in dataset.to_table().to_pylist()]
    return sorted(json.dumps(row, default=str, sort_keys=True) for row in rows)


def difference(found: dict[str, Any], expected: dict[str, Any]) -> str:
    """`same`, or the first part that differs with what is too much and what is missing."""
    for part, wanted in expected.items():
        if found[part] == wanted:
            continue
        flat_found, flat_wanted = list(_flat(found[part])), list(_flat(wanted))
        extra = [line for line in flat_found if line not in flat_wanted]
        missing = [line for line in flat_wanted if line not in flat_found]
        return f"{part}: too much {extra[:3]}, missing {missing[:3]}"
    return "same"


def _flat(part: Any) -> Iterator[str]:
    if isinstance(part, dict):
        for key, value in part.items():
            for line in _flat(value):
                yield f"{key}: {line}"
    elif isinstance(part, list):
        for value in part:
            yield json.dumps(value, sort_keys=True)
    else:
        yield str(part)


def _fork(work: Callable[[], object], errors: Path) -> int:
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
    _, status = os.waitpid(_fork(work, errors), 0)
    if status:
        raise AssertionError(f"a run without a crash ended with {status}: {errors.read_text() if status else ''}")


def dies(work: Callable[[], object], injection: Injection) -> bool:
    """True when the crash happened; False when the work ended before its point was passed often enough."""
    errors = Path(tempfile.gettempdir()) / f"faults-{os.getpid()}.txt"

    def armed() -> None:
        if injection.after is None:
            failpoints.arm(injection.point, injection.passing)
        work()

    child = _fork(armed, errors)
    if injection.after is not None:
        time.sleep(injection.after)
        os.kill(child, 9)
    _, status = os.waitpid(child, 0)
    if os.WIFSIGNALED(status):
        return True
    if status:
        raise AssertionError(f"the armed run failed by itself: {errors.read_text()}")
    return False
