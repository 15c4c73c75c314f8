"""Golden cases: folders with definitions, input, expected tables; each runs on both engines, values and types equal."""

from __future__ import annotations

import json
import shutil
import tomllib
from pathlib import Path
from typing import Any

import pytest

from pipeline_xml.load import load_catalog
from processing.transformations import registry
from publishing.lake import Lake, open_lake
from publishing.outcome import PipelineOutcome
from publishing.run import run_pipeline
from resources.engine import Engine
from resources.settings import Settings

CASES = Path(__file__).parent.parent / "cases" / "valid"
VOLATILE = {"_batch_id", "_ingested_at", "ingest_date", "_record_id"}


def table_document(lake: Lake, asset: tuple[str, str, str]) -> dict[str, Any]:
    """The columns with their types, and the rows in order of all columns; what differs from run to run left out."""
    snapshot = lake.table(asset).snapshot()
    table = snapshot.dataset().to_table()
    names = [n for n in table.column_names if n not in VOLATILE]
    rows = table.select(names).to_pylist()
    plain = [{k: v if isinstance(v, int | float | bool | None) else str(v) for k, v in row.items()} for row in rows]
    return {
        "columns": {n: str(table.schema.field(n).type) for n in names},
        "rows": sorted(plain, key=lambda r: json.dumps(r, sort_keys=True)),
    }


def quarantine_document(lake: Lake, pipeline: str) -> list[dict[str, Any]]:
    """Who was rejected and why; the sealed payload is another test's."""
    table = lake.quarantine(pipeline)
    if not table.exists:
        return []
    rows: list[dict[str, Any]] = table.snapshot().dataset().to_table().to_pylist()
    return sorted(
        (
            {
                "source_file": r["source_file"],
                "source_record": r["source_record"],
                "state": r["state"],
                "errors": sorted(f"{e['rule']} [{e['column']}] {e['code']}" for e in r["errors"]),
            }
            for r in rows
        ),
        key=lambda r: (r["source_file"], r["source_record"]),
    )


def run_case(case: Path, data: Path, engine: Engine) -> dict[str, Any]:
    """Lands the inputs and runs the case's pipelines; the document that is compared with expected.json."""
    spec = tomllib.loads((case / "case.toml").read_text())
    for name, value in spec.get("secrets", {}).items():
        (data / "secrets").mkdir(exist_ok=True)
        (data / "secrets" / name).write_text(value)
    for source, landed in spec.get("landing", {}).items():
        (data / landed).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(case / "input" / source, data / landed)
    settings = Settings(config=case / "config", data=data, engine=engine.name, secrets=data / "secrets")
    catalog = load_catalog(settings.config, registry())
    document: dict[str, Any] = {"pipelines": {}, "tables": {}, "quarantine": {}}
    with open_lake(settings, catalog, engine) as lake:
        for run in spec["runs"]:
            app, _, name = run.partition("/")
            pipeline = catalog.pipeline(app, name)
            assert pipeline is not None, run
            outcome = run_pipeline(lake, pipeline, run_id="golden")
            _counts_close(outcome)
            document["pipelines"][run] = [
                {"date": b.business_date, "status": b.status, "reason": b.reason, "counts": b.counts.as_dict()}
                for b in outcome.batches
            ]
            for target in pipeline.targets:
                if lake.table(target.asset).exists:
                    document["tables"][".".join(target.asset)] = table_document(lake, target.asset)
            document["quarantine"][run] = quarantine_document(lake, run)
            again = run_pipeline(lake, pipeline, run_id="golden again")
            assert again.status in ("nothing_to_do", "held"), "running the same input again publishes nothing twice"
    return document


def _counts_close(outcome: PipelineOutcome) -> None:
    for batch in outcome.batches:
        assert batch.status == "held" or batch.counts.closes, batch


@pytest.mark.parametrize("case", sorted(CASES.iterdir()), ids=lambda c: c.name)
def test_case(case: Path, engine: Engine, tmp_path: Path) -> None:
    found = run_case(case, tmp_path, engine)
    expected = json.loads((case / "expected.json").read_text())
    spec = tomllib.loads((case / "case.toml").read_text())
    for run, counts in spec.get("counts", {}).items():
        total: dict[str, int] = {}
        for batch in found["pipelines"][run]:
            for term, number in batch["counts"].items():
                total[term] = total.get(term, 0) + number
        assert total == counts, run
    assert json.loads(json.dumps(found, default=str)) == expected


