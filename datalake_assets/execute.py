"""What `lake run` and `lake checks` call: the job of the code location, run in this process.

The outcomes do not pass through Dagster: the work that the run is given remembers them.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import date

from datalake_assets import names
from datalake_assets.catalog import load, narrowed, only
from datalake_assets.in_process import Ended, run_here
from datalake_assets.replay_specs import replays
from datalake_assets.work import Announce, OpenWork, Work, lake_work
from pipeline_xml.checked import Catalog, CheckedApplication, CheckedPipeline
from pipeline_xml.parameters import declared, parameter_type, parameter_value
from publishing.outcome import BatchOutcome, CheckOutcome, PipelineOutcome, RunOutcome, worst
from publishing.standing import Standing
from resources.settings import Settings
from stewardship.actors import Actor

Watch = Callable[[str, BatchOutcome], None]  # pipeline (app/pipeline) and its batch, as each ends


class UnknownName(Exception):
    """A pipeline, job or application that is not there; says which are."""


@dataclass(frozen=True, slots=True)
class ChecksOutcome:
    """`run` is Dagster's run id; `checks` are by pipeline (app/pipeline)."""

    run: str
    checks: Mapping[str, tuple[CheckOutcome, ...]]
    error: str | None = None

    @property
    def passed(self) -> bool:
        """No check of severity error failed, and every pipeline could be checked."""
        failed = [c for group in self.checks.values() for c in group if not c.passed and c.severity == "error"]
        return self.error is None and not failed


@dataclass
class Recording:
    """Work that remembers what came of it. A pipeline that was retried has its last outcome."""

    open_work: OpenWork
    watch: Watch | None = None
    runs: dict[str, PipelineOutcome] = field(default_factory=dict)
    evaluated: dict[str, tuple[CheckOutcome, ...]] = field(default_factory=dict)

    @contextmanager
    def opened(self) -> Iterator[Work]:
        with self.open_work() as work:
            yield _Recorded(work, self)


@dataclass(frozen=True, slots=True)
class _Recorded:
    work: Work
    recording: Recording

    def run(
        self,
        checked: CheckedPipeline,
        *,
        run_id: str,
        business_date: date | None,
        reprocess: bool,
        claim: str | None,
        announce: Announce,
        parameters: Mapping[str, str],
    ) -> PipelineOutcome:
        def run(told: Announce) -> PipelineOutcome:
            return self.work.run(
                checked,
                run_id=run_id,
                business_date=business_date,
                reprocess=reprocess,
                claim=claim,
                announce=told,
                parameters=parameters,
            )

        return self._recorded(checked, announce, run)

    def _recorded(
        self, checked: CheckedPipeline, announce: Announce, work: Callable[[Announce], PipelineOutcome]
    ) -> PipelineOutcome:
        ended: list[BatchOutcome] = []

        def both(batch: BatchOutcome) -> None:
            ended.append(batch)
            announce(batch)
            if self.recording.watch is not None:
                self.recording.watch(checked.key, batch)

        outcome: PipelineOutcome | None = None
        try:
            outcome = work(both)
            return outcome
        finally:
            problem = sys.exception()
            broken = PipelineOutcome(checked.key, "failed", tuple(ended), f"{type(problem).__name__}: {problem}")
            self.recording.runs[checked.key] = outcome or broken

    def checks(self, checked: CheckedPipeline, business_date: date | None) -> tuple[CheckOutcome, ...]:
        found = self.work.checks(checked, business_date)
        self.recording.evaluated[checked.key] = found
        return found

    def replay(
        self, checked: CheckedPipeline, *, run_id: str, batch_key: str | None, actor: Actor, announce: Announce
    ) -> PipelineOutcome:
        def replay(told: Announce) -> PipelineOutcome:
            return self.work.replay(
                checked, run_id=run_id, batch_key=batch_key, actor=actor, announce=told
            )

        return self._recorded(checked, announce, replay)

    def standings(self, checked: CheckedPipeline, keys: Collection[str] | None = None) -> tuple[Standing, ...]:
        return self.work.standings(checked, keys)

    def replay_checks(self, checked: CheckedPipeline, batch_key: str) -> tuple[CheckOutcome, ...]:
        return self.work.replay_checks(checked, batch_key)


def execute(
    settings: Settings,
    app: str,
    name: str,
    business_date: date | None = None,
    reprocess: bool = False,
    *,
    parameters: Mapping[str, str] | None = None,
    watch: Watch | None = None,
    catalog: Catalog | None = None,
    open_work: OpenWork | None = None,
) -> RunOutcome:
    """Runs a pipeline, or the job pipeline where no pipeline has the name; everything ready, or one business date.

    `parameters` are texts by name. UnknownName where neither exists, or a parameter does not; DefinitionError where the
    definitions have errors. Failures of the run itself are in the outcome.
    """
    full = catalog or load(settings)
    loaded = _application(full, app)
    checked, job = loaded.pipeline(app, name), loaded.job(app, name)
    if checked is not None:
        job_name, pipelines = names.ready_job(app), {names.PIPELINES_TAG: checked.key}
        built = narrowed(loaded, (name,))
    elif job is not None:
        job_name, pipelines = names.chain_job(job), dict[str, str]()
        built = narrowed(loaded, {each for ref in job.refs for each in (ref.id, ref.fallback) if each}, job)
    else:
        found = loaded.applications[0]
        valid = [p.pipeline.id for p in found.pipelines] + [j.id for j in found.jobs]
        raise UnknownName(f"application '{app}' has no pipeline or job '{name}'; valid: {', '.join(valid) or 'none'}")
    tags = pipelines | _date_tag(business_date) | ({names.REPROCESS_TAG: "true"} if reprocess else {})
    tags |= _parameters_tag(loaded.applications[0], name, parameters or {})
    recording = Recording(open_work or lake_work(settings, full), watch)
    return _outcome(run_here(settings, built, recording.opened, job_name, tags), recording)


