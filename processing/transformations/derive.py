"""`<derive source><column name expression type/></derive>`: columns computed from the record, in the order written.

A later column may use an earlier one. A name that exists is refused: a column never changes its meaning unseen. What
cannot be computed (overflow, division by zero, a failed cast) quarantines the record.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from pipeline_xml.checked import Column, StepContext, StepPlan
from pipeline_xml.expressions import Expression
from pipeline_xml.model import Step, StepColumn
from pipeline_xml.types import KINDS, DataType, parse_type
from processing.emit import emit
from processing.rejects import problem_reasons, reject
from processing.step import Runtime
from processing.transformations.attributes import INCOMPLETE, WRONG_TYPE, Attributes, derived_from

if TYPE_CHECKING:
    from pyspark.sql import DataFrame


@dataclass(frozen=True)
class Config:
    """The new columns in order with their expressions."""

    columns: tuple[tuple[str, Expression], ...]


class Derive:
    kind = "derive"
    attributes: Mapping[str, bool] = {"source": True, "as": False}
    columns = ("name", "expression", "type")
    several_passes = False
    compares_records = False

    def check(self, step: Step, context: StepContext) -> StepPlan | None:
        read = Attributes(step, context)
        source = read.dataset()
        if not step.columns:
            read.report(INCOMPLETE, "<derive> names no column", step.where, (), "add <column name expression/>")
        if source is None:
            return None
        known = {c.name: c for c in source.columns}
        derived: list[tuple[str, Expression]] = []
        for column in step.columns:
            read.new_name(column.name, known, column.place("name"))
            scope = {name: c.seen for name, c in known.items()}
            expression = _compiled(read, column, scope)
            if expression is None:
                read.failed = True
                continue
            classification, origins = derived_from(known[name] for name in expression.columns if name in known)
            known[column.name] = Column(
                column.name, expression.type, True, f"= {column.expression}", classification, origins
            )
            derived.append((column.name, expression))
        return read.plan(source, known.values(), Config(tuple(derived)))

    def apply(self, plan: StepPlan, frames: Mapping[str, DataFrame], runtime: Runtime) -> DataFrame:
        from pyspark.sql import functions as F

        config: Config = plan.config
        rows = frames[plan.inputs[0]]
        carried = [name for name in rows.columns if name not in plan.output.names]
        reasons = []
        for name, expression in config.columns:
            emitted = emit(expression, lambda _dataset, column: F.col(column), runtime.bindings())
            if emitted.problem is not None:
                problem = f"_problem_{name}"
                rows = rows.withColumn(problem, emitted.problem)
                message = f"{name} cannot be computed: {expression.text}"
                reasons += problem_reasons(F.col(problem), f"derive.{name}", name, message)
            rows = rows.withColumn(name, emitted.value)
        return reject(rows, reasons).select(*plan.output.names, *carried)


def _compiled(read: Attributes, column: StepColumn, scope: Mapping[str, DataType]) -> Expression | None:
    """The expression, cast where the column says a type; the compiler judges whether there is such a cast."""
    where = column.place("expression")
    expression = read.context.expression(column.expression, scope, where)
    if column.type is None:
        return expression
    try:
        wanted = parse_type(column.type)
    except ValueError as error:
        read.report(WRONG_TYPE, f"<derive column type>: {error}", column.place("type"), KINDS)
        return None
    if expression is None or expression.type == wanted:
        return expression
    # compiled as written first, so that its own problems are told at their place
    cast = read.context.expression(f"cast(({column.expression}) as {wanted})", scope, where)
    return replace(cast, text=column.expression) if cast else None


TRANSFORMATION = Derive()
