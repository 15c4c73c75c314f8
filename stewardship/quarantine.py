"""Looking at quarantined records: masked, with everything that was done to them; in clear for an auditor, on record."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from pipeline_xml.checked import Catalog, CheckedPipeline
from pipeline_xml.contract import Field
from publishing.corrections import load_changes
from publishing.decisions import Correction, QuarantinedBatch, TouchedRecord, record_state
from publishing.lake import Lake
from publishing.ledger import Batch
from stewardship import audit
from stewardship.actors import Actor, reason_of, require
from stewardship.batches import STATES, BatchLine, describe, find_batch, page_size
from stewardship.entries import Entry, entry_of, find, page, read_page
from stewardship.payloads import HIDDEN, SEALED, Payloads, fields, masked
from stewardship.refused import NotFound, Refused
from stewardship.sla import moment
from stewardship.stores import Approval, Assignment, Revocation

SET, NEW, WAS = "set:", "new:", "was:"  # the columns of a sealed set of changes, before a field's name


@dataclass(frozen=True, slots=True)
class RecordLine:
    """An entry as a page of a batch shows it. `decision`: what was decided of it last, None where nothing was."""

    entry: Entry
    decision: str | None
    text: str | None = None  # the record's exact text, only where it was revealed


@dataclass(frozen=True, slots=True)
class BatchView:
    """A page of a batch; `after` asks for the next one, None on the last."""

    batch: BatchLine
    records: tuple[RecordLine, ...]
    after: str | None

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


@dataclass(frozen=True, slots=True)
class Change:
    """A field of a record before and after a correction: masked, or in clear where it was revealed; None for null."""

    column: str
    before: str | None
    after: str | None


@dataclass(frozen=True, slots=True)
class CorrectionLine:
    """A correction or discard that the record is part of, its verdict, who revoked it, the replay it belongs to."""

    correction: str
    kind: str
    state: str
    actor: str
    role: str
    reason: str
    made_at: str
    changes: tuple[Change, ...]
    verdict: Mapping[str, str] | None
    replay: Mapping[str, str] | None
    revoked: Mapping[str, str] | None


@dataclass(frozen=True, slots=True)
class AssignmentLine:
    """`record`: None where the whole batch was assigned. `ended_at`: None while it stands."""

    assignee: str
    record: str | None
    actor: str
    made_at: str
    ended_at: str | None


@dataclass(frozen=True, slots=True)
class RecordView:
    """One record with its history, the oldest first."""

    batch: BatchLine
    record: RecordLine
    assignments: tuple[AssignmentLine, ...]
    corrections: tuple[CorrectionLine, ...]

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


def show_batch(
    lake: Lake, catalog: Catalog, name: str, *, after: str | None = None, limit: int = 50, state: str | None = None,
    rule: str | None = None,
) -> BatchView:  # fmt: skip
    """A page of the batch of that key or id, by record id; masked. `after` is the record id that a page ended with."""
    if state is not None and state not in STATES:
        raise Refused(f"no state '{state}'; valid: {', '.join(STATES)}")
    line = describe(lake, catalog, name)
    entries, following = page(
        lake, line.pipeline, line.batch, after=after, limit=page_size(limit), state=state, rule=rule
    )
    with lake.ledger.read() as session:
        decisions = _decisions(session, line.pipeline, [entry.record_id for entry in entries])
    return BatchView(line, tuple(RecordLine(e, decisions.get(e.record_id)) for e in entries), following)


def show_record(lake: Lake, catalog: Catalog, name: str, record_id: str) -> RecordView:
    """One record of a batch with all that was done to it, masked."""
    return _record(lake, catalog, name, record_id, clear=False)


def reveal_batch(
    lake: Lake, catalog: Catalog, pipeline: CheckedPipeline, actor: Actor, reason: str, name: str, *,
    after: str | None = None, limit: int = 50, state: str | None = None, rule: str | None = None,
) -> BatchView:  # fmt: skip
    """`show_batch` with the records' exact text; the audit trail has it before anybody sees it."""
    require(catalog, pipeline.key, actor, "reveal")
    reason = reason_of(reason)
    view = show_batch(lake, catalog, name, after=after, limit=limit, state=state, rule=rule)
    shown = [line.entry.record_id for line in view.records]
    _written_down(lake, actor, view.batch, {"reason": reason, "records": len(shown), "after": after or ""}, shown)
    rows = read_page(
        lake.quarantine(pipeline.key).snapshot(), view.batch.batch, SEALED, after=after, limit=limit, state=state,
        rule=rule,
    )  # fmt: skip
    texts = dict(zip(rows["record_id"].to_pylist(), Payloads(lake, pipeline).texts(rows), strict=True))
    lines = (RecordLine(line.entry, line.decision, texts.get(line.entry.record_id)) for line in view.records)
    return BatchView(view.batch, tuple(lines), view.after)


