"""Quarantined batches as a list: read from the ledger alone, however many records lie behind it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import date
from typing import Any

from sqlalchemy import Select, func, or_, select
from sqlalchemy.orm import Session

from pipeline_xml.checked import Catalog
from pipeline_xml.problems import nearest
from publishing.decisions import APPROVED, CORRECT, PROPOSED, Correction, QuarantinedBatch
from publishing.lake import Lake
from publishing.ledger import Batch
from publishing.quarantine import DISCARDED, HELD, OPEN, REPLAYED, RESOLVED, SUPERSEDED, WITHDRAWN
from stewardship.refused import NotFound, Refused
from stewardship.sla import due, moment
from stewardship.stores import Assignment

STATES = (OPEN, HELD, RESOLVED, REPLAYED, DISCARDED, SUPERSEDED, WITHDRAWN)
MOST = 1000  # rows of a page


@dataclass(frozen=True, slots=True)
class BatchLine:
    """A quarantined batch. `rules`: records that are open or held, by rule. `proposed` and `approved`: records of
    corrections that wait for a verdict, or for a replay. Moments are UTC.
    """

    batch: str
    key: str
    pipeline: str
    product_processor: str
    business_date: str
    status: str
    records: int
    open: int
    states: Mapping[str, int]
    rules: Mapping[str, int]
    assignee: str | None
    proposed: int
    approved: int
    quarantined_at: str
    age_hours: float
    due: str | None
    overdue: bool

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


@dataclass(frozen=True, slots=True)
class BatchPage:
    """`after` asks for the next page; None on the last."""

    batches: tuple[BatchLine, ...]
    after: str | None

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which batches: each condition narrows. `rule` is that of a record which is open or held."""

    pipeline: str | None = None
    business_date: date | None = None
    state: str | None = None
    rule: str | None = None
    assignee: str | None = None
    product_processor: str | None = None


def list_batches(
    lake: Lake, catalog: Catalog, wanted: Wanted, *, after: str | None = None, limit: int = 50
) -> BatchPage:
    """The newest first. `after` is the key of the last batch of a page."""
    if wanted.state is not None and wanted.state not in STATES:
        raise Refused(f"no state '{wanted.state}'; valid: {', '.join(STATES)}")
    limit = page_size(limit)
    processors = product_processors(catalog)
    chosen = _chosen(wanted, processors)
    with lake.ledger.read() as session:
        if after is not None:
            last = session.scalar(select(QuarantinedBatch).where(QuarantinedBatch.key == after))
            if last is None:
                raise NotFound(f"no quarantined batch '{after}' to go on after")
            moment_of, tie = QuarantinedBatch.quarantined_at, QuarantinedBatch.batch_id
            older = moment_of < last.quarantined_at
            chosen = chosen.where(or_(older, (moment_of == last.quarantined_at) & (tie < last.batch_id)))
        order = (QuarantinedBatch.quarantined_at.desc(), QuarantinedBatch.batch_id.desc())
        rows = list(session.scalars(chosen.order_by(*order).limit(limit + 1)))
        lines = _lines(session, catalog, processors, rows[:limit])
    return BatchPage(tuple(lines), lines[-1].key if len(rows) > limit else None)


def page_size(limit: int) -> int:
    if not 1 <= limit <= MOST:
        raise Refused(f"a page of {limit} rows; valid: 1 to {MOST}")
    return limit


def find_batch(session: Session, name: str, pipeline: str | None = None) -> QuarantinedBatch:
    """The quarantined batch of that key or id; within a `pipeline` also of the beginning of one that only it has.

    NotFound names what there is, or one that looks like it.
    """
    known = QuarantinedBatch
    own = select(known) if pipeline is None else select(known).where(known.pipeline == pipeline)
    found = session.scalar(own.where(or_(known.key == name, known.batch_id == name)))
    if found is not None:
        return found
    starts = or_(known.key.startswith(name, autoescape=True), known.batch_id.startswith(name, autoescape=True))
    begun = session.scalars(own.where(starts).order_by(known.key).limit(6)).all() if name and pipeline else []
    if len(begun) == 1:
        return begun[0]
    if begun:
        raise NotFound(f"'{name}' begins more than one quarantined batch: {', '.join(each.key for each in begun)}")
    if session.scalar(select(Batch.id).where(or_(Batch.key == name, Batch.id == name))) is not None:
        raise NotFound(f"the batch '{name}' left nothing in quarantine{f' of {pipeline}' if pipeline else ''}")
    newest = session.scalars(own.with_only_columns(known.key).order_by(known.quarantined_at.desc()).limit(500)).all()
    if pipeline is not None:
        some = ", ".join(newest[:5]) or "none"
        raise NotFound(f"no quarantined batch of {pipeline} is '{name}'; there are {len(newest)}: {some}")
    close = nearest(name, newest)
    guess = f". Did you mean {close}?" if close else ""
    raise NotFound(f"no quarantined batch '{name}'{guess}; `lake quarantine list` names them")


