"""Row rules on both engines: every violation of a record, and none that only repeats what could not be read."""

from __future__ import annotations

import pyarrow as pa

from pipeline_xml.checked import RowRule
from pipeline_xml.expressions.compile import compile_expression
from pipeline_xml.location import Location
from pipeline_xml.model import Rule
from pipeline_xml.problems import Problems
from pipeline_xml.types import BIGINT, STRING
from processing import frame as f
from processing.rules import apply_row_rules
from resources.engine import Engine

HERE = Location("rules.xml")
SCOPE = {"a": BIGINT, "b": BIGINT, "t": STRING, "t_code": STRING}


def rule(name: str, text: str, severity: str = "error") -> RowRule:
    problems = Problems()
    expression = compile_expression(text, SCOPE, HERE, problems)
    assert expression is not None, problems.found
    written = Rule(where=HERE, id=name, kind="satisfies", attributes={}, severity=severity, description=f"about {name}")  # type: ignore[arg-type]  # a literal in a variable
    return RowRule(written, "pack", expression, tuple(sorted(expression.columns)), "")


RULES = (
    rule("positive", "a > 0"),
    rule("present", "b is not null"),
    rule("ratio", "a / b < 5", "warning"),
    rule("both", "t is not null or t_code is not null"),
    rule("code", "t_code is not null", "warning"),
)


def entry(name: str, column: str | None) -> dict[str, str | None]:
    return {"rule": name, "column": column, "code": "type", "message": "m", "severity": "error"}


def test_every_violation_is_kept_and_nothing_is_told_twice(engine: Engine) -> None:
    cells = [
        (1, 1, "x", "c", None),
        (-1, None, None, None, None),
        (None, 1, "x", "c", None),  # a null breaks nothing
        (1, 0, "x", "c", None),  # cannot be computed
        (9, 1, "x", "c", None),  # a warning leaves the record alive
        (-1, None, "x", "c", [entry("b.type", "b")]),  # b could not be read, a is still judged
        (None, None, None, None, [entry("record.ragged", None)]),
        (1, 1, None, None, [entry("t.type", "t")]),  # nor is its code known
    ]
    struct = pa.list_(pa.struct([(name, pa.string()) for name in f.ERROR_FIELDS]))
    table = pa.table(
        {
            "n": pa.array(range(len(cells)), pa.int64()),
            **{name: pa.array([c[i] for c in cells], pa.int64()) for i, name in enumerate(("a", "b"))},
            **{name: pa.array([c[i + 2] for c in cells], pa.string()) for i, name in enumerate(("t", "t_code"))},
            f.STATUS: pa.array([f.QUARANTINED if c[4] else None for c in cells], pa.string()),
            f.ERRORS: pa.array([c[4] for c in cells], struct),
        }
    )
    out = apply_row_rules(engine.session.createDataFrame(table), RULES, {}).orderBy("n").toArrow()
    assert out.schema.field(f.ERRORS).type.value_type == struct.value_type
    found = [None if e is None else [(x["rule"], x["code"]) for x in e] for e in out[f.ERRORS].to_pylist()]
    assert found == [
        None,
        [("positive", "rule"), ("present", "rule"), ("both", "rule"), ("code", "rule")],
        None,
        [("ratio", "division_by_zero")],
        [("ratio", "rule")],
        [("b.type", "type"), ("positive", "rule")],
        [("record.ragged", "type")],
        [("t.type", "type")],
    ]
    assert out[f.STATUS].to_pylist() == [None, "quarantined", None, None, None, *["quarantined"] * 3]
    told = out[f.ERRORS].to_pylist()[1][0]
    assert told == {
        "rule": "positive", "column": "a", "code": "rule", "message": "about positive", "severity": "error",
    }  # fmt: skip