def reveal_record(
    lake: Lake, catalog: Catalog, pipeline: CheckedPipeline, actor: Actor, reason: str, name: str, record_id: str
) -> RecordView:
    """`show_record` with its exact text and the values of its corrections; the audit trail has it before."""
    require(catalog, pipeline.key, actor, "reveal")
    reason = reason_of(reason)
    view = show_record(lake, catalog, name, record_id)
    _written_down(lake, actor, view.batch, {"reason": reason, "records": 1}, [record_id])
    clear = _record(lake, catalog, name, record_id, clear=True)
    row = find(lake.quarantine(pipeline.key).snapshot(), view.batch.batch, record_id, SEALED)
    if row is None:
        raise NotFound(f"{record_id} went out of the batch {view.batch.key} meanwhile")
    line = RecordLine(clear.record.entry, clear.record.decision, Payloads(lake, pipeline).texts(row)[0])
    return RecordView(clear.batch, line, clear.assignments, clear.corrections)


def _written_down(
    lake: Lake, actor: Actor, batch: BatchLine, details: Mapping[str, Any], shown: Sequence[str]
) -> None:
    """Committed and in the journal: who asks to see raw text is on record before it is opened."""
    ids = {"first": shown[0], "last": shown[-1]} if shown else {}
    with lake.ledger.write() as session:
        about = {"pipeline": batch.pipeline, "key": batch.key}
        audit.append(session, lake, actor, "reveal", batch.batch, {**about, **details, **ids})
    audit.journal_entries(lake)


def _record(lake: Lake, catalog: Catalog, name: str, record_id: str, clear: bool) -> RecordView:
    line = describe(lake, catalog, name)
    entry = entry_of(lake, line.pipeline, line.batch, record_id)
    if entry is None:
        raise NotFound(f"the batch {line.key} has no record '{record_id}' in quarantine; `show` lists its records")
    with lake.ledger.read() as session:
        batch = find_batch(session, name)
        decisions = _decisions(session, line.pipeline, [record_id])
        assignments = _assignments(session, batch, record_id)
        corrections = _corrections(lake, catalog, session, batch, record_id, clear)
    return RecordView(line, RecordLine(entry, decisions.get(record_id)), assignments, corrections)


def _decisions(session: Session, pipeline: str, record_ids: Sequence[str]) -> dict[str, str]:
    chosen = (
        select(TouchedRecord.record_id, record_state())
        .join(Correction, Correction.id == TouchedRecord.correction_id)
        .where(TouchedRecord.pipeline == pipeline, TouchedRecord.record_id.in_(record_ids))
    )
    return dict(session.execute(chosen).all())


def _assignments(session: Session, batch: QuarantinedBatch, record_id: str) -> tuple[AssignmentLine, ...]:
    chosen = select(Assignment).where(
        Assignment.batch_id == batch.batch_id,
        Assignment.record_id.is_(None) | (Assignment.record_id == record_id),
    )
    return tuple(
        AssignmentLine(
            row.assignee, row.record_id, row.actor, moment(row.made_at), moment(row.ended_at) if row.ended_at else None
        )
        for row in session.scalars(chosen.order_by(Assignment.id))
    )


def _corrections(
    lake: Lake, catalog: Catalog, session: Session, batch: QuarantinedBatch, record_id: str, clear: bool
) -> tuple[CorrectionLine, ...]:
    """Those the record is part of: each set of changes of the batch is opened, which a single record is worth."""
    chosen = select(Correction).where(Correction.batch_id == batch.batch_id, Correction.pipeline == batch.pipeline)
    lines = []
    for row in session.scalars(chosen.order_by(Correction.made_at, Correction.id)):
        changes = _changes(lake, catalog, row, record_id, clear)
        if changes is None:
            continue
        verdict, revoked = session.get(Approval, row.id), session.get(Revocation, row.id)
        replay = session.get(Batch, row.replay_id) if row.replay_id else None
        lines.append(
            CorrectionLine(
                correction=row.id,
                kind=row.kind,
                state=row.state,
                actor=row.actor,
                role=row.role,
                reason=row.reason,
                made_at=moment(row.made_at),
                changes=changes,
                verdict={"verdict": verdict.verdict, **_by(verdict)} if verdict else None,
                replay={"batch": replay.id, "key": replay.key, "status": replay.status} if replay else None,
                revoked=_by(revoked) if revoked else None,
            )
        )
    return tuple(lines)


def _by(row: Approval | Revocation) -> dict[str, str]:
    return {"actor": row.actor, "role": row.role, "reason": row.reason, "made_at": moment(row.made_at)}


def _changes(
    lake: Lake, catalog: Catalog, row: Correction, record_id: str, clear: bool
) -> tuple[Change, ...] | None:
    """What the correction changes in the record; None where it is not part of it."""
    import pyarrow.compute as pc

    changes = load_changes(lake, row)
    found = changes.filter(pc.equal(changes["record_id"], record_id)).to_pylist()
    if not found:
        return None
    app, _, name = row.pipeline.partition("/")
    pipeline = catalog.pipeline(app, name)
    known = {field.name: field for field in fields(pipeline)} if pipeline is not None else {}
    lines = []
    for column in (c.removeprefix(SET) for c in changes.column_names if c.startswith(SET)):
        if not found[0][SET + column]:
            continue
        before, after = found[0][WAS + column], found[0][NEW + column]
        if not clear:
            before, after = _hidden(known.get(column), before), _hidden(known.get(column), after)
        lines.append(Change(column, before, after))
    return tuple(lines)


def _hidden(field: Field | None, text: str | None) -> str | None:
    """A column that the contract has no more is hidden as a whole: nobody knows what it held."""
    if field is None:
        return None if text is None else HIDDEN
    return masked(field, text)
