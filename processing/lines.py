"""Which steps of a pipeline work on its records, which on tables beside them, and which on rows after the accounting.

The records come from the driving sources. A table beside them is joined to them: its rows are no records of this
pipeline and are in none of its counts.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable

from pipeline_xml.checked import CheckedPipeline, CheckedSource, StepPlan


def record_steps(pipeline: CheckedPipeline) -> tuple[StepPlan, ...]:
    """The steps after which one row is still one record of a driving source."""
    return tuple(s for s in pipeline.steps if _of_records(pipeline, s) and s.output.per_record)


def later_steps(pipeline: CheckedPipeline) -> tuple[StepPlan, ...]:
    """The steps after record accounting ended."""
    return tuple(s for s in pipeline.steps if _of_records(pipeline, s) and not s.output.per_record)


def needed_steps(pipeline: CheckedPipeline, steps: Collection[StepPlan]) -> tuple[StepPlan, ...]:
    """`steps`, and before them those beside the records whose results they read, in document order."""
    wanted: set[str] = set()
    found = []
    for plan in reversed(pipeline.steps):
        beside = not _of_records(pipeline, plan) and plan.output.name in wanted
        if beside or plan in steps:
            found.append(plan)
            wanted.update(plan.inputs)
    return tuple(reversed(found))


def is_beside(pipeline: CheckedPipeline, plan: StepPlan) -> bool:
    return not _of_records(pipeline, plan)


def read_beside(pipeline: CheckedPipeline) -> tuple[CheckedSource, ...]:
    """The sources that steps read beside those that drive."""
    named = set(_inputs(pipeline.steps))
    return tuple(s for s in pipeline.sources if s.source.id in named and s not in pipeline.drivers)


def beside_names(pipeline: CheckedPipeline) -> frozenset[str]:
    """The names of datasets whose rows are no records of this pipeline."""
    made = {plan.output.name for plan in pipeline.steps if is_beside(pipeline, plan)}
    return frozenset(made | {s.source.id for s in pipeline.sources if s not in pipeline.drivers})


def _inputs(steps: Iterable[StepPlan]) -> Iterable[str]:
    return (name for plan in steps for name in plan.inputs)


def _of_records(pipeline: CheckedPipeline, plan: StepPlan) -> bool:
    return plan.output.driving in {s.source.id for s in pipeline.drivers}
