"""`<rename source columns="old=new, …"/>`: other names for columns; values, types and lineage stay."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from pipeline_xml.checked import Dataset, StepContext, StepPlan
from pipeline_xml.model import Step
from processing.step import Runtime
from processing.transformations.attributes import INCOMPLETE, TWICE, Attributes

if TYPE_CHECKING:
    from pyspark.sql import DataFrame


@dataclass(frozen=True)
class Config:
    """Every column of the input with its name in the output, in order."""

    columns: tuple[tuple[str, str], ...]


class Rename:
    kind = "rename"
    attributes: Mapping[str, bool] = {"source": True, "columns": True, "as": False}
    several_passes = False
    compares_records = False

    def check(self, step: Step, context: StepContext) -> StepPlan | None:
        read = Attributes(step, context)
        source = read.dataset()
        if source is None:
            return None
        names = self._names(read, source)
        columns = tuple(replace(c, name=names.get(c.name, c.name)) for c in source.columns)
        plan = read.plan(source, columns, Config(tuple((c.name, names.get(c.name, c.name)) for c in source.columns)))
        if plan is None:
            return None
        key = tuple(names.get(n, n) for n in source.key)
        order = source.order and replace(source.order, columns=tuple(names.get(n, n) for n in source.order.columns))
        return replace(plan, output=replace(plan.output, key=key, order=order))

    def _names(self, read: Attributes, source: Dataset) -> dict[str, str]:
        pairs = read.pairs("columns", "old=new")
        if not pairs and not read.failed:
            read.report(INCOMPLETE, "<rename columns> names no column", read.place("columns"), source.names)
        renamed = {old for old, _, _ in pairs}
        taken = [name for name in source.names if name not in renamed]
        names: dict[str, str] = {}
        for old, new, where in pairs:
            if read.column(old, source, where, "columns", nested=True) is None:
                continue
            if old in names:
                read.report(TWICE, f"<rename columns> names '{old}' twice", where)
                continue
            read.new_name(new, taken, where, "choose a name of its own")
            taken.append(new)
            names[old] = new
        return names

    def apply(self, plan: StepPlan, frames: Mapping[str, DataFrame], runtime: Runtime) -> DataFrame:
        from pyspark.sql import functions as F

        config: Config = plan.config
        rows = frames[plan.inputs[0]]
        known = {old for old, _ in config.columns}
        carried = [name for name in rows.columns if name not in known]
        return rows.select(*(F.col(old).alias(new) for old, new in config.columns), *carried)


TRANSFORMATION = Rename()
