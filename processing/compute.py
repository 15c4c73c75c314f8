"""The computation of one attempt as frames: rules, then the record steps, then what follows the accounting boundary."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from functools import reduce
from operator import or_
from typing import TYPE_CHECKING, Any

from pipeline_xml.checked import CheckedPipeline, CheckedSource, CheckedTarget, StepPlan
from pipeline_xml.model import HiveSource
from processing import frame as f
from processing.branches import together
from processing.lines import is_beside, later_steps, needed_steps, record_steps
from processing.rejects import Reason, alive, reject
from processing.rules import apply_row_rules
from processing.step import Runner, Runtime

if TYPE_CHECKING:
    from pyspark.sql import DataFrame


@dataclass(frozen=True)
class Tools:
    """What an attempt computes with. `materialise` writes a frame to disk and reads it back; `vault` collects what the
    vault of tokens has to know, `branches` the records of each branch by its dataset, where they part."""

    runners: Mapping[str, Runner]
    runtime: Runtime
    materialise: Callable[[DataFrame], DataFrame]
    vault: list[DataFrame] = field(default_factory=list)
    branches: dict[str, DataFrame] = field(default_factory=dict)


def record_frame(
    pipeline: CheckedPipeline,
    rows: DataFrame,
    beside: Mapping[str, DataFrame],
    tools: Tools,
    references: Mapping[str, DataFrame] | None = None,
) -> DataFrame:
    """Every record of the driving sources with its columns, identity, final `_status` and `_errors`.

    `rows` are those of the first one; `beside` are the frames of the others and of the tables that are joined, by
    source; `references` the rows that rules over keys compare with, by rule. Where steps write over columns of a
    table's records, `_original` keeps those of rejected ones.
    """
    from pyspark.sql import functions as F

    parts = pipeline.branches
    steps = [plan for place, plan in enumerate(pipeline.steps) if place in parts.needed]
    keeps = isinstance(pipeline.driving.source, HiveSource) and any(plan.rewrites for plan in steps)
    frames = {pipeline.driving.source.id: rows, **beside}
    for number, source in enumerate(pipeline.drivers):
        found = frames[source.source.id]
        if any(rule.compares_records for rule in pipeline.key_rules):
            found = tools.materialise(found)  # looked at twice
        found = apply_row_rules(found, pipeline.row_rules, tools.runtime.bindings(), pipeline.key_rules, references)
        found = _with_original(pipeline, source, found) if keeps else found
        frames[source.source.id] = tools.materialise(found) if -1 - number in parts.shared else found
    stem = frames[pipeline.driving.source.id]
    taken = {name: frames[name] for name, place in parts.taken.items() if place < 0}
    for plan in needed_steps(pipeline, steps):
        made = _applied(plan, frames, tools)
        if is_beside(pipeline, plan):
            frames[plan.output.name] = made.where(alive())
            continue
        (place,) = (number for number, each in enumerate(pipeline.steps) if each is plan)
        made = tools.materialise(made) if place in parts.shared else made
        frames[plan.output.name] = made
        taken |= {name: made for name, at in parts.taken.items() if at == place}
        stem = made if place == parts.stem else stem
    taken = {name: _judged(pipeline, name, found, tools) for name, found in taken.items()}
    if parts.several:
        tools.branches.update({name: tools.materialise(found) for name, found in taken.items()})
        stem = together(stem, list(tools.branches.values()))
    else:
        stem = next(iter(taken.values()), stem)
    status = F.coalesce(F.col(f.STATUS), F.lit(f.ACCEPTED))
    if pipeline.pipeline.error_policy.on_record_error == "skip":
        status = F.when(status == f.QUARANTINED, F.lit(f.SKIPPED)).otherwise(status)
    found = stem.withColumn(f.STATUS, status)
    if keeps:
        rejected = F.col(f.STATUS) == F.lit(f.QUARANTINED)
        found = found.withColumn(f.ORIGINAL, F.when(rejected, F.col(f.ORIGINAL)))
    return found


def _applied(plan: StepPlan, frames: dict[str, Any], tools: Tools) -> DataFrame:
    """The step's output; what it looks at more than once is on disk before."""
    runner = tools.runners[plan.kind]
    if runner.several_passes or plan.fills_vault:
        frames |= {name: tools.materialise(frames[name]) for name in plan.inputs}
    if plan.fills_vault:
        found = runner.vault_rows(plan, frames[plan.inputs[0]], tools.runtime)  # type: ignore[attr-defined]
        tools.vault.append(found)
    return runner.apply(plan, frames, tools.runtime)


