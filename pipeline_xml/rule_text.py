"""Rules such as `in` and `between`, written as expressions; literals have the type of the column they stand beside."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import date, datetime
from decimal import Decimal
from typing import Any

from pipeline_xml.place import items
from pipeline_xml.types import DataType


class BadRule(ValueError):
    """A rule that cannot be written as an expression; `attribute` is the one to look at."""

    def __init__(self, message: str, attribute: str) -> None:
        self.attribute = attribute
        super().__init__(message)


def quoted(text: str) -> str:
    """A text as a literal of the expression language: backslash and quote are escaped."""
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"


def literal(text: str, kind: DataType, attribute: str) -> str:
    """`text` as a literal that compares with a column of that type; BadRule where it is none."""
    value = text.strip()
    wrong = BadRule(f"'{value}' is no {kind}", attribute)
    if kind.kind == "string":
        return quoted(value)
    if kind.kind in ("int", "bigint"):
        if not re.fullmatch(r"-?[0-9]{1,19}", value):
            raise wrong
        return value
    if kind.kind in ("decimal", "double"):
        if not re.fullmatch(r"-?[0-9]+(\.[0-9]+)?", value):
            raise wrong
        return value
    if kind.kind == "boolean":
        if value not in ("true", "false"):
            raise wrong
        return value
    try:
        moment = date.fromisoformat(value) if kind.kind == "date" else datetime.fromisoformat(value)
    except ValueError:
        raise wrong from None
    return f"date '{moment.isoformat()}'" if kind.kind == "date" else f"timestamp '{moment:%Y-%m-%d %H:%M:%S}'"


def json_literal(value: Any, kind: DataType, argument: str, valid: str) -> str:
    """A JSON value as a literal that compares with a column of that type; BadRule with `valid` where it is none."""
    if isinstance(value, bool):
        text = "true" if value else "false"
    elif isinstance(value, int | Decimal):
        text = format(value, "f") if isinstance(value, Decimal) else str(value)
    elif isinstance(value, str):
        text = value
    else:
        raise BadRule(valid, argument)
    if kind.kind == "string":
        return quoted(text)  # as it stands: spaces at its ends count
    return literal(text, kind, argument)


def name(column: str) -> str:
    return f"`{column}`"


def not_null(rule: Mapping[str, str], _kind: DataType) -> str:
    return f"{name(rule['column'])} is not null"


def in_list(rule: Mapping[str, str], kind: DataType) -> str:
    values = [literal(v, kind, "values") for v in items(rule["values"])]
    if not values:
        raise BadRule("values is empty", "values")
    return f"{name(rule['column'])} in ({', '.join(values)})"


def between(rule: Mapping[str, str], kind: DataType) -> str:
    if kind.kind == "boolean":
        raise BadRule("a boolean has no order", "column")
    return _bounds(name(rule["column"]), rule, kind)


def matches(rule: Mapping[str, str], kind: DataType) -> str:
    if kind.kind != "string":
        raise BadRule(f"a pattern needs a string, not {kind}", "column")
    return f"{name(rule['column'])} rlike {quoted(rule['pattern'])}"


def length(rule: Mapping[str, str], kind: DataType) -> str:
    if kind.kind != "string":
        raise BadRule(f"a length needs a string, not {kind}", "column")
    return _bounds(f"length({name(rule['column'])})", rule, DataType("int"))


def _bounds(what: str, rule: Mapping[str, str], kind: DataType) -> str:
    bounds = [
        f"{what} {sign} {literal(rule[attribute], kind, attribute)}"
        for attribute, sign in (("min", ">="), ("max", "<="))
        if attribute in rule
    ]
    if not bounds:
        raise BadRule("neither min nor max is given", "column")
    return " and ".join(bounds)
