"""What an emitter gets and gives, and the words emitters are made of."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pipeline_xml.expressions.tree import Call, Literal

if TYPE_CHECKING:
    from pyspark.sql import Column

OVERFLOW = "overflow"
DIVISION_BY_ZERO = "division_by_zero"
INVALID_CAST = "invalid_cast"
PROBLEMS = (OVERFLOW, DIVISION_BY_ZERO, INVALID_CAST)


@dataclass(frozen=True, slots=True)
class Emitted:
    """`problem` is a string column, null where the value is sound; None where nothing can fail."""

    value: Column
    problem: Column | None = None


Emitter = Callable[[Call, list[Emitted]], Emitted]


def no_problem() -> Column:
    from pyspark.sql import functions as F

    return F.lit(None).cast("string")


def first_problem(problems: Sequence[Column | None]) -> Column | None:
    """The first that is not null, None where none can be."""
    from pyspark.sql import functions as F

    found = [p for p in problems if p is not None]
    if len(found) < 2:
        return found[0] if found else None
    return F.coalesce(*found)


def plain(make: Callable[..., Column]) -> Emitter:
    """The emitter of a function that cannot fail by itself: `make` gets the values of its arguments."""

    def emitter(call: Call, arguments: list[Emitted]) -> Emitted:
        return Emitted(make(*(a.value for a in arguments)), first_problem([a.problem for a in arguments]))

    return emitter


def checked(value: Column, arguments: list[Emitted], reason: str = OVERFLOW) -> Emitted:
    """A value that is null where it failed: `reason`, where every argument is there and the value is not."""
    from pyspark.sql import functions as F

    present = [a.value.isNotNull() for a in arguments]
    failed = value.isNull()
    for one in present:
        failed = failed & one
    return Emitted(value, first_problem([*(a.problem for a in arguments), F.when(failed, F.lit(reason))]))


def constants(call: Call, start: int) -> list[object]:
    """The values of the literal arguments from `start` on; the compiler made sure that they are literals."""
    found = call.arguments[start:]
    return [a.value for a in found if isinstance(a, Literal)]