def describe(lake: Lake, catalog: Catalog, name: str) -> BatchLine:
    """One batch by key or id."""
    with lake.ledger.read() as session:
        return _lines(session, catalog, product_processors(catalog), [find_batch(session, name)])[0]


def product_processors(catalog: Catalog) -> dict[str, str]:
    """{pipeline: its product processor} of those that name one."""
    every = (pipeline for application in catalog.applications for pipeline in application.pipelines)
    found = {p.key: p.pipeline.metadata.product_processor for p in every}
    return {key: name for key, name in found.items() if name}


def _chosen(wanted: Wanted, processors: Mapping[str, str]) -> Select[QuarantinedBatch]:
    row = QuarantinedBatch
    chosen = select(row)
    if wanted.pipeline is not None:
        chosen = chosen.where(row.pipeline == wanted.pipeline)
    if wanted.business_date is not None:
        chosen = chosen.where(row.business_date == wanted.business_date)
    if wanted.state is not None:
        chosen = chosen.where(row.states[wanted.state].as_integer() > 0)
    if wanted.rule is not None:
        chosen = chosen.where(row.rules[wanted.rule].as_integer() > 0)
    if wanted.assignee is not None:
        mine = func.lower(Assignment.assignee) == wanted.assignee.strip().lower()
        standing = select(Assignment.batch_id).where(mine, Assignment.ended_at.is_(None))
        chosen = chosen.where(row.batch_id.in_(standing))
    if wanted.product_processor is not None:
        its = [key for key, name in processors.items() if name == wanted.product_processor]
        chosen = chosen.where(row.pipeline.in_(its))
    return chosen


def _lines(
    session: Session, catalog: Catalog, processors: Mapping[str, str], rows: Sequence[QuarantinedBatch]
) -> list[BatchLine]:
    ids = [row.batch_id for row in rows]
    statuses = dict(session.execute(select(Batch.id, Batch.status).where(Batch.id.in_(ids))).all())
    assignees = assignees_of(session, ids)
    waiting = _waiting(session, ids)
    lines = []
    for row in rows:
        when = due(catalog, row)
        lines.append(
            BatchLine(
                batch=row.batch_id,
                key=row.key,
                pipeline=row.pipeline,
                product_processor=processors.get(row.pipeline, ""),
                business_date=row.business_date.isoformat(),
                status=statuses.get(row.batch_id, ""),
                records=row.records,
                open=row.open,
                states=row.states,
                rules=row.rules,
                assignee=assignees.get(row.batch_id) or _default_assignee(catalog, row),
                proposed=waiting.get((row.batch_id, PROPOSED), 0),
                approved=waiting.get((row.batch_id, APPROVED), 0),
                quarantined_at=moment(row.quarantined_at),
                age_hours=when.age_hours,
                due=when.due,
                overdue=when.overdue,
            )
        )
    return lines


def assignees_of(session: Session, batch_ids: Sequence[str]) -> dict[str, str]:
    """{batch: who looks after the whole of it} by the newest assignment that stands."""
    standing = select(Assignment.batch_id, Assignment.assignee).where(
        Assignment.batch_id.in_(batch_ids), Assignment.record_id.is_(None), Assignment.ended_at.is_(None)
    )
    return dict(session.execute(standing.order_by(Assignment.id)).all())


def _default_assignee(catalog: Catalog, row: QuarantinedBatch) -> str | None:
    workflow = catalog.workflow(row.pipeline)
    return workflow.assignee(list(row.rules)) if workflow is not None else None


def _waiting(session: Session, batch_ids: Sequence[str]) -> dict[tuple[str, str], int]:
    """Records of corrections by batch and state: proposed; approved, but in no replay yet."""
    waits = Correction.replay_id.is_(None) & Correction.fate.is_(None)
    unplayed = (Correction.state == APPROVED) & (Correction.kind == CORRECT) & waits
    counted = (
        select(Correction.batch_id, Correction.state, func.sum(Correction.records))
        .where(Correction.batch_id.in_(batch_ids), or_(Correction.state == PROPOSED, unplayed))
        .group_by(Correction.batch_id, Correction.state)
    )
    return {(batch, state): int(records) for batch, state, records in session.execute(counted)}
