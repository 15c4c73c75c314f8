"""`<sort source orderBy direction nulls/>`: the order in which a batch's rows are written.

An export has its rows in this order, ties by arrival and record number; a table's files are written in it, which helps
readers to skip, and no reader of a table is promised an order. Nulls come first in `asc` and last in `desc` unless
`nulls` says otherwise. Text is ordered by code points.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from pipeline_xml.checked import RowOrder, StepContext, StepPlan
from pipeline_xml.model import Step
from processing import frame as names
from processing.step import Runtime
from processing.transformations.attributes import INCOMPLETE, Attributes

if TYPE_CHECKING:
    from pyspark.sql import DataFrame


@dataclass(frozen=True)
class Config:
    order: RowOrder


class Sort:
    kind = "sort"
    attributes: Mapping[str, bool] = {"source": True, "orderBy": True, "direction": False, "nulls": False, "as": False}
    several_passes = False
    compares_records = False

    def check(self, step: Step, context: StepContext) -> StepPlan | None:
        read = Attributes(step, context)
        descending = read.choice("direction", ("asc", "desc"), "asc") == "desc"
        nulls = read.choice("nulls", ("first", "last"), "last" if descending else "first")
        source = read.dataset()
        if source is None:
            return None
        columns = read.columns("orderBy", source)
        if not columns and not read.failed:
            read.report(INCOMPLETE, "<sort orderBy> names no column", read.place("orderBy"), source.names)
        order = RowOrder(tuple(c.name for c in columns), descending, nulls == "first")
        plan = read.plan(source, source.columns, Config(order))
        return replace(plan, output=replace(plan.output, order=order)) if plan else None

    def apply(self, plan: StepPlan, frames: Mapping[str, DataFrame], runtime: Runtime) -> DataFrame:
        from pyspark.sql import functions as F

        config: Config = plan.config
        order = config.order
        by = []
        for name in order.columns:
            column = F.col(name)
            if order.descending:
                by.append(column.desc_nulls_first() if order.nulls_first else column.desc_nulls_last())
            else:
                by.append(column.asc_nulls_first() if order.nulls_first else column.asc_nulls_last())
        return frames[plan.inputs[0]].orderBy(*by, names.ARRIVAL, names.SOURCE_RECORD)


TRANSFORMATION = Sort()
