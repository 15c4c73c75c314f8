"""Rules about what a job promises: times nobody can keep, messages that are never sent, fallbacks that help nobody."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import timedelta

from pipeline_xml.durations import parse_duration
from pipeline_xml.lake_tables import Table, table_name
from pipeline_xml.model import Application, HiveSource, HiveTarget, JobPipeline, Pipeline
from pipeline_xml.rulebook import Report, catalog_rule


def _jobs(applications: Iterable[Application]) -> Iterable[tuple[Application, JobPipeline]]:
    return ((a, j) for a in applications for j in a.jobs)


@catalog_rule("LK636", "warning")
def sla_after_what_it_waits_for(applications: tuple[Application, ...], report: Report) -> None:
    """In a scheduled job, a pipeline promises nothing earlier than the pipelines it waits for: all count from the
    tick."""
    for application, job in _jobs(applications):
        refs = {ref.id: ref for ref in job.refs}
        for ref in job.refs if job.schedule else ():
            mine, own = application.pipelines_by_id.get(ref.id), None
            if mine is None or (own := _length(mine.metadata.sla)) is None:
                continue
            for name in (n for n in ref.depends_on if n in refs):
                other = application.pipelines_by_id.get(name)
                theirs = _length(other.metadata.sla) if other else None
                if other is not None and theirs is not None and theirs > own:
                    message = f"the SLA {mine.metadata.sla} passes before that of '{name}', which it waits for"
                    report(message, mine.metadata.place("sla"), hint=f"'{name}' promises {other.metadata.sla}")


@catalog_rule("LK637", "warning")
def sla_to_miss(applications: tuple[Application, ...], report: Report) -> None:
    """Who is to hear of a missed SLA hears of one only where a pipeline of the job has an SLA."""
    for application, job in _jobs(applications):
        known = [application.pipelines_by_id.get(ref.id) for ref in job.refs]
        if None in known or any(pipeline and pipeline.metadata.sla for pipeline in known):
            continue
        for note in (note for note in job.notifications if note.on == "slaMiss"):
            report("no pipeline of the job has an <sla>: it is never told", note.place("on"))


@catalog_rule("LK638", "warning")
def fallback_writes_what_is_read(applications: tuple[Application, ...], report: Report) -> None:
    """A fallback writes the tables that dependents read from the pipeline it stands in for; else they read what an
    earlier run left there."""
    for application, job in _jobs(applications):
        for ref in (r for r in job.refs if r.on_failure == "fallback" and r.fallback):
            failed = application.pipelines_by_id.get(ref.id)
            instead = application.pipelines_by_id.get(ref.fallback or "")
            if failed is None or instead is None:
                continue
            gone = set(_written(failed)) - set(_written(instead))
            for other in (r for r in job.refs if ref.id in r.depends_on):
                reader = application.pipelines_by_id.get(other.id)
                read = sorted(".".join(t[1:]) for t in gone & set(_read(reader))) if reader else []
                if read:
                    message = f"'{ref.fallback}' does not write {', '.join(read)}, which '{other.id}' reads"
                    report(message, ref.place("fallback"))


def _written(pipeline: Pipeline) -> Iterable[Table]:
    found = (table_name(t.table, pipeline.app) for t in pipeline.targets if isinstance(t, HiveTarget))
    return (table for table in found if table)


def _read(pipeline: Pipeline) -> Iterable[Table]:
    found = (table_name(s.table, pipeline.app) for s in pipeline.sources if isinstance(s, HiveSource))
    return (table for table in found if table)


def _length(written: str | None) -> timedelta | None:
    try:
        return parse_duration(written) if written else None
    except ValueError:
        return None  # told by a rule of its own
