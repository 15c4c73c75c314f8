"""Golden cases: folders with definitions, input and expected tables; here they are run and told as a document."""

from __future__ import annotations

import gzip
import json
import shutil
import tomllib
from pathlib import Path
from typing import Any

from pipeline_xml.load import load_catalog
from pipeline_xml.model import HiveSource
from processing.transformations import registry
from publishing.lake import Lake, open_lake
from publishing.outcome import PipelineOutcome
from publishing.run import run_pipeline
from resources.engine import Engine
from resources.settings import Settings
from tests.custom_distribution import installed

CASES = Path(__file__).parent / "cases" / "valid"
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


def export_document(folder: Path) -> dict[str, list[str]]:
    """The lines of every exported file, under a name without the batch's id."""
    found = {}
    for path in sorted(folder.rglob("*.csv.gz")):
        name = f"{path.parent.relative_to(folder)}/{path.name.split('-')[0]}"
        found[name] = gzip.decompress(path.read_bytes()).decode().splitlines()
    return found


def run_case(case: Path, data: Path, engine: Engine, downstream: Engine | None = None) -> dict[str, Any]:
    """Lands the inputs and runs the case's pipelines, step by step; the document compared with expected.json.

    Pipelines that read a table of the lake run on the engine `downstream`, where one is given. With `distribution`
    a case has transformations of its own installed.
    """
    spec = tomllib.loads((case / "case.toml").read_text())
    if not spec.get("distribution"):
        return _run_case(case, spec, data, engine, downstream)
    (data / "site").mkdir(parents=True)
    with installed(data / "site"):
        return _run_case(case, spec, data, engine, downstream)


def _run_case(
    case: Path, spec: dict[str, Any], data: Path, engine: Engine, downstream: Engine | None
) -> dict[str, Any]:
    (data / "secrets").mkdir(parents=True)
    for name, value in spec.get("secrets", {}).items():
        (data / "secrets" / name).write_text(value)
    settings = case_settings(case, data, engine)
    catalog = load_catalog(settings.config, registry())
    below = settings if downstream is None else case_settings(case, data, downstream)
    document: dict[str, Any] = {"steps": [], "tables": {}, "quarantine": {}, "exports": {}}
    with open_lake(settings, catalog, engine) as lake, open_lake(below, catalog, downstream or engine) as lower:
        for step in spec["steps"]:
            for source, landed in step.get("landing", {}).items():
                (data / landed).parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(case / "input" / source, data / landed)
            document["steps"].append({run: _run(lake, lower, run) for run in step["runs"]})
        for application in catalog.applications:
            for pipeline in application.pipelines:
                for target in pipeline.targets:
                    if lake.table(target.asset).exists:
                        document["tables"][".".join(target.asset)] = table_document(lake, target.asset)
                document["quarantine"][pipeline.key] = quarantine_document(lake, pipeline.key)
            document["exports"] |= export_document(settings.application_data / application.name)
    return document


def case_settings(case: Path, data: Path, engine: Engine) -> Settings:
    return Settings(config=case / "config", data=data, engine=engine.name, secrets=data / "secrets")


def expected(case: Path) -> Any:
    return json.loads((case / "expected.json").read_text())


def as_json(document: dict[str, Any]) -> Any:
    return json.loads(json.dumps(document, default=str))


def _run(upper: Lake, lower: Lake, run: str) -> list[dict[str, Any]]:
    app, _, name = run.partition("/")
    pipeline = upper.catalog.pipeline(app, name)
    assert pipeline is not None, run
    lake = lower if isinstance(pipeline.driving.source, HiveSource) else upper
    outcome = run_pipeline(lake, pipeline, run_id="golden")
    _counts_close(outcome)
    again = run_pipeline(lake, pipeline, run_id="golden again")
    assert again.status in ("nothing_to_do", "held"), "running the same input again publishes nothing twice"
    return [
        {
            "date": b.business_date,
            "status": b.status,
            "reason": b.reason,
            "counts": b.counts.as_dict(),
            "files": {Path(f.uri).name: [f.status, f.counts.as_dict()] for f in b.files},
            "steps": [[s.step, s.in_, s.out] for s in b.steps],
            "failed_checks": {c.name: c.failed_rows for c in b.checks if not c.passed},
        }
        for b in outcome.batches
    ]


def _counts_close(outcome: PipelineOutcome) -> None:
    for batch in outcome.batches:
        assert batch.status == "held" or batch.counts.closes, batch
