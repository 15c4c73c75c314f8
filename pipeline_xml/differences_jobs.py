"""What changed of jobs: what runs no more, what those who start them have to give, when and in which order they run."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from pipeline_xml.checked import Catalog
from pipeline_xml.model import FileSource, JobPipeline, PipelineRef

STARTERS = ("those who start it",)
Readers = Callable[[str], tuple[str, ...]]  # of the tables that a pipeline (app/id) writes


@dataclass(frozen=True, slots=True)
class JobChange:
    """As `differences.Change`, of the job `app/id`."""

    breaking: bool
    job: str
    what: str
    whom: tuple[str, ...] = ()


def job_changes(old: Catalog, new: Catalog, readers: Readers) -> Iterator[JobChange]:
    """What is run by nothing any more breaks its readers; a parameter that is asked anew, those who start the job."""
    before, after = _jobs(old), _jobs(new)
    broken = {p.where.file for p in new.problems if p.severity == "error"}
    for name, job in before.items():
        if job.where.file in broken or (name in after and after[name].where.file in broken):
            yield JobChange(True, name, "does not pass the check any more", STARTERS)
        elif name in after:
            yield from _job(name, job, after[name])
            yield from _pipelines(name, job, after[name].refs, new, readers)
        else:
            yield JobChange(True, name, "is gone", STARTERS)
            yield from _pipelines(name, job, (), new, readers)
    yield from (JobChange(False, name, "is new") for name in after.keys() - before.keys())


def _jobs(catalog: Catalog) -> dict[str, JobPipeline]:
    return {f"{job.app}/{job.id}": job for a in catalog.applications for job in a.jobs}


def _pipelines(
    name: str, job: JobPipeline, now: tuple[PipelineRef, ...], new: Catalog, readers: Readers
) -> Iterator[JobChange]:
    for ref in job.refs:
        if ref.id not in {each.id for each in now}:
            key = f"{job.app}/{ref.id}"
            started = _starts(new, job.app, ref.id)
            what = f"runs {ref.id} no more" if started else f"runs {ref.id} no more, and nothing else does"
            yield JobChange(not started, name, what, readers(key))


def _starts(catalog: Catalog, app: str, pipeline_id: str) -> bool:
    """Whether something runs a pipeline: another job, its own schedule, or files that land."""
    pipeline = catalog.pipeline(app, pipeline_id)
    application = catalog.application(app)
    jobs = application.jobs if application else ()
    if any(pipeline_id in (ref.id, ref.fallback) for job in jobs for ref in job.refs):
        return True
    if pipeline is None:
        return False
    lands = isinstance(pipeline.driving.source, FileSource) and pipeline.driving.source.landing is not None
    return lands or pipeline.pipeline.metadata.schedule is not None


def _job(name: str, old: JobPipeline, new: JobPipeline) -> Iterator[JobChange]:
    yield from _parameters(name, old, new)
    if (old.schedule, old.time_zone) != (new.schedule, new.time_zone):
        yield JobChange(False, name, f"schedule {_when(old)} became {_when(new)}")
    before = {ref.id: ref for ref in old.refs}
    for ref in new.refs:
        was = before.get(ref.id)
        if was is None:
            yield JobChange(False, name, f"runs {ref.id} as well")
            continue
        if set(was.depends_on) != set(ref.depends_on):
            what = f"{ref.id} ran after {_list(was.depends_on)}, and runs after {_list(ref.depends_on)}"
            yield JobChange(False, name, what)
        if _policy(was) != _policy(ref):
            yield JobChange(False, name, f"on a failure of {ref.id}: {_policy(was)} became {_policy(ref)}")
    told, tells = ({(n.kind, n.on) for n in job.notifications} for job in (old, new))
    yield from (JobChange(False, name, f"tells by {kind} of {on} no more") for kind, on in sorted(told - tells))
    yield from (JobChange(False, name, f"tells by {kind} of {on}") for kind, on in sorted(tells - told))


def _parameters(name: str, old: JobPipeline, new: JobPipeline) -> Iterator[JobChange]:
    before, after = ({p.name: p for p in job.parameters} for job in (old, new))
    yield from (JobChange(True, name, f"parameter {p} is gone", STARTERS) for p in sorted(before.keys() - after.keys()))
    for parameter in after.values():
        was = before.get(parameter.name)
        if was is not None and was.type != parameter.type:
            what = f"parameter {parameter.name} {was.type} became {parameter.type}"
            yield JobChange(True, name, what, STARTERS)
        elif parameter.default is None and (was is None or was.default is not None):
            yield JobChange(True, name, f"parameter {parameter.name} has to be given", STARTERS)
        elif was is None:
            yield JobChange(False, name, f"parameter {parameter.name} is new", STARTERS)
        elif was.default != parameter.default:
            yield JobChange(False, name, f"parameter {parameter.name} has another default", STARTERS)


def _policy(ref: PipelineRef) -> str:
    instead = f" by {ref.fallback}" if ref.fallback else f", {ref.max_retries} times" if ref.max_retries else ""
    return f"{ref.on_failure}{instead}"


def _when(job: JobPipeline) -> str:
    return f"{job.schedule} ({job.time_zone})" if job.schedule else "none"


def _list(names: tuple[str, ...]) -> str:
    return ", ".join(names) or "nothing"
