"""Whole columns are converted exactly as single cells are defined, whatever stands among them."""

from __future__ import annotations

from datetime import UTC, date, datetime
from decimal import Decimal

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline_xml.types import BIGINT, BOOLEAN, DATE, DOUBLE, INT, TIMESTAMP, DataType, decimal
from processing.arrow_types import arrow_type
from processing.validate_cell import describe, parse
from processing.validate_types import convert

DECIMALS = [decimal(18, 2), decimal(5, 0), decimal(4, 4), decimal(15, 15), decimal(38, 10)]
TYPES = [INT, BIGINT, *DECIMALS, DOUBLE, BOOLEAN, DATE, TIMESTAMP]
NEAR = st.one_of(
    st.text(st.sampled_from("0123456789-+.eTZ: x\u0661"), max_size=20),
    st.integers(-(2**66), 2**66).map(str),
    st.decimals(allow_nan=False, allow_infinity=False, places=3, min_value=-(10**15), max_value=10**15).map(str),
    st.floats().map(str),
    st.dates().map(str),
    st.tuples(st.integers(0, 9999), st.integers(0, 13), st.integers(0, 32)).map(
        lambda t: f"{t[0]:04d}-{t[1]:02d}-{t[2]:02d}"
    ),
    st.datetimes().map(lambda d: d.isoformat()),
    st.datetimes(timezones=st.timezones()).map(lambda d: d.replace(microsecond=0).isoformat()),
    st.sampled_from(["true", "FALSE", "1", "0x10", "1_0", "inf", "NaN", "1e999", "", " 1", "1 ", "2024-02-30",
                     "2024-01-02T24:00:00", "0000-01-01", "9999-12-31T23:59:59-01:00", "2024-01-02 03", ".", "-", "5.",
                     "2024-01-02T03:04:05.1234567", "2147483648", "9223372036854775807", "9223372036854775808", "1.10",
                     ".5", "1.105", "0001-01-01T00:30:00+01:00", "\u0661", "2024-01-02T03+01",
                     "2024-01-02T03:04:05+0130"]),
)  # fmt: skip


@settings(max_examples=300, deadline=None)
@given(cells=st.lists(st.none() | NEAR, max_size=12), data_type=st.sampled_from(TYPES))
def test_columns_convert_as_cells_do(cells: list[str | None], data_type: DataType) -> None:
    for column in (cells, *([c] for c in cells)):
        typed, bad = convert(pa.array(column, pa.string()), data_type)
        expected = [None if c is None else parse(c, data_type) for c in column]
        assert typed.type == arrow_type(data_type)
        assert typed.to_pylist() == expected
        assert bad.tolist() == [i for i, c in enumerate(column) if c is not None and expected[i] is None]
        typed.validate(full=True)


@settings(max_examples=300, deadline=None)
@given(
    digits=st.lists(st.tuples(st.integers(-(10**15) + 1, 10**15 - 1), st.integers(0, 15)), min_size=1, max_size=8),
    scale=st.integers(0, 10),
)
def test_decimals_through_floating_point_are_exact(digits: list[tuple[int, int]], scale: int) -> None:
    """A digit beyond the scale is never rounded away, however long the number."""
    cells = [format(Decimal(n).scaleb(-s), "f") for n, s in digits]
    kind = decimal(38, scale)
    typed, bad = convert(pa.array(cells), kind)
    assert typed.to_pylist() == [parse(c, kind) for c in cells]
    assert bad.tolist() == [i for i, c in enumerate(cells) if Decimal(c) != round(Decimal(c), scale)]


def test_cells_that_look_like_no_value_are_not_parsed_one_by_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """A file with a broken column would cost a Python call a record."""
    looked_at: list[str] = []

    def watched(text: str, data_type: DataType) -> object | None:
        looked_at.append(text)
        return parse(text, data_type)

    monkeypatch.setattr("processing.validate_types.parse", watched)
    odd = ["x1", "1.234", "1,5", "2024-1-1", "yes", "1e5x", "", "1 ", "\u0661"]
    for kind in (INT, BIGINT, decimal(18, 2), DOUBLE, DATE, TIMESTAMP):
        wrong = [cell for cell in odd if parse(cell, kind) is None]
        _, bad = convert(pa.array([*wrong, *odd]), kind)
        assert len(bad) == 2 * len(wrong)
    assert set(looked_at) <= {""}  # a decimal or a double without digits has the shape of one
    plus, _ = convert(pa.array(["+1", "x"]), decimal(18, 2))
    assert plus[0].as_py() == Decimal("1.00") and looked_at[-1] == "+1"


@pytest.mark.parametrize("offset", [0, 3])
def test_a_slice_converts_like_a_copy(offset: int) -> None:
    cells = pa.array(["x", None, "7", "1", "bad", "3", None])
    for kind in TYPES:
        part, bad = convert(cells.slice(offset), kind)
        copy, bad_copy = convert(pa.array(cells.to_pylist()[offset:]), kind)
        assert part.equals(copy) and bad.tolist() == bad_copy.tolist()


@pytest.mark.parametrize(
    ("layout", "cell", "value"),
    [
        ("yyyyMMdd", "20240229", date(2024, 2, 29)),
        ("yyyyMMdd", "20230229", None),
        ("yyyyMMdd", "2024229", None),
        ("yyyyMMdd", "2024-229", None),
        ("yyyyMMdd", "00000101", None),
        ("dd.MM.yyyy", "31.12.9999", date(9999, 12, 31)),
        ("dd.MM.yyyy", "31-12-1999", None),
        ("yyyyMM", "202413", None),
        ("yyyyMM", "202412", date(2024, 12, 1)),
    ],
)
def test_dates_in_a_layout(layout: str, cell: str, value: date | None) -> None:
    typed, bad = convert(pa.array([None, cell, "20200101"]), DATE, layout)
    assert typed[1].as_py() == value
    assert (1 in bad.tolist()) == (value is None)


def test_timestamps_in_a_layout() -> None:
    typed, bad = convert(pa.array(["20240102 030405", "20240102 240000"]), TIMESTAMP, "yyyyMMdd HHmmss")
    assert typed.to_pylist() == [datetime(2024, 1, 2, 3, 4, 5, tzinfo=UTC), None]
    assert bad.tolist() == [1]


def test_an_unknown_layout_names_the_valid_tokens() -> None:
    with pytest.raises(ValueError, match="yyyy, MM, dd, HH, mm, ss"):
        convert(pa.array(["x"]), DATE, "YYYY-MM-DD")


def test_what_is_valid_can_be_said_of_every_type() -> None:
    assert len({describe(kind, None) for kind in TYPES}) == len(TYPES)
