"""A feed of a few columns into staging, and what reads its table: what the promises of publishing are told on."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sqlalchemy import select

from pipeline_xml.checked import Catalog, CheckedPipeline
from pipeline_xml.load import load_catalog
from processing.transformations import registry
from publishing.lake import open_lake
from publishing.ledger import LandedFile
from publishing.outcome import BatchOutcome
from publishing.run import run_pipeline
from resources.engine import Engine
from resources.settings import Settings
from stewardship.actors import Actor
from stewardship.batch_decisions import withdraw
from tests.delta_rows import delta_dataset

TEXT: Mapping[str, Any] = {"type": "string"}
NUMBER: Mapping[str, Any] = {"type": "integer"}
ZONE = '<resources><landingZone id="zone" {}/></resources>'
DATED = "(?P&lt;business_date&gt;[0-9]{8})"
APPEND = '<hive table="staging.feed" mode="append"/>'
MERGE = '<hive table="staging.feed" mode="merge" keys="id" orderBy="v"/>'
COPY = '<hive table="standardization.copy" mode="append"/>'


def pipeline_xml(
    name: str, layer: str, source: str, steps: str, targets: str, policy: str = "", quality: str = ""
) -> str:
    transformations = f"{quality}<transformations>{steps}</transformations>" if steps else quality
    return (
        f'<pipeline id="{name}" version="1.0" layer="{layer}"><metadata><appName>app</appName></metadata>'
        f"<sources>{source}</sources>{transformations}<targets>{targets}</targets>{policy}</pipeline>"
    )


@dataclass(frozen=True)
class Feed:
    """A feed of `id` and `v` (or other columns) into staging, and what reads its table."""

    root: Path
    engine: Engine

    def _write(self, layer: str, kind: str, name: str, text: str) -> None:
        folder = self.root / "config" / "applications" / "app" / layer / kind
        folder.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)

    def define(
        self,
        targets: str = APPEND,
        steps: str = "",
        pattern: str = ".*",
        snapshot: bool = False,
        policy: str = "",
        rules: str = "",
        zone: str = 'type="local" uri="landing"',
        source: str = "",
        kind: str = "csv",
        **columns: Any,
    ) -> None:
        contract = {"type": "object", "required": ["id"], "properties": {"id": TEXT, **(columns or {"v": NUMBER})}}
        whole = ' snapshot="true"' if snapshot else ""
        whole += f" {source}"
        form = ' header="true"' if kind == "csv" else ""
        source = f'<{kind} id="s" landing="zone" pattern="{pattern}"{form} schemaRef="schemas/s.json"{whole}/>'
        self._write("staging", "resources", "zone.xml", ZONE.format(zone))
        self._write("staging", "schemas", "s.json", json.dumps(contract))
        if rules:
            self._write("exceptions", "rules", "pack.xml", f'<rulePack id="pack">{rules}</rulePack>')
        quality = '<quality rules="pack"/>' if rules else ""
        text = pipeline_xml("feed", "staging", source, steps, targets, policy, quality)
        self._write("staging", "pipelines", "feed.xml", text)

    def define_reader(self, read: str, targets: str = COPY, steps: str = "") -> None:
        source = f'<hive id="t" table="staging.feed" read="{read}"/>'
        text = pipeline_xml("reader", "standardization", source, steps, targets)
        self._write("standardization", "pipelines", "reader.xml", text)

    @property
    def settings(self) -> Settings:
        (self.root / "data" / "landing").mkdir(parents=True, exist_ok=True)
        data = self.root / "data"
        return Settings(self.root / "config", data, self.engine.name, secrets=data / "secrets")

    def land(self, name: str, *lines: str) -> None:
        (self.settings.data / "landing" / name).write_text("".join(f"{line}\n" for line in lines))

    def catalog(self) -> Catalog:
        return load_catalog(self.settings.config, registry())

    def run(self, name: str = "feed", reprocess: bool = False) -> list[BatchOutcome]:
        catalog = self.catalog()
        pipeline = catalog.pipeline("app", name)
        assert pipeline is not None
        with open_lake(self.settings, catalog, self.engine) as lake:
            return list(run_pipeline(lake, pipeline, run_id="test", reprocess=reprocess).batches)

    def pipeline(self, name: str = "feed") -> CheckedPipeline:
        found = self.catalog().pipeline("app", name)
        assert found is not None
        return found

    def withdraw(self, batch: str) -> None:
        by = Actor("ann", "approver")
        with open_lake(self.settings, self.catalog(), self.engine) as lake:
            withdraw(lake, self.pipeline(), by, batch, "of no use")

    def folder(self, table: str) -> Path:
        return self.settings.application_data / "app" / table.replace(".", "/")

    def rows(self, table: str, *columns: str) -> list[Any]:
        """Sorted, by `deltalake` itself; one column as plain values."""
        found = delta_dataset(self.folder(table)).to_table(columns=list(columns)).to_pylist()
        values = [tuple(row.values()) if len(columns) > 1 else row[columns[0]] for row in found]
        return sorted(values, key=str)

    def statuses(self) -> list[str]:
        with open_lake(self.settings, self.catalog(), self.engine) as lake, lake.ledger.read() as session:
            return list(session.scalars(select(LandedFile.status).order_by(LandedFile.arrival)))
