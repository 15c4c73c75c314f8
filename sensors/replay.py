"""Replays approved corrections on their own, of the pipelines whose workflow says onApproval."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass

import dagster as dg

from pipeline_xml.checked import CheckedApplication
from publishing.ledger import Ledger
from publishing.standing import WaitingReplay, waiting_replays
from resources.settings import Settings

INTERVAL_SECONDS = 10  # somebody has just approved, and looks
REQUESTS_A_TICK = 20
TRIES = 3  # runs over the same corrections that did not bring them to their end
ON_APPROVAL = "onApproval"

Waiting = Callable[[], Sequence[WaitingReplay]]


@dataclass(frozen=True, slots=True)
class ReplayLaunch:
    """The job that replays. `pipelines_tag` names the pipeline, `replay_tag` the batch, `lock_tag` who runs alone."""

    job: dg.JobDefinition
    pipelines_tag: str
    replay_tag: str
    every: str  # in place of a batch: all of the pipeline
    set_tag: str
    actor_tag: str
    lock_tag: str
    locks: dict[str, str]  # by pipeline
    workflows: dict[str, str]  # the workflow's id by pipeline: it is who asks


def replayed_on_approval(application: CheckedApplication) -> dict[str, str]:
    """{pipeline that replays without being asked: id of the workflow that says so}"""
    flows = application.workflow_by_pipeline
    return {key: flow.id for key, flow in flows.items() if flow.replay == ON_APPROVAL}


def waiting_in(settings: Settings, pipelines: Collection[str]) -> Waiting:
    """One query of the real ledger."""

    def waiting() -> Sequence[WaitingReplay]:
        ledger = Ledger.of(settings)
        try:
            return waiting_replays(ledger, pipelines)
        finally:
            ledger.close()

    return waiting


def replay_sensor(name: str, pipelines: Collection[str], waiting: Waiting, launch: ReplayLaunch) -> dg.SensorDefinition:
    """Asks for a run for each quarantined batch with approved corrections that were not replayed yet."""

    def tick(context: dg.SensorEvaluationContext) -> dg.SensorResult:
        found = waiting()
        requests: list[dg.RunRequest] = []
        for each in found:
            if len(requests) == REQUESTS_A_TICK:
                break
            if (run_key := _run_key(context.instance, each, launch.set_tag)) is not None:
                requests.append(_request(each, run_key, launch))
        waits = f"{len(found)} batches wait for a replay" if found else "no approved correction waits for a replay"
        return dg.SensorResult(run_requests=requests or None, skip_reason=None if requests else waits)

    return dg.SensorDefinition(
        name=name,
        evaluation_fn=tick,
        job=launch.job,
        minimum_interval_seconds=INTERVAL_SECONDS,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description=f"Replays what was approved, of {', '.join(pipelines)}: their workflow says {ON_APPROVAL}.",
    )


def _request(waiting: WaitingReplay, run_key: str, launch: ReplayLaunch) -> dg.RunRequest:
    return dg.RunRequest(
        run_key=run_key,
        job_name=launch.job.name,
        tags={
            launch.pipelines_tag: waiting.pipeline,
            launch.replay_tag: waiting.key or launch.every,
            launch.set_tag: set_of(waiting),
            launch.actor_tag: f"workflow {launch.workflows[waiting.pipeline]}",
            launch.lock_tag: launch.locks[waiting.pipeline],
        },
    )


def set_of(waiting: WaitingReplay) -> str:
    """A name for the corrections themselves: one more approved makes another, and so another run."""
    return hashlib.sha256("\n".join(sorted(waiting.corrections)).encode()).hexdigest()[:32]


def _run_key(instance: dg.DagsterInstance, waiting: WaitingReplay, set_tag: str) -> str | None:
    """None while a run over them is under way, and after the last try; a killed one is asked for under another key."""
    name = set_of(waiting)
    runs = instance.get_runs(dg.RunsFilter(tags={set_tag: name}), limit=TRIES)
    if len(runs) >= TRIES or any(not run.is_finished for run in runs):
        return None
    return f"replay-{name}-{len(runs) + 1}"
