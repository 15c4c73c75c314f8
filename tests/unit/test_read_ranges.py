"""Ranges become rows without an engine: as many as were scanned, each at its place, each to be found again."""

from __future__ import annotations

import csv
import io
from datetime import date
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from pipeline_xml.contract import Constraints, Contract, Field
from pipeline_xml.location import Location
from pipeline_xml.model import CsvSource
from pipeline_xml.types import STRING
from processing import frame as f
from processing.raw_text import raw_records
from processing.read import RawFile, read_range
from processing.read_parse import RecordCountError
from processing.scan import Scanner
from processing.scan_result import Scan

HERE = Location("test.xml")
SAMPLES = Path(__file__).parent.parent / "data" / "csv"


def strings(*names: str) -> Contract:
    return Contract("t", tuple(Field(n, STRING) for n in names), HERE)


def scanned(path: Path, data: bytes, source: CsvSource, contract: Contract, step: int = 7) -> RawFile:
    scanner = Scanner(source, contract, range_bytes=20)
    path.write_bytes(b"".join(scanner.feed(data[at : at + step]) for at in range(0, len(data), step)))
    return RawFile(str(path), "d", 1, "t.csv", date(2024, 1, 1), scanner.finish())


def rows_of(file: RawFile, source: CsvSource, contract: Contract) -> list[dict[str, Any]]:
    rows = [row for part in file.scan.ranges for row in read_range(file, part, source, contract).to_pylist()]
    assert [row[f.SOURCE_RECORD] for row in rows] == list(range(1, file.scan.records + 1))
    return rows


def read(path: Path, data: bytes, source: CsvSource, contract: Contract) -> list[dict[str, Any]]:
    return rows_of(scanned(path, data, source, contract), source, contract)


CELL = st.text(st.sampled_from('ab1 "\'\\,;|\t\r\n#é漢\ufeff'), max_size=6)


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    rows=st.lists(st.lists(CELL, min_size=1, max_size=4), min_size=1, max_size=12),
    width=st.integers(1, 3),
    newline=st.sampled_from(["\n", "\r\n", "\r"]),
    comment=st.sampled_from([None, "#"]),
    encoding=st.sampled_from(["utf-8", "utf-16"]),
    end=st.booleans(),
)
def test_cells_ragged_records_and_raw_text_agree_with_the_csv_module(
    tmp_path: Path, rows: list[list[str]], width: int, newline: str, comment: str | None, encoding: str, end: bool
) -> None:
    out = io.StringIO()
    lines: list[str] = []
    for i, row in enumerate(rows):
        out.seek(0)
        out.truncate()
        # The module itself leaves a CR unquoted where lines end with LF, and the other way round.
        broken = any(end_of_line in cell for cell in row for end_of_line in "\r\n")
        quoted = csv.writer(out, lineterminator=newline, quoting=csv.QUOTE_ALL)
        (quoted if broken else csv.writer(out, lineterminator=newline)).writerow(row)
        if comment and i % 3 == 0:
            lines.append(f'# a "comment{newline}')
        lines.append(out.getvalue())
    assume(not comment or not any(row[0].startswith("#") for row in rows))
    text = "".join(lines)
    text = text if end else text[: -len(newline)]
    assume(not text.startswith("\ufeff"))
    source = CsvSource(where=HERE, id="t", header=False, comment=comment, encoding=encoding)
    contract = strings(*(f"c{i}" for i in range(width)))

    file = scanned(tmp_path / "t.csv", text.encode(encoding), source, contract)
    found = rows_of(file, source, contract)

    assert len(found) == len(rows)
    numbers = range(1, len(rows) + 1)
    raw = dict(raw_records(file.path, file.scan, numbers, source))
    for number, (row, got) in enumerate(zip(rows, found, strict=True), 1):
        if len(row) == width:
            assert [got[f"c{i}"] for i in range(width)] == [cell or None for cell in row]
            assert got[f.STATUS] is None and got[f.ERRORS] is None
        else:
            assert [got[f"c{i}"] for i in range(width)] == [None] * width
            assert (got[f.STATUS], got[f.ERRORS][0]["code"]) == ("quarantined", "ragged")
            assert got[f.ERRORS][0]["message"] == f"the record must have {width} fields and has {len(row)}"
        again = raw[number].decode("utf-8")
        assert next(csv.reader(io.StringIO(again, newline=""))) == row
    some = list(numbers)[::2]
    assert dict(raw_records(file.path, file.scan, some, source)) == {n: raw[n] for n in some}


def test_cells_keep_their_spaces_and_quotes_in_the_middle(tmp_path: Path) -> None:
    data = b'1, 19" rack ,x\n2,"quo""ted" tail,\n'
    rows = read(tmp_path / "t", data, CsvSource(where=HERE, id="t", header=False), strings("a", "b", "c"))
    assert [(r["a"], r["b"], r["c"]) for r in rows] == [("1", ' 19" rack ', "x"), ("2", 'quo"ted tail', None)]


