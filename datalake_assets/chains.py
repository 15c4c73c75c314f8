"""A jobPipeline as an op graph, where retry, halt, skip, continue and fallback mean what they say.

Native asset jobs skip every dependent of what failed; ops let a job go on. An op logs the same events as the asset.

    halt      nothing that has not started yet runs            the op fails, later ops see `Chain.halted`
    retry     again, up to maxRetries, then halt               retry policy of the op; held is never retried
              The others retry as their pipeline's errorPolicy says, before they are taken for failed.
    skip      dependents are skipped, the rest goes on         the op fails, Dagster skips its dependents
    continue  dependents run all the same                      the op hands its failure on; the last op fails the run
    fallback  another pipeline runs instead                    inside the same op
"""

# Annotations stay objects here: Dagster reads that of `context` and understands no text.
from collections.abc import Generator, Iterator, Mapping
from typing import Any

import dagster as dg

from datalake_assets import names
from datalake_assets.assets import retry_policy
from datalake_assets.killed import tell_killed
from datalake_assets.notices import Ended, failed_with, tell_end
from datalake_assets.perform import Event, perform
from pipeline_xml.checked import Catalog, CheckedPipeline
from pipeline_xml.model import JobPipeline, PipelineRef
from publishing.unended import running
from resources.settings import Settings

VERDICT = "verdict"


class Chain:
    """What ops of one run know of each other, and what became of each pipeline by the id of its pipelineRef."""

    def __init__(self) -> None:
        self.halted: str | None = None
        self.ended: dict[str, Ended] = {}


def chain_resource(settings: Settings, catalog: Catalog) -> dg.ResourceDefinition:
    """Shared by the ops of a job pipeline; when the run is over it tells those whom the job names.

    Before it begins, the ends of earlier runs of the job are told that were killed.
    """
    jobs = {names.chain_job(job): job for application in catalog.applications for job in application.jobs}

    def resource(context: dg.InitResourceContext) -> Iterator[Chain]:
        chain = Chain()
        job = jobs.get(context.run.job_name) if context.run else None
        if job is None or not job.notifications or context.run is None:
            yield chain
            return
        log, run_id = context.log or dg.get_dagster_logger(), context.run.run_id
        if context.instance is not None:
            tell_killed(settings, [job], context.instance, log)
        with running(settings.data, job.app, job.id, run_id) as told_it:
            yield chain
            tell_end(settings, job, run_id, chain.ended, log, told_it)

    return dg.ResourceDefinition(resource, description="What the ops of a job pipeline share, and whom it tells.")


def chain_job(job: JobPipeline, catalog: Catalog) -> dg.JobDefinition:
    ops = {ref.id: _op(job, ref, catalog) for ref in job.refs}
    lenient = [ref for ref in job.refs if ref.on_failure == "continue"]
    nodes: list[dg.NodeDefinition] = list(ops.values())
    dependencies: dict[str, Mapping[str, dg.DependencyDefinition]] = {
        ops[ref.id].name: {_after(up): dg.DependencyDefinition(ops[up].name, "done") for up in ref.depends_on}
        for ref in job.refs
    }
    if lenient:
        verdict = _verdict(job, lenient)
        nodes.append(verdict)
        dependencies[verdict.name] = {
            _after(ref.id): dg.DependencyDefinition(ops[ref.id].name, "done") for ref in lenient
        }
    graph = dg.GraphDefinition(
        name=names.chain_job(job), description=job.description or None, node_defs=nodes, dependencies=dependencies
    )
    return graph.to_job(
        name=names.chain_job(job),
        executor_def=dg.in_process_executor,
        tags={names.LOCK_TAG: names.chain_job(job)},
        metadata={"version": job.version, "owner": job.owner, "definition": str(job.where)},
    )


def _op(job: JobPipeline, ref: PipelineRef, catalog: Catalog) -> dg.OpDefinition:
    checked = _pipeline(catalog, job, ref.id)
    fallback = _pipeline(catalog, job, ref.fallback) if ref.on_failure == "fallback" and ref.fallback else None
    own = retry_policy(checked.pipeline.error_policy)
    policy = dg.RetryPolicy(max_retries=ref.max_retries) if ref.on_failure == "retry" and ref.max_retries else own
    retries = policy.max_retries if policy else 0

    @dg.op(
        name=f"{names.chain_job(job)}__{names.identifier(ref.id)}",
        description=checked.pipeline.metadata.description or None,
        ins={_after(up): dg.In(dg.Nothing) for up in ref.depends_on},
        out={"done": dg.Out(str, is_required=False)},
        required_resource_keys={"lake", "chain"},
        retry_policy=policy,
        tags={"pipeline": checked.key},
    )
    def run(context: dg.OpExecutionContext) -> Iterator[Any]:
        chain: Chain = context.resources.chain
        if chain.halted:
            context.log.warning(f"{checked.key} does not run: {chain.halted} failed and halts the job")
            return
        problem, ended = "", False
        try:
            came = yield from _perform(context, checked, fallback, ref, retries)
            chain.ended[ref.id] = came
            problem = "" if came.good else came.reason
            ended = True
        except Exception as failure:
            chain.ended[ref.id] = failed_with(checked, failure)
            # Another attempt decides, unless this one says that trying again is of no use.
            final = isinstance(failure, dg.Failure) and not failure.allow_retries
            ended = not final and context.retry_number < retries
            raise
        finally:
            if not ended and ref.on_failure in ("halt", "retry", "fallback"):
                chain.halted = checked.key
        yield dg.Output(problem, "done")

    return run


def _perform(
    context: dg.OpExecutionContext,
    checked: CheckedPipeline,
    fallback: CheckedPipeline | None,
    ref: PipelineRef,
    retries: int,
) -> Generator[Event, None, Ended]:
    """Returns what came of it, a failure only where that does not stop the dependents."""
    try:
        outcome = yield from perform(context, checked)
    except Exception as error:  # whatever it was, the policy decides what becomes of the job
        allowed = error.allow_retries if isinstance(error, dg.Failure) else True
        again = allowed and context.retry_number < retries
        if again or (fallback is None and ref.on_failure != "continue"):
            raise
        came = failed_with(checked, error)
    else:
        return Ended(checked.key, outcome.status)
    if fallback is None:
        context.log.error(f"{came.reason}; dependents run all the same")
        return came
    context.log.warning(f"{came.reason}; {fallback.key} runs instead")
    outcome = yield from perform(context, fallback)
    return Ended(checked.key, outcome.status, f"{came.reason}; {fallback.key} ran instead")


def _verdict(job: JobPipeline, lenient: list[PipelineRef]) -> dg.OpDefinition:
    """Fails the run, after everything that could still run did, where a pipeline marked `continue` failed."""

    @dg.op(
        name=f"{names.chain_job(job)}__{VERDICT}",
        ins={_after(ref.id): dg.In(str) for ref in lenient},
        description="Fails the run where a pipeline that lets its dependents run had failed.",
    )
    def verdict(_context: dg.OpExecutionContext, **problems: str) -> None:
        found = [text for _, text in sorted(problems.items()) if text]
        if found:
            raise dg.Failure("; ".join(found), allow_retries=False)

    return verdict


def _pipeline(catalog: Catalog, job: JobPipeline, pipeline_id: str) -> CheckedPipeline:
    checked = catalog.pipeline(job.app, pipeline_id)
    if checked is None:
        raise ValueError(f"{job.where}: job {job.id} names pipeline {pipeline_id}, which application {job.app} lacks")
    return checked


def _after(pipeline_id: str) -> str:
    return f"after_{names.identifier(pipeline_id)}"
