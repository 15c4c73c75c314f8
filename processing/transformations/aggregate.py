"""`<aggregate source groupBy metrics window timeColumn rolling rollup as/>`: one row a group; record accounting ends.

`metrics` are `function:column[:alias]`, the alias by default `function_column`; `count:alias` counts rows.

    count            bigint       of rows, or with three parts of the values that are not null
    count_distinct   bigint       of values that are not null
    sum              bigint of int and bigint; decimal(min(38,p+10),s) of decimal(p,s); double of double
    avg              double       the exact sum, as a double, divided by the count of values
    min, max         the column's type

Over no values sum, avg, min and max are null. A null in a group column makes a group of its own. A sum beyond its
type ends the run: no row is a record that could be set aside.

`window` makes a group of each stretch of time (by `timeColumn`, in UTC) that has rows, and adds `window_start` and
`window_end`: hourly, daily, weekly from Monday, monthly, or from tick to tick of a cron expression. With
`rolling="P7D"` each window reaches back that far from its end, and so shares rows with those before it.

`rollup="true"` adds the totals without the last group column, without the last two, and so on to all: `rollup_level`
tells how many are left out, 0 in the groups themselves. All of it looks at what the batch read.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import reduce
from typing import TYPE_CHECKING

from pipeline_xml.checked import Column, Dataset, StepContext, StepPlan
from pipeline_xml.location import Location
from pipeline_xml.model import Step
from pipeline_xml.place import items
from pipeline_xml.problems import nearest
from pipeline_xml.types import BIGINT, DOUBLE, INT, DataType, decimal
from processing.rejects import alive
from processing.step import Runtime
from processing.transformations.attributes import INCOMPLETE, WRONG_TYPE, WRONG_VALUE, Attributes, derived_from
from processing.transformations.windows import END, START, Windows, check_windows, in_windows
from processing.unrecorded import without_identity

if TYPE_CHECKING:
    from pyspark.sql import Column as Expr
    from pyspark.sql import DataFrame

LEVEL = "rollup_level"
FUNCTIONS = ("count", "count_distinct", "sum", "avg", "min", "max")
_WIDEST_SUMMED = 28  # decimal digits: ten more for ten thousand million rows are 38, where engines start to differ


@dataclass(frozen=True)
class Metric:
    """`column` is None where rows are counted; `operand` is its type."""

    function: str
    column: str | None
    operand: DataType | None
    alias: str
    type: DataType


@dataclass(frozen=True)
class Config:
    group_by: tuple[str, ...]
    metrics: tuple[Metric, ...]
    windows: Windows | None = None
    rollup: bool = False


class Aggregate:
    kind = "aggregate"
    attributes: Mapping[str, bool] = {
        "source": True, "groupBy": True, "metrics": True, "as": False,
        "window": False, "timeColumn": False, "rolling": False, "rollup": False,
    }  # fmt: skip
    several_passes = False
    compares_records = True

    def check(self, step: Step, context: StepContext) -> StepPlan | None:
        read = Attributes(step, context)
        rollup = read.choice("rollup", ("true", "false"), "false") == "true"
        source = read.dataset()
        if source is None:
            return None
        groups = read.columns("groupBy", source)
        for column in groups:
            if column.type.kind == "double":
                message = f"<aggregate groupBy> cannot group by {column.name}: equality of doubles is not exact"
                read.report(WRONG_TYPE, message, read.place("groupBy", column.name), (), "derive a decimal from it")
        windows, added = check_windows(read, source)
        if rollup:
            added = (*added, Column(LEVEL, INT, False, "How many of the last group columns are left out"))
        after = [replace(c, nullable=c.nullable or rollup) for c in groups]
        for column in added:
            where = read.place("rollup" if column.name == LEVEL else "window")
            read.new_name(column.name, (c.name for c in after), where, "rename the group column")
            after.append(column)
        metrics = []
        written = items(read.text("metrics"))
        if not written:
            read.report(INCOMPLETE, "<aggregate metrics> names no metric", read.place("metrics"), FUNCTIONS)
        for item in written:
            metric = self._metric(item, read.place("metrics", item), source, read)
            if metric is None:
                continue
            read.new_name(metric.alias, (c.name for c in after), read.place("metrics", item), "give it another alias")
            operand = source.column(metric.column) if metric.column else None
            classification, origins = derived_from([operand] if operand else source.columns)
            if metric.function not in ("min", "max"):
                classification = None  # a count or a total tells of no single person's value
            nullable = metric.function not in ("count", "count_distinct")
            after.append(Column(metric.alias, metric.type, nullable, "", classification, origins))
            metrics.append(metric)
        config = Config(tuple(c.name for c in groups), tuple(metrics), windows, rollup)
        key = () if rollup else (*config.group_by, *((START,) if windows else ()))
        return read.plan(source, after, config, per_record=False, key=key)

    def _metric(self, item: str, where: Location, source: Dataset, read: Attributes) -> Metric | None:
        function, *rest = (part.strip() for part in item.split(":"))
        if function not in FUNCTIONS:
            close = nearest(function, FUNCTIONS)
            hint = f"Did you mean {close}?" if close else ""
            read.report(WRONG_VALUE, f"unknown function '{function}' in <aggregate metrics>", where, FUNCTIONS, hint)
            return None
        if not 1 <= len(rest) <= 2 or not all(rest):
            form = "function:column[:alias], or count:alias to count rows"
            read.report(WRONG_VALUE, f"'{item}' in <aggregate metrics> is not of the form {form}", where)
            return None
        if function == "count" and len(rest) == 1:
            return Metric(function, None, None, rest[0], BIGINT)
        column = read.column(rest[0], source, where, "metrics")
        if column is None:
            return None
        type_ = self._type(function, column, where, read)
        alias = rest[1] if len(rest) == 2 else f"{function}_{column.name}"
        return Metric(function, column.name, column.type, alias, type_) if type_ else None

    def _type(self, function: str, column: Column, where: Location, read: Attributes) -> DataType | None:
        of = column.type
        if function in ("count", "count_distinct"):
            return BIGINT
        if function in ("min", "max"):
            return of
        if not of.numeric:
            valid = ("int", "bigint", "decimal", "double")
            read.report(WRONG_TYPE, f"{function} needs numbers; {column.name} is {of}", where, valid)
            return None
        if of.kind == "decimal" and of.precision > _WIDEST_SUMMED:
            message = f"{function} takes decimals of at most {_WIDEST_SUMMED} digits; {column.name} is {of}"
            read.report(WRONG_TYPE, message, where, (), "derive a narrower decimal from it")
            return None
        if function == "avg" or of.kind == "double":
            return DOUBLE
        return decimal(min(38, of.precision + 10), of.scale) if of.kind == "decimal" else BIGINT

    def apply(self, plan: StepPlan, frames: Mapping[str, DataFrame], runtime: Runtime) -> DataFrame:
        from pyspark.sql import functions as F

        config: Config = plan.config
        rows = frames[plan.inputs[0]].filter(alive())
        fixed = (START, END) if config.windows is not None else ()
        measured = [_measured(metric).alias(f"_m{i}") for i, metric in enumerate(config.metrics)]
        finished = [_finished(metric, F.col(f"_m{i}")).alias(metric.alias) for i, metric in enumerate(config.metrics)]
        types = {c.name: str(c.type) for c in plan.output.columns}
        parts = []
        for level in range(len(config.group_by) + 1 if config.rollup else 1):
            kept = config.group_by[: len(config.group_by) - level]
            windowed = rows if config.windows is None else in_windows(rows, config.windows, kept)
            grouped = windowed.groupBy(*kept, *fixed).agg(*measured, F.count(F.lit(1)).alias("_rows"))
            grouped = grouped.where(F.col("_rows") > 0)  # without group columns there is a row even of nothing
            total = [F.lit(None).cast(types[c]).alias(c) for c in config.group_by[len(kept) :]]
            mark = [F.lit(level).cast("int").alias(LEVEL)] if config.rollup else []
            parts.append(grouped.select(*kept, *total, *fixed, *mark, *finished))
        united = reduce(lambda a, b: a.unionByName(b), parts)
        return without_identity(united, plan.output.names, runtime.business_date)


def _measured(metric: Metric) -> Expr:
    """The aggregate itself, in a type in which neither engine can wrap."""
    from pyspark.sql import functions as F

    if metric.column is None or metric.operand is None:
        return F.count(F.lit(1))
    column = F.col(metric.column)
    match metric.function:
        case "count":
            return F.count(column)
        case "count_distinct":
            return F.count_distinct(column)
        case "min":
            return F.min(column)
        case "max":
            return F.max(column)
        case "avg":
            return F.struct(F.sum(_exact(column, metric.operand)).alias("sum"), F.count(column).alias("count"))
        case _:
            return F.sum(_exact(column, metric.operand))


def _exact(column: Expr, operand: DataType) -> Expr:
    """bigint sums wrap silently on Sail: they are made as decimals, of which they take 30 digits."""
    return column.cast("decimal(20,0)") if operand.kind == "bigint" else column


def _finished(metric: Metric, value: Expr) -> Expr:
    from pyspark.sql import functions as F

    if metric.function == "avg":
        count = F.nullif(value.getField("count").cast("double"), F.lit(0.0))  # both engines refuse to divide by zero
        return (value.getField("sum").cast("double") / count).cast("double")
    if metric.function == "sum" and metric.operand is not None and metric.operand.kind == "bigint":
        lowest, highest = (F.lit(str(limit)).cast("decimal(30,0)") for limit in (-(2**63), 2**63 - 1))
        beyond = (value < lowest) | (value > highest)
        message = F.lit(f"aggregate: {metric.alias} is beyond bigint")
        return F.when(beyond, F.raise_error(message).cast("bigint")).otherwise(value.cast("bigint"))
    return value.cast(str(metric.type))


TRANSFORMATION = Aggregate()
