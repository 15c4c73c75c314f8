"""Every function and operator gives what `tests/data/expression_cells.txt` says, in value and type, on both engines."""

from __future__ import annotations

import ast
import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from decimal import Context, Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from pipeline_xml.expressions import Call, Expression, Tree
from pipeline_xml.expressions.compile import compile_expression
from pipeline_xml.expressions.functions import registry
from pipeline_xml.location import Location
from pipeline_xml.problems import Problems
from pipeline_xml.types import DataType, parse_type
from processing.emit import EMITTERS, emit
from resources.engine import Engine

FILE = Path(__file__).parent.parent / "data" / "expression_cells.txt"
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
BATCH = 60


@dataclass(frozen=True)
class Cell:
    line: int
    text: str
    inputs: dict[str, Any]
    result: Any
    reason: str | None
    type: DataType


def _value(data_type: DataType, written: Any) -> Any:
    if data_type.kind == "decimal":
        return Decimal(written).quantize(Decimal(1).scaleb(-data_type.scale), context=Context(prec=60))
    if data_type.kind == "date":
        return date.fromisoformat(written)
    if data_type.kind == "timestamp":
        return datetime.fromisoformat(written).replace(tzinfo=UTC)
    return written


def _result(data_type: DataType, written: str) -> Any:
    if written == "null" or written.startswith("!"):
        return None
    if data_type.kind in ("decimal", "date", "timestamp"):
        return _value(data_type, written)
    return ast.literal_eval({"true": "True", "false": "False"}.get(written, written))


def _inputs(written: str) -> dict[str, Any]:
    call = ast.parse(f"f({written})", mode="eval").body
    assert isinstance(call, ast.Call)
    found = {str(k.arg): ast.literal_eval(k.value) for k in call.keywords}
    return {name: _value(SCOPE[name], value) for name, value in found.items()}


def cells() -> list[Cell]:
    found = []
    for number, line in enumerate(FILE.read_text(encoding="utf-8").splitlines(), 1):
        if line and not line.startswith("#"):
            text, inputs, result, kind = (part.strip() for part in re.split(r" \|(?= )", line))
            data_type = parse_type(kind)
            reason = result[1:] if result.startswith("!") else None
            found.append(Cell(number, text, _inputs(inputs), _result(data_type, result), reason, data_type))
    return found


CELLS = cells()


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


def test_cells(engine: Engine) -> None:
    """All expressions over all rows; each cell looks at its own. Wrong ones are told together."""
    rows: dict[str, dict[str, Any]] = {}  # by how they are written: 0.0 equals -0.0
    for cell in CELLS:
        rows[repr(cell.inputs)] = cell.inputs
    order = list(rows)
    texts = sorted({cell.text for cell in CELLS})
    wrong = []
    for start in range(0, len(texts), BATCH):
        batch = texts[start : start + BATCH]
        table = evaluate(engine, [compiled(t) for t in batch], list(rows.values()))
        for cell in CELLS:
            if cell.text not in batch:
                continue
            index, row = batch.index(cell.text), order.index(repr(cell.inputs))
            kind = table.schema.field(f"v{index}").type
            kind = pa.string() if kind in (pa.large_string(), pa.string_view()) else kind
            value, reason = table[f"v{index}"][row].as_py(), table[f"p{index}"][row].as_py()
            if not _same(value, cell.result) or reason != cell.reason:
                wrong.append(f"line {cell.line}: {cell.text}: {value!r} {reason}, not {cell.result!r} {cell.reason}")
            if kind != arrow(cell.type):
                wrong.append(f"line {cell.line}: {cell.text}: {kind}, not {arrow(cell.type)}")
    assert not wrong, f"{engine.name}:\n" + "\n".join(wrong)


def _same(value: Any, expected: Any) -> bool:
    if type(value) is not type(expected):
        return False
    if isinstance(value, float):
        return repr(value) == repr(expected)  # -0.0 is not 0.0 here
    if isinstance(value, Decimal):
        return value.as_tuple() == Decimal(expected).as_tuple()
    return bool(value == expected)


@pytest.mark.parametrize("cell", CELLS, ids=lambda cell: f"line{cell.line}")
def test_type(cell: Cell) -> None:
    assert compiled(cell.text).type == cell.type


def _functions(tree: Tree) -> set[str]:
    if not isinstance(tree, Call):
        return set()
    return {tree.function}.union(*(_functions(a) for a in tree.arguments))


def test_every_function_has_an_emitter_and_cells() -> None:
    used: dict[str, set[bool]] = {name: set() for name in registry()}
    for cell in CELLS:
        for name in _functions(compiled(cell.text).tree):
            used[name].add(bool(cell.inputs))
    assert set(EMITTERS) == set(registry())
    assert [name for name, seen in used.items() if not seen] == []
