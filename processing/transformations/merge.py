"""`<merge sources="a,b" keys precedence as/>`: one record a key, each field from the first source that has it.

`precedence` orders the sources, by default as they are written; within a source the record that arrived last comes
first. The survivor is the first record of its key; the others are counted as deduplicated. A source may lack columns
that another has. A record with a null in its key stands for itself.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import reduce
from operator import and_
from typing import TYPE_CHECKING

from pipeline_xml.checked import Column, Dataset, StepContext, StepPlan
from pipeline_xml.model import Step
from pipeline_xml.place import items
from processing import frame as names
from processing.rejects import alive, set_aside
from processing.step import Runtime
from processing.transformations.attributes import INCOMPLETE, WRONG_TYPE, WRONG_VALUE, Attributes, derived_from
from processing.transformations.several import SAME_RECORDS, several, together

if TYPE_CHECKING:
    from pyspark.sql import Column as Expr
    from pyspark.sql import DataFrame

_RANK, _PLACE, _ALONE = "_merge_rank", "_merge_place", "_merge_alone"


@dataclass(frozen=True)
class Config:
    """`sources` in order of precedence, each with the columns that it has."""

    keys: tuple[str, ...]
    sources: tuple[tuple[str, frozenset[str]], ...]


class Merge:
    kind = "merge"
    attributes: Mapping[str, bool] = {"sources": True, "keys": True, "precedence": False, "as": False}
    several_passes = False
    compares_records = True

    def check(self, step: Step, context: StepContext) -> StepPlan | None:
        read = Attributes(step, context)
        sources = several(read)
        if sources is None:
            return None
        for source in sources:
            if not source.per_record:
                message = f"<merge>: rows of '{source.name}' are no records any more, and none could be told to lose"
                read.report(SAME_RECORDS, message, read.place("sources", source.name), (), "merge before that step")
        ranked = _ranked(read, sources)
        found = [read.columns("keys", source) for source in sources]  # each must have them
        keys = found[0]
        if not keys and not read.failed:
            read.report(INCOMPLETE, "<merge keys> names no column", read.place("keys"), sources[0].names)
        for key in keys:
            if key.type.kind == "double":
                message = f"<merge keys> cannot compare {key.name}: equality of doubles is not exact"
                read.report(WRONG_TYPE, message, read.place("keys", key.name), (), "derive a decimal from it")
        key_names = tuple(k.name for k in keys)
        columns = _columns(read, ranked, key_names)
        config = Config(key_names, tuple((s.name, frozenset(s.names)) for s in ranked))
        plan = read.plan(sources[0], columns, config, key=key_names)
        return replace(together(plan, sources), needs_all=True) if plan else None

    def apply(self, plan: StepPlan, frames: Mapping[str, DataFrame], runtime: Runtime) -> DataFrame:
        from pyspark.sql import Window
        from pyspark.sql import functions as F

        config: Config = plan.config
        parts = []
        for rank, (name, has) in enumerate(config.sources):
            rows = frames[name]
            columns = [_or_null(c, c.name in has) for c in plan.output.columns]
            kept = [n for n in (*names.IDENTITY, names.STATUS, names.ERRORS, names.ORIGINAL) if n in rows.columns]
            parts.append(rows.select(*columns, *kept, F.lit(rank).alias(_RANK)))
        rows = reduce(lambda a, b: a.unionByName(b), parts)
        order = rows.columns
        complete = reduce(and_, (F.col(key).isNotNull() for key in config.keys), alive())
        rows = rows.withColumn(_ALONE, F.when(~complete, F.col(names.RECORD_ID)))
        group = Window.partitionBy(*config.keys, _ALONE).orderBy(
            F.col(_RANK).asc(), F.col(names.ARRIVAL).desc(), F.col(names.SOURCE_RECORD).desc(), F.col(names.RECORD_ID)
        )
        whole = group.rowsBetween(Window.unboundedPreceding, Window.unboundedFollowing)
        others = [c.name for c in plan.output.columns if c.name not in config.keys]
        rows = rows.withColumns(
            {_PLACE: F.row_number().over(group)} | {n: F.first(n, ignorenulls=True).over(whole) for n in others}
        )
        return set_aside(rows, F.col(_PLACE) > 1, names.DEDUPLICATED).select(*(n for n in order if n != _RANK))


def _ranked(read: Attributes, sources: Sequence[Dataset]) -> tuple[Dataset, ...]:
    """The sources by precedence."""
    known = {s.name: s for s in sources}
    wanted = items(read.text("precedence")) or tuple(known)
    for name in wanted:
        if name not in known:
            message = f"<merge precedence> names '{name}', which is none of the sources"
            read.report(WRONG_VALUE, message, read.place("precedence", name), tuple(known))
    missing = [name for name in known if name not in wanted]
    if missing or len(set(wanted)) < len(wanted):
        message = f"<merge precedence> must name each source once{'; missing: ' if missing else ''}{', '.join(missing)}"
        read.report(WRONG_VALUE, message, read.place("precedence"), tuple(known))
    return tuple(known[name] for name in wanted if name in known)


def _columns(read: Attributes, ranked: Sequence[Dataset], keys: Sequence[str]) -> tuple[Column, ...]:
    """The columns of all sources, those of the first by precedence before the others."""
    found: dict[str, list[Column]] = {}
    for source in ranked:
        for column in source.columns:
            same = found.setdefault(column.name, [])
            if same and (same[0].type, same[0].nested) != (column.type, column.nested):
                kinds = [each.nested or each.type for each in (column, same[0])]
                message = f"<merge>: {column.name} is {kinds[0]} in '{source.name}', {kinds[1]} elsewhere"
                read.report(WRONG_TYPE, message, read.place("sources", source.name), (), "cast one of them")
            same.append(column)
    after = []
    for name, columns in found.items():
        classification, origins = derived_from(columns)
        nullable = name not in keys or any(c.nullable for c in columns)
        after.append(replace(columns[0], nullable=nullable, classification=classification, origins=origins))
    return tuple(after)


def _or_null(column: Column, there: bool) -> Expr:
    from pyspark.sql import functions as F

    return F.col(column.name) if there else F.lit(None).cast(str(column.type)).alias(column.name)


TRANSFORMATION = Merge()
