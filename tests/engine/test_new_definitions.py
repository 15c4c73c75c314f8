"""What `lake new` writes reads the very file it was made from: as many records as were seen, and only ragged or
broken ones are rejected. That the definition is accepted by `lake check` would not show it."""

from __future__ import annotations

import json
import shutil
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from command_line.new import new
from command_line.new_from_records import new_from_records
from pipeline_xml.load import load_catalog
from processing.transformations import registry
from publishing.lake import open_lake
from publishing.outcome import BatchOutcome
from publishing.run import run_pipeline
from resources.engine import Engine
from resources.settings import Settings
from tests.delta_rows import delta_dataset

PROJECT = Path(__file__).parents[2]
CSV = PROJECT / "tests" / "data" / "csv"

ODD = (
    "Nr.;Datum;Zeitpunkt;Betrag;Satz;PLZ;Aktiv;Konto\n"
    "1;31.01.2024;31.01.2024 10:30;-12,5;0.25;01067;true;12345678901234567890\n"
    "2;01.12.2023;01.12.2023 00:00;7,0;NA;80331;false;22345678901234567890\n"
    '3;29.02.2024;29.02.2024 23:59;"8,0";1.75;10115;TRUE;32345678901234567890\n'
)


def ran(engine: Engine, root: Path, file: Path) -> tuple[BatchOutcome, int, int, list[dict[str, Any]]]:
    """The batch, records and ragged records as guessed, and the rows of the table."""
    made = new(file, root / "config", "app", "feed")
    batch, rows = loaded(engine, root, file, made.definition.landing)
    return batch, made.guess.records, made.guess.ragged, sorted(rows, key=lambda r: r["_source_record"])


def loaded(engine: Engine, root: Path, file: Path, zone: str) -> tuple[BatchOutcome, list[dict[str, Any]]]:
    """The batch of the file, landed where the new pipeline `app/feed` looks, and the rows of its table."""
    config, data = root / "config", root / "data"
    landing = data / zone
    landing.mkdir(parents=True)
    shutil.copyfile(file, landing / file.name)
    settings = Settings(config, data, engine.name)
    catalog = load_catalog(config, registry())
    checked = catalog.pipeline("app", "feed")
    assert checked is not None
    with open_lake(settings, catalog, engine) as lake:
        (batch,) = run_pipeline(lake, checked, run_id="test").batches
    table = data / "applications" / "app" / "staging" / "feed"
    return batch, delta_dataset(table).to_table().to_pylist() if table.exists() else []


@pytest.mark.parametrize("engine", ["sail"], indirect=True)
@pytest.mark.parametrize(
    "file",
    [
        CSV / "csvkit/bad_skip_lines.csv",
        CSV / "csvkit/mac_newlines.csv",
        CSV / "csvkit/test_utf16_big.csv",
        CSV / "frictionless/blank-headers.csv",
        CSV / "frictionless/defective-rows.csv",
        CSV / "frictionless/invalid.csv",
        CSV / "frictionless/latin1.csv",
        CSV / "frictionless/leading-zeros.csv",
        CSV / "spectrum/quotes_and_newlines.csv",
        PROJECT / "demo/registers/bad_extra_field_row1.txt",
        PROJECT / "demo/registers/lar_2018_bank0_100.txt",
    ],
    ids=lambda p: p.stem,
)
def test_the_sample_itself_is_read_as_guessed(engine: Engine, file: Path, tmp_path: Path) -> None:
    batch, records, ragged, rows = ran(engine, tmp_path, file)
    assert batch.status == "published"
    assert batch.counts.closes
    assert (batch.counts.in_, batch.counts.quarantined, len(rows)) == (records, ragged, records - ragged)


@pytest.mark.parametrize("engine", ["sail"], indirect=True)
def test_values_are_typed_as_guessed(engine: Engine, tmp_path: Path) -> None:
    file = tmp_path / "umsatz_2024-02-29.csv"
    file.write_bytes(ODD.encode("cp1252"))
    batch, *_, rows = ran(engine, tmp_path, file)
    assert (batch.business_date, batch.counts.quarantined) == ("2024-02-29", 0)
    first = {k: v for k, v in rows[0].items() if not k.startswith("_") and k != "ingest_date"}
    assert first == {
        "nr": 1,
        "datum": date(2024, 1, 31),
        "zeitpunkt": datetime(2024, 1, 31, 10, 30, tzinfo=UTC),
        "betrag": "-12,5",  # a decimal comma is no number here: kept as it is, never a wrong one
        "satz": Decimal("0.25"),
        "satz_code": None,
        "plz": "01067",
        "aktiv": True,
        "konto": "12345678901234567890",
    }
    assert (rows[1]["satz"], rows[1]["satz_code"]) == (None, "NA")


@pytest.mark.parametrize("engine", ["sail"], indirect=True)
@pytest.mark.parametrize("kind", ["json", "parquet"])
def test_lists_of_json_and_parquet_become_rows(engine: Engine, tmp_path: Path, kind: str) -> None:
    """Of five records two have lines; the others keep a row each. In JSON there is a broken one beside them."""
    records = [{"id": f"i{n}", "lines": [{"n": n, "m": 1}, {"n": None, "m": 2}] if n < 2 else None} for n in range(5)]
    file = tmp_path / f"feed_2024-02-29.{kind}"
    if kind == "json":
        file.write_text("\n".join(map(json.dumps, records)) + "\n{")
    else:
        pq.write_table(pa.Table.from_pylist(records), file)
    made = new_from_records(file, kind, tmp_path / "config", "app", "feed", 1000, force=False)
    batch, rows = loaded(engine, tmp_path, file, made.landing)
    assert (batch.status, batch.business_date, batch.counts.accepted) == ("published", "2024-02-29", 5)
    assert batch.counts.quarantined == made.guess.broken == (kind == "json")
    found = [(row["id"], row["lines_number"], row["n"], row["m"]) for row in rows]
    assert sorted(found, key=str) == [
        ("i0", 1, 0, 1), ("i0", 2, None, 2), ("i1", 1, 1, 1), ("i1", 2, None, 2), ("i2", None, None, None),
        ("i3", None, None, None), ("i4", None, None, None),
    ]  # fmt: skip
