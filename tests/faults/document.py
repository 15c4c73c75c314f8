"""What of a lake the fault harness compares: tables, quarantine, operations, exports, ledger, journal, leftovers."""

from __future__ import annotations

import gzip
import json
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from sqlalchemy import select

from pipeline_xml.load import load_catalog
from processing.transformations import registry
from publishing.decisions import BatchDecision, Correction
from publishing.lake import open_lake
from publishing.ledger import Attempt, Batch, Delivery, LandedFile
from resources.settings import Settings
from tests.faults.ops_document import ops_document

CASE = Path(__file__).parent.parent / "cases" / "valid" / "loans"
# Names that are made up anew each time: only how many there are is the same.
MADE_UP = re.compile("(?<=/)[0-9a-f]{32}(?=(\\.copied)?\\.json$)|(?<=correction-)[0-9a-f]+|(?<=decision-)[0-9a-f]+")
MOMENTS = {"_ingested_at", "ingest_date", "quarantined_at", "run_id", "raw"}


def tell(root: Path) -> dict[str, Any]:
    """Everything that a crash could disturb."""
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
            decided = [*session.scalars(select(Correction.id)), *session.scalars(select(BatchDecision.id))]
            found["ops"]["events"] = sorted(_without(decided, line) for line in found["ops"]["events"])
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
    # What was killed before it had its name is no entry, and no copy in raw: `lake ledger sweep` removes it.
    entries = [p for p in entries if not p.name.startswith(".")]
    # Nor is a sealed set whose correction was never made.
    entries = [p for p in entries if p.suffix != ".sealed" or p.with_suffix(".json").exists()]
    found["journal"] = sorted(MADE_UP.sub("id", str(p.relative_to(root))) for p in entries)
    raw = [p for p in (root / "raw").rglob("*") if p.is_file() and not p.name.startswith(".")]
    found["raw"] = sorted(str(p.relative_to(root)) for p in raw)
    return found


def _without(ids: Sequence[str], line: str) -> str:
    """A line without ids that were made up when somebody decided."""
    for each in ids:
        line = line.replace(each, "id")
    return line


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
        flat_found, flat_wanted = Counter(_flat(found[part])), Counter(_flat(wanted))
        extra, missing = list(flat_found - flat_wanted), list(flat_wanted - flat_found)
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
