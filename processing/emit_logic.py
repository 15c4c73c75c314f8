"""Comparison, logic, nulls and choices: which reasons count depends on what was read before."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from pipeline_xml.expressions.tree import Call
from processing.emitted import Emitter, Part, Step, balanced, guarded, plain, steps_of

if TYPE_CHECKING:
    from pyspark.sql import Column


def _logic(call: Call, arguments: list[Part]) -> Part:
    """and, or. An operand's steps count unless one before it already decides: a false for and, a true for or."""
    from pyspark.sql import functions as F

    conjunction = call.function == "and"

    def join(a: Column, b: Column) -> Column:
        return (a & b) if conjunction else (a | b)

    values = [a.value for a in arguments]
    steps = list(arguments[0].steps)
    for index, argument in enumerate(arguments[1:], 1):
        if argument.steps:
            decided = balanced(values[:index], join).eqNullSafe(F.lit(not conjunction))
            steps += guarded(argument, ~decided)
    return Part(balanced(values, join), tuple(steps))


def _coalesce(call: Call, arguments: list[Part]) -> Part:
    """An argument's steps count where all before it are null."""
    from pyspark.sql import functions as F

    values = [a.value for a in arguments]
    steps = list(arguments[0].steps)
    for index, argument in enumerate(arguments[1:], 1):
        if argument.steps:
            steps += guarded(argument, balanced([v.isNull() for v in values[:index]], lambda a, b: a & b))
    return Part(F.coalesce(*values), tuple(steps))


def _case(call: Call, arguments: list[Part]) -> Part:
    """A condition's steps count where none before it is true, a value's where its condition is the one."""
    from pyspark.sql import functions as F

    conditions, values, otherwise = arguments[:-1:2], arguments[1:-1:2], arguments[-1]
    value = F.when(conditions[0].value, values[0].value)
    for condition, branch in zip(conditions[1:], values[1:], strict=True):
        value = value.when(condition.value, branch.value)

    tested: list[Column] = []

    def not_chosen() -> Column | None:
        return ~balanced(tested, lambda a, b: a | b).eqNullSafe(F.lit(True)) if tested else None

    steps: list[Step] = []
    for condition, branch in zip(conditions, values, strict=True):
        before = not_chosen() if condition.steps or branch.steps else None
        steps += guarded(condition, before)
        if branch.steps:
            here = condition.value.eqNullSafe(F.lit(True))
            steps += guarded(branch, here if before is None else before & here)
        tested.append(condition.value)
    if otherwise.steps:
        steps += guarded(otherwise, not_chosen())
    return Part(value.otherwise(otherwise.value), tuple(steps))


def _nullif(call: Call, arguments: list[Part]) -> Part:
    from pyspark.sql import functions as F

    left, right = arguments
    same = left.value.eqNullSafe(right.value)  # where both are null, null is the answer anyway
    return Part(F.when(~same, left.value), steps_of(arguments))


def _extreme(call: Call, arguments: list[Part]) -> Part:
    from pyspark.sql import functions as F

    values = [a.value for a in arguments]
    if call.type.kind == "double":
        values = [v + F.lit(0.0) for v in values]  # -0.0 and 0.0 are equal, but each engine picks another of them
    value = F.greatest(*values) if call.function == "greatest" else F.least(*values)
    return Part(value, steps_of(arguments))


def _count_present(call: Call, arguments: list[Part]) -> Part:
    from pyspark.sql import functions as F

    ones = [F.when(a.value.isNotNull(), F.lit(1)).otherwise(F.lit(0)) for a in arguments]
    value = balanced(ones, lambda a, b: a + b).cast("int")
    return Part(value, steps_of(arguments))


EMITTERS: Mapping[str, Emitter] = {
    "eq": plain(lambda a, b: a == b),
    "ne": plain(lambda a, b: a != b),
    "lt": plain(lambda a, b: a < b),
    "le": plain(lambda a, b: a <= b),
    "gt": plain(lambda a, b: a > b),
    "ge": plain(lambda a, b: a >= b),
    "null_safe_eq": plain(lambda a, b: a.eqNullSafe(b)),
    "between": plain(lambda a, low, high: (a >= low) & (a <= high)),
    "in": plain(lambda a, *others: a.isin(*others)),
    "like": plain(lambda a, pattern: _found(a, pattern)),
    "matches": plain(lambda a, pattern: _found(a, pattern)),
    "and": _logic,
    "or": _logic,
    "not": plain(lambda a: ~a),
    "is_null": plain(lambda a: a.isNull()),
    "is_not_null": plain(lambda a: a.isNotNull()),
    "coalesce": _coalesce,
    "nullif": _nullif,
    "greatest": _extreme,
    "least": _extreme,
    "count_present": _count_present,
    "case": _case,
}


def _found(text: Column, pattern: Column) -> Column:
    from pyspark.sql import functions as F

    return F.rlike(text, pattern)
