"""The sensor of an application that tells what nobody told yet, put together from the rooms below."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime

import dagster as dg

from datalake_assets import names
from datalake_assets.killed import ended_in, tell_killed
from datalake_assets.notices import addresses, message, messages
from pipeline_xml.checked import CheckedApplication
from pipeline_xml.model import JobPipeline
from publishing.deliver import deliver
from publishing.journal import Journal
from publishing.ledger import Ledger
from publishing.outbox import OutboxMessage, enqueue, message_id
from publishing.sla_misses import Miss, misses
from resources.notifier import Notifier
from resources.settings import Settings
from sensors.notifications import Teller, notification_sensor


def telling_sensor(settings: Settings, application: CheckedApplication) -> dg.SensorDefinition | None:
    """None where no job of the application tells anybody."""
    jobs = {names.chain_job(job): job for job in application.jobs if job.notifications}
    if not jobs:
        return None

    def put(found: Sequence[OutboxMessage]) -> int:
        if not found:
            return 0
        ledger = Ledger.of(settings)
        try:
            return enqueue(ledger, found)
        finally:
            ledger.close()

    def ends(instance: dg.DagsterInstance, runs: Sequence[dg.DagsterRun]) -> int:
        found: list[OutboxMessage] = []
        for run in runs:
            job = jobs[run.job_name]
            found += messages(settings, job, run.run_id, ended_in(instance, job, run))
        return put(found) + tell_killed(settings, jobs.values(), instance, dg.get_dagster_logger())

    def passed(since: datetime, until: datetime) -> int:
        watched = [job for job in jobs.values() if any(n.on == "slaMiss" for n in job.notifications)]
        if not watched:
            return 0
        ledger = Ledger.of(settings)
        try:
            return enqueue(ledger, list(late(settings, ledger, application, watched, since, until)))
        finally:
            ledger.close()

    def send() -> tuple[int, Sequence[str]]:
        ledger = Ledger.of(settings)
        try:
            done = deliver(ledger, Notifier(settings).send, (application.name,))
        finally:
            ledger.close()
        return done.sent, done.reasons

    name = names.identifier(f"{application.name}__notifications")
    return notification_sensor(name, list(jobs), Teller(ends, passed, send))


def late(
    settings: Settings,
    ledger: Ledger,
    application: CheckedApplication,
    jobs: Sequence[JobPipeline],
    since: datetime,
    until: datetime,
) -> Iterator[OutboxMessage]:
    """A message for each address and each SLA of a job's pipelines that passed in between."""
    journal = Journal(settings.data / "journal")
    for job in jobs:
        refs = {ref.id for ref in job.refs}
        for checked in application.pipelines:
            if checked.pipeline.id in refs:
                metadata = checked.pipeline.metadata
                schedule = (job.schedule, job.time_zone) if job.schedule else (metadata.schedule, metadata.time_zone)
                for miss in misses(ledger, journal, checked, *schedule, since, until):
                    yield from _told(settings, job, miss, metadata.sla or "")


def _told(settings: Settings, job: JobPipeline, miss: Miss, sla: str) -> Iterator[OutboxMessage]:
    due = miss.due.astimezone(UTC).isoformat(sep=" ", timespec="minutes")
    text = f"{miss.pipeline} should have published by {due} (SLA {sla}, {miss.since})"
    if miss.since.startswith("file "):
        text = f"{miss.pipeline} expected a {miss.since} by {due}, and it has not come"
    said: dict[str, object] = {
        "event": "slaMiss", "application": job.app, "job": job.id, "environment": settings.environment,
        "pipeline": miss.pipeline, "due": miss.due.astimezone(UTC).isoformat(), "sla": sla, "text": text,
    }  # fmt: skip
    for notification in (n for n in job.notifications if n.on == "slaMiss"):
        for address in addresses(notification):
            identity = message_id("slaMiss", miss.pipeline, miss.since, notification.kind, address)
            subject = f"[{settings.environment}] {miss.pipeline}: SLA missed"
            yield message(identity, notification.kind, address, job, subject, said)
