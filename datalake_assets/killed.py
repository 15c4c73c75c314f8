"""Runs of jobs that were killed: what became of them as far as Dagster knows, told once by whoever looks next."""

from __future__ import annotations

from collections.abc import Iterable

import dagster as dg

from datalake_assets import names
from datalake_assets.notices import Ended, Log, messages
from datalake_assets.perform import STATUS
from pipeline_xml.model import JobPipeline
from publishing.ledger import Ledger
from publishing.outbox import enqueue, told_of
from publishing.unended import abandoned
from resources.failures import told
from resources.settings import Settings

GONE = "the run's process ended, or the run was cancelled"


def tell_killed(settings: Settings, jobs: Iterable[JobPipeline], instance: dg.DagsterInstance, log: Log) -> int:
    """Puts the ends of runs whose process is gone into the outbox, and closes them in Dagster; how many messages.

    Never raises: another job's run must not suffer, and what was not told is found again.
    """
    count = 0
    try:
        for job in jobs:
            for run_id in abandoned(settings.data, job.app, job.id):
                count += _tell(settings, job, run_id, instance)
                log.warning(f"run {run_id} of {job.app}/{job.id} was killed: its end is told")
    except Exception as error:  # noqa: BLE001 - whatever it was, it is tried again by the next who looks
        log.warning(f"the end of a killed run was not told yet: {told(error)}")
    return count


def _tell(settings: Settings, job: JobPipeline, run_id: str, instance: dg.DagsterInstance) -> int:
    run = instance.get_run_by_id(run_id)
    if run is None:  # of another instance: nothing is known but that it did not end
        ended = {job.refs[0].id: Ended(f"{job.app}/{job.refs[0].id}", "failed", GONE)}
    else:
        ended = ended_in(instance, job, run)
    ledger = Ledger.of(settings)
    try:
        fresh = [] if told_of(ledger, job.app, run_id) else list(messages(settings, job, run_id, ended))
        put = enqueue(ledger, fresh)
    finally:
        ledger.close()
    if run is not None and not run.is_finished:
        instance.report_run_failed(run, GONE)
    return put


def ended_in(instance: dg.DagsterInstance, job: JobPipeline, run: dg.DagsterRun) -> dict[str, Ended]:
    """What Dagster knows of the pipelines of a run: those whose step ended, with the failure that ended it."""
    steps = {f"{names.chain_job(job)}__{names.identifier(ref.id)}": ref.id for ref in job.refs}
    found: dict[str, Ended] = {}
    wanted = {dg.DagsterEventType.STEP_SUCCESS, dg.DagsterEventType.STEP_FAILURE}
    for entry in instance.all_logs(run.run_id, of_type=wanted):
        event = entry.dagster_event
        ref = steps.get(event.step_key or "") if event else None
        if event is None or ref is None:
            continue
        key = f"{job.app}/{ref}"
        if event.is_step_success:
            found[ref] = Ended(key, "published")
            continue
        user = event.step_failure_data.user_failure_data
        status = user.metadata.get(STATUS) if user else None
        found[ref] = Ended(key, str(status.value) if status else "failed", str(user.description) if user else "")
    if run.status != dg.DagsterRunStatus.SUCCESS and all(end.good for end in found.values()):
        undone = next((ref.id for ref in job.refs if ref.id not in found), job.refs[-1].id)
        found[undone] = Ended(f"{job.app}/{undone}", "failed", GONE)
    return found
