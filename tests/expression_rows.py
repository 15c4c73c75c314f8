"""Expressions of the language computed by an engine over rows of every column type."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date
from decimal import Decimal
from typing import Any

import pyarrow as pa

from pipeline_xml.expressions import Expression
from pipeline_xml.expressions.compile import compile_expression
from pipeline_xml.location import Location
from pipeline_xml.problems import Problems
from pipeline_xml.types import DataType, parse_type
from processing.emit import emit
from resources.engine import Engine

COLUMNS = {
    **dict.fromkeys(("s", "s2"), "string"),
    **dict.fromkeys(("f", "f2"), "boolean"),
    "i": "int",
    **dict.fromkeys(("b", "b2"), "bigint"),
    "d": "decimal(18,2)",
    "e": "decimal(10,4)",
    "w": "decimal(38,0)",
    "z": "decimal(34,10)",
    **dict.fromkeys(("x", "y"), "double"),
    **dict.fromkeys(("day", "day2"), "date"),
    "t": "timestamp",
}
SCOPE = {name: parse_type(text) for name, text in COLUMNS.items()}
BINDINGS: dict[str, object] = {"businessDate": date(2024, 12, 31), "runDate": date(2025, 1, 15)}


def compiled(text: str) -> Expression:
    problems = Problems()
    found = compile_expression(text, SCOPE, Location("cells"), problems)
    assert found is not None, f"{text}: {[(p.code, p.message, p.hint) for p in problems.found]}"
    return found


def arrow(data_type: DataType) -> pa.DataType:
    if data_type.kind == "decimal":
        return pa.decimal128(data_type.precision, data_type.scale)
    return {
        "string": pa.string(),
        "boolean": pa.bool_(),
        "int": pa.int32(),
        "bigint": pa.int64(),
        "double": pa.float64(),
        "date": pa.date32(),
        "timestamp": pa.timestamp("us", "UTC"),
    }[data_type.kind]


def evaluate(engine: Engine, expressions: Sequence[Expression], rows: Sequence[dict[str, Any]]) -> pa.Table:
    """Columns v0, p0, v1, p1, … over the rows, in their order."""
    from pyspark.sql import functions as F

    data = {name: pa.array([row.get(name) for row in rows], arrow(kind)) for name, kind in SCOPE.items()}
    data["row_"] = pa.array(range(len(rows)), pa.int32())
    frame = engine.session.createDataFrame(pa.table(data))
    columns = []
    for index, expression in enumerate(expressions):
        emitted = emit(expression, lambda dataset, name: F.col(name), BINDINGS)
        problem = F.lit(None).cast("string") if emitted.problem is None else emitted.problem
        columns += [emitted.value.alias(f"v{index}"), problem.alias(f"p{index}")]
    return frame.select("row_", *columns).toArrow().sort_by("row_")


def same(value: Any, expected: Any) -> bool:
    if type(value) is not type(expected):
        return False
    if isinstance(value, float):
        return repr(value) == repr(expected)  # -0.0 is not 0.0 here
    if isinstance(value, Decimal):
        return value.as_tuple() == Decimal(expected).as_tuple()
    return bool(value == expected)
