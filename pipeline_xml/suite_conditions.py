"""`row_condition` of an expectation over rows: the rows it is about, written as a condition of our language.

    {"type": "comparison" | "nullity" | "and" | "or", …}    the conditions of Great Expectations 1.9 and later
    col("age") >= 18, col("name").notnull()                 with condition_parser "great_expectations"
    age >= 18 and name is not null                          with condition_parser "spark": an expression as any other

A row for which the condition is false or null is not looked at, as in Great Expectations on SQL and Spark. What is
written for pandas is refused: it is code of another language.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from pipeline_xml.rule_text import BadRule, json_literal, name
from pipeline_xml.types import DataType

CONDITION, PARSER = "row_condition", "condition_parser"
ARGUMENTS = (CONDITION, PARSER)
SPARK = "spark"
_OURS = ("great_expectations", "great_expectations__experimental__")
_SIGNS = {"==": "=", "!=": "<>", "<": "<", "<=": "<=", ">": ">", ">=": ">="}
_NUMBER = r"[+-]?\d+(?:\.\d*)?(?:[eE][+-]?\d+)?"
_TEXT = re.compile(
    r"""\s*col\("(?P<column>[^"]+)"\)\s*(?:(?P<present>\.notnull\(\))|(?P<sign>==|!=|<=|>=|<|>)\s*"""
    rf"""(?:(?P<number>{_NUMBER})|(?:date\()?(?P<quote>["'])(?P<value>[^"']*)(?P=quote)\)?))\s*""",
    re.IGNORECASE,
)
_DEEPEST = 20

Scope = Mapping[str, DataType]


class UnknownColumn(BadRule):
    """A condition names a column that is not there."""


def condition_text(arguments: Mapping[str, Any], scope: Scope) -> str | None:
    """The condition as an expression, None where there is none; BadRule and UnknownColumn about `row_condition`."""
    written, parser = arguments.get(CONDITION), arguments.get(PARSER)
    if written is None:
        return None
    if isinstance(written, dict):
        return _condition(written, scope, 0)
    if not isinstance(written, str):
        raise BadRule("row_condition is a condition or a text", CONDITION)
    if parser == SPARK:
        return written
    if parser not in _OURS:
        hint = 'write it as {"type": "comparison", …}, or as an expression with "condition_parser": "spark"'
        raise BadRule(f"what is written for {parser or 'pandas'} is not read here; {hint}", CONDITION)
    found = _TEXT.fullmatch(written)
    if found is None:
        raise BadRule('row_condition is not of the form col("name") >= value, or col("name").notnull()', CONDITION)
    column = _known(found["column"], scope)
    if found["present"]:
        return f"{name(column)} is not null"
    value: Any = found["value"] if found["number"] is None else Decimal(found["number"])
    return f"{name(column)} {_SIGNS[found['sign']]} {_value(value, scope[column])}"


def only_where(condition: str | None, text: str) -> str:
    """The expectation's text, of no concern where the condition is not true."""
    # A line of its own: what follows must not become part of a comment at its end.
    return text if condition is None else f"coalesce(not ({condition}\n), true) or ({text})"


def _condition(written: Mapping[str, Any], scope: Scope, depth: int) -> str:
    kind, parts = written.get("type"), written.get("conditions")
    if kind in ("and", "or") and isinstance(parts, list) and parts and depth < _DEEPEST:
        texts = [_condition(part, scope, depth + 1) for part in parts if isinstance(part, dict)]
        if len(texts) == len(parts):
            return f" {kind} ".join(f"({text})" for text in texts)
    column = written.get("column")
    given = column.get("name") if isinstance(column, dict) else None
    if kind == "nullity" and isinstance(given, str) and isinstance(written.get("is_null"), bool):
        return f"{name(_known(given, scope))} is {'' if written['is_null'] else 'not '}null"
    if kind == "comparison" and isinstance(given, str):
        return _comparison(_known(given, scope), written.get("operator"), written.get("parameter"), scope)
    raise BadRule("a condition is a comparison, nullity, and, or", CONDITION)


def _comparison(column: str, sign: Any, parameter: Any, scope: Scope) -> str:
    if sign in ("IN", "NOT_IN") and isinstance(parameter, list) and parameter:
        values = ", ".join(_value(value, scope[column]) for value in parameter)
        return f"{name(column)} {'not ' if sign == 'NOT_IN' else ''}in ({values})"
    if sign in _SIGNS:
        return f"{name(column)} {_SIGNS[sign]} {_value(parameter, scope[column])}"
    valid = ", ".join([*_SIGNS, "IN", "NOT_IN"])
    raise BadRule(f"the operator of a comparison is one of {valid}, the last two with a list", CONDITION)


def _value(value: Any, kind: DataType) -> str:
    return json_literal(value, kind, CONDITION, "a column is compared with a text, a number or a boolean")


def _known(column: str, scope: Scope) -> str:
    if column not in scope:
        raise UnknownColumn(column, CONDITION)
    return column
