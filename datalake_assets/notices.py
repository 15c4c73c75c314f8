"""What a job pipeline tells of its end, to whom, and that it is told once: the messages of the outbox.

The run itself tells when it is over; a run whose process died is told by whoever looks next (telling.py), from what
Dagster knows of it. The id of a message is made of run and address, so whoever comes first counts. No value of a record
is in any message.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import dagster as dg

from datalake_assets.perform import STATUS
from pipeline_xml.checked import CheckedPipeline
from pipeline_xml.model import JobPipeline, Notification
from pipeline_xml.place import items
from publishing.deliver import deliver
from publishing.ledger import Ledger, now
from publishing.outbox import WAITING, OutboxMessage, enqueue, message_id
from resources.failures import told
from resources.notifier import SECRET, Notifier
from resources.settings import Settings

GOOD = ("published", "nothing_to_do")


@dataclass(frozen=True, slots=True)
class Ended:
    """What became of a pipeline of the job. status: published, nothing_to_do, held, failed."""

    pipeline: str
    status: str
    reason: str = ""

    @property
    def good(self) -> bool:
        return self.status in GOOD


class Log(Protocol):
    def info(self, msg: str) -> None: ...
    def warning(self, msg: str) -> None: ...


def failed_with(checked: CheckedPipeline, error: BaseException) -> Ended:
    """The end of a pipeline that raised."""
    if isinstance(error, dg.Failure):
        status = error.metadata.get(STATUS)
        return Ended(checked.key, str(status.value) if status else "failed", str(error.description))
    return Ended(checked.key, "failed", f"{checked.key} failed: {told(error)}")


def tell_end(
    settings: Settings,
    job: JobPipeline,
    run_id: str,
    ended: Mapping[str, Ended],
    log: Log,
    told_it: Callable[[], None] = lambda: None,
) -> None:
    """Puts what is to be told of the run into the outbox, says so by `told_it`, and tries to send it.

    Never raises: the run is over, and whoever looks next tells what was not told here.
    """
    try:
        ledger = Ledger.of(settings)
        try:
            enqueue(ledger, list(messages(settings, job, run_id, ended)))
            told_it()
            done = deliver(ledger, Notifier(settings).send, (job.app,))
        finally:
            ledger.close()
    except Exception as error:  # noqa: BLE001 - whatever it was, the work of the run is done
        log.warning(f"nobody was told yet: {told(error)}")
        return
    log.info(f"notifications: {done.sent} sent, {done.waiting} wait, {done.refused} refused")
    for reason in done.reasons:
        log.warning(f"notification not delivered: {reason}")


def messages(
    settings: Settings, job: JobPipeline, run_id: str, ended: Mapping[str, Ended]
) -> Iterator[OutboxMessage]:
    """One for each address of the job that wants to hear of such an end."""
    lines = [(ref.id, ended.get(ref.id)) for ref in job.refs]
    bad = [end for _, end in lines if end is not None and not end.good]
    good = not bad and all(end is not None for _, end in lines)
    status = "published" if good else "held" if bad and all(end.status == "held" for end in bad) else "failed"
    happened = ["success"] if good else ["held", "failure"] if any(e.status == "held" for e in bad) else ["failure"]
    name = f"{job.app}/{job.id}"
    text = [f"{name}: {status}", f"environment {settings.environment}, run {run_id}", ""]
    text += [f"{pipeline}: {end.status if end else 'did not run'}{_why(end)}" for pipeline, end in lines]
    said: dict[str, object] = {
        "application": job.app,
        "job": job.id,
        "run": run_id,
        "status": status,
        "environment": settings.environment,
        "pipelines": [
            {"pipeline": pipeline, "status": end.status if end else "did_not_run", "reason": end.reason if end else ""}
            for pipeline, end in lines
        ],
        "text": "\n".join(text),
    }
    for event, kind, address in _wanted(job, [*happened, "completion"]):
        yield message(
            message_id(run_id, kind, address), kind, address, job, f"[{settings.environment}] {name}: {status}",
            {"event": event, **said},
        )  # fmt: skip


def message(
    identity: str, kind: str, address: str, job: JobPipeline, subject: str, body: dict[str, object]
) -> OutboxMessage:
    at = now()
    return OutboxMessage(
        id=identity, kind=kind, address=address, application=job.app, subject=subject, body={"id": identity, **body},
        state=WAITING, tries=0, made_at=at, due_at=at, ended_at=None, reason=None,
    )  # fmt: skip


def addresses(notification: Notification) -> Sequence[str]:
    """The addresses of a notification as the outbox holds them; a secret stays a reference."""
    if notification.kind == "email":
        return items(notification.address)
    return (f"{SECRET}{notification.address}" if "urlSecretRef" in notification.places else notification.address,)


def _wanted(job: JobPipeline, happened: Sequence[str]) -> Iterator[tuple[str, str, str]]:
    """(event, kind, address): each address once, for the first of the events that it asked for."""
    told: set[tuple[str, str]] = set()
    for event in happened:
        for notification in job.notifications:
            for address in addresses(notification) if notification.on == event else ():
                if (notification.kind, address) not in told:
                    told.add((notification.kind, address))
                    yield event, notification.kind, address


def _why(end: Ended | None) -> str:
    return f" ({end.reason})" if end and end.reason else ""
