"""Where Spark and Sail were found to differ, the language is settled: refused when checked, or the same on both.

`tests/data/engine_differences.txt` has a line for each difference: what was asked of both (`col` before it: over a
column of texts), after `>>` what a definition would have to say where that is not the same, `=>`, and one of

    refused LK212 unknown function 'typeof'      what `lake check` says of it, from its beginning
    decimal(18,2) Decimal('1.50')                its type and value, or !reason for a null with that reason, on both
    tests/engine/test_x.py::test_y               what is no expression of the language stands behind another door
"""

from __future__ import annotations

import ast
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from pipeline_xml.expressions.compile import compile_expression
from pipeline_xml.location import Location
from pipeline_xml.problems import Problems
from resources.engine import Engine
from tests.expression_rows import SCOPE, compiled, evaluate
from tests.step_plans import contract, problems

PROJECT = Path(__file__).parents[2]
FILE = PROJECT / "tests" / "data" / "engine_differences.txt"
OVER_A_COLUMN = re.compile(r"col try_cast\((?P<text>'.*') as (?P<type>.*)\)")


@dataclass(frozen=True)
class Difference:
    """`text` is the expression of ours, over the column `s` with the value `cell` where there is one."""

    asked: str
    text: str
    cell: str | None
    settled: str


def differences() -> list[Difference]:
    found = []
    for line in FILE.read_text(encoding="utf-8").splitlines():
        if not line or line.startswith("#"):
            continue
        question, settled = line.split(" => ")
        asked, _, text = question.partition(" >> ")
        column = OVER_A_COLUMN.fullmatch(asked)
        cell = ast.literal_eval(column["text"]) if column else None
        if column:
            text = f"try_cast(s as {column['type']})"
        found.append(Difference(asked, text or re.sub(r"^(agg|win) ", "", asked), cell, settled))
    return found


ALL = differences()
REFUSED = [d for d in ALL if d.settled.startswith("refused ")]
ELSEWHERE = [d for d in ALL if "::" in d.settled]
EQUAL = [d for d in ALL if d not in REFUSED and d not in ELSEWHERE]


def test_no_difference_is_left_out() -> None:
    """173 of the 2,168 cells that were compared."""
    assert len({d.asked for d in ALL}) == len(ALL) == 173


@pytest.mark.parametrize("found", REFUSED, ids=lambda d: d.asked)
def test_refused_when_checked(found: Difference) -> None:
    problems = Problems()
    assert compile_expression(found.text, SCOPE, Location("difference"), problems) is None
    said = problems.found[0]
    assert f"{said.code} {said.message.removeprefix('expression: ')}".startswith(found.settled.removeprefix("refused "))


def test_the_same_on_both_engines(engine: Engine) -> None:
    rows = [{"s": cell} for cell in dict.fromkeys(d.cell for d in EQUAL)]
    table = evaluate(engine, [compiled(d.text) for d in EQUAL], rows)
    cells = [row["s"] for row in rows]
    wrong = []
    for number, found in enumerate(EQUAL):
        at = cells.index(found.cell)
        told = written(compiled(found.text).type, table[f"v{number}"][at].as_py(), table[f"p{number}"][at].as_py())
        if told != found.settled:
            wrong.append(f"{found.asked}: {told}, not {found.settled}")
    assert not wrong, f"{engine.name}:\n" + "\n".join(wrong)


def written(kind: object, value: Any, reason: str | None) -> str:
    return f"{kind} {f'!{reason}' if reason else repr(value)}"


@pytest.mark.parametrize("found", ELSEWHERE, ids=lambda d: d.asked)
def test_what_is_no_expression_has_a_test_of_its_own(found: Difference) -> None:
    path, _, name = found.settled.partition("::")
    tests = ast.parse((PROJECT / path).read_text(encoding="utf-8")).body
    assert name in {each.name for each in tests if isinstance(each, ast.FunctionDef)}


@pytest.mark.parametrize(
    ("metric", "type_"),
    [("max:id:n", "string"), ("count:n", "bigint"), ("avg:n:n", "double"), ("max:m:n", "decimal(12,4)"),
     ("max:day:n", "date")],
)  # fmt: skip
def test_union_takes_columns_of_one_type(tmp_path: Path, metric: str, type_: str) -> None:
    """So that no engine is asked which type is the wider one."""
    source = contract(
        {
            "id": {"type": "string"},
            "n": {"type": "integer"},
            "m": {"type": "number", "x-type": "decimal(12,4)"},
            "day": {"type": "string", "format": "date"},
        }
    )
    steps = f"""<select source="s" columns="id,n" as="rows"/>
      <aggregate source="s" groupBy="id" metrics="{metric}" as="groups"/><union sources="rows,groups" as="u"/>"""
    (problem,) = problems(tmp_path, steps, source)
    assert problem.code == "LK304"
    assert problem.message == f"<union>: n is int in 'rows' and {type_} in 'groups'"
