"""The few jobs of a code location: one an application, layer and grain, and one that checks everything published."""

# Annotations stay objects here: Dagster reads that of `context` and understands no text.
from collections.abc import Iterable, Iterator
from typing import Any

import dagster as dg

from datalake_assets import names
from datalake_assets.assets import retry_policy
from datalake_assets.perform import check_published, perform
from datalake_assets.replay_specs import replays
from datalake_assets.replays import perform_replay
from pipeline_xml.checked import Catalog, CheckedApplication, CheckedPipeline
from pipeline_xml.model import LAYERS, JobPipeline


def layer_jobs(application: CheckedApplication) -> dict[str, dg.AssetSelection]:
    """Name to selection of each job of an application."""
    found: dict[str, list[dg.AssetKey]] = {}
    for checked in application.pipelines:
        found.setdefault(names.layer_job(checked), []).extend(names.target_key(t) for t in checked.targets)
    return {name: dg.AssetSelection.assets(*keys) for name, keys in found.items()}


def ready_job(application: CheckedApplication) -> dg.JobDefinition:
    """Runs whatever is ready of the pipelines in the tag `datalake/pipelines`, over any number of business dates.

    An asset job cannot: a run without a partition breaks in Dagster as soon as an upstream asset is partitioned. The
    events are the same, so the history of an asset does not care which of the two made it.
    """

    @dg.op(name=f"{names.ready_job(application.name)}_op", required_resource_keys={"lake"})
    def run(context: dg.OpExecutionContext) -> Iterator[Any]:
        for checked in _selected((application,), context.run.tags.get(names.PIPELINES_TAG, "")):
            try:
                yield from _performed(context, checked)
            except dg.Failure as failure:
                policy = retry_policy(checked.pipeline.error_policy)
                if policy is None or not failure.allow_retries:
                    raise
                raise dg.RetryRequested(policy.max_retries, policy.delay) from failure
        yield dg.Output(None)

    @dg.job(
        name=names.ready_job(application.name),
        executor_def=dg.in_process_executor,
        description="Runs what is ready: of all pipelines, or of those that the tag datalake/pipelines names. With the"
        " tag datalake/replay (a quarantined batch, or all) it replays what was approved instead.",
    )
    def job() -> None:
        run()

    return job


def _performed(context: dg.OpExecutionContext, checked: CheckedPipeline) -> Iterator[Any]:
    """What is ready; with the tag `datalake/replay`, what was approved."""
    batch = context.run.tags.get(names.REPLAY_TAG)
    if batch is None:
        yield from perform(context, checked)
    elif replays(checked):
        yield from perform_replay(context, checked, None if batch == names.EVERY_BATCH else batch)


def checks_job(catalog: Catalog) -> dg.JobDefinition:
    """All checks on what is published, across grains, which a job of assets cannot mix. Fails on a failed error.

    The tag `datalake/pipelines` (app or app/pipeline, comma-separated) limits it.
    """

    @dg.op(name=names.ALL_CHECKS_JOB + "_op", required_resource_keys={"lake"})
    def evaluate(context: dg.OpExecutionContext) -> Iterator[Any]:
        failed = []
        for checked in _selected(catalog.applications, context.run.tags.get(names.PIPELINES_TAG, "")):
            outcomes, evaluations = check_published(context, checked)
            yield from evaluations
            failed += [f"{checked.key} {o.name}" for o in outcomes if not o.passed and o.severity == "error"]
        if failed:
            raise dg.Failure(f"failed checks: {', '.join(failed)}", allow_retries=False)
        yield dg.Output(None)

    @dg.job(
        name=names.ALL_CHECKS_JOB,
        executor_def=dg.in_process_executor,
        description="Evaluates every check on what is published; fails where one of severity error fails.",
    )
    def job() -> None:
        evaluate()

    return job


def _selected(applications: Iterable[CheckedApplication], tag: str) -> Iterator[CheckedPipeline]:
    wanted = {name.strip() for name in tag.split(",") if name.strip()}
    for application in applications:
        # upstream layers first, so that what one pipeline publishes is ready for the next
        for checked in sorted(application.pipelines, key=lambda p: LAYERS.index(p.pipeline.layer)):
            if not wanted or wanted & {application.name, checked.key}:
                yield checked


def scheduled_elsewhere(jobs: Iterable[JobPipeline]) -> set[str]:
    """Pipelines of a scheduled job: they ignore their own schedule."""
    return {ref.id for job in jobs if job.schedule for ref in job.refs}
