"""A run that is killed (SIGKILL, a process of its own) and run again ends as one that nobody disturbed.

The child counts its effects: every transaction of the ledger, entry of the journal, commit of a table and export, each
with a moment before and one after. It is killed at the first moment of a kind, or again and again after some more
moments until it gets through. Tables, quarantine, exports, the ledger and the counts are those of an undisturbed run.
"""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tomllib
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select

PROJECT = Path(__file__).parent.parent.parent
CASE = PROJECT / "tests" / "cases" / "valid" / "loans"
MOMENTS = (
    "after claim",
    "after manifest",
    "after quarantine",
    "after append",
    "after merge",
    "after overwrite",
    "before export",
    "after outcome",
)
MOST_KILLS = 60


def main(data: Path, kill_at: str, kill_after: int) -> None:
    """The child: lands what is next, runs the case's pipelines, and is killed at a moment, or after so many."""
    sys.path.insert(0, str(PROJECT))
    from pipeline_xml.load import load_catalog
    from processing.transformations import registry
    from publishing.lake import open_lake
    from publishing.run import run_pipeline
    from resources.settings import Settings

    left = kill_after

    def moment(name: str) -> None:
        nonlocal left
        left -= 1
        with (data / "moments").open("a") as log:
            log.write(name + "\n")
        if name == kill_at or left == 0:
            os.kill(os.getpid(), signal.SIGKILL)

    _watch(moment)
    settings = Settings(CASE / "config", data, "sail")
    catalog = load_catalog(settings.config, registry())
    with open_lake(settings, catalog) as lake:
        for number, step in enumerate(tomllib.loads((CASE / "case.toml").read_text())["steps"]):
            done = data / f"step{number}"
            if done.exists():
                continue
            for source, landed in step.get("landing", {}).items():
                _land(CASE / "input" / source, data / landed)
            for run in step["runs"]:
                app, _, name = run.partition("/")
                pipeline = catalog.pipeline(app, name)
                assert pipeline is not None
                run_pipeline(lake, pipeline, run_id="child")
            done.touch()


def _land(source: Path, landed: Path) -> None:
    """Appears whole or not at all, and once: a second copy would be another look."""
    if not landed.exists():
        landed.parent.mkdir(parents=True, exist_ok=True)
        aside = landed.with_name(landed.name + ".tmp")
        shutil.copyfile(source, aside)
        aside.rename(landed)


def _watch(moment: Callable[[str], None]) -> None:
    """Puts a moment before and one after everything that lasts."""
    import publishing.export as export
    from publishing.journal import Journal
    from publishing.ledger import Claim, Ledger, Look
    from resources.lake_table import LakeTable, Snapshot

    def around(owner: Any, name: str, label: Callable[..., str]) -> None:
        plain = getattr(owner, name)

        def watched(*given: Any, **named: Any) -> Any:
            said = label(*given, **named)
            moment(f"before {said}")
            result = plain(*given, **named)
            moment(f"after {said}")
            return result

        setattr(owner, name, watched)

    def commit(snapshot: Any, adds: Any, removes: Any, transactions: Any, metadata: Any) -> str:
        if any(key.startswith("q:") for key in transactions):
            return "quarantine"
        return "overwrite" if any(key.startswith("g:") for key in transactions) else "append"

    around(Journal, "write", lambda journal, name, content: name.rsplit(".", 2)[-2].rsplit("/")[-1])
    around(Snapshot, "commit", commit)
    around(Snapshot, "merge", lambda *_: "merge")
    around(LakeTable, "open_or_create", lambda *_: "table created")
    around(export, "_replace", lambda *_: "export")
    around(export, "_write", lambda *_: "export written")
    write = Ledger.write

    @contextmanager
    def watched_write(ledger: Any) -> Iterator[Any]:
        moment("before ledger")
        with write(ledger) as session:
            yield session
            session.flush()
            kinds = {type(row) for row in session.identity_map.values()}  # weak: what the caller holds on to
        what = "claim" if Look in kinds else "batches persisted" if Claim in kinds else "ledger"
        moment(f"after {what}")

    Ledger.write = watched_write  # type: ignore[assignment,method-assign]


