"""What an emitter gets and gives, and the words emitters are made of.

The reasons of a whole expression stand in one flat list of steps and become one flat CASE at the end. Nothing here is
nested in `coalesce` or in a boolean CASE: Sail rewrites both with their operands repeated, level by level, and an
expression of twenty operations took minutes to plan.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
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


@dataclass(frozen=True, slots=True)
class Step:
    """Where `condition` is true the record has this reason, unless an earlier step gave one."""

    condition: Column
    reason: str


@dataclass(frozen=True, slots=True)
class Part:
    """The value of a part of an expression, and the steps that can find something wrong with it, in reading order."""

    value: Column
    steps: tuple[Step, ...] = ()


Emitter = Callable[[Call, list[Part]], Part]


def finished(part: Part) -> Emitted:
    """The whole: null where there is a reason, whatever the value would have been."""
    if not part.steps:
        return Emitted(part.value)
    from pyspark.sql import functions as F

    problem = F.when(part.steps[0].condition, F.lit(part.steps[0].reason))
    for step in part.steps[1:]:
        problem = problem.when(step.condition, F.lit(step.reason))
    return Emitted(F.when(problem.isNull(), part.value), problem)


def steps_of(arguments: Iterable[Part]) -> tuple[Step, ...]:
    """All that can be wrong with the arguments of a function that needs them all."""
    return tuple(step for a in arguments for step in a.steps)


def guarded(part: Part, guard: Column | None) -> tuple[Step, ...]:
    """The steps of a part that counts only where `guard` (never null) is true."""
    if guard is None:
        return part.steps
    return tuple(Step(guard & step.condition, step.reason) for step in part.steps)


def plain(make: Callable[..., Column]) -> Emitter:
    """The emitter of a function that cannot fail by itself: `make` gets the values of its arguments."""

    def emitter(call: Call, arguments: list[Part]) -> Part:
        return Part(make(*(a.value for a in arguments)), steps_of(arguments))

    return emitter


def checked(value: Column, arguments: list[Part], reason: str = OVERFLOW) -> Part:
    """A value that is null where it failed: `reason`, where every argument is there and the value is not."""
    failed = value.isNull()
    for argument in arguments:
        failed = failed & argument.value.isNotNull()
    return Part(value, (*steps_of(arguments), Step(failed, reason)))


def balanced(values: Sequence[Column], join: Callable[[Column, Column], Column]) -> Column:
    """One column of many, as a tree of little depth: plans are messages, and engines limit how deep one nests."""
    found = list(values)
    while len(found) > 1:
        pairs = [join(a, b) for a, b in zip(found[::2], found[1::2], strict=False)]
        found = pairs + found[len(pairs) * 2 :]
    return found[0]


def constants(call: Call, start: int) -> list[object]:
    """The values of the literal arguments from `start` on; the compiler made sure that they are literals."""
    found = call.arguments[start:]
    return [a.value for a in found if isinstance(a, Literal)]