def execute_replay(
    settings: Settings,
    app: str,
    pipeline: str,
    batch_key: str | None,
    actor: Actor,
    *,
    catalog: Catalog | None = None,
    open_work: OpenWork | None = None,
) -> RunOutcome:
    """Replays what was approved of one quarantined batch of a pipeline, or of all; `actor` asked for it.

    UnknownName where the pipeline does not exist or quarantines nothing; the batch is looked for by the run.
    """
    full = catalog or load(settings)
    loaded = _application(full, app)
    able = [p for p in loaded.applications[0].pipelines if replays(p)]
    checked = next((p for p in able if p.pipeline.id == pipeline), None)
    if checked is None:
        valid = ", ".join(p.pipeline.id for p in able) or "none"
        raise UnknownName(f"application '{app}' has no pipeline '{pipeline}' that quarantines; valid: {valid}")
    asked = {names.PIPELINES_TAG: checked.key, names.REPLAY_TAG: batch_key or names.EVERY_BATCH}
    asked |= {names.ACTOR_TAG: actor.name, names.ROLE_TAG: actor.role}
    recording = Recording(open_work or lake_work(settings, full))
    built = narrowed(loaded, (pipeline,))
    return _outcome(run_here(settings, built, recording.opened, names.ready_job(app), asked), recording)


def _parameters_tag(application: CheckedApplication, name: str, given: Mapping[str, str]) -> dict[str, str]:
    """The values as a run's tag carries them, after they were read by the types that are declared."""
    jobs = [job for job in application.jobs if job.id == name]
    known = {p.name: p for job in jobs for p in job.parameters} if jobs else declared(application.jobs, name)
    for parameter, text in given.items():
        if parameter not in known:
            valid = ", ".join(known) or "none"
            raise UnknownName(f"'{name}' has no parameter '{parameter}'; valid: {valid}")
        try:
            parameter_value(text, parameter_type(known[parameter]))
        except ValueError as error:
            raise UnknownName(f"the value of parameter '{parameter}' is {error}") from None
    return {names.PARAMETERS_TAG: json.dumps(dict(given), sort_keys=True)} if given else {}


def _outcome(ended: Ended, recording: Recording) -> RunOutcome:
    outcomes = tuple(recording.runs.values())
    statuses = [outcome.status for outcome in outcomes]
    if ended.success:  # what a fallback made good does not count against the run
        statuses = [status for status in statuses if status not in ("held", "failed")]
    elif not {"held", "failed"} & set(statuses):
        statuses.append("failed")
    status = worst(statuses)
    own = (outcome.error for outcome in outcomes if outcome.status == "failed" and outcome.error)
    return RunOutcome(ended.run_id, status, outcomes, next(own, ended.error) if status == "failed" else None)


def execute_checks(
    settings: Settings,
    app: str,
    pipeline: str | None = None,
    business_date: date | None = None,
    *,
    catalog: Catalog | None = None,
    open_work: OpenWork | None = None,
) -> ChecksOutcome:
    """Evaluates the checks of an application, or of one of its pipelines, on what is published."""
    full = catalog or load(settings)
    loaded = _application(full, app)
    keys = [p.key for p in loaded.applications[0].pipelines if pipeline in (None, p.pipeline.id)]
    if pipeline is not None and not keys:
        valid = ", ".join(p.pipeline.id for p in loaded.applications[0].pipelines)
        raise UnknownName(f"application '{app}' has no pipeline '{pipeline}'; valid: {valid or 'none'}")
    tags = _date_tag(business_date) | {names.PIPELINES_TAG: f"{app}/{pipeline}" if pipeline else app}
    recording = Recording(open_work or lake_work(settings, full))
    built = narrowed(loaded, (pipeline,)) if pipeline else loaded
    ended = run_here(settings, built, recording.opened, names.ALL_CHECKS_JOB, tags)
    broken = set(keys) - set(recording.evaluated)
    return ChecksOutcome(ended.run_id, recording.evaluated, ended.error if broken else None)


def _application(catalog: Catalog, app: str) -> Catalog:
    if catalog.application(app) is None:
        valid = ", ".join(a.name for a in catalog.applications)
        raise UnknownName(f"no application '{app}' in {catalog.root}; valid: {valid or 'none'}")
    return only(catalog, (app,))


def _date_tag(business_date: date | None) -> dict[str, str]:
    return {names.BUSINESS_DATE_TAG: business_date.isoformat()} if business_date else {}
