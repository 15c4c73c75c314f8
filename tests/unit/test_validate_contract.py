"""Every violation of a record is collected, with the valid values and never the value itself."""

from __future__ import annotations

import operator
from decimal import Decimal

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline_xml.contract import Constraints, Contract, Field
from pipeline_xml.location import Location
from pipeline_xml.types import BIGINT, DATE, DOUBLE, INT, STRING, DataType, decimal
from processing.validate import validate

HERE = Location("test.json")


def check(
    field: Field, cells: list[str | None], null_values: tuple[str, ...] = ("",)
) -> tuple[list[list[object]], list[list[str]]]:
    """The typed columns, and the codes of each row's errors."""
    batch = pa.RecordBatch.from_arrays([pa.array(cells, pa.string())], names=[field.name])
    typed, found = validate(batch, Contract("t", (field,), HERE), null_values)
    errors = found.array(len(cells)).to_pylist()
    assert [e is not None for e in errors] == found.mask(len(cells)).tolist()
    for entry in (e for row in errors if row for e in row):
        assert entry["rule"] == f"contract.{field.name}.{entry['code']}"
        assert (entry["column"], entry["severity"]) == (field.name, "error")
    return [c.to_pylist() for c in typed], [[e["code"] for e in row or ()] for row in errors]


def broken(field: Field, cells: list[str | None]) -> list[str | None]:
    """The cells that break the field."""
    return [cell for cell, errors in zip(cells, check(field, cells)[1], strict=True) if errors]


def test_null_values_and_required() -> None:
    (values,), errors = check(Field("a", STRING, nullable=False), ["x", "", "NULL", None, "null"], ("", "NULL"))
    assert values == ["x", None, None, None, "null"]
    assert errors == [[], ["required"], ["required"], ["required"], []]


def test_codes_stand_beside_the_null_value_and_satisfy_required() -> None:
    field = Field("a", INT, nullable=False, codes=("NA", "8888"), constraints=Constraints(enum=("1", "2")))
    (values, codes), errors = check(field, ["1", "NA", "8888", "3", "na", None])
    assert values == [1, None, None, 3, None, None]
    assert codes == [None, "NA", "8888", None, None, None]
    assert errors == [[], [], [], ["enum"], ["type"], ["required"]]


def test_a_field_without_a_column_is_null_in_every_row() -> None:
    batch = pa.RecordBatch.from_arrays([pa.array(["1", "2"])], names=["a"])
    contract = Contract("t", (Field("a", INT), Field("b", DATE), Field("c", STRING, nullable=False)), HERE)
    typed, found = validate(batch, contract)
    assert [c.to_pylist() for c in typed] == [[1, 2], [None, None], [None, None]]
    assert [[e["code"] for e in row] for row in found.array(2).to_pylist()] == [["required"], ["required"]]


def test_every_reason_of_a_record_is_kept_in_the_order_of_the_columns() -> None:
    batch = pa.RecordBatch.from_arrays(
        [pa.array(["abcdef", "ab"]), pa.array(["x", "5"]), pa.array([None, "q"], pa.string())], names=["a", "b", "c"]
    )
    limits = Constraints(max_length=3, pattern="^z", enum=("z",))
    contract = Contract(
        "t", (Field("a", STRING, constraints=limits), Field("b", INT), Field("c", STRING, nullable=False)), HERE
    )
    _, found = validate(batch, contract)
    assert [[e["rule"] for e in row] for row in found.array(2).to_pylist()] == [
        ["contract.a.enum", "contract.a.pattern", "contract.a.maxLength", "contract.b.type", "contract.c.required"],
        ["contract.a.enum", "contract.a.pattern"],
    ]


def test_messages_say_what_is_valid_and_never_the_value() -> None:
    field = Field("a", decimal(9, 2), codes=("NA",), constraints=Constraints(minimum=Decimal("0.5")))
    batch = pa.RecordBatch.from_arrays([pa.array(["s3cret", "0.25"])], names=["a"])
    _, found = validate(batch, Contract("t", (field,), HERE))
    assert [row[0]["message"] for row in found.array(2).to_pylist()] == [
        "a must be a number with at most 7 digits before the point and 2 after it, or one of the codes NA",
        "a must be at least 0.5, or one of the codes NA",
    ]


def test_lengths_count_code_points() -> None:
    field = Field("a", STRING, constraints=Constraints(min_length=2, max_length=3))
    assert broken(field, ["é", "éé", "漢字語", "😀😀😀😀", "abc", None]) == ["é", "😀😀😀😀"]


def test_patterns_are_searched_not_anchored() -> None:
    field = Field("a", STRING, constraints=Constraints(pattern="[0-9]{2}"))
    assert broken(field, ["x12y", "1", "\u0661\u0662", None]) == ["1", "\u0661\u0662"]


NUMBERS = st.integers(-30, 30).map(lambda n: Decimal(n) / 10)


@given(
    kind=st.sampled_from([INT, BIGINT, decimal(9, 1), decimal(4, 3), DOUBLE]),
    values=st.lists(NUMBERS, min_size=1, max_size=6),
    limit=st.one_of(NUMBERS, st.sampled_from([Decimal("1e20"), Decimal("-1e20"), Decimal("0.05"), Decimal("2.00")])),
)
def test_limits(kind: DataType, values: list[Decimal], limit: Decimal) -> None:
    """Limits that are no value of the type themselves (2.5 for whole numbers, 1e20 for int) hold all the same."""
    if kind in (INT, BIGINT):
        values = [Decimal(int(v)) for v in values]
    cells: list[str | None] = [str(v) for v in values]
    for constraints, keeps in (
        (Constraints(minimum=limit), operator.ge),
        (Constraints(maximum=limit), operator.le),
        (Constraints(exclusive_minimum=limit), operator.gt),
        (Constraints(exclusive_maximum=limit), operator.lt),
    ):
        expected = [c for c, v in zip(cells, values, strict=True) if not keeps(v, limit)]
        assert broken(Field("a", kind, constraints=constraints), cells) == expected


@pytest.mark.parametrize("null_values", [(), ("",)])
def test_an_empty_batch(null_values: tuple[str, ...]) -> None:
    for kind in (STRING, INT, decimal(5, 2), DOUBLE, DATE):
        limits = Constraints(minimum=Decimal(1), pattern="x")
        field = Field("a", kind, nullable=False, codes=("NA",), constraints=limits)
        assert check(field, [], null_values) == ([[], []], [])
