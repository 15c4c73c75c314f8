"""Rules over a whole batch: exact sums, ages by the business date, and what a waiver is held against."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pytest

from pipeline_xml.checked import DatasetRule
from pipeline_xml.contract import Field
from pipeline_xml.location import Location
from pipeline_xml.model import Rule
from pipeline_xml.types import BIGINT, DATE, DOUBLE, TIMESTAMP, DataType, decimal
from publishing.dataset_rules import Rows, check_dataset

HERE = Location("rules.xml")
OTHER = ("app", "staging", "other")
DAY = date(2024, 1, 6)


def judged(kind: str, columns: Mapping[str, Any], *, types: Sequence[DataType], there: Any = None,
           theirs: Sequence[Field] = (), threshold: float | None = None, rows: int | None = None,
           **attributes: str) -> tuple[bool, int, str]:  # fmt: skip
    """(passed, failed rows, description) of a rule over an Arrow table, against another."""
    rule = Rule(where=HERE, id="r", kind=kind, attributes=attributes, threshold=threshold)
    table = pa.table(dict(columns))
    compared = None if there is None else OTHER
    made = DatasetRule(rule, "pack", tuple(columns) if types else (), "", tuple(types), compared, tuple(theirs))
    number = table.num_rows if rows is None else rows
    given = Rows(lambda names: table.select(list(names)), number, DAY, lambda _table, _names: (there, len(there)))
    found = check_dataset(made, given)
    return found.passed, found.failed_rows, found.description


@pytest.mark.parametrize(
    ("newest", "kind", "allowed", "hours"),
    [
        (date(2024, 1, 6), DATE, "PT0S", 0),
        (date(2024, 1, 5), DATE, "P1D", 0),
        (date(2024, 1, 4), DATE, "P1D", 24),
        (date(2024, 1, 9), DATE, "PT0S", 0),  # what lies ahead is not old
        (datetime(2024, 1, 6, 23, tzinfo=UTC), TIMESTAMP, "PT1H", 0),
        (datetime(2024, 1, 6, 22, 59, 59, tzinfo=UTC), TIMESTAMP, "PT1H", 1),
        (datetime(2024, 1, 5, tzinfo=UTC), TIMESTAMP, "PT12H", 36),
    ],
)
def test_age_is_measured_at_the_end_of_the_business_date(newest: Any, kind: DataType, allowed: str, hours: int) -> None:
    older = newest.replace(year=2020)
    passed, beyond, said = judged("freshness", {"c": [older, newest, None]}, types=[kind], max=allowed)
    assert (passed, beyond) == (hours == 0, hours)
    assert "2024-01-06" in said and "2020" not in said


def test_what_has_no_value_is_not_fresh_and_a_partition_is_read_as_its_type() -> None:
    nulls = pa.array([None, None], pa.date32())
    assert judged("freshness", {"c": nulls}, types=[DATE], max="P1D") == (
        False, 2, "no value in c; the newest may be P1D old",
    )  # fmt: skip
    assert not judged("freshness", {"c": pa.array([], pa.date32())}, types=[DATE], max="P1D")[0]
    assert judged("freshness", {"c": ["2024-01-05", None]}, types=[DATE], max="P1D")[:2] == (True, 0)
    assert judged("freshness", {"c": ["2024-01-03", None]}, types=[DATE], max="P1D")[:2] == (False, 48)


def sums(mine: Any, theirs: Any, kind: DataType, threshold: float | None = None) -> tuple[bool, int]:
    there = pa.table({"d": theirs})
    found = judged("reconcile", {"c": mine}, types=[kind], there=there, theirs=[Field("d", kind)], threshold=threshold)
    return found[:2]


def test_sums_are_exact_whatever_their_size() -> None:
    most = 2**63 - 1
    assert sums([most, most, 1], [1, most, most], BIGINT) == (True, 0)
    assert sums([most, most, 1], [most, most], BIGINT) == (False, 1)
    wide = pa.decimal128(38, 2)
    big = Decimal("9" * 36 + ".99")
    assert sums(pa.array([big] * 20, wide), pa.array([big] * 20, wide), decimal(38, 2)) == (True, 0)
    cent = pa.array([big] * 19 + [Decimal("9" * 36 + ".98")], wide)
    assert sums(pa.array([big] * 20, wide), cent, decimal(38, 2)) == (False, 1)
    assert sums(pa.array([Decimal("1.10"), None], wide), pa.array([Decimal("1.10")], wide), decimal(38, 2)) == (True, 0)


def test_sums_of_doubles_may_differ_by_their_noise_and_no_more() -> None:
    assert sums([0.1] * 10, [1.0], DOUBLE) == (True, 0)
    assert sums([1e16, 1.0, -1e16], [1.0], DOUBLE) == (True, 0)
    assert sums([1.0], [1.001], DOUBLE) == (False, 10)
    assert sums([float("nan")], [1.0], DOUBLE) == (False, 10_000)
    assert sums([float("inf")], [float("inf")], DOUBLE) == (False, 10_000)


def test_a_threshold_is_a_share_of_the_other_sum() -> None:
    assert sums([99], [100], BIGINT, 0.01) == (True, 0)
    assert sums([98], [100], BIGINT, 0.01) == (False, 200)
    assert sums([], [], BIGINT) == (True, 0)
    assert sums([5], pa.array([], pa.int64()), BIGINT, 0.5) == (False, 10_000)


def test_rows_are_counted_without_a_column_and_no_sum_is_told() -> None:
    there = pa.table({"d": [1, 2, 3, 4]})
    assert judged("reconcile", {"c": [1, 2, 3]}, types=[], there=there) == (False, 1, "3 rows, 4 in staging.other")
    assert judged("reconcile", {"c": [1, 2, 3]}, types=[], there=there, threshold=0.25)[0]
    secret = judged("reconcile", {"c": [123456]}, types=[BIGINT], there=pa.table({"d": [654321]}),
                    theirs=[Field("d", BIGINT)])  # fmt: skip
    assert "123456" not in secret[2] and "654321" not in secret[2]
