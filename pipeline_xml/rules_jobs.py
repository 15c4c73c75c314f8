"""Rules about jobs and resources."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

from pipeline_xml.lake_tables import producers, table_name
from pipeline_xml.model import Application, HiveSource, JobPipeline, Pipeline, PipelineRef
from pipeline_xml.place import items, within
from pipeline_xml.rulebook import Report, catalog_rule

_MAIL = re.compile(r"[^@\s,;<>\"()]+@[A-Za-z0-9.\-]+\.[A-Za-z]{2,}\Z")


def _jobs(applications: Iterable[Application]) -> Iterable[tuple[Application, JobPipeline]]:
    return ((a, j) for a in applications for j in a.jobs)


@catalog_rule("LK610")
def known_pipelines(applications: tuple[Application, ...], report: Report) -> None:
    """A pipelineRef names a pipeline of its application."""
    for application, job in _jobs(applications):
        known = application.pipelines_by_id
        for ref in job.refs:
            if ref.id not in known and "pipeline" not in application.unread:
                report(f"unknown pipeline '{ref.id}'", ref.place("id"), known)


@catalog_rule("LK611")
def refs_once(applications: tuple[Application, ...], report: Report) -> None:
    """A job runs a pipeline once."""
    for _, job in _jobs(applications):
        seen: set[str] = set()
        for ref in job.refs:
            if ref.id in seen:
                report(f"the pipeline '{ref.id}' is there twice", ref.place("id"))
            seen.add(ref.id)


@catalog_rule("LK612")
def known_dependencies(applications: tuple[Application, ...], report: Report) -> None:
    """dependsOn names pipelines of the same job."""
    for _, job in _jobs(applications):
        known = [r.id for r in job.refs]
        for ref in job.refs:
            for name in ref.depends_on:
                if name not in known:
                    report(f"'{name}' is not in this job", ref.item_place("dependsOn", name), known)


@catalog_rule("LK613")
def no_circle(applications: tuple[Application, ...], report: Report) -> None:
    """The dependencies of a job form no circle."""
    for _, job in _jobs(applications):
        refs = {r.id: r for r in job.refs}
        done: set[str] = set()
        for ref in job.refs:
            _walk(ref, refs, (), done, report)


def _walk(
    ref: PipelineRef, refs: dict[str, PipelineRef], path: tuple[str, ...], done: set[str], report: Report
) -> None:
    if ref.id in done:
        return
    for name in ref.depends_on:
        if name in (*path, ref.id):
            circle = (*path, ref.id)
            named = " depends on ".join([*circle[circle.index(name) :], name])
            report(f"a circle: {named}", ref.item_place("dependsOn", name))
        elif name in refs:
            _walk(refs[name], refs, (*path, ref.id), done, report)
    done.add(ref.id)


@catalog_rule("LK614")
def fallback(applications: tuple[Application, ...], report: Report) -> None:
    """onFailure="fallback" names another pipeline of the application in fallback, and only it does."""
    for application, job in _jobs(applications):
        for ref in (r for r in job.refs if r.on_failure == "fallback" or r.fallback is not None):
            others = [p.id for p in application.pipelines if p.id != ref.id]
            if ref.on_failure == "fallback" and ref.fallback is None:
                report('onFailure="fallback" without fallback', ref.place("onFailure"), others)
            elif ref.fallback is not None and ref.fallback not in others and "pipeline" not in application.unread:
                report(f"fallback '{ref.fallback}' is no other pipeline", ref.place("fallback"), others)
            elif ref.fallback is not None and ref.on_failure != "fallback":
                report(f'fallback is never used with onFailure="{ref.on_failure}"', ref.place("fallback"))


@catalog_rule("LK615", "warning")
def retries(applications: tuple[Application, ...], report: Report) -> None:
    """maxRetries goes with onFailure="retry", and retry with maxRetries."""
    for _, job in _jobs(applications):
        for ref in job.refs:
            if ref.on_failure == "retry" and ref.max_retries == 0:
                report("retry without maxRetries never retries", ref.place("onFailure"), hint='maxRetries="2"')
            elif ref.on_failure != "retry" and ref.max_retries:
                report(f'maxRetries is not used with onFailure="{ref.on_failure}"', ref.place("maxRetries"))


@catalog_rule("LK616", "warning")
def own_schedule(applications: tuple[Application, ...], report: Report) -> None:
    """A pipeline in a scheduled job ignores its own schedule: it would run twice."""
    for application, job in _jobs(applications):
        inside = (application.pipelines_by_id.get(ref.id) for ref in job.refs)
        for pipeline in filter(None, inside):
            if job.schedule and pipeline.metadata.schedule:
                message = f"the schedule is ignored: job '{job.id}' has its own"
                report(message, pipeline.metadata.place("schedule"))


@catalog_rule("LK617", "warning")
def follows_its_tables(applications: tuple[Application, ...], report: Report) -> None:
    """In a job, a pipeline that reads another's table should depend on it; else it may read yesterday's."""
    writers = producers(applications)
    for application, job in _jobs(applications):
        refs = {r.id: r for r in job.refs}
        for pipeline in filter(None, (application.pipelines_by_id.get(name) for name in refs)):
            before = _before(refs[pipeline.id], refs)
            for name in _reads(pipeline, writers):
                if name in refs and name not in before and name != pipeline.id:
                    report(f"reads what '{name}' writes, and does not depend on it", refs[pipeline.id].where)


def _before(ref: PipelineRef, refs: dict[str, PipelineRef]) -> set[str]:
    found: set[str] = set()
    waiting = list(ref.depends_on)
    while waiting:
        name = waiting.pop()
        if name not in found:
            found.add(name)
            waiting += refs[name].depends_on if name in refs else ()
    return found


def _reads(pipeline: Pipeline, writers: Mapping[tuple[str, str, str], Pipeline]) -> Iterable[str]:
    for source in pipeline.sources:
        table = table_name(source.table, pipeline.app) if isinstance(source, HiveSource) else None
        if table and table in writers and writers[table].app == pipeline.app:
            yield writers[table].id


@catalog_rule("LK618")
def webhook_address(applications: tuple[Application, ...], report: Report) -> None:
    """A webhook has a url or a urlSecretRef, not both and not neither."""
    for _, job in _jobs(applications):
        for note in job.notifications:
            given = {"url", "urlSecretRef"} & set(note.places)
            if note.kind == "webhook" and len(given) != 1:
                report("a webhook needs one address", note.where, ("url", "urlSecretRef"))


@catalog_rule("LK619", "warning")
def webhook_is_secret(applications: tuple[Application, ...], report: Report) -> None:
    """The url of a webhook lets anybody post to it: it is a secret, and goes by urlSecretRef."""
    for _, job in _jobs(applications):
        for note in job.notifications:
            if note.kind == "webhook" and "url" in note.places:
                report("the url of a webhook is a secret", note.place("url"), hint='urlSecretRef="NAME_OF_THE_SECRET"')


@catalog_rule("LK634")
def mail_address(applications: tuple[Application, ...], report: Report) -> None:
    """An e-mail goes to addresses such as ops@example.com, separated by commas."""
    for _, job in _jobs(applications):
        for note in job.notifications:
            for address in items(note.address) if note.kind == "email" else ():
                if not _MAIL.match(address):
                    report(f"'{address}' is no e-mail address", within(note.place("to"), note.address, address))
