"""Every function and operator gives what `tests/data/expression_cells.txt` says, in value and type, on both engines."""

from __future__ import annotations

import ast
import re
from dataclasses import dataclass
from datetime import UTC, date, datetime
from decimal import Context, Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from pipeline_xml.expressions import Call, Tree
from pipeline_xml.expressions.functions import registry
from pipeline_xml.types import DataType, parse_type
from processing.emit import EMITTERS
from resources.engine import Engine
from tests.expression_rows import SCOPE, arrow, compiled, evaluate, same

FILE = Path(__file__).parent.parent / "data" / "expression_cells.txt"
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
            if not same(value, cell.result) or reason != cell.reason:
                wrong.append(f"line {cell.line}: {cell.text}: {value!r} {reason}, not {cell.result!r} {cell.reason}")
            if kind != arrow(cell.type):
                wrong.append(f"line {cell.line}: {cell.text}: {kind}, not {arrow(cell.type)}")
    assert not wrong, f"{engine.name}:\n" + "\n".join(wrong)


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
