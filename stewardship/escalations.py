"""Quarantined batches that are open beyond their SLA: told once for each level, and to whom.

Level 0 is the SLA itself, told to whoever looks after the batch; levels 1, 2, … are the workflow's escalations. A row
of `escalation` is committed before anybody hears of it, so a level is raised once whatever crashes; who tells it reads
the rows after the last one told.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from pipeline_xml.checked import CheckedApplication, CheckedPipeline, remediation_sla
from pipeline_xml.durations import parse_duration
from pipeline_xml.model import Workflow
from publishing.decisions import QuarantinedBatch
from publishing.ledger import Ledger
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
    """A level that a batch has reached. `due` is UTC without zone, as is `raised_at`; `records` are open now."""

    pipeline: str
    key: str
    level: int
    due: datetime
    quarantined_at: datetime
    records: int
    told: str
    raised_at: datetime

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
    chosen = (
        select(QuarantinedBatch, highest.c.level)
        .join(highest, highest.c.batch_id == QuarantinedBatch.batch_id, isouter=True)
        .where(
            QuarantinedBatch.pipeline.in_(found),
            QuarantinedBatch.open > 0,
            QuarantinedBatch.quarantined_at <= oldest,
        )
        .order_by(QuarantinedBatch.quarantined_at, QuarantinedBatch.batch_id)
    )
    rows: list[Escalation] = []
    for batch, level in session.execute(chosen).all():
        deadline = found[batch.pipeline]
        levels = deadline.levels
        for each in range(0 if level is None else level + 1, len(levels)):
            if batch.quarantined_at + levels[each] > at or len(rows) == most:
                break
            told = deadline.told(each, _assignee(session, batch.batch_id), batch.rules)
            rows.append(Escalation(batch_id=batch.batch_id, level=each, told=told, raised_at=at))
    return rows


def _assignee(session: Session, batch_id: str) -> str | None:
    chosen = select(Assignment.assignee).where(
        Assignment.batch_id == batch_id, Assignment.record_id.is_(None), Assignment.ended_at.is_(None)
    )
    return session.scalars(chosen.order_by(Assignment.id.desc()).limit(1)).first()


def raised_since(ledger: Ledger, found: Mapping[str, Deadline], last: datetime | None) -> Sequence[Breach]:
    """The breaches raised after that moment, in the order they were raised; all of them for None."""
    chosen = (
        select(Escalation, QuarantinedBatch)
        .join(QuarantinedBatch, QuarantinedBatch.batch_id == Escalation.batch_id)
        .where(QuarantinedBatch.pipeline.in_(found))
        .order_by(Escalation.raised_at, Escalation.batch_id, Escalation.level)
    )
    if last is not None:
        chosen = chosen.where(Escalation.raised_at > last)
    with ledger.read() as session:
        return [
            Breach(
                pipeline=batch.pipeline,
                key=batch.key,
                level=row.level,
                due=batch.quarantined_at + found[batch.pipeline].sla,
                quarantined_at=batch.quarantined_at,
                records=batch.open,
                told=row.told,
                raised_at=row.raised_at,
            )
            for row, batch in session.execute(chosen)
        ]