def child(data: Path, kill_at: str = "", kill_after: int = 0) -> bool:
    """Whether it came to its end; killed is the only other way out."""
    command = [sys.executable, __file__, str(data), kill_at, str(kill_after)]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert ended.returncode in (0, -signal.SIGKILL), ended.stderr[-3000:]
    return ended.returncode == 0


def account(data: Path) -> dict[str, Any]:
    """Everything a person could look at afterwards, without what differs from run to run."""
    from pipeline_xml.load import load_catalog
    from processing.transformations import registry
    from publishing.lake import open_lake
    from publishing.ledger import Attempt, Batch, LandedFile
    from resources.settings import Settings

    settings = Settings(CASE / "config", data, "sail")
    catalog = load_catalog(settings.config, registry())
    found: dict[str, Any] = {}
    with open_lake(settings, catalog) as lake:
        for application in catalog.applications:
            for pipeline in application.pipelines:
                tables = [t.asset for t in pipeline.targets if lake.table(t.asset).exists]
                for asset in tables:
                    found[".".join(asset)] = _rows(lake.table(asset), "_batch_id", "_ingested_at", "ingest_date")
                if lake.quarantine(pipeline.key).exists:
                    own = ("run_id", "quarantined_at", "raw", "key_id", "batch_id")
                    found[f"quarantine of {pipeline.key}"] = _rows(lake.quarantine(pipeline.key), *own)
        with lake.ledger.read() as session:
            batches = select(Batch, Attempt).join(Attempt, Attempt.batch_id == Batch.id).order_by(Batch.arrival)
            found["batches"] = sorted(
                json.dumps(
                    [
                        batch.pipeline, str(batch.business_date), batch.status, attempt.number, batch.attempt,
                        *[(attempt.outcome or {}).get(k) for k in ("status", "counts", "checks", "steps")],
                        [file["counts"] for file in (attempt.outcome or {}).get("files", [])],
                        [target["rows_written"] for target in (attempt.outcome or {}).get("targets", [])],
                    ],
                    sort_keys=True,
                )
                for batch, attempt in session.execute(batches)
            )  # fmt: skip
            files = select(LandedFile.name, LandedFile.status).order_by(LandedFile.name)
            found["files"] = [tuple(row) for row in session.execute(files)]
    exports = settings.application_data
    found["exports"] = sorted((p.parent.name, p.read_bytes()) for p in exports.rglob("part-*.csv.gz"))
    staged = settings.data / "staged"
    found["left in staging"] = sorted(str(p) for p in staged.rglob("*.parquet"))
    return found


def _rows(table: Any, *without: str) -> list[str]:
    rows = table.snapshot().dataset().to_table()
    kept = rows.select([n for n in rows.column_names if n not in without]).to_pylist()
    return sorted(json.dumps(row, default=str, sort_keys=True) for row in kept)


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    data = tmp_path_factory.mktemp("undisturbed")
    assert child(data)
    seen = (data / "moments").read_text().splitlines()
    assert set(MOMENTS) <= set(seen), "a moment that never comes is no test"
    found = account(data)
    assert len(found["exports"]) == 1
    assert len(found["files"]) == 4
    return found


def _agree(data: Path, expected: dict[str, Any]) -> None:
    found = account(data)
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        assert found[name] == value, f"{data.name}: {name}"


def _at_every_kind(data: Path) -> Path:
    """One run after the other is killed, each at its kind of moment, until the last gets through."""
    for kind in MOMENTS:
        assert not child(data, kill_at=kind), f"{kind}: was not killed"
    assert child(data)
    return data


def _again_and_again(data: Path) -> Path:
    """Each child gets some moments further than a run with nothing to do would; most of them die on the way."""
    chance = random.Random(11)  # noqa: S311 - which moments, no secret
    kills = 0
    while not child(data, kill_after=chance.randint(15, 40)):
        kills += 1
        assert kills < MOST_KILLS, "no end"
    assert kills > 2, "nothing was disturbed"
    return data


def test_a_killed_run_ends_like_an_undisturbed_one(undisturbed: dict[str, Any], tmp_path: Path) -> None:
    disturbed = {"kinds": _at_every_kind, "random": _again_and_again}
    for name in disturbed:
        (tmp_path / name).mkdir()
    with ThreadPoolExecutor(2) as pool:
        for ended in [pool.submit(kill, tmp_path / name) for name, kill in disturbed.items()]:
            _agree(ended.result(), undisturbed)


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]))
