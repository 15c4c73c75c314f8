"""Overwrite replaces a unit: one snapshot a business date, the newest arrival wins, an older one writes nothing."""

from __future__ import annotations

import json
from datetime import date
from pathlib import Path

from sqlalchemy import select

from pipeline_xml.load import load_catalog
from processing.transformations import registry
from publishing.checks import published_checks
from publishing.lake import Lake, open_lake
from publishing.ledger import Batch, LandedFile
from publishing.outcome import PipelineOutcome
from publishing.run import run_pipeline
from resources.engine import Engine
from resources.settings import Settings

PIPELINE = """<?xml version="1.0" encoding="UTF-8"?>
<pipeline id="rates" version="1.0" layer="staging">
  <metadata><appName>desk</appName></metadata>
  <sources>
    <csv id="rates" landing="desk" pattern="rates_(?P&lt;business_date&gt;[0-9]{8})_.*" header="true" snapshot="true"
         schemaRef="schemas/rates.json"/>
  </sources>
  <targets><hive table="staging.rates" mode="overwrite"/></targets>
</pipeline>
"""
RESOURCES = '<resources><landingZone id="desk" type="local" uri="landing"/></resources>'
CONTRACT = {
    "type": "object",
    "required": ["code"],
    "properties": {"code": {"type": "string"}, "rate": {"type": "number"}},
}


def settings_of(root: Path, engine: Engine) -> Settings:
    layer = root / "config" / "applications" / "desk" / "staging"
    for folder, name, text in (
        ("pipelines", "rates.xml", PIPELINE),
        ("resources", "landing.xml", RESOURCES),
        ("schemas", "rates.json", json.dumps(CONTRACT)),
    ):
        (layer / folder).mkdir(parents=True, exist_ok=True)
        (layer / folder / name).write_text(text)
    (root / "data" / "landing").mkdir(parents=True)
    return Settings(root / "config", root / "data", engine.name)


def land(settings: Settings, name: str, *codes: str) -> None:
    lines = "".join(f"{code},1.5\n" for code in codes)
    (settings.data / "landing" / name).write_text("code,rate\n" + lines)


def codes(lake: Lake) -> dict[date, list[str]]:
    rows = lake.table(("desk", "staging", "rates")).snapshot().dataset().to_table().to_pylist()
    found: dict[date, list[str]] = {}
    for row in rows:
        found.setdefault(row["_business_date"], []).append(row["code"])
    return {day: sorted(values) for day, values in found.items()}


def test_the_newest_snapshot_of_a_date_stands_alone(engine: Engine, tmp_path: Path) -> None:
    settings = settings_of(tmp_path, engine)
    catalog = load_catalog(settings.config, registry())
    pipeline = catalog.pipeline("desk", "rates")
    assert pipeline is not None
    monday, tuesday = date(2024, 1, 8), date(2024, 1, 9)
    with open_lake(settings, catalog, engine) as lake:

        def run(reprocess: bool = False) -> PipelineOutcome:
            return run_pipeline(lake, pipeline, run_id="test", reprocess=reprocess)

        land(settings, "rates_20240108_a.csv", "EUR", "USD")
        land(settings, "rates_20240109_a.csv", "GBP")
        assert [b.counts.accepted for b in run().batches] == [2, 1]
        land(settings, "rates_20240108_b.csv", "CHF")
        assert run().status == "published"
        assert codes(lake) == {monday: ["CHF"], tuesday: ["GBP"]}
        with lake.ledger.read() as session:
            statuses = dict(session.execute(select(LandedFile.name, LandedFile.status)).all())
            assert statuses == {
                "rates_20240108_a.csv": "superseded",
                "rates_20240108_b.csv": "published",
                "rates_20240109_a.csv": "published",
            }
        # An empty snapshot still replaces.
        land(settings, "rates_20240109_b.csv")
        assert run().status == "published"
        assert codes(lake) == {monday: ["CHF"]}
        # A late reprocess of a replaced batch must not bring its rows back.
        with lake.ledger.write() as session:
            old = session.scalars(select(Batch).where(Batch.status == "superseded").order_by(Batch.arrival)).first()
            assert old is not None
            old.status, old.attempt = "open", old.attempt + 1
        (outcome,) = run().batches
        assert (outcome.status, outcome.counts.superseded, outcome.counts.closes) == ("nothing_to_do", 2, True)
        assert codes(lake) == {monday: ["CHF"]}
        assert run(reprocess=True).status == "published"
        assert codes(lake) == {monday: ["CHF"]}
        assert all(check.passed for check in published_checks(lake, pipeline, None))
