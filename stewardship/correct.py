"""Corrections and discards, proposed: by record, by CSV, or by expressions over many; with a dry run before.

A proposal changes nothing but the ledger and the journal. It takes effect once another person approves it. The values
before and after are sealed in the journal; the ledger and the audit trail know columns and counts.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from sqlalchemy import select, text
from sqlalchemy.orm import Session

from pipeline_xml.checked import Catalog, CheckedPipeline
from publishing.corrections import save_changes
from publishing.decisions import CORRECT, DISCARD, PROPOSED, Correction, TouchedRecord
from publishing.lake import Lake
from publishing.ledger import Batch, now
from stewardship import audit, bulk
from stewardship.actors import Actor, reason_of, require
from stewardship.journaled import journal_all
from stewardship.new_values import Named, changes_of, known_columns
from stewardship.payloads import Payloads, fields, masked
from stewardship.quarantine import NEW, SET, WAS, Change
from stewardship.refused import Refused, Unfit
from stewardship.selection import Scope, Standing, named_records, not_free, open_records, standing, undecided

if TYPE_CHECKING:
    from publishing.replay_trial import Trial

SHOWN = 20  # records of a dry run's diff
CHUNK = 100_000  # records of one statement
# The ids that a statement is given as one JSON text, by database: bound one by one they would cost seconds.
_IDS = {
    "sqlite": "(SELECT value AS id FROM json_each(:ids)) AS given",
    "postgresql": "(SELECT value AS id FROM json_array_elements_text(CAST(:ids AS json)) AS t(value)) AS given",
}


@dataclass(frozen=True, slots=True)
class Made:
    """A correction that was saved; in a dry run `correction` is empty."""

    correction: str
    batch: str
    key: str
    records: int


@dataclass(frozen=True, slots=True)
class RecordDiff:
    """What would change in a record, masked."""

    record_id: str
    batch: str
    changes: tuple[Change, ...]


@dataclass(frozen=True, slots=True)
class TrialLine:
    """What would become of the records: how many pass, how many break each rule still, and what would hold a batch."""

    records: int
    would_pass: int
    rules: Mapping[str, int]
    held: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Proposal:
    """`records` that change, by correction; `left_out`: records in scope that do not, by why. `diff` and `trial` of a
    dry run only: the first records, and what a replay would say.
    """

    pipeline: str
    kind: str
    dry_run: bool
    records: int
    corrections: tuple[Made, ...]
    left_out: Mapping[str, int]
    diff: tuple[RecordDiff, ...] = ()
    trial: TrialLine | None = None

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


@dataclass(frozen=True, slots=True)
class Chosen:
    """The set of changes over all batches, as new_values.changes_of makes it; of a discard, ids alone."""

    at: Standing
    changes: Any
    left_out: Mapping[str, int]


def correct_values(
    lake: Lake, catalog: Catalog, pipeline: CheckedPipeline, actor: Actor, reason: str, scope: Scope, named: Named,
    *, dry_run: bool = False, action: str = "correct",
) -> Proposal:  # fmt: skip
    """Proposes new values of named records; Unfit with everything that is wrong with them, and nothing is saved."""
    require(catalog, pipeline.key, actor, action)
    reason = reason if dry_run else reason_of(reason)
    at = standing(lake, pipeline, scope)
    problems = [*named.problems, *known_columns(pipeline, dict.fromkeys(n for v in named.values.values() for n in v))]
    entries, others = named_records(at, list(named.values))
    with lake.ledger.read() as session:
        waiting = undecided(session, pipeline.key)
        batches = entries["batch_id"].unique().to_pylist()
        touched = select(TouchedRecord.record_id).join(Correction, Correction.id == TouchedRecord.correction_id)
        touched = touched.where(Correction.batch_id.in_(batches))
        corrected = set(session.scalars(touched.where(TouchedRecord.pipeline == pipeline.key)))
    problems += [*others, *(not_free(record, waiting[record]) for record in named.values if record in waiting)]
    changes, wrong = changes_of(pipeline, named.values, Payloads(lake, pipeline).cells(entries), corrected)
    if problems or wrong:
        raise Unfit([*problems, *wrong])
    left_out = {"unchanged": entries.num_rows - changes.num_rows}
    return _propose(lake, pipeline, actor, reason, CORRECT, Chosen(at, changes, left_out), dry_run)


def correct_by_expression(
    lake: Lake, catalog: Catalog, pipeline: CheckedPipeline, actor: Actor, reason: str, scope: Scope,
    sets: Mapping[str, str], where: str | None = None, *, dry_run: bool = False,
) -> Proposal:  # fmt: skip
    """Proposes what the expressions make of all open records in scope; see stewardship.bulk for what they see.

    Left out are records with a correction that nobody decided yet, and those whose expressions give null or no change.
    """
    require(catalog, pipeline.key, actor, "correct")
    reason = reason if dry_run else reason_of(reason)
    compiled = bulk.compile_bulk(pipeline, sets, where)
    at = standing(lake, pipeline, scope)
    free = _Free(lake, pipeline)
    computed = bulk.compute(lake, pipeline, compiled, free.of(open_records(at, scope)))
    if computed.problems:
        raise Unfit(computed.problems)
    changed = computed.changes.num_rows
    left_out = {
        "undecided": free.taken,
        "ragged": computed.ragged,
        "without a value": computed.without,
        "unchanged": max(0, computed.matched - computed.ragged - computed.without - changed),
    }
    return _propose(lake, pipeline, actor, reason, CORRECT, Chosen(at, computed.changes, left_out), dry_run)


def discard(
    lake: Lake, catalog: Catalog, pipeline: CheckedPipeline, actor: Actor, reason: str, scope: Scope,
    record_ids: Sequence[str] | None = None, where: str | None = None, *, dry_run: bool = False,
) -> Proposal:  # fmt: skip
    """Proposes to give up the named records, or all open ones in scope (under the condition)."""
    require(catalog, pipeline.key, actor, "discard")
    reason = reason if dry_run else reason_of(reason)
    at = standing(lake, pipeline, scope)
    if record_ids is not None:
        entries, problems = named_records(at, list(dict.fromkeys(record_ids)))
        with lake.ledger.read() as session:
            waiting = undecided(session, pipeline.key)
        problems += [not_free(record, waiting[record]) for record in record_ids if record in waiting]
        if problems:
            raise Unfit(problems)
        chosen = Chosen(at, entries.select(["record_id", "batch_id"]), {})
        return _propose(lake, pipeline, actor, reason, DISCARD, chosen, dry_run)
    import pyarrow as pa

    free = _Free(lake, pipeline)
    entries_in_scope = free.of(open_records(at, scope))
    if where is not None:
        ids = bulk.matching(lake, pipeline, where, entries_in_scope)
    else:
        parts = [part.select(["record_id", "batch_id"]) for part in entries_in_scope]
        ids = pa.concat_tables(parts) if parts else pa.table({"record_id": [], "batch_id": []})
    return _propose(lake, pipeline, actor, reason, DISCARD, Chosen(at, ids, {"undecided": free.taken}), dry_run)


class _Free:
    """Entries without those that wait for a verdict or a replay; `taken` counts them."""

    def __init__(self, lake: Lake, pipeline: CheckedPipeline) -> None:
        import pyarrow as pa

        with lake.ledger.read() as session:
            self._waiting = pa.array(sorted(undecided(session, pipeline.key)), pa.string())
        self.taken = 0

    def of(self, parts: Iterator[Any]) -> Iterator[Any]:
        import pyarrow.compute as pc

        for part in parts:
            kept = part.filter(pc.invert(pc.is_in(part["record_id"], value_set=self._waiting)))
            self.taken += part.num_rows - kept.num_rows
            if kept.num_rows:
                yield kept.combine_chunks()


def _propose(
    lake: Lake, pipeline: CheckedPipeline, actor: Actor, reason: str, kind: str, chosen: Chosen, dry_run: bool
) -> Proposal:
    left_out = {why: count for why, count in chosen.left_out.items() if count}
    if not chosen.changes.num_rows:
        why = "; ".join(f"{name}: {count}" for name, count in left_out.items()) or "no open record is in scope"
        raise Refused(f"no record would change ({why})")
    parts = _by_batch(chosen.changes)
    if dry_run:
        made = [Made("", batch, chosen.at.keys[batch], part.num_rows) for batch, part in parts.items()]
        diff, trial = _diff(pipeline, chosen.changes), None
        if kind == CORRECT:
            trial = _tried(lake, pipeline, parts)
        return Proposal(pipeline.key, kind, True, chosen.changes.num_rows, tuple(made), left_out, diff, trial)
    made = _save(lake, pipeline, actor, reason, kind, chosen.at, parts)
    return Proposal(pipeline.key, kind, False, chosen.changes.num_rows, tuple(made), left_out)


def _by_batch(changes: Any) -> dict[str, Any]:
    """One correction is about one batch."""
    import pyarrow.compute as pc

    found = {}
    for batch in sorted(pc.unique(changes["batch_id"]).to_pylist()):
        rows = changes.filter(pc.equal(changes["batch_id"], batch)).drop_columns(["batch_id"])
        found[batch] = rows.sort_by("record_id")
    return found


def _save(
    lake: Lake, pipeline: CheckedPipeline, actor: Actor, reason: str, kind: str, at: Standing, parts: Mapping[str, Any]
) -> list[Made]:
    made, rows = [], []
    with _sealed(lake, pipeline.key, parts) as names, lake.ledger.write() as session:
        _still_free(session, pipeline.key, parts)
        for batch, part in parts.items():
            identity, sealed = names[batch]
            rows.append(
                Correction(
                    id=identity,
                    pipeline=pipeline.key,
                    batch_id=batch,
                    kind=kind,
                    state=PROPOSED,
                    records=part.num_rows,
                    actor=actor.name,
                    role=actor.role,
                    reason=reason,
                    made_at=now(),
                    sealed=sealed,
                    replay_id=None,
                )
            )
            made.append(Made(identity, batch, at.keys[batch], part.num_rows))
        session.add_all(rows)
        session.flush()
        for row in rows:
            _touch(session, row, parts[row.batch_id])
            columns = [c.removeprefix(SET) for c in parts[row.batch_id].column_names if c.startswith(SET)]
            about = {"pipeline": pipeline.key, "key": at.keys[row.batch_id], "correction": row.id, "reason": reason}
            counts = {"records": row.records, "columns": columns}
            audit.append(session, lake, actor, kind, row.batch_id, {**about, **counts})
    journal_all(lake, pipeline.key)
    return made


@contextmanager
def _sealed(lake: Lake, pipeline: str, parts: Mapping[str, Any]) -> Iterator[dict[str, tuple[str, str]]]:
    """{batch: (correction's id, its sealed file)}; the files go again where the correction is refused.

    Not after any other error: a commit whose answer was lost may stand, and what it refers to must not be gone. What a
    crash leaves, the sweep finds.
    """
    names: dict[str, tuple[str, str]] = {}
    try:
        for batch, part in parts.items():
            identity = uuid.uuid4().hex
            names[batch] = (identity, save_changes(lake, pipeline, batch, identity, part))
        yield names
    except Refused:
        for _, name in names.values():
            (lake.journal.root / name).unlink(missing_ok=True)
        raise


def _still_free(session: Session, pipeline: str, parts: Mapping[str, Any]) -> None:
    """Looked at again where nobody else writes: two stewards may have chosen the same records."""
    waiting = undecided(session, pipeline)
    if not waiting:
        return
    chosen = (record for part in parts.values() for record in part["record_id"].to_pylist())
    if taken := [not_free(record, waiting[record]) for record in chosen if record in waiting]:
        raise Unfit(taken)


def _touch(session: Session, correction: Correction, part: Any) -> None:
    """Marks the records in one statement; how often they were tried stays."""
    records = _IDS[session.get_bind().dialect.name]
    # `WHERE true`: without it SQLite takes ON CONFLICT for the condition of a join
    statement = text(
        "INSERT INTO touched_record (pipeline, record_id, correction_id, state, tries) "  # noqa: S608
        f"SELECT :pipeline, id, :correction_id, NULL, 0 FROM {records} WHERE true "
        "ON CONFLICT (pipeline, record_id) DO UPDATE SET correction_id = excluded.correction_id, state = NULL"
    )
    for start in range(0, part.num_rows, CHUNK):
        values = {
            "pipeline": correction.pipeline, "correction_id": correction.id,
            "ids": json.dumps(part["record_id"].slice(start, CHUNK).to_pylist()),
        }  # fmt: skip
        session.execute(statement, values)


def _diff(pipeline: CheckedPipeline, changes: Any) -> tuple[RecordDiff, ...]:
    """The first records, masked."""
    known = {field.name: field for field in fields(pipeline)}
    names = [c.removeprefix(SET) for c in changes.column_names if c.startswith(SET)]
    lines = []
    for row in changes.slice(0, SHOWN).to_pylist():
        moved = [n for n in names if row[SET + n]]
        shown = (Change(n, masked(known[n], row[WAS + n]), masked(known[n], row[NEW + n])) for n in moved)
        lines.append(RecordDiff(row["record_id"], row["batch_id"], tuple(shown)))
    return tuple(lines)


def _tried(lake: Lake, pipeline: CheckedPipeline, parts: Mapping[str, Any]) -> TrialLine:
    """What a replay would do to the records of each batch, together."""
    from publishing.replay import CannotReplay
    from publishing.replay_trial import trial

    found: list[Trial] = []
    for batch_id, part in parts.items():
        with lake.ledger.read() as session:
            batch = session.get_one(Batch, batch_id)
        try:
            found.append(trial(lake, pipeline, batch, part))
        except CannotReplay as error:
            raise Refused(str(error)) from error
    rules: dict[str, int] = {}
    for each in found:
        for rule, records in each.rules.items():
            rules[rule] = rules.get(rule, 0) + records
    held = tuple(t.held for t in found if t.held is not None)
    return TrialLine(sum(t.records for t in found), sum(t.would_pass for t in found), rules, held)
