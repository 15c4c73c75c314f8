"""Comparison, logic, nulls and choices: which reasons count depends on what was read before."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import reduce
from typing import TYPE_CHECKING

from pipeline_xml.expressions.tree import Call
from processing.emitted import Emitted, Emitter, first_problem, no_problem, plain

if TYPE_CHECKING:
    from pyspark.sql import Column


def _balanced(values: list[Column], join: Callable[[Column, Column], Column]) -> Column:
    """One column of many, as a tree of little depth: plans are messages, and engines limit how deep one nests."""
    while len(values) > 1:
        values = [reduce(join, values[i : i + 2]) for i in range(0, len(values), 2)]
    return values[0]


def _logic(call: Call, arguments: list[Emitted]) -> Emitted:
    """and, or. An operand's problem counts unless one before it already decides: a false for and, a true for or."""
    conjunction = call.function == "and"
    value = _balanced([a.value for a in arguments], lambda a, b: (a & b) if conjunction else (a | b))
    if all(a.problem is None for a in arguments):
        return Emitted(value)
    steps: list[tuple[Column, Column]] = []
    for a in arguments:
        if a.problem is not None:
            steps.append((a.problem.isNotNull(), a.problem))
        steps.append((~a.value if conjunction else a.value, no_problem()))
    return Emitted(value, _chosen(steps, None))


def _chosen(steps: list[tuple[Column, Column]], otherwise: Column | None) -> Column:
    """The first whose condition is true: one flat CASE, however many there are."""
    from pyspark.sql import functions as F

    found = F.when(*steps[0])
    for condition, value in steps[1:]:
        found = found.when(condition, value)
    return found if otherwise is None else found.otherwise(otherwise)


def _coalesce(call: Call, arguments: list[Emitted]) -> Emitted:
    from pyspark.sql import functions as F

    value = F.coalesce(*(a.value for a in arguments))
    if all(a.problem is None for a in arguments):
        return Emitted(value)
    steps: list[tuple[Column, Column]] = []
    for a in arguments:
        if a.problem is not None:
            steps.append((a.problem.isNotNull(), a.problem))
        steps.append((a.value.isNotNull(), no_problem()))
    return Emitted(value, _chosen(steps, None))


def _case(call: Call, arguments: list[Emitted]) -> Emitted:
    conditions, values, otherwise = arguments[:-1:2], arguments[1:-1:2], arguments[-1]
    pairs = list(zip(conditions, values, strict=True))
    value = _chosen([(c.value, v.value) for c, v in pairs], otherwise.value)
    if all(a.problem is None for a in arguments):
        return Emitted(value)
    steps: list[tuple[Column, Column]] = []
    for condition, branch in pairs:
        if condition.problem is not None:
            steps.append((condition.problem.isNotNull(), condition.problem))
        steps.append((condition.value, branch.problem if branch.problem is not None else no_problem()))
    return Emitted(value, _chosen(steps, otherwise.problem))


def _nullif(call: Call, arguments: list[Emitted]) -> Emitted:
    from pyspark.sql import functions as F

    left, right = arguments
    same = F.coalesce(left.value == right.value, F.lit(False))
    return Emitted(F.when(~same, left.value), first_problem([left.problem, right.problem]))


def _extreme(call: Call, arguments: list[Emitted]) -> Emitted:
    from pyspark.sql import functions as F

    values = [a.value for a in arguments]
    if call.type.kind == "double":
        values = [v + F.lit(0.0) for v in values]  # -0.0 and 0.0 are equal, but each engine picks another of them
    value = F.greatest(*values) if call.function == "greatest" else F.least(*values)
    return Emitted(value, first_problem([a.problem for a in arguments]))


def _count_present(call: Call, arguments: list[Emitted]) -> Emitted:
    from pyspark.sql import functions as F

    ones = [F.when(a.value.isNotNull(), F.lit(1)).otherwise(F.lit(0)) for a in arguments]
    value = _balanced(ones, lambda a, b: a + b).cast("int")
    return Emitted(value, first_problem([a.problem for a in arguments]))


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
