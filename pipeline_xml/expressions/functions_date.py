"""Dates, timestamps (UTC) and casts. Dates run from 0001-01-01 to 9999-12-31; beyond is an overflow."""

from __future__ import annotations

from collections.abc import Callable

from pipeline_xml.expressions.codes import ARGUMENT_TYPE, Refused
from pipeline_xml.expressions.coercion import cast_to, is_null, lossless, require
from pipeline_xml.expressions.patterns import date_pattern
from pipeline_xml.expressions.signature import Arguments, Function, constant_text
from pipeline_xml.expressions.tree import Call, Literal, Tree
from pipeline_xml.types import BIGINT, DATE, INT, STRING, TIMESTAMP, DataType

_DATE_UNITS = ("year", "quarter", "month", "week")
_UNITS = (*_DATE_UNITS, "day", "hour", "minute", "second")

# From a kind to the kinds it can be cast to. Double to text is left out: engines print a double differently.
CASTS: dict[str, tuple[str, ...]] = {
    "string": ("string", "boolean", "int", "bigint", "decimal", "double", "date", "timestamp"),
    "boolean": ("boolean", "string"),
    "int": ("int", "bigint", "decimal", "double", "string"),
    "bigint": ("int", "bigint", "decimal", "double", "string"),
    "decimal": ("int", "bigint", "decimal", "double", "string"),
    "double": ("int", "bigint", "decimal", "double"),
    "date": ("date", "timestamp", "string"),
    "timestamp": ("timestamp", "date", "string"),
}
_ADVICE = {
    ("double", "string"): "cast it to a decimal first: engines print a double differently",
    ("boolean", "int"): "write if(x, 1, 0)",
    ("int", "boolean"): "write x <> 0",
    ("string", "date"): "write to_date(x, 'yyyy-MM-dd')",
}


def build_cast(tree: Tree, target: DataType, *, safe: bool = False) -> Tree:
    """`tree` as `target`, Refused where no such cast exists; a safe cast gives null where it fails."""
    if is_null(tree):
        return Literal(target, None)
    if target.kind not in CASTS[tree.type.kind]:
        raise Refused(
            ARGUMENT_TYPE,
            f"{tree.type} cannot be cast to {target}",
            argument=0,
            valid=CASTS[tree.type.kind],
            hint=_ADVICE.get((tree.type.kind, target.kind), ""),
        )
    if tree.type.kind == "double" and target.kind == "decimal" and target.scale > 15:
        raise Refused(ARGUMENT_TYPE, "a double has 15 digits: cast it to a decimal of at most 15 decimals", argument=0)
    out = cast_to(tree, target)
    return Call("try_cast", (tree,), target) if safe and isinstance(out, Call) and out is not tree else out


def _cast_weight(call: Call) -> int:
    source = call.arguments[0].type
    if source.kind == "double" and call.type.kind == "decimal":
        return 5
    return 1 if lossless(source, call.type) else 3


def _cast(safe: bool) -> Callable[[Arguments], Tree]:
    def build(arguments: Arguments) -> Tree:
        # The compiler passes the target as the type of a null literal: a type is no value and has no other place.
        return build_cast(arguments[0], arguments[1].type, safe=safe)

    return build


def _day(tree: Tree, index: int) -> Tree:
    return cast_to(require(tree, index, "date", "timestamp"), DATE)


def _part(name: str, doc: str, *, time: bool = False, aliases: tuple[str, ...] = ()) -> Function:
    def build(arguments: Arguments) -> Tree:
        tree = require(arguments[0], 0, "timestamp") if time else _day(arguments[0], 0)
        return Call(name, (tree,), INT)

    column = "seen" if time else "opened"
    return Function(name, "Dates", f"{name}(d)", doc, f"{name}({column})", build, aliases=aliases)


def _moved(name: str) -> Callable[[Arguments], Tree]:
    def build(arguments: Arguments) -> Tree:
        count = cast_to(require(arguments[1], 1, "bigint", "int"), BIGINT)
        return Call(name, (_day(arguments[0], 0), count), DATE)

    return build


def _datediff(arguments: Arguments) -> Tree:
    return Call("datediff", (_day(arguments[0], 0), _day(arguments[1], 1)), INT)


def _last_day(arguments: Arguments) -> Tree:
    return Call("last_day", (_day(arguments[0], 0),), DATE)


def _unit(arguments: Arguments, index: int, units: tuple[str, ...]) -> Literal:
    unit = constant_text(arguments, index, "the unit").lower()
    if unit not in units:
        raise Refused(ARGUMENT_TYPE, f"unknown unit '{unit}'", argument=index, valid=units)
    return Literal(STRING, unit)


def _date_trunc(arguments: Arguments) -> Tree:
    unit = _unit(arguments, 0, _UNITS)
    return Call("date_trunc", (unit, cast_to(require(arguments[1], 1, "timestamp", "date"), TIMESTAMP)), TIMESTAMP)


def _trunc(arguments: Arguments) -> Tree:
    return Call("trunc", (_day(arguments[0], 0), _unit(arguments, 1, _DATE_UNITS)), DATE)


