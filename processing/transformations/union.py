"""`<union sources="a,b" as/>`: the rows of several datasets under each other, columns matched by name.

All have the same columns with the same types; `rename`, `select` and `cast` make them so. Records of different sources
stay records, and each is counted; the same records cannot come in twice. With rows that are no records any more, the
result holds none.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from pipeline_xml.checked import Column, Dataset, StepContext, StepPlan
from pipeline_xml.model import Step
from processing import frame as names
from processing.rejects import alive
from processing.step import Runtime
from processing.transformations.attributes import WRONG_TYPE, Attributes, derived_from
from processing.transformations.several import UNLIKE, several, together
from processing.unrecorded import without_identity

if TYPE_CHECKING:
    from pyspark.sql import DataFrame


@dataclass(frozen=True)
class Config:
    by_record: bool


class Union:
    kind = "union"
    attributes: Mapping[str, bool] = {"sources": True, "as": False}
    several_passes = False
    compares_records = True  # a replay of one source's records alone would bring the others in again

    def check(self, step: Step, context: StepContext) -> StepPlan | None:
        read = Attributes(step, context)
        sources = several(read)
        if sources is None:
            return None
        first = sources[0]
        for other in sources[1:]:
            _alike(read, first, other)
        by_record = all(s.per_record for s in sources)
        columns = (_column([s.column(c.name) for s in sources], c) for c in first.columns)
        plan = read.plan(first, columns, Config(by_record), per_record=None if by_record else False, key=())
        return together(plan, sources) if plan else None

    def apply(self, plan: StepPlan, frames: Mapping[str, DataFrame], runtime: Runtime) -> DataFrame:
        config: Config = plan.config
        parts = []
        for name in plan.inputs:
            rows = frames[name]
            if config.by_record:
                kept = [n for n in (*names.IDENTITY, names.STATUS, names.ERRORS, names.ORIGINAL) if n in rows.columns]
                parts.append(rows.select(*plan.output.names, *kept))
            else:
                parts.append(without_identity(rows.where(alive()), plan.output.names, runtime.business_date))
        united = parts[0]
        for part in parts[1:]:
            united = united.unionByName(part)
        return united


def _alike(read: Attributes, first: Dataset, other: Dataset) -> None:
    where = read.place("sources", other.name)
    missing = [n for n in first.names if n not in other.names]
    more = [n for n in other.names if n not in first.names]
    if missing or more:
        told = [f"lacks {', '.join(missing)}"] if missing else []
        told += [f"has {', '.join(more)}"] if more else []
        message = f"<union>: '{other.name}' {' and '.join(told)}, unlike '{first.name}'"
        hint = "make the columns alike with <rename> and <select>"
        read.report(UNLIKE, message, where, (), hint)
    for column in other.columns:
        here = first.column(column.name)
        if here is not None and (here.type, here.nested) != (column.type, column.nested):
            kinds = [each.nested or each.type for each in (here, column)]
            message = f"<union>: {column.name} is {kinds[0]} in '{first.name}' and {kinds[1]} in '{other.name}'"
            read.report(WRONG_TYPE, message, where, (), "cast one of them")


def _column(found: Sequence[Column | None], first: Column) -> Column:
    columns = [c for c in found if c is not None]
    classification, origins = derived_from(columns)
    nullable = any(c.nullable for c in columns)
    return replace(first, nullable=nullable, classification=classification, origins=origins)


TRANSFORMATION = Union()
