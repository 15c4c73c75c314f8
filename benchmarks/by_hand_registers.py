"""Registers of 110 fields by hand: typed, codes set apart, required fields and enumerations checked, split, committed.

python benchmarks/by_hand_registers.py sail|spark|duckdb registers.txt OUT_FOLDER
"""

from __future__ import annotations

import json
import os
import shutil
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.csv as pc

from benchmarks.by_hand_pyspark import ranges
from benchmarks.commit_files import commit_files

CONTRACT = Path(__file__).parent.parent / "config/applications/mortgage/staging/schemas/lar.json"
TYPES = {"integer": "int", "number": "double", "string": "string"}


def queries(duck: bool) -> tuple[list[str], list[str], str]:
    """(column names, select list, condition of a good row) in the dialect of Spark or DuckDB."""
    contract = json.loads(CONTRACT.read_text())
    select, good = [], []
    for name, field in contract["properties"].items():
        kinds = field["type"] if isinstance(field["type"], list) else [field["type"]]
        kind = field.get("x-type") or TYPES[kinds[0]]
        cell = f"nullif({name}, '')"
        codes = ", ".join(f"'{code}'" for code in field.get("x-codes", ()))
        value = f"case when {cell} in ({codes}) then null else {cell} end" if codes else cell
        if field.get("format") == "date":
            value = (
                f"cast(try_strptime({value}, '%Y%m%d') as date)"
                if duck
                else f"cast(try_to_timestamp({value}, 'yyyyMMdd') as date)"
            )
        elif kind != "string":
            value = f"try_cast({value} as {kind})"
        select.append(f"{value} as {name}")
        present = name
        if codes:
            select.append(f"case when {cell} in ({codes}) then {cell} end as {name}_code")
            present = f"coalesce(cast({name} as {'varchar' if duck else 'string'}), {name}_code)"
        if name in contract["required"]:
            good.append(f"{present} is not null")
        if "enum" in field:
            valid = ", ".join(repr(v) for v in field["enum"] if v is not None)
            good.append(f"({name} is null or {name} in ({valid}))")
    return list(contract["properties"]), select, " and ".join(good)


def by_pyspark(engine_name: str, path: Path, out: Path) -> None:
    from resources.engine import open_engine

    names, select, good = queries(duck=False)

    def parse(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for batch in batches:
            for start, end in zip(batch.column(0).to_pylist(), batch.column(1).to_pylist(), strict=True):
                with path.open("rb") as file:
                    file.seek(start)
                    data = file.read(end - start)
                yield from pc.open_csv(
                    pa.BufferReader(data),
                    pc.ReadOptions(column_names=names, use_threads=False, block_size=4 << 20),
                    pc.ParseOptions(delimiter="|", quote_char=False),
                    pc.ConvertOptions(column_types={n: pa.string() for n in names}, strings_can_be_null=False),
                )

    with open_engine(engine_name) as engine:
        session: Any = engine.session
        ddl = ", ".join(f"{n} string" for n in names)
        if engine_name == "sail":
            parts = session.createDataFrame(ranges(path), "s long, e long").repartition(os.cpu_count() or 1)
            raw = parts.mapInArrow(parse, ddl)
        else:
            raw = session.read.csv(str(path), sep="|", quote="", schema=ddl).where("record_identifier = '2'")
        typed = raw.selectExpr(*select).selectExpr("*", f"case when {good} then 'good' else 'bad' end as split")
        typed.write.partitionBy("split").parquet(str(out / "stage"))


def by_duckdb(path: Path, out: Path) -> None:
    import duckdb

    names, select, good = queries(duck=True)
    columns = "{" + ", ".join(f"'{n}': 'VARCHAR'" for n in names) + "}"
    connection = duckdb.connect()
    connection.execute("set threads = 2")
    connection.execute(
        f"create table staged as select {', '.join(select)} from read_csv('{path}', header=false, skip=1, delim='|', "  # noqa: S608
        f"quote='', columns={columns}, auto_detect=false)"
    )
    for split, condition in (("good", good), ("bad", f"not coalesce({good}, false)")):
        (out / "stage" / f"split={split}").mkdir(parents=True)
        target = out / "stage" / f"split={split}" / "part.parquet"
        connection.execute(
            f"copy (select * from staged where {condition}) to '{target}' (format parquet, compression zstd)"  # noqa: S608
        )


def main(how: str, path: Path, out: Path) -> None:
    began = time.monotonic()
    shutil.rmtree(out, ignore_errors=True)
    out.mkdir(parents=True)
    if how == "duckdb":
        by_duckdb(path, out)
    else:
        by_pyspark(how, path, out)
    rows = commit_files(out / "stage" / "split=good", out / "table")
    print(f"{rows} rows, {time.monotonic() - began:.2f} s")


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3]))
