"""`<select source columns="a,b,c"/>`: these columns go on, in this order; the others are left behind."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pipeline_xml.checked import StepContext, StepPlan
from pipeline_xml.model import Step
from processing.step import Runtime
from processing.transformations.attributes import INCOMPLETE, Attributes

if TYPE_CHECKING:
    from pyspark.sql import DataFrame


@dataclass(frozen=True)
class Config:
    columns: tuple[str, ...]
    left_behind: tuple[str, ...]


class Select:
    kind = "select"
    attributes: Mapping[str, bool] = {"source": True, "columns": True, "as": False}
    several_passes = False
    compares_records = False

    def check(self, step: Step, context: StepContext) -> StepPlan | None:
        read = Attributes(step, context)
        source = read.dataset()
        if source is None:
            return None
        columns = read.columns("columns", source, nested=True)
        if not columns and not read.failed:
            read.report(INCOMPLETE, "<select columns> names no column", read.place("columns"), source.names)
        kept = tuple(c.name for c in columns)
        return read.plan(source, columns, Config(kept, tuple(n for n in source.names if n not in kept)))

    def apply(self, plan: StepPlan, frames: Mapping[str, DataFrame], runtime: Runtime) -> DataFrame:
        config: Config = plan.config
        rows = frames[plan.inputs[0]]
        gone = {*config.columns, *config.left_behind}
        return rows.select(*config.columns, *(name for name in rows.columns if name not in gone))


TRANSFORMATION = Select()