def _with_original(pipeline: CheckedPipeline, source: CheckedSource, rows: DataFrame) -> DataFrame:
    """The records of one driving source with a copy of their columns.

    The copy has the columns of the first driving source: those of its name and type, null where there is none.
    """
    from pyspark.sql import functions as F

    there = {(c.name, c.type) for c in source.contract.columns}
    copied = [
        (F.col(c.name) if (c.name, c.type) in there else F.lit(None).cast(str(c.type))).alias(c.name)
        for c in pipeline.driving.contract.columns
    ]
    return rows.withColumn(f.ORIGINAL, F.struct(*copied))


def _judged(pipeline: CheckedPipeline, name: str, rows: DataFrame, tools: Tools) -> DataFrame:
    """The records of a dataset that is taken, less those that what takes it cannot take.

    A step after the accounting rejects what it could not work on. A record without its merge key could never be found
    again. After the last step, because the steps decide what stands in the key.
    """
    from pyspark.sql import functions as F

    replaced: set[str] = set()
    for plan in later_steps(pipeline):
        if plan.judges_records and plan.inputs[0] == name and name not in replaced:
            rows = tools.runners[plan.kind].judged(plan, rows, tools.runtime)  # type: ignore[attr-defined]
        replaced.add(plan.output.name)
    for target in pipeline.targets:
        keys = target.keys
        if target.target.mode != "merge" or not target.dataset.per_record or target.dataset.name != name:
            continue
        missing = alive() & reduce(or_, (F.col(key).isNull() for key in keys))
        message = "a key column of the merge target is empty"
        rows = reject(rows, [Reason(missing, "merge.keys", ",".join(keys), "required", message)])
    return rows


def stamp(rows: DataFrame, batch_id: str, opened_at: datetime) -> DataFrame:
    """Adds what is constant for an attempt: batch id, opening time and its UTC date."""
    from pyspark.sql import functions as F

    return (
        rows.withColumn(f.BATCH_ID, F.lit(batch_id))
        .withColumn(f.INGESTED_AT, F.lit(opened_at.isoformat(sep=" ")).cast("timestamp"))
        .withColumn(f.INGEST_DATE, F.lit(opened_at.date().isoformat()).cast("date"))
    )


def later_frames(
    pipeline: CheckedPipeline,
    accepted: DataFrame,
    beside: Mapping[str, DataFrame],
    tools: Tools,
    branches: Mapping[str, DataFrame],
) -> list[DataFrame]:
    """The output of each step after the accounting boundary, computed from the accepted records, or those of a branch.

    What such a step sets aside is no record any more: it leaves the frame, and the chain of the steps counts it.
    """
    from pyspark.sql import functions as F

    fresh = {f.STATUS: F.lit(None).cast("string"), f.ERRORS: F.lit(None).cast(f.ERRORS_DDL)}
    living = accepted.withColumns(fresh)
    frames: dict[str, Any] = dict(beside)
    frames |= {source.source.id: living for source in pipeline.drivers}
    frames |= {plan.output.name: living for plan in record_steps(pipeline)}
    frames |= {name: rows.withColumns(fresh) for name, rows in branches.items()}
    outputs = []
    for plan in needed_steps(pipeline, later_steps(pipeline)):
        rows = _applied(plan, frames, tools)
        frames[plan.output.name] = rows.where(F.col(f.STATUS).isNull())
        if not is_beside(pipeline, plan):
            outputs.append(frames[plan.output.name])
    return outputs


def target_columns(target: CheckedTarget) -> tuple[str, ...]:
    """The columns of a target table in order: the dataset's, then the platform's."""
    return (*target.dataset.names, *f.IDENTITY, *f.STAMPED)
