"""The computation of one attempt as frames: rules, then the record steps, then what follows the accounting boundary."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime
from functools import reduce
from operator import or_
from typing import TYPE_CHECKING, Any

from pipeline_xml.checked import CheckedPipeline, CheckedTarget, StepPlan
from processing import frame as f
from processing.rejects import Reason, alive, reject
from processing.rules import apply_row_rules
from processing.step import Runner, Runtime

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

Materialise = Callable[["DataFrame"], "DataFrame"]

def record_steps(pipeline: CheckedPipeline) -> tuple[StepPlan, ...]:
    """The steps after which one row is still one record of the driving source."""
    return tuple(s for s in pipeline.steps if s.output.per_record)


def later_steps(pipeline: CheckedPipeline) -> tuple[StepPlan, ...]:
    """The steps after record accounting ended."""
    return tuple(s for s in pipeline.steps if not s.output.per_record)


def record_frame(
    pipeline: CheckedPipeline,
    rows: DataFrame,
    runners: Mapping[str, Runner],
    runtime: Runtime,
    materialise: Materialise,
) -> DataFrame:
    """Every record of the driving source with its columns, identity, final `_status` and `_errors`."""
    from pyspark.sql import functions as F

    rows = apply_row_rules(rows, pipeline.row_rules, runtime.bindings())
    frames = {pipeline.driving.source.id: rows}
    last = pipeline.driving.source.id
    for plan in record_steps(pipeline):
        runner = runners[plan.kind]
        if runner.several_passes:
            frames |= {name: materialise(frames[name]) for name in plan.inputs}
        last = plan.output.name
        frames[last] = runner.apply(plan, frames, runtime)
    frames[last] = _reject_null_keys(pipeline, frames[last])
    status = F.coalesce(F.col(f.STATUS), F.lit(f.ACCEPTED))
    if pipeline.pipeline.error_policy.on_record_error == "skip":
        status = F.when(status == f.QUARANTINED, F.lit(f.SKIPPED)).otherwise(status)
    return frames[last].withColumn(f.STATUS, status)


def _reject_null_keys(pipeline: CheckedPipeline, rows: DataFrame) -> DataFrame:
    """A record without its merge key could never be found again: it is quarantined, with the reason.

    After the last step, because the steps decide what stands in the key.
    """
    from pyspark.sql import functions as F

    for target in pipeline.targets:
        keys = target.keys
        if target.target.mode != "merge" or not target.dataset.per_record:
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
    pipeline: CheckedPipeline, accepted: DataFrame, runners: Mapping[str, Runner], runtime: Runtime
) -> list[DataFrame]:
    """The output of each step after the accounting boundary, computed from the accepted records.

    What such a step sets aside is no record any more: it leaves the frame, and the chain of the steps counts it.
    """
    from pyspark.sql import functions as F

    alive = accepted.withColumn(f.STATUS, F.lit(None).cast("string"))
    alive = alive.withColumn(f.ERRORS, F.lit(None).cast(f.ERRORS_DDL))
    frames: dict[str, Any] = {pipeline.driving.source.id: alive}
    frames |= {plan.output.name: alive for plan in record_steps(pipeline)}
    outputs = []
    for plan in later_steps(pipeline):
        rows = runners[plan.kind].apply(plan, frames, runtime)
        frames[plan.output.name] = rows.where(F.col(f.STATUS).isNull())
        outputs.append(frames[plan.output.name])
    return outputs


def target_columns(target: CheckedTarget) -> tuple[str, ...]:
    """The columns of a target table in order: the dataset's, then the platform's."""
    identity = f.IDENTITY if target.dataset.per_record else (f.BUSINESS_DATE,)
    return (*target.dataset.names, *identity, *f.STAMPED)
