"""Reference tables: typed by their contract, and every problem of a file at once, by record and without a value."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path

import pyarrow as pa
import pytest

from pipeline_xml.checked import Reference
from pipeline_xml.contract import Constraints, Contract, Field
from pipeline_xml.location import Location
from pipeline_xml.types import DATE, INT, STRING, decimal
from processing.references import ReferenceBroken, load_reference

FIELDS = (
    Field("code", STRING, nullable=False, constraints=Constraints(pattern="^[A-Z]+$", max_length=3)),
    Field("size", INT, codes=("NA",), constraints=Constraints(minimum=Decimal(1), exclusive_maximum=Decimal(100))),
    Field("limit", decimal(10, 2), constraints=Constraints(maximum=Decimal("9.99"))),
    Field("since", DATE, format="yyyyMMdd"),
    Field("kind", STRING, constraints=Constraints(enum=("a", "b"))),
)


def reference(folder: Path, text: str | bytes | None) -> Reference:
    path = folder / "r.csv"
    if text is not None:
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return Reference("r", path, Contract("r", FIELDS, Location("r.json"), primary_key=("code",)), "")


def problems(folder: Path, text: str | bytes | None) -> tuple[str, ...]:
    with pytest.raises(ReferenceBroken) as broken:
        load_reference(reference(folder, text))
    return broken.value.problems


def test_cells_have_the_types_of_the_contract(tmp_path: Path) -> None:
    text = 'kind,code,size,limit,since\na,X,7,1.5,20240229\n,"Y",NA,,\n'
    table = load_reference(reference(tmp_path, text))
    assert table.schema == pa.schema(
        [("code", pa.string()), ("size", pa.int32()), ("size_code", pa.string()), ("limit", pa.decimal128(10, 2)),
         ("since", pa.date32()), ("kind", pa.string())]
    )  # fmt: skip
    assert [list(row.values())[:4] for row in table.to_pylist()] == [
        ["X", 7, None, Decimal("1.50")],
        ["Y", None, "NA", None],
    ]


def test_every_problem_is_told_by_record_and_none_shows_a_value(tmp_path: Path) -> None:
    text = "code,size,limit,since,kind\nAA,x7,9.999,2024-01-01,a\nBB,0,10.00,,zz\n,100,,,\nAA,,,,\nlong,,,,\nAA,,,,\n"
    assert problems(tmp_path, text) == (
        "column 'code' must not be empty: record 3",
        "column 'code' does not match its pattern: record 5",
        "column 'code' is too long: record 5",
        "column 'size' must be a whole number from -2147483648 to 2147483647: record 1",
        "column 'size' is below its minimum: record 2",
        "column 'size' is not below its exclusive maximum: record 3",
        "column 'limit' must be a number with at most 8 digits before the point and 2 after it: record 1",
        "column 'limit' is above its maximum: record 2",
        "column 'since' must be a date of the calendar written yyyyMMdd: record 1",
        "column 'kind' is not in its enum: record 2",
        "key column 'code' must not be empty: record 3",
        "the key (code) occurs more than once: records 1, 4, 6",
    )


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        (None, "the file does not exist"),
        ("", "it is empty"),
        ("code,size\n", "the header lacks limit, since, kind"),
        ("code,size,limit,since,kind,extra\n", "columns that the contract lacks: extra"),
        ("code,size,limit,since,kind\nA,1\nB,1,,,,,\nC,1,,,\n", "record 1 has 2 fields instead of 5"),
        ("code,size,limit,since,kind\nA,1\nB,1,,,,,\nC,1,,,\n", "record 2 has 7 fields instead of 5"),
        (b"code,size,limit,since,kind\n\xff\xfe,,,,\n", "not UTF-8"),
    ],
)
def test_a_file_that_is_no_such_table_is_refused(tmp_path: Path, text: str | bytes | None, problem: str) -> None:
    assert any(problem in told for told in problems(tmp_path, text))


def test_it_must_be_unique_on_the_key_that_a_lookup_uses(tmp_path: Path) -> None:
    table = reference(tmp_path, "code,size,limit,since,kind\nA,1,,,a\nB,2,,,a\n")
    assert load_reference(table).num_rows == 2
    with pytest.raises(ReferenceBroken, match=r"key \(kind\) occurs more than once: records 1, 2"):
        load_reference(table, ("kind",))
