"""The same cells as csv, JSON lines, a JSON array and Parquet become the same rows, with the same reasons."""

from __future__ import annotations

import csv
import io
import json
import tempfile
from datetime import date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline_xml.contract import Constraints, Contract, Field
from pipeline_xml.location import Location
from pipeline_xml.model import CsvSource, FileSource, JsonSource, ParquetSource
from pipeline_xml.types import BIGINT, BOOLEAN, DATE, DOUBLE, INT, STRING, TIMESTAMP, decimal
from processing.formats import range_texts, scanner
from processing.raw_text import raw_records
from processing.read import RawFile, read_range

HERE = Location("t.xml")
CONTRACT = Contract(
    "t",
    (
        Field("s", STRING, nullable=False, constraints=Constraints(pattern="^[^x]*$", max_length=5)),
        Field("i", INT, constraints=Constraints(minimum=Decimal(-5))),
        Field("b", BIGINT),
        Field("d", decimal(9, 2)),
        Field("f", DOUBLE),
        Field("o", BOOLEAN),
        Field("on", DATE),
        Field("at", TIMESTAMP),
    ),
    HERE,
)
CELL = {
    "s": st.text(st.sampled_from('ax" ,\\\n\u00e9{}[]'), min_size=1, max_size=6),
    "i": st.integers(-10, 2**33),
    "b": st.integers(-(10**17), 10**17),
    "d": st.decimals(-(10**8), 10**8, places=3),
    "f": st.floats(allow_nan=False, allow_infinity=False).filter(lambda v: v == 0 or 1e-5 < abs(v) < 1e15),
    "o": st.booleans(),
    "on": st.dates(date(1900, 1, 1), date(2100, 1, 1)),
    "at": st.datetimes(datetime(1900, 1, 1)),
}
ROW = st.fixed_dictionaries({name: st.none() | cell for name, cell in CELL.items()})
TYPES = {
    "s": pa.string(), "i": pa.int64(), "b": pa.int64(), "d": pa.decimal128(20, 3), "f": pa.float64(), "o": pa.bool_(),
    "on": pa.date32(), "at": pa.timestamp("us"),
}  # fmt: skip


def text(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return str(value).lower()
    return repr(value) if isinstance(value, float) else str(value)


def as_csv(rows: list[dict[str, Any]]) -> bytes:
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(CELL)
    writer.writerows([[text(row[name]) for name in CELL] for row in rows])
    return out.getvalue().encode()


def as_json(row: dict[str, Any]) -> str:
    plain = {k: v if isinstance(v, int | float | bool | str | None) else str(v) for k, v in row.items()}
    return json.dumps({k: v for k, v in plain.items() if v is not None or k in "sd"}, ensure_ascii=False)


def as_parquet(rows: list[dict[str, Any]], path: Path) -> bytes:
    pq.write_table(pa.Table.from_pylist(rows, pa.schema(TYPES)), path, row_group_size=2)
    return path.read_bytes()


def read(source: FileSource, data: bytes, folder: Path) -> tuple[list[dict[str, Any]], int]:
    """(the rows with their reasons, the count of the scan), read in as many ranges as there are."""
    path = folder / source.kind
    path.write_bytes(data)
    counter = scanner(source, CONTRACT)
    counter.feed(data)
    scan = counter.finish(path)
    assert scan.errors == ()
    file = RawFile(str(path), "d" * 24, 1, source.kind, date(2024, 1, 5), scan)
    rows = [row for part in scan.ranges for row in read_range(file, part, source, CONTRACT).to_pylist()]
    numbers = [row["_source_record"] for row in rows]
    assert numbers == list(range(1, scan.records + 1))
    assert [number for number, _ in raw_records(path, scan, numbers, source)] == numbers
    for part in scan.ranges:
        assert len(range_texts(path, part, pa.array([0]).to_numpy(), scan, source)) == 1
    return [{k: v for k, v in row.items() if k not in ("_source_file", "_record_id")} for row in rows], scan.records


@settings(max_examples=150, deadline=None)
@given(rows=st.lists(ROW, min_size=1, max_size=6))
def test_four_ways_of_writing_are_read_alike(rows: list[dict[str, Any]]) -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        lines = [as_json(row) for row in rows]
        wanted = read(CsvSource(where=HERE, id="t"), as_csv(rows), folder)
        assert wanted[1] == len(rows)
        in_lines = JsonSource(where=HERE, id="t")
        assert read(in_lines, ("\n".join(lines) + "\n").encode(), folder) == wanted
        assert read(in_lines, ("[" + ",\n ".join(lines) + "]").encode(), folder) == wanted
        parquet = as_parquet(rows, folder / "made")
        assert read(ParquetSource(where=HERE, id="t"), parquet, folder) == wanted
