"""Batches with open records, and held ones, beyond their SLA: told once for each level, and to whom.

Level 0 is the SLA itself, told to whoever looks after the batch; levels 1, 2, … are the workflow's escalations. A row
of `escalation` is committed before anybody hears of it, so a level is raised once whatever crashes; who tells it reads
the rows after the last one told. The journal has them too, so a ledger made again does not tell them anew.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import Select, func, or_, select
from sqlalchemy.orm import Session

from pipeline_xml.checked import CheckedApplication, CheckedPipeline, remediation_sla
from pipeline_xml.durations import parse_duration
from pipeline_xml.model import Workflow
from publishing.decisions import QuarantinedBatch
from publishing.journal import Journal
from publishing.ledger import Attempt, Batch, Ledger
from publishing.quarantine import HELD
from stewardship.stores import Assignment, Escalation

NOBODY = "nobody"  # neither assigned nor owned: the UI shows the breach all the same


@dataclass(frozen=True, slots=True)
class Deadline:
    """When batches of a pipeline are due, as a time after they were quarantined, and what follows."""

    pipeline: str
    sla: timedelta
    workflow: Workflow | None
    owner: str

    @property
    def levels(self) -> tuple[timedelta, ...]:
        """The ages at which level 0, 1, … are reached."""
        after = [parse_duration(level.after) for level in self.workflow.escalations] if self.workflow else []
        return (self.sla, *(self.sla + each for each in after))

    def told(self, level: int, assignee: str | None, rules: Iterable[str]) -> str:
        if level and self.workflow:
            return self.workflow.escalations[level - 1].to
        default = self.workflow.assignee(list(rules)) if self.workflow else None
        return assignee or default or self.owner or NOBODY


def deadlines(application: CheckedApplication, pipelines: Iterable[CheckedPipeline]) -> Mapping[str, Deadline]:
    """Of those of the application's pipelines that have an SLA, by key."""
    found, workflows = {}, application.workflow_by_pipeline
    for checked in pipelines:
        workflow = workflows.get(checked.key)
        written = remediation_sla(checked, workflow)
        if written is not None:
            owner = (workflow.owner if workflow else "") or checked.pipeline.metadata.owner
            found[checked.key] = Deadline(checked.key, parse_duration(written), workflow, owner)
    return found


@dataclass(frozen=True, slots=True)
class Breach:
    """A level that a batch has reached. `due` is UTC without zone, as is `raised_at`; `records` are open now, of a
    batch that is `held` those that wait with it.
    """

    pipeline: str
    key: str
    level: int
    due: datetime
    quarantined_at: datetime
    records: int
    told: str
    raised_at: datetime
    held: bool = False

    @property
    def age_hours(self) -> float:
        return (self.raised_at - self.quarantined_at).total_seconds() / 3600


def raise_breaches(ledger: Ledger, found: Mapping[str, Deadline], at: datetime, most: int) -> int:
    """Commits a row for each level reached and not raised yet, `most` of them; returns how many.

    It reads first: nothing is locked while nothing is due, and of two that run at once the rows belong to one.
    """
    with ledger.read() as session:
        if not _reached(session, found, at, 1):
            return 0
    with ledger.write() as session:
        # Later than every row before it, whatever the clock did: who tells them goes by this moment.
        newest = session.scalar(select(func.max(Escalation.raised_at)))
        rows = _reached(session, found, at, most)
        for row in rows:
            row.raised_at = at if newest is None else max(at, newest + timedelta(microseconds=1))
        session.add_all(rows)
        return len(rows)


