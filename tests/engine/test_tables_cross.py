"""Tables that one engine's run published are read by the other engine, by its pipelines and by deltalake, all alike."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from processing.read_table import read_table_columns
from resources.engine import SAIL, SPARK, Engine, open_engine
from resources.lake_table import LakeTable
from tests.delta_jars import delta_jars_folder
from tests.delta_rows import delta_dataset
from tests.golden_cases import CASES, as_json, expected, run_case

pytestmark = [pytest.mark.spark, pytest.mark.parametrize("engine", [SPARK], indirect=True)]
NAMES = ("loans", "payments")
PAYMENTS = Path("applications", "bank", "staging", "payments")


@dataclass(frozen=True)
class Crossed:
    """Both engines; and the lakes of both cases, by case and by the engine that published their staging layer."""

    engines: Mapping[str, Engine]
    lakes: Mapping[tuple[str, str], Path]
    documents: Mapping[tuple[str, str], Any]


@pytest.fixture(scope="module")
def crossed(engine: Engine, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Crossed]:
    delta_jars_folder()  # says what is missing, where Spark had to start without them
    with open_engine(SAIL) as sail:
        engines = {SAIL: sail, SPARK: engine}
        lakes, documents = {}, {}
        for upper, lower in ((SAIL, SPARK), (SPARK, SAIL)):
            for name in NAMES:
                lakes[name, upper] = tmp_path_factory.mktemp(f"{name}-{upper}")
                found = run_case(CASES / name, lakes[name, upper], engines[upper], engines[lower])
                documents[name, upper] = as_json(found)
        yield Crossed(engines, lakes, documents)


def tables(root: Path) -> list[Path]:
    """Every Delta table below, quarantine too."""
    return sorted(log.parent for log in root.rglob("_delta_log"))


def content(table: pa.Table) -> tuple[dict[str, str], list[str]]:
    """Types by column and the rows, in an order of their own. How long a text may get is no part of its type."""
    types = {name: str(kind).replace("large_", "").replace("string_view", "string")
             for name, kind in zip(table.schema.names, table.schema.types, strict=True)}  # fmt: skip
    names = sorted(table.column_names)
    return types, sorted(json.dumps(row, default=repr) for row in table.select(names).to_pylist())


def read_as_table(engine: Engine, path: Path) -> tuple[dict[str, str], list[str]]:
    return content(engine.session.read.format("delta").load(str(path)).toArrow())


def read_by_us(engine: Engine, path: Path, columns: Mapping[str, str]) -> list[str]:
    """The rows as a pipeline downstream is given them."""
    snapshot = LakeTable(path).snapshot()
    files = [(str(path / item.path), dict(item.partition)) for item in snapshot.files()]
    return content(read_table_columns(engine.session, files, list(columns.items())).toArrow())[1]


@pytest.mark.parametrize("upper", [SAIL, SPARK])
@pytest.mark.parametrize("case", NAMES)
def test_a_pipeline_reads_what_the_other_engine_published(crossed: Crossed, case: str, upper: str) -> None:
    assert crossed.documents[case, upper] == expected(CASES / case)


@pytest.mark.parametrize("upper", [SAIL, SPARK])
@pytest.mark.parametrize("case", NAMES)
def test_every_reader_sees_the_same_values_and_types(crossed: Crossed, case: str, upper: str) -> None:
    found = tables(crossed.lakes[case, upper])
    assert len(found) == {"loans": 5, "payments": 2}[case] + 2  # and the two operations tables of the application
    for path in found:
        ours = content(LakeTable(path).snapshot().dataset().to_table())
        assert ours[1], path
        assert content(delta_dataset(path).to_table()) == ours, ("deltalake", path)
        for name, engine in crossed.engines.items():
            assert read_as_table(engine, path) == ours, (name, path)


@pytest.mark.parametrize("upper", [SAIL, SPARK])
def test_what_spark_commits_to_a_table_is_seen(crossed: Crossed, upper: str, tmp_path: Path) -> None:
    from pyspark.sql import functions as F

    path = tmp_path / "payments"
    shutil.copytree(crossed.lakes["payments", upper] / PAYMENTS, path)
    before = LakeTable(path).snapshot()
    spark = crossed.engines[SPARK].session
    spark.sql(f"DELETE FROM delta.`{path}` WHERE amount < 0").collect()  # noqa: S608 - a path of our own
    rows = spark.read.format("delta").load(str(path)).where("payment_id = 'P0007'")
    changed = {
        "payment_id": F.lit("P0100"),
        "amount": (F.col("amount") + 1).cast("decimal(12,2)"),
        "booked_on": F.lit(None).cast("date"),
    }
    rows.withColumns(changed).write.format("delta").mode("append").save(str(path))

    after = LakeTable(path).snapshot()
    assert after.version == before.version + 2
    assert sum(item.records for item in after.files()) == 3
    seen = after.dataset().to_table().select(["payment_id", "amount", "booked_on"]).to_pylist()
    told = sorted((r["payment_id"], str(r["amount"]), str(r["booked_on"])) for r in seen)
    assert told == [("P0001", "11.50", "2024-01-05"), ("P0007", "99.00", "2024-01-04"), ("P0100", "100.00", "None")]
    columns = {"payment_id": "string", "amount": "decimal(12,2)", "booked_on": "date", "updated_at": "timestamp"}
    plain = content(after.dataset().to_table().select(list(columns)))[1]
    for name, engine in crossed.engines.items():
        assert read_by_us(engine, path, columns) == plain, name
        assert read_as_table(engine, path) == content(after.dataset().to_table()), name
