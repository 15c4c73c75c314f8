"""Pipelines whose upstream changed by a decision (a replay, an un-publishing, a restore) are asked to run again."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass

import dagster as dg

from publishing.journal import Journal
from publishing.ledger import Ledger
from publishing.standing import asked_reruns, reruns_done
from resources.settings import Settings

INTERVAL_SECONDS = 15
REQUESTS_A_TICK = 20


@dataclass(frozen=True, slots=True)
class RerunLaunch:
    """The job that runs whatever is ready. `pipelines`: what runs again with a pipeline, itself first; `locks` by
    pipeline. `rerun_tag` carries the number of the newest rerun that the run sees to, `of_tag` the pipeline."""

    job: dg.JobDefinition
    pipelines: Mapping[str, Sequence[str]]
    locks: Mapping[str, str]
    pipelines_tag: str
    lock_tag: str
    rerun_tag: str
    of_tag: str


@dataclass(frozen=True, slots=True)
class Reruns:
    """What the sensor asks of the ledger: {pipeline: ids asked for}, and to mark those up to an id as seen to."""

    asked: Callable[[], Mapping[str, Sequence[int]]]
    done: Callable[[Mapping[str, int]], None]


def reruns_in(settings: Settings, pipelines: Collection[str]) -> Reruns:
    """Those of the real ledger."""

    def asked() -> Mapping[str, Sequence[int]]:
        ledger = Ledger.of(settings)
        try:
            return asked_reruns(ledger, pipelines)
        finally:
            ledger.close()

    def done(up_to: Mapping[str, int]) -> None:
        ledger = Ledger.of(settings)
        try:
            reruns_done(ledger, Journal(settings.data / "journal"), up_to)
        finally:
            ledger.close()

    return Reruns(asked, done)


def rerun_sensor(name: str, reruns: Reruns, launch: RerunLaunch) -> dg.SensorDefinition:
    """A rerun is done once a run of it stands in the history: a tick that dies after asking asks for nothing twice.

    All that were asked for a pipeline by then are one run, because it takes whatever is ready.
    """

    def tick(context: dg.SensorEvaluationContext) -> dg.SensorResult:
        done: dict[str, int] = {}
        requests: list[dg.RunRequest] = []
        for pipeline, ids in reruns.asked().items():
            seen_to = _seen_to(context.instance, pipeline, launch)
            if seen_to >= ids[0]:
                done[pipeline] = seen_to
            if seen_to < ids[-1] and len(requests) < REQUESTS_A_TICK:
                requests.append(_request(pipeline, ids[-1], launch))
        if done:
            reruns.done(done)
        skipped = None if requests else "no pipeline is asked to run again"
        return dg.SensorResult(run_requests=requests or None, skip_reason=skipped)

    return dg.SensorDefinition(
        name=name,
        evaluation_fn=tick,
        job=launch.job,
        minimum_interval_seconds=INTERVAL_SECONDS,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description="Runs pipelines again whose upstream table was changed by a decision.",
    )


def _seen_to(instance: dg.DagsterInstance, pipeline: str, launch: RerunLaunch) -> int:
    """The newest rerun of the pipeline that a run was asked for; 0 for none."""
    runs = instance.get_runs(dg.RunsFilter(tags={launch.of_tag: pipeline}), limit=1)
    return int(runs[0].tags[launch.rerun_tag]) if runs else 0


def _request(pipeline: str, number: int, launch: RerunLaunch) -> dg.RunRequest:
    return dg.RunRequest(
        run_key=f"rerun-{pipeline}-{number}",
        job_name=launch.job.name,
        tags={
            launch.pipelines_tag: ",".join(launch.pipelines[pipeline]),
            launch.rerun_tag: str(number),
            launch.of_tag: pipeline,
            launch.lock_tag: launch.locks[pipeline],
        },
    )