def _reached(session: Session, found: Mapping[str, Deadline], at: datetime, most: int) -> list[Escalation]:
    if not found:
        return []
    raised = select(Escalation.batch_id, func.max(Escalation.level).label("level")).group_by(Escalation.batch_id)
    highest = raised.subquery()
    oldest = at - min(deadline.sla for deadline in found.values())
    waits = or_(QuarantinedBatch.open > 0, Batch.status == HELD)
    begun = func.coalesce(QuarantinedBatch.quarantined_at, Batch.created_at)
    chosen = (
        select(Batch, QuarantinedBatch, highest.c.level)
        .join(QuarantinedBatch, QuarantinedBatch.batch_id == Batch.id, isouter=True)
        .join(highest, highest.c.batch_id == Batch.id, isouter=True)
        .where(Batch.pipeline.in_(found), waits, begun <= oldest)
        .order_by(begun, Batch.id)
    )
    rows: list[Escalation] = []
    for batch, quarantined, level in session.execute(chosen).all():
        deadline = found[batch.pipeline]
        levels, since = deadline.levels, _since(session, batch, quarantined)
        rules = quarantined.rules if quarantined is not None else ()
        for each in range(0 if level is None else level + 1, len(levels)):
            if since + levels[each] > at or len(rows) == most:
                break
            told = deadline.told(each, _assignee(session, batch.id), rules)
            rows.append(Escalation(batch_id=batch.id, level=each, told=told, raised_at=at))
    return rows


def _since(session: Session, batch: Batch, quarantined: QuarantinedBatch | None) -> datetime:
    """Since when the batch waits for somebody: its records, or itself while each attempt is held anew."""
    if quarantined is not None and (quarantined.open or quarantined.states.get(HELD)):
        return quarantined.quarantined_at
    since = batch.created_at
    attempts = select(Attempt).where(Attempt.batch_id == batch.id, Attempt.outcome.is_not(None))
    for attempt in session.scalars(attempts.order_by(Attempt.number.desc())):
        if (attempt.outcome or {}).get("status") != HELD:
            break
        since = attempt.opened_at
    return since


def _assignee(session: Session, batch_id: str) -> str | None:
    chosen = select(Assignment.assignee).where(
        Assignment.batch_id == batch_id, Assignment.record_id.is_(None), Assignment.ended_at.is_(None)
    )
    return session.scalars(chosen.order_by(Assignment.id.desc()).limit(1)).first()


def raised_since(ledger: Ledger, found: Mapping[str, Deadline], last: datetime | None) -> Sequence[Breach]:
    """The breaches raised after that moment, in the order they were raised; all of them for None."""
    with ledger.read() as session:
        breaches = []
        for row, batch, quarantined in session.execute(_raised(found, last)):
            since = _since(session, batch, quarantined)
            held = batch.status == HELD
            records = 0 if quarantined is None else quarantined.open or quarantined.states.get(HELD, 0)
            breaches.append(
                Breach(
                    pipeline=batch.pipeline,
                    key=batch.key,
                    level=row.level,
                    due=since + found[batch.pipeline].sla,
                    quarantined_at=since,
                    records=records,
                    told=row.told,
                    raised_at=row.raised_at,
                    held=held,
                )
            )
        return breaches


def journal_raised(ledger: Ledger, journal: Journal, found: Mapping[str, Deadline], last: datetime | None) -> None:
    """Writes what was raised after that moment to the journal; what stands there already stays."""
    with ledger.read() as session:
        rows = [(row, batch.pipeline) for row, batch, _ in session.execute(_raised(found, last))]
    for row, pipeline in rows:
        name = f"{pipeline}/{row.batch_id}/escalation-{row.level:02d}.json"
        if not journal.exists(name):
            told = {"batch": row.batch_id, "level": row.level, "told": row.told}
            journal.write(name, {**told, "raised_at": row.raised_at.isoformat()})


def _raised(found: Mapping[str, Deadline], last: datetime | None) -> Select[Escalation, Batch, QuarantinedBatch]:
    chosen = (
        select(Escalation, Batch, QuarantinedBatch)
        .join(Batch, Batch.id == Escalation.batch_id)
        .join(QuarantinedBatch, QuarantinedBatch.batch_id == Escalation.batch_id, isouter=True)
        .where(Batch.pipeline.in_(found))
        .order_by(Escalation.raised_at, Escalation.batch_id, Escalation.level)
    )
    return chosen if last is None else chosen.where(Escalation.raised_at > last)
