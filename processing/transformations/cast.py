"""`<cast source onInvalid="quarantine | null"><column name type format/></cast>`: columns in another type.

`format` reads a text as a date or a timestamp, in the letters yyyy MM dd HH mm ss. A value that is none of the type
quarantines its record, or with `onInvalid="null"` becomes null.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from pipeline_xml.checked import Column, Dataset, StepContext, StepPlan
from pipeline_xml.expressions import Expression
from pipeline_xml.model import Step, StepColumn
from pipeline_xml.types import KINDS, parse_type
from processing.emit import emit
from processing.rejects import problem_reasons, reject
from processing.step import Runtime
from processing.transformations.attributes import INCOMPLETE, TWICE, WRONG_TYPE, WRONG_VALUE, Attributes

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

_READERS = {"date": "to_date", "timestamp": "to_timestamp"}


@dataclass(frozen=True)
class Config:
    """The cast columns with the expressions that make them."""

    columns: tuple[tuple[str, Expression], ...]


class Cast:
    kind = "cast"
    attributes: Mapping[str, bool] = {"source": True, "onInvalid": False, "as": False}
    columns = ("name", "type", "format")
    several_passes = False
    compares_records = False

    def check(self, step: Step, context: StepContext) -> StepPlan | None:
        read = Attributes(step, context)
        lenient = read.choice("onInvalid", ("quarantine", "null"), "quarantine") == "null"
        source = read.dataset()
        if not step.columns:
            read.report(INCOMPLETE, "<cast> names no column", step.where, (), "add <column name type/>")
        if source is None:
            return None
        cast: dict[str, Expression] = {}
        for column in step.columns:
            if read.column(column.name, source, column.place("name"), "column name") is None:
                continue
            if column.name in cast:
                read.report(TWICE, f"<cast> names '{column.name}' twice", column.place("name"))
                continue
            made = _expression(read, column, source, lenient)
            if made is None:
                read.failed = True
            else:
                cast[column.name] = made
        after = (_typed(c, cast.get(c.name), lenient) for c in source.columns)
        return read.plan(source, after, Config(tuple(cast.items())), anew=cast)

    def apply(self, plan: StepPlan, frames: Mapping[str, DataFrame], runtime: Runtime) -> DataFrame:
        from pyspark.sql import functions as F

        config: Config = plan.config
        rows = frames[plan.inputs[0]]
        order = rows.columns
        emitted = {n: emit(e, lambda _dataset, c: F.col(c), runtime.bindings()) for n, e in config.columns}
        problems = {f"_problem_{n}": made.problem for n, made in emitted.items() if made.problem is not None}
        rows = rows.withColumns(problems | {n: made.value for n, made in emitted.items()})
        reasons = []
        for name, expression in config.columns:
            if f"_problem_{name}" in problems:
                message = f"{name} is no {expression.type}"
                reasons += problem_reasons(F.col(f"_problem_{name}"), f"cast.{name}", name, message)
        return reject(rows, reasons).select(*order)


def _typed(column: Column, made: Expression | None, lenient: bool) -> Column:
    if made is None:
        return column
    return replace(column, type=made.type, nullable=column.nullable or lenient)


def _expression(read: Attributes, column: StepColumn, source: Dataset, lenient: bool) -> Expression | None:
    """The cast as an expression of the language; the compiler judges whether there is such a cast."""
    where = column.place("type")
    try:
        wanted = parse_type(column.type or "")
    except ValueError as error:
        read.report(WRONG_TYPE, f"<cast column type>: {error}", where, KINDS)
        return None
    attempt = "try_" if lenient else ""
    if column.format is None:
        return read.context.expression(f"{attempt}cast(`{column.name}` as {wanted})", source.scope, where)
    if wanted.kind not in _READERS:
        message = f"<cast column format> reads dates and timestamps; {column.name} becomes {wanted}"
        read.report(WRONG_VALUE, message, column.place("format"), tuple(_READERS))
        return None
    quoted = column.format.replace("\\", "\\\\").replace("'", "''")
    text = f"{attempt}{_READERS[wanted.kind]}(`{column.name}`, '{quoted}')"
    return read.context.expression(text, source.scope, column.place("format"))


TRANSFORMATION = Cast()
