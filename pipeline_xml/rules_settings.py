"""Rules about values whose form the XSD cannot tell: versions, durations, cron, time zones, files and patterns."""

from __future__ import annotations

import re
from collections.abc import Iterable
from datetime import timedelta
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pipeline_xml.cron import cron_fault, ticks
from pipeline_xml.durations import parse_duration, settle_of
from pipeline_xml.model import Application, CsvSource, FileSource, HiveTarget, Node, OtherSource, Pipeline
from pipeline_xml.rulebook import Report, catalog_rule, pipeline_rule

_VERSION = re.compile(r"(0|[1-9]\d*)\.(0|[1-9]\d*)(\.(0|[1-9]\d*))?\Z")
GROUPS = ("business_date", "sender", "sequence")
ENCODINGS = ("utf-8", "utf-16", "utf-16le", "utf-16be", "latin-1", "iso-8859-1", "windows-1252", "ascii")


def _documents(applications: Iterable[Application]) -> Iterable[Node]:
    for application in applications:
        yield from application.pipelines
        yield from application.jobs


@catalog_rule("LK140")
def version(applications: tuple[Application, ...], report: Report) -> None:
    """A version is major.minor or major.minor.patch, of numbers."""
    for node in _documents(applications):
        written = getattr(node, "version", "")
        if not _VERSION.match(written):
            report(f"'{written}' is no version", node.place("version"), hint="major.minor or major.minor.patch, as 1.0")


@catalog_rule("LK141")
def schedule(applications: tuple[Application, ...], report: Report) -> None:
    """A schedule is a cron expression of five fields: minute, hour, day of month, month, day of week."""
    for application in applications:
        nodes: list[tuple[Node, str | None]] = [(p.metadata, p.metadata.schedule) for p in application.pipelines]
        nodes += [(j, j.schedule) for j in application.jobs]
        for node, written in nodes:
            fault = cron_fault(written) if written else None
            if fault:
                report(f"'{written}' is no schedule: {fault}", node.place("schedule"), hint="for example 0 6 * * *")


@catalog_rule("LK142")
def durations(applications: tuple[Application, ...], report: Report) -> None:
    """A duration is ISO-8601: PT2H, P1D, PT30S."""
    for application in applications:
        for pipeline in application.pipelines:
            policy = pipeline.error_policy
            for source in (s for s in pipeline.sources if isinstance(s, OtherSource)):
                _duration(source, "lookback", source.attributes.get("lookback"), report)
            _duration(pipeline.metadata, "sla", pipeline.metadata.sla, report)
            _duration(policy, "remediationSla", policy.remediation_sla, report)
            _duration(policy, "retryDelay", policy.retry_delay, report)
        for zone in application.zones:
            _duration(zone, "poll", zone.poll, report)
            try:
                settle_of(zone.settle)
            except ValueError as error:
                report(str(error).split(";")[0], zone.place("settle"), hint="for example 3 (looks), PT30S")
        for rule in (rule for pack in application.packs for rule in pack.rules if rule.kind == "freshness"):
            _duration(rule, "max", rule.attributes["max"], report)
        for workflow in application.workflows:
            _duration(workflow, "sla", workflow.sla, report)
            for level in workflow.escalations:
                _duration(level, "after", level.after, report)


def _duration(node: Node, name: str, written: str | None, report: Report) -> None:
    if written is None:
        return
    try:
        parse_duration(written)
    except ValueError as error:
        report(str(error).split(";")[0], node.place(name), hint="for example PT30S, PT2H, P1D")


@catalog_rule("LK143")
def time_zone(applications: tuple[Application, ...], report: Report) -> None:
    """A time zone is a name of the IANA database: UTC, Europe/Berlin."""
    for application in applications:
        nodes: list[tuple[Node, str]] = [(p.metadata, p.metadata.time_zone) for p in application.pipelines]
        nodes += [(j, j.time_zone) for j in application.jobs]
        for node, written in nodes:
            try:
                ZoneInfo(written)
            except (ZoneInfoNotFoundError, ValueError, OSError):
                report(f"unknown time zone '{written}'", node.place("timeZone"), hint="for example UTC, Europe/Berlin")


@pipeline_rule("LK144")
def where_files_are(pipeline: Pipeline, report: Report) -> None:
    """A source of files has a path or a landing zone; a pattern goes with a landing zone; a path stays in its root."""
    for source in _files(pipeline):
        if (source.path is None) == (source.landing is None):
            which = "both path and landing" if source.path else "neither path nor landing"
            report(f"source '{source.id}' has {which}", source.where, ("path", "landing"))
        if source.pattern and not source.landing:
            report("pattern without landing", source.place("pattern"), hint='a path has wildcards: path="in/*.csv"')
        if source.path and ".." in re.split(r"[/\\]", source.path):
            report("a path with '..'", source.place("path"), hint="relative to the lake root")