def _parsed(name: str, result: DataType, time: bool, default: str) -> Callable[[Arguments], Tree]:
    """Text, its format, and the ASCII pattern that gates it (the third argument of the call)."""

    def build(arguments: Arguments) -> Tree:
        text = require(arguments[0], 0, "string")
        form = constant_text(arguments, 1, "the format") if len(arguments) > 1 else default
        gate = date_pattern(form, time)
        return Call(name, (text, Literal(STRING, form), Literal(STRING, gate)), result)

    return build


def _date_format(arguments: Arguments) -> Tree:
    moment = cast_to(require(arguments[0], 0, "timestamp", "date"), TIMESTAMP)
    form = constant_text(arguments, 1, "the format")
    date_pattern(form, None)
    return Call("date_format", (moment, Literal(STRING, form)), STRING)


def _parser(name: str, result: DataType, doc: str, safe_of: str = "") -> Function:
    time = result == TIMESTAMP
    form = "yyyy-MM-dd HH:mm:ss" if time else "yyyy-MM-dd"
    doc = doc or f"{safe_of}, but null where the text is not of that format."
    example = f"{name}(name, '{form}')" if time else f"{name}(name, 'yyyyMMdd')"
    return Function(
        name,
        "Dates",
        f"{name}(a, 'format')",
        doc,
        example,
        _parsed(name, result, time, form),
        1,
        2,
        weight=2,
        fails=not name.startswith("try_"),
    )


FUNCTIONS = (
    _part("year", "The year."),
    _part("quarter", "1 to 4."),
    _part("month", "1 to 12."),
    _part("day", "Day of the month.", aliases=("dayofmonth",)),
    _part("dayofweek", "1 is Sunday, 7 Saturday."),
    _part("dayofyear", "1 to 366."),
    _part("hour", "0 to 23.", time=True),
    _part("minute", "0 to 59.", time=True),
    _part("second", "0 to 59.", time=True),
    Function(
        "date_add",
        "Dates",
        "date_add(d, days)",
        "Days later.",
        "date_add(opened, 30)",
        _moved("date_add"),
        2,
        2,
        ("dateadd",),
        weight=3,
        fails=True,
    ),
    Function(
        "date_sub",
        "Dates",
        "date_sub(d, days)",
        "Days earlier.",
        "date_sub(opened, 30)",
        _moved("date_sub"),
        2,
        2,
        weight=3,
        fails=True,
    ),
    Function(
        "add_months",
        "Dates",
        "add_months(d, months)",
        "Months later; a day that the month does not have becomes its last.",
        "add_months(opened, -1)",
        _moved("add_months"),
        2,
        2,
        weight=3,
        fails=True,
    ),
    Function(
        "datediff",
        "Dates",
        "datediff(end, start)",
        "Days from start to end.",
        "datediff(closed, opened)",
        _datediff,
        2,
        2,
        ("date_diff",),
    ),
    Function("last_day", "Dates", "last_day(d)", "The last day of its month.", "last_day(opened)", _last_day),
    Function(
        "trunc",
        "Dates",
        "trunc(d, 'unit')",
        "The first day of its year, quarter, month or week (Monday).",
        "trunc(opened, 'month')",
        _trunc,
        2,
        2,
        weight=2,
    ),
    Function(
        "date_trunc",
        "Dates",
        "date_trunc('unit', t)",
        "The timestamp cut to year, quarter, month, week, day, hour, minute or second.",
        "date_trunc('hour', seen)",
        _date_trunc,
        2,
        2,
        weight=2,
    ),
    _parser(
        "to_date",
        DATE,
        "Text of a format made of yyyy MM dd (yyyy-MM-dd if left out) as a date; other text rejects the record.",
    ),
    _parser("try_to_date", DATE, "", "As to_date"),
    _parser("to_timestamp", TIMESTAMP, "Text of a format made of yyyy MM dd HH mm ss as a timestamp in UTC."),
    _parser("try_to_timestamp", TIMESTAMP, "", "As to_timestamp"),
    Function(
        "date_format",
        "Dates",
        "date_format(d, 'format')",
        "Date or timestamp as text, in a format made of yyyy MM dd HH mm ss.",
        "date_format(opened, 'yyyy/MM')",
        _date_format,
        2,
        2,
    ),
    Function(
        "cast",
        "Casts",
        "cast(a as type)",
        "The value in another type; a value that has no place there rejects the record. "
        "Text must be plain ASCII without spaces around; a decimal is rounded half away from zero, "
        "and a fraction is cut off where the type is int or bigint.",
        "cast(name as decimal(18,2))",
        _cast(False),
        2,
        2,
        operator=True,
        weight=_cast_weight,
        fails=lambda call: not lossless(call.arguments[0].type, call.type),
    ),
    Function(
        "try_cast",
        "Casts",
        "try_cast(a as type)",
        "As cast, but null where the value has no place in the type.",
        "try_cast(name as int)",
        _cast(True),
        2,
        2,
        operator=True,
        weight=_cast_weight,
    ),
)