def test_columns_match_by_name_whatever_their_order(tmp_path: Path) -> None:
    (row,) = read(tmp_path / "t", b"b,a\n1,2\n", CsvSource(where=HERE, id="t"), strings("a", "b"))
    assert (row["a"], row["b"]) == ("2", "1")


@pytest.mark.parametrize("encoding", ["iso-8859-1", "windows-1252", "utf-16", "utf-16-be"])
def test_other_encodings_become_text(tmp_path: Path, encoding: str) -> None:
    source = CsvSource(where=HERE, id="t", encoding=encoding)
    (row,) = read(tmp_path / "t", "a,b\nmünchen,ß\n".encode(encoding), source, strings("a", "b"))
    assert (row["a"], row["b"]) == ("münchen", "ß")


def test_escapes(tmp_path: Path) -> None:
    source = CsvSource(where=HERE, id="t", header=False, escape="\\")
    rows = read(tmp_path / "t", b'1,"a\\"\nb"\n2,x\\,y\n3,\\\\\n', source, strings("a", "b"))
    assert [(r["a"], r["b"]) for r in rows] == [("1", 'a"\nb'), ("2", "x,y"), ("3", "\\")]


def test_null_values_and_blank_records_of_one_column(tmp_path: Path) -> None:
    source = CsvSource(where=HERE, id="t", header=False, null_values=("", "NULL"))
    contract = Contract("t", (Field("a", STRING, nullable=False),), HERE)
    rows = read(tmp_path / "t", b'x\n\nNULL\n""\ny\n', source, contract)
    assert [r["a"] for r in rows] == ["x", None, None, None, "y"]
    assert [r[f.STATUS] for r in rows] == [None, "quarantined", "quarantined", "quarantined", None]


def test_a_nul_byte_quarantines_its_record(tmp_path: Path) -> None:
    data = (SAMPLES / "csvkit" / "null_byte.csv").read_bytes() + b"4,5,6\n"
    rows = read(tmp_path / "t", data, CsvSource(where=HERE, id="t"), strings("a", "b", "c"))
    assert [r[f.STATUS] for r in rows] == ["quarantined", None]
    assert [(e["column"], e["code"]) for e in rows[0][f.ERRORS]] == [("a", "nul_byte")]


def test_defective_rows_of_a_sample(tmp_path: Path) -> None:
    data = (SAMPLES / "frictionless" / "defective-rows.csv").read_bytes()
    rows = read(tmp_path / "t", data, CsvSource(where=HERE, id="t"), strings("id", "name", "age"))
    assert [r[f.ERRORS][0]["message"] for r in rows] == [
        "the record must have 3 fields and has 2",
        "the record must have 3 fields and has 4",
    ]


def test_a_50_megabyte_field_within_the_limit_is_read(tmp_path: Path) -> None:
    source = CsvSource(where=HERE, id="t", header=False, max_record_bytes=64 * 1024 * 1024)
    data = b"1,2\n3," + b"x" * 50_000_000 + b"\n4,5\n"
    contract = Contract("t", (Field("a", STRING), Field("b", STRING, constraints=Constraints(max_length=9))), HERE)
    file = scanned(tmp_path / "t", data, source, contract, 1 << 20)
    assert file.scan.findings == ()
    rows = rows_of(file, source, contract)
    assert [r[f.STATUS] for r in rows] == [None, "quarantined", None]
    assert len(rows[1]["b"]) == 50_000_000


def test_a_file_changed_after_the_scan_is_refused_by_name(tmp_path: Path) -> None:
    source = CsvSource(where=HERE, id="t", header=False)
    contract = strings("a", "b")
    file = scanned(tmp_path / "t", b"1,secret\n2,y\n", source, contract)
    for changed in (b"1,secret 2,y\n", b"1,secr\n,\n2,y\n", b"1,\xff\xffcret\n2,y\n"):
        Path(file.path).write_bytes(changed)
        with pytest.raises(RecordCountError, match=r"t\.csv") as raised:
            rows_of(file, source, contract)
        assert "secret" not in str(raised.value)


def test_raw_records_that_do_not_exist(tmp_path: Path) -> None:
    source = CsvSource(where=HERE, id="t", header=False)
    file = scanned(tmp_path / "t", b"1,x\n2,y\n", source, strings("a", "b"))
    for number in (0, 3):
        with pytest.raises(ValueError, match="records 1 to 2"):
            list(raw_records(file.path, file.scan, [number], source))
    assert list(raw_records(file.path, Scan.of(file.scan.as_dict()), [2, 1, 2], source)) == [(1, b"1,x"), (2, b"2,y")]