@pipeline_rule("LK145")
def landing_pattern(pipeline: Pipeline, report: Report) -> None:
    """A landing pattern is a regular expression; its named groups are business_date, sender and sequence. So is a
    memberPattern, which chooses the members of a zip from a landing zone."""
    for source in _files(pipeline):
        for name, pattern in (("pattern", source.pattern), ("memberPattern", source.member_pattern)):
            if pattern is None:
                continue
            try:
                groups = re.compile(pattern).groupindex
            except re.error as error:
                report(f"no regular expression: {error}", source.place(name))
                continue
            for group in groups:
                if group not in GROUPS:
                    report(f"the group '{group}' means nothing", source.place(name), GROUPS)
        if source.member_pattern is None:
            continue
        if source.landing is None:
            report("memberPattern without landing", source.place("memberPattern"), hint="name a landing zone")
        elif source.compression not in (None, "zip"):
            text = f"memberPattern with compression {source.compression}, which holds one file without a name"
            report(text, source.place("memberPattern"), hint="leave it out")


@pipeline_rule("LK146")
def characters(pipeline: Pipeline, report: Report) -> None:
    """Delimiter, quote, escape and comment are different characters of one byte, and none ends a line."""
    for source in _csv(pipeline):
        seen: dict[str, str] = {}
        for name in ("delimiter", "quote", "escape", "comment"):
            value = getattr(source, name)
            if value is None:
                continue
            same_as = seen.get(value)
            if same_as and not (name == "escape" and same_as == "quote"):
                report(f"{name} is the same character as {same_as}", source.place(name))
            elif value in "\r\n\0" or len(value.encode()) > 1:
                report(
                    f"{name} cannot be this character", source.place(name), hint="one ASCII character that ends no line"
                )
            seen.setdefault(value, name)


@pipeline_rule("LK147")
def encoding(pipeline: Pipeline, report: Report) -> None:
    """The encoding of a csv source is one that can be read in ranges."""
    for source in _csv(pipeline):
        if source.encoding.lower() not in ENCODINGS:
            report(f"unknown encoding '{source.encoding}'", source.place("encoding"), ENCODINGS)


@pipeline_rule("LK148")
def headerless(pipeline: Pipeline, report: Report) -> None:
    """A csv source without header needs a contract or columns: nothing else names its fields."""
    for source in _csv(pipeline):
        if not source.header and not source.columns and not source.schema_ref:
            report(f"source '{source.id}' has no header, no columns and no schemaRef", source.place("header"))


@pipeline_rule("LK149")
def reserved(pipeline: Pipeline, report: Report) -> None:
    """operationColumn, deleteWhen and <retention> are reserved: their meaning is not built yet."""
    for name in pipeline.metadata.reserved:
        report(
            f"<{name}> is reserved, this version does not act on it", pipeline.metadata.place(name), hint="leave it out"
        )
    for target in pipeline.targets:
        for name in target.reserved if isinstance(target, HiveTarget) else ():
            report(f"'{name}' is reserved, this version does not act on it", target.place(name), hint="leave it out")


def _files(pipeline: Pipeline) -> Iterable[FileSource]:
    return (s for s in pipeline.sources if isinstance(s, FileSource))


def _csv(pipeline: Pipeline) -> Iterable[CsvSource]:
    return (s for s in pipeline.sources if isinstance(s, CsvSource))


@catalog_rule("LK150", "warning")
def schedule_meets_sla(applications: tuple[Application, ...], report: Report) -> None:
    """Files of a `path` are looked for at the schedule's ticks only: the longest time between two is within the SLA."""
    for application in applications:
        by_job = {ref.id: job.schedule for job in application.jobs if job.schedule for ref in job.refs}
        for pipeline in application.pipelines:
            written = by_job.get(pipeline.id, pipeline.metadata.schedule)
            waits = any(isinstance(s, FileSource) and s.path is not None for s in pipeline.sources)
            gap = ticks(written).longest_gap() if written and waits and cron_fault(written) is None else None
            limit = _length(pipeline.metadata.sla)
            if gap is not None and limit is not None and gap > limit:
                message = f"a file may wait {gap} for the schedule '{written}'; the SLA is {pipeline.metadata.sla}"
                hint = "run oftener, allow more, or give the files a landing zone, whose sensor sees them arrive"
                report(message, pipeline.metadata.place("sla"), hint=hint)


def _length(written: str | None) -> timedelta | None:
    try:
        return parse_duration(written) if written else None
    except ValueError:
        return None  # told by a rule of its own
