"""Expectations over single rows, written as expressions: the record breaks one where its expression is false.

As in Great Expectations a row whose column is null is not looked at, but where null is what is asked for.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from itertools import combinations
from typing import Any

from pipeline_xml.rule_text import BadRule, json_literal, name, quoted
from pipeline_xml.types import INT, DataType

Arguments = Mapping[str, Any]
Scope = Mapping[str, DataType]

COLUMNS = ("column", "column_A", "column_B", "column_list")  # the arguments that name columns
ANY_MISSING, BOTH_MISSING = "any_value_is_missing", "both_values_are_missing"


@dataclass(frozen=True, slots=True)
class RowForm:
    """How one kind is written: what it needs, what it may have, and its text from arguments and column types."""

    needs: tuple[str, ...]
    may: tuple[str, ...]
    text: Callable[[Arguments, Scope], str]


def columns_of(arguments: Arguments) -> tuple[str, ...]:
    """The columns that an expectation names, in order; BadRule where one is no text."""
    found: list[str] = []
    for argument in COLUMNS:
        value = arguments.get(argument, [])
        for column in value if isinstance(value, list) else [value]:
            if not isinstance(column, str):
                raise BadRule("a column is named by a text", argument)
            found.append(column)
    return tuple(dict.fromkeys(found))


def _value(value: Any, kind: DataType, argument: str) -> str:
    return json_literal(value, kind, argument, "a value is a text, a number or a boolean")


def _list(arguments: Arguments, argument: str) -> Sequence[Any]:
    values = arguments[argument]
    if not isinstance(values, list) or not values:
        raise BadRule(f"{argument} is a list that is not empty", argument)
    return values


def _texts(arguments: Arguments, argument: str) -> list[str]:
    values = _list(arguments, argument)
    if not all(isinstance(value, str) for value in values):
        raise BadRule(f"{argument} is a list of texts", argument)
    return list(values)


def _flag(arguments: Arguments, argument: str) -> bool:
    value = arguments.get(argument, False)
    if not isinstance(value, bool):
        raise BadRule(f"{argument} is true or false", argument)
    return value


def _in_set(arguments: Arguments, scope: Scope) -> str:
    column = arguments["column"]
    values = [_value(v, scope[column], "value_set") for v in _list(arguments, "value_set") if v is not None]
    if not values:
        raise BadRule("value_set is a list with a value", "value_set")
    return f"{name(column)} in ({', '.join(values)})"


def _bounds(what: str, kind: DataType, arguments: Arguments) -> str:
    parts = []
    for argument, strict, sign in (("min_value", "strict_min", ">"), ("max_value", "strict_max", "<")):
        if arguments.get(argument) is not None:
            equal = "" if _flag(arguments, strict) else "="
            parts.append(f"{what} {sign}{equal} {_value(arguments[argument], kind, argument)}")
    if not parts:
        raise BadRule("neither min_value nor max_value is given", "min_value")
    return " and ".join(parts)


def _between(arguments: Arguments, scope: Scope) -> str:
    kind = scope[arguments["column"]]
    if kind.kind == "boolean":
        raise BadRule("a boolean has no order", "column")
    return _bounds(name(arguments["column"]), kind, arguments)


def _string(arguments: Arguments, scope: Scope) -> str:
    """The column, which has to be a text."""
    column = arguments["column"]
    if scope[column].kind != "string":
        raise BadRule(f"it needs a string, and {column} is {scope[column]}", "column")
    return name(column)


def _length(arguments: Arguments, scope: Scope) -> str:
    return _bounds(f"length({_string(arguments, scope)})", INT, arguments)


def _length_is(arguments: Arguments, scope: Scope) -> str:
    return f"length({_string(arguments, scope)}) = {_value(arguments['value'], INT, 'value')}"


def _pattern(argument: str, operator: str, wanted: bool) -> Callable[[Arguments, Scope], str]:
    def text(arguments: Arguments, scope: Scope) -> str:
        if not isinstance(arguments[argument], str):
            raise BadRule(f"{argument} is a text", argument)
        found = f"{_string(arguments, scope)} {operator} {quoted(arguments[argument])}"
        return found if wanted else f"not ({found})"

    return text


def _patterns(argument: str, operator: str, wanted: bool) -> Callable[[Arguments, Scope], str]:
    def text(arguments: Arguments, scope: Scope) -> str:
        column = _string(arguments, scope)
        match_on = arguments.get("match_on", "any")
        if match_on not in ("any", "all"):
            raise BadRule("match_on is any or all", "match_on")
        word = " and " if match_on == "all" and wanted else " or "
        found = word.join(f"{column} {operator} {quoted(pattern)}" for pattern in _texts(arguments, argument))
        return found if wanted else f"not ({found})"

    return text


def _both_missing(arguments: Arguments) -> bool:
    """Whether a pair with one null is judged (and then fails), as Great Expectations does unless told otherwise."""
    said = arguments.get("ignore_row_if", BOTH_MISSING)
    if said not in (BOTH_MISSING, "either_value_is_missing"):
        raise BadRule(f"ignore_row_if is {BOTH_MISSING} or either_value_is_missing here", "ignore_row_if")
    return bool(said == BOTH_MISSING)


def _unless_missing(columns: Sequence[str], text: str) -> str:
    """Rows with a null in one of the columns are not judged; false and null would be false."""
    return " or ".join([*(f"{name(column)} is null" for column in columns), f"({text})"])


def _pair(arguments: Arguments, text: str) -> str:
    if not _both_missing(arguments):
        return _unless_missing([arguments["column_A"], arguments["column_B"]], text)
    a, b = name(arguments["column_A"]), name(arguments["column_B"])
    return f"({a} is null and {b} is null) or coalesce({text}, false)"


def _equal_pair(arguments: Arguments, _scope: Scope) -> str:
    return _pair(arguments, f"{name(arguments['column_A'])} = {name(arguments['column_B'])}")


def _greater(arguments: Arguments, _scope: Scope) -> str:
    sign = ">=" if _flag(arguments, "or_equal") else ">"
    return _pair(arguments, f"{name(arguments['column_A'])} {sign} {name(arguments['column_B'])}")


def _pair_in_set(arguments: Arguments, scope: Scope) -> str:
    a, b = arguments["column_A"], arguments["column_B"]
    pairs = []
    for pair in _list(arguments, "value_pairs_set"):
        if not isinstance(pair, list) or len(pair) != 2:
            raise BadRule("value_pairs_set is a list of pairs", "value_pairs_set")
        left, right = (_value(v, scope[c], "value_pairs_set") for v, c in zip(pair, (a, b), strict=True))
        pairs.append(f"({name(a)} = {left} and {name(b)} = {right})")
    return _pair(arguments, " or ".join(pairs))


def _several(arguments: Arguments, at_least: int = 2) -> list[str]:
    columns = _texts(arguments, "column_list")
    if len(columns) < at_least:
        raise BadRule(f"column_list has at least {at_least} columns", "column_list")
    if arguments.get("ignore_row_if") != ANY_MISSING:
        hint = f'say "ignore_row_if": "{ANY_MISSING}": rows with some of the columns null cannot be judged here'
        raise BadRule(hint, "ignore_row_if" if "ignore_row_if" in arguments else "column_list")
    return columns


def _distinct(arguments: Arguments, _scope: Scope) -> str:
    columns = _several(arguments)
    return _unless_missing(columns, " and ".join(f"{name(a)} <> {name(b)}" for a, b in combinations(columns, 2)))


def _all_equal(arguments: Arguments, _scope: Scope) -> str:
    first, *others = _several(arguments)
    return _unless_missing([first, *others], " and ".join(f"{name(first)} = {name(other)}" for other in others))


def _sum(arguments: Arguments, scope: Scope) -> str:
    columns = _several(arguments)
    odd = next((c for c in columns if not scope[c].numeric), None)
    if odd is not None:
        raise BadRule(f"a sum needs numbers, and {odd} is {scope[odd]}", "column_list")
    total = arguments["sum_total"]
    kind = DataType("double") if isinstance(total, Decimal) else DataType("bigint")
    return f"{' + '.join(map(name, columns))} = {_value(total, kind, 'sum_total')}"


def unique_key(arguments: Arguments, _scope: Scope) -> tuple[str, ...]:
    """The columns in which no two records of a batch may agree."""
    return tuple(_several(arguments)) if "column_list" in arguments else (arguments["column"],)


_COLUMN, _PAIRED, _LISTED = ("column",), ("column_A", "column_B"), ("column_list",)
_STRICT = ("min_value", "max_value", "strict_min", "strict_max")

ROWS: Mapping[str, RowForm] = {
    "expect_column_values_to_not_be_null": RowForm(_COLUMN, (), lambda a, _: f"{name(a['column'])} is not null"),
    "expect_column_values_to_be_null": RowForm(_COLUMN, (), lambda a, _: f"{name(a['column'])} is null"),
    "expect_column_values_to_be_in_set": RowForm((*_COLUMN, "value_set"), (), _in_set),
    "expect_column_values_to_not_be_in_set": RowForm(
        (*_COLUMN, "value_set"), (), lambda a, s: f"not ({_in_set(a, s)})"
    ),
    "expect_column_values_to_be_between": RowForm(_COLUMN, _STRICT, _between),
    "expect_column_value_lengths_to_be_between": RowForm(_COLUMN, _STRICT, _length),
    "expect_column_value_lengths_to_equal": RowForm((*_COLUMN, "value"), (), _length_is),
    "expect_column_values_to_match_regex": RowForm((*_COLUMN, "regex"), (), _pattern("regex", "rlike", True)),
    "expect_column_values_to_not_match_regex": RowForm((*_COLUMN, "regex"), (), _pattern("regex", "rlike", False)),
    "expect_column_values_to_match_regex_list": RowForm(
        (*_COLUMN, "regex_list"), ("match_on",), _patterns("regex_list", "rlike", True)
    ),
    "expect_column_values_to_not_match_regex_list": RowForm(
        (*_COLUMN, "regex_list"), (), _patterns("regex_list", "rlike", False)
    ),
    "expect_column_values_to_match_like_pattern": RowForm(
        (*_COLUMN, "like_pattern"), (), _pattern("like_pattern", "like", True)
    ),
    "expect_column_values_to_not_match_like_pattern": RowForm(
        (*_COLUMN, "like_pattern"), (), _pattern("like_pattern", "like", False)
    ),
    "expect_column_values_to_match_like_pattern_list": RowForm(
        (*_COLUMN, "like_pattern_list"), ("match_on",), _patterns("like_pattern_list", "like", True)
    ),
    "expect_column_values_to_not_match_like_pattern_list": RowForm(
        (*_COLUMN, "like_pattern_list"), (), _patterns("like_pattern_list", "like", False)
    ),
    "expect_column_pair_values_to_be_equal": RowForm(_PAIRED, ("ignore_row_if",), _equal_pair),
    "expect_column_pair_values_a_to_be_greater_than_b": RowForm(_PAIRED, ("or_equal", "ignore_row_if"), _greater),
    "expect_column_pair_values_to_be_in_set": RowForm((*_PAIRED, "value_pairs_set"), ("ignore_row_if",), _pair_in_set),
    "expect_select_column_values_to_be_unique_within_record": RowForm(_LISTED, ("ignore_row_if",), _distinct),
    "expect_multicolumn_values_to_be_equal": RowForm(_LISTED, ("ignore_row_if",), _all_equal),
    "expect_multicolumn_sum_to_equal": RowForm((*_LISTED, "sum_total"), ("ignore_row_if",), _sum),
}
# Judged by comparing records: every record of a key that several have breaks the expectation.
KEYS: Mapping[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "expect_column_values_to_be_unique": (_COLUMN, ()),
    "expect_compound_columns_to_be_unique": (_LISTED, ("ignore_row_if",)),
}
