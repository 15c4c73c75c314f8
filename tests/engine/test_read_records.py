"""Files become the same frames on both engines, one row for each record that the boundary scan counted."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline_xml.contract import Constraints, Contract, Field
from pipeline_xml.location import Location
from pipeline_xml.model import CsvSource
from pipeline_xml.types import BOOLEAN, DATE, DOUBLE, INT, STRING, TIMESTAMP, decimal
from processing import frame as f
from processing.read import RawFile, read_records
from processing.read_table import TableFile, read_lake_rows, read_table_columns
from processing.scan import Scanner
from resources.engine import Engine

HERE = Location("test.xml")
DAY = date(2024, 12, 31)
CONTRACT = Contract(
    "payments",
    (
        Field("id", STRING, nullable=False, constraints=Constraints(max_length=4)),
        Field("amount", decimal(9, 2), codes=("NA",)),
        Field("booked", DATE),
        Field("at", TIMESTAMP),
        Field("count", INT),
        Field("rate", DOUBLE),
        Field("open", BOOLEAN),
    ),
    HERE,
)
HEADER = b"count,id,amount,booked,at,rate,open\n"


def raw_file(path: Path, data: bytes, source: CsvSource, contract: Contract, arrival: int = 7) -> RawFile:
    scanner = Scanner(source, contract, range_bytes=200)
    path.write_bytes(b"".join(scanner.feed(data[at : at + 100]) for at in range(0, len(data), 100)))
    found = scanner.finish()
    assert not found.errors
    return RawFile(str(path), f"d{arrival}", arrival, path.name, DAY, found, "bank0")


def test_records_are_typed_checked_and_numbered(engine: Engine, tmp_path: Path) -> None:
    source = CsvSource(where=HERE, id="p")
    good = b'%d,a%d,12.50,2024-02-29,2024-02-29T10:00:00Z,1.5,true\n'
    lines = [good % (i, i) for i in range(1, 21)]
    lines[2] = b"3,a3,NA,,,,\n"
    lines[4] = b"5,toolong,x,2024-02-30,,,maybe\n"
    lines[6] = b"7,a7,short\n"
    lines[7] = b'\n8,"a\n8",1,,,,\n'
    lines[9] = b"10,,1.005,,,,,,extra\n"
    lines[10] = b"11,,1.005,,,,\n"
    first = raw_file(tmp_path / "one.csv", HEADER + b"".join(lines), source, CONTRACT)
    second = raw_file(tmp_path / "two.csv", HEADER, source, CONTRACT, 8)
    third = raw_file(tmp_path / "three.csv", HEADER + lines[0], source, CONTRACT, 9)
    assert len(first.scan.ranges) > 1

    frame = read_records(engine.session, source, CONTRACT, [first, second, third], partitions=2)
    assert frame.schema["amount"].dataType.simpleString() == "decimal(9,2)"
    found = frame.toArrow().to_pylist()

    assert frame.columns == [*(c.name for c in CONTRACT.columns), *f.IDENTITY, f.STATUS, f.ERRORS]
    rows = {r[f.SOURCE_RECORD]: r for r in found if r[f.ARRIVAL] == 7}
    assert sorted(rows) == list(range(1, 21)) and len(found) == 21
    assert rows[1] == {
        "id": "a1", "amount": Decimal("12.50"), "amount_code": None, "booked": date(2024, 2, 29),
        "at": datetime(2024, 2, 29, 10, tzinfo=UTC), "count": 1, "rate": 1.5, "open": True,
        f.RECORD_ID: "d7-0000000001", f.BUSINESS_DATE: DAY, f.SENDER: "bank0", f.ARRIVAL: 7,
        f.SOURCE_FILE: "one.csv", f.SOURCE_RECORD: 1, f.STATUS: None, f.ERRORS: None,
    }  # fmt: skip
    assert (rows[3]["amount"], rows[3]["amount_code"], rows[3][f.STATUS]) == (None, "NA", None)
    assert rows[8]["id"] == "a\n8"
    assert {n for n, r in rows.items() if r[f.STATUS]} == {5, 7, 10, 11}
    assert reasons(rows[5]) == ["id.maxLength", "amount.type", "booked.type", "open.type"]
    assert reasons(rows[7]) == ["None.ragged"] and rows[7]["id"] is None
    assert rows[7][f.ERRORS][0]["message"] == "the record must have 7 fields and has 3"
    assert rows[10][f.ERRORS][0]["message"] == "the record must have 7 fields and has 9"
    assert reasons(rows[11]) == ["id.required", "amount.type"]


def reasons(row: Mapping[str, Any]) -> list[str]:
    return [f"{e['column']}.{e['code']}" for e in row[f.ERRORS]]


def test_no_file_has_no_rows(engine: Engine) -> None:
    assert read_records(engine.session, CsvSource(where=HERE, id="p"), CONTRACT, []).count() == 0


def test_a_parser_that_disagrees_with_the_scan_stops_the_run_and_names_the_file(engine: Engine, tmp_path: Path) -> None:
    source = CsvSource(where=HERE, id="p")
    file = raw_file(tmp_path / "liar.csv", HEADER + b"1,a,,,,,\n2,b,,,,,\n", source, CONTRACT)
    path = Path(file.path)
    path.write_bytes(path.read_bytes().replace(b"\n2,b", b"x2,b"))
    with pytest.raises(Exception, match=r"liar\.csv"):
        read_records(engine.session, source, CONTRACT, [file]).count()


def test_rows_of_a_lake_table_keep_their_identity(engine: Engine, tmp_path: Path) -> None:
    identity = {
        f.RECORD_ID: ["d1-0000000001", "d1-0000000002"], f.SENDER: [None, "bank0"], f.ARRIVAL: [1, 1],
        f.SOURCE_FILE: ["a", "a"], f.SOURCE_RECORD: [1, 2],
    }  # fmt: skip
    old = pa.table({"id": ["x", None], "n": pa.array([1, 2], pa.int32()), **identity})
    new = pa.table({"id": ["y", "z"], "n": pa.array([3, 4], pa.int64()), "later": [True, False], **identity})
    pq.write_table(old, tmp_path / "old.parquet")
    pq.write_table(new, tmp_path / "new.parquet")
    columns = [Field("id", STRING), Field("n", INT), Field("later", BOOLEAN), Field("area", STRING)]
    files: list[TableFile] = [
        (str(tmp_path / "old.parquet"), {f.BUSINESS_DATE: "2023-12-31", "area": None}),
        (str(tmp_path / "new.parquet"), {f.BUSINESS_DATE: "2024-12-31", "area": "no rth/é"}),
    ]
    frame = read_lake_rows(engine.session, files, columns)
    assert frame.columns == ["id", "n", "later", "area", *f.IDENTITY, f.STATUS, f.ERRORS]
    rows = sorted(frame.toArrow().to_pylist(), key=lambda r: r["n"])
    assert [(r["id"], r["n"], r["later"], r["area"], r[f.BUSINESS_DATE]) for r in rows] == [
        ("x", 1, None, None, date(2023, 12, 31)), (None, 2, None, None, date(2023, 12, 31)),
        ("y", 3, True, "no rth/é", DAY), ("z", 4, False, "no rth/é", DAY),
    ]  # fmt: skip
    assert rows[1][f.RECORD_ID] == "d1-0000000002" and rows[1][f.SENDER] == "bank0"
    assert {(r[f.STATUS], r[f.ERRORS]) for r in rows} == {(None, None)}
    assert read_table_columns(engine.session, [], [("n", "bigint")]).count() == 0


def test_a_lake_column_of_another_type_is_named(engine: Engine, tmp_path: Path) -> None:
    pq.write_table(pa.table({"n": ["secret"]}), tmp_path / "t.parquet")
    with pytest.raises(Exception, match="column n is string") as raised:
        read_table_columns(engine.session, [(str(tmp_path / "t.parquet"), {})], [("n", "int")]).count()
    assert "secret" not in str(raised.value)
