"""Taking batches back: their rows leave the targets in reverse order, then their entries in quarantine are withdrawn.

`b:<batch>` of attempt n becomes version 2n and each delivery key its next even version in the commit that removes the
rows, so nothing can publish that attempt later, and the same files can be loaded again as a batch of their own. The
batch whose unit a taken-back one had replaced gets a new attempt. Of a replay that is taken back alone the records are
open again, their correction approved and waiting, but not where an attempt obeyed it as well. Every step may be
repeated: the batch says `withdrawing` or `unpublishing` until all of it is done.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from sqlalchemy import delete, select
from sqlalchemy.orm import Session

from pipeline_xml.checked import CheckedPipeline, CheckedTarget
from pipeline_xml.model import CsvTarget
from processing import frame as f
from publishing import failpoints
from publishing.commit import committed, until_committed
from publishing.corrections import joined_ids, load_changes, replays_of
from publishing.decide import ENDING, FAILED, WITHDRAWING
from publishing.decisions import WITHDRAWN, Correction, Rerun
from publishing.decisions_journal import journal_decisions
from publishing.ending import ask_downstream
from publishing.export import export_folder, remove_export
from publishing.export_heir import export_heir
from publishing.journal import attempt_entry
from publishing.journal_entries import journal_reopened
from publishing.lake import Lake
from publishing.ledger import Attempt, Batch, Delivery, LandedFile, now
from publishing.quarantine import HELD, OPEN, REPLAYED, RESOLVED, SUPERSEDED
from publishing.quarantined import refresh
from publishing.rebuild_merge import rebuild_merge
from publishing.recount import recount
from publishing.replay import REPLAY
from publishing.restate import restate, to_state
from publishing.targets import in_order, rows_out, unit_name
from publishing.touched import same_fate
from publishing.units import heir_of, unit_targets
from publishing.upstream import REWRITTEN
from resources.lake_table import Snapshot


@dataclass(frozen=True, slots=True)
class Going:
    """Batches that go, with the replays of their records, their delivery keys, and who owns their units afterwards.

    `units` is the transaction of each unit and its owner, None for none; `heirs` are those who come back.
    """

    batches: Sequence[Batch]
    replays: Sequence[Batch]
    deliveries: Sequence[str]
    units: Mapping[int, Mapping[str, Batch | None]]  # by position of the target
    heirs: Sequence[str]
    obeyed: Mapping[str, str]  # correction of a replay that goes alone -> the batch whose attempt obeyed it as well

    @property
    def alone(self) -> list[Batch]:
        """Replays that go while the batch of their records stays."""
        going = {batch.id for batch in self.batches}
        own = [batch for batch in self.batches if batch.origin == REPLAY]
        return [batch for batch in own if (batch.window or {}).get("source") not in going]

    @property
    def ids(self) -> tuple[str, ...]:
        return tuple(batch.id for batch in (*self.batches, *self.replays))

    def transactions(self, snapshot: Snapshot, position: int) -> dict[str, int]:
        """The first says whether the commit was made."""
        found = {f"b:{batch.id}": 2 * batch.attempt for batch in (*self.batches, *self.replays)}
        standing = snapshot.transactions([f"f:{key}" for key in self.deliveries])
        found |= {name: version + 1 for name, version in standing.items() if version % 2}
        for unit, heir in self.units.get(position, {}).items():
            found[unit] = heir.arrival if heir is not None else 0
            if heir is not None and (version := snapshot.transaction(f"b:{heir.id}")) % 2:
                found[f"b:{heir.id}"] = version + 1  # what it had published went out when it was replaced
        return found


def finish_taking_back(lake: Lake, pipeline: CheckedPipeline) -> list[str]:
    """Brings every decision to take a batch back to its end; the keys of those that ended now.

    The caller holds `lake.alone`.
    """
    with lake.ledger.read() as session:
        chosen = select(Batch).where(Batch.pipeline == pipeline.key, Batch.status.in_(ENDING))
        batches = list(session.scalars(chosen.order_by(Batch.arrival, Batch.id)))
        if not batches:
            return []
    journal_decisions(lake, pipeline.key)  # before anything follows from them
    with lake.ledger.read() as session:
        going = _going(lake, session, pipeline, batches)
    for position, target in reversed(in_order(pipeline)):
        _leave_target(lake, pipeline, position, target, going)
        failpoints.reached("takeback.target")
    _withdraw_entries(lake, pipeline, going)
    failpoints.reached("takeback.quarantine")
    for each in dict.fromkeys((batch.window or {}).get("source", batch.id) for batch in batches):
        refresh(lake, pipeline.key, each)  # before the end: a crash after it is not come back to
    with lake.ledger.write() as session:
        _end(lake, session, pipeline, going)
    return [batch.key for batch in batches]


def _going(lake: Lake, session: Session, pipeline: CheckedPipeline, batches: Sequence[Batch]) -> Going:
    replay_ids = {each for batch in batches for each in replays_of(lake, batch)} - {batch.id for batch in batches}
    replays = list(session.scalars(select(Batch).where(Batch.id.in_(replay_ids)).order_by(Batch.id)))
    ids = [batch.id for batch in batches]
    deliveries = select(LandedFile.delivery_key).where(LandedFile.batch_id.in_(ids)).order_by(LandedFile.arrival)
    units: dict[int, dict[str, Batch | None]] = {}
    heirs: dict[str, None] = {}
    for position, target in enumerate(pipeline.targets):
        for batch in batches:
            if isinstance(target.target, CsvTarget):
                heir = export_heir(lake, session, pipeline, target, batch, [*ids, *replay_ids])
            elif target in unit_targets(pipeline, batch):
                heir = heir_of(session, pipeline, batch, ids)
                if not _owns(lake, target, batch, heir):
                    continue
                units.setdefault(position, {})[unit_name(target, batch)] = heir
            else:
                continue
            if heir is not None:
                heirs[heir.id] = None
    obeyed = {c: b for batch in batches if batch.origin == REPLAY for c, b in _obeyed_by(lake, session, batch).items()}
    return Going(batches, replays, list(session.scalars(deliveries)), units, list(heirs), obeyed)


def _obeyed_by(lake: Lake, session: Session, replay: Batch) -> dict[str, str]:
    """The corrections of a replay that published attempts read too: of the batch they are of, or that read it again."""
    window = replay.window or {}
    source = session.get_one(Batch, window["source"])
    readers = select(Batch).where(Batch.pipeline == replay.pipeline, Batch.origin == "table")
    found: dict[str, str] = {}
    for batch in (source, *session.scalars(readers.where(Batch.arrival > source.arrival).order_by(Batch.arrival))):
        ended = select(Attempt).where(Attempt.batch_id == batch.id, Attempt.outcome.is_not(None))
        for attempt in session.scalars(ended.order_by(Attempt.number)) if batch.status == "published" else ():
            name = attempt_entry(batch.pipeline, batch.id, attempt.number, "manifest")
            if (attempt.outcome or {})["status"] == "published" and lake.journal.exists(name):
                obeyed = set(lake.journal.read(name).get("corrections", ())) & set(window["corrections"])
                found = dict.fromkeys(obeyed, batch.id) | found
    return found


def _owns(lake: Lake, target: CheckedTarget, batch: Batch, heir: Batch | None) -> bool:
    """Whether the unit is the batch's now: one that never had it, or was replaced since, gives nothing back."""
    table = lake.table(target.asset)
    if not table.exists:
        return False
    snapshot = table.snapshot()
    version, owner = snapshot.transaction(f"b:{batch.id}"), snapshot.transaction(unit_name(target, batch))
    if version == 2 * batch.attempt:  # taken back here before a crash: the unit was handed on in the same commit
        return owner == (heir.arrival if heir is not None else 0)
    return owner == batch.arrival


def _leave_target(
    lake: Lake, pipeline: CheckedPipeline, position: int, target: CheckedTarget, going: Going
) -> None:
    if isinstance(target.target, CsvTarget):
        for batch in going.batches:
            folder = export_folder(lake, pipeline.pipeline.app, target.target, batch)
            remove_export(folder, going.ids)
        return
    table = lake.table(target.asset)
    if not table.exists:
        return
    metadata = {"datalake.taken_back": " ".join(going.ids), "datalake.pipeline": pipeline.key}
    if target.target.mode == "merge" and stand(lake, target, going.ids):
        rebuild_merge(
            lake,
            pipeline,
            position,
            lambda snapshot: going.transactions(snapshot, position),
            lambda _stood: metadata,
            without=going.ids,
        )
        return

    def commit(snapshot: Snapshot) -> int | None:
        transactions = going.transactions(snapshot, position)
        name, version = next(iter(transactions.items()))
        if committed(snapshot, name, version):
            return None
        removed, kept = rows_out(snapshot, {f.BATCH_ID: going.ids})
        return snapshot.commit(kept, removed, transactions, metadata)

    until_committed(table, commit)
    if target.target.mode == "merge":  # a run that was killed after its rebuild may not have come to this
        recount(lake, pipeline, target)


def stand(lake: Lake, target: CheckedTarget, batches: Sequence[str]) -> bool:
    """Whether one of them was ever published there: a held batch that never was needs no rebuild."""
    table = lake.table(target.asset)
    if not table.exists:
        return False
    snapshot = table.snapshot()
    return any(snapshot.transaction(f"b:{each}") % 2 for each in batches)


def _withdraw_entries(lake: Lake, pipeline: CheckedPipeline, going: Going) -> None:
    own = [batch for batch in going.batches if batch.origin != REPLAY]
    if own:
        over = [OPEN, HELD, REPLAYED, RESOLVED, SUPERSEDED]
        marks = {f"q:{batch.id}": 2 * batch.attempt for batch in (*own, *going.replays)}
        restate(lake, pipeline.key, [batch.id for batch in own], marks, to_state(WITHDRAWN, over))
    for replay in going.alone:
        with lake.ledger.read() as session:
            chosen = select(Correction).where(Correction.replay_id == replay.id).order_by(Correction.made_at)
            corrections = [each for each in session.scalars(chosen) if each.id not in going.obeyed]
        records = joined_ids(load_changes(lake, correction) for correction in corrections)
        change = to_state(OPEN, [REPLAYED, SUPERSEDED, RESOLVED], records)
        holders = sorted({correction.batch_id for correction in corrections})
        restate(lake, pipeline.key, holders, {f"q:{replay.id}": 2 * replay.attempt}, change)


def reason_left(batch: Batch, ended: bool) -> str | None:
    """The reason that a batch keeps when it is taken back: the journal knows why one was held, not why one failed.

    `ended`: whether its newest attempt has an outcome.
    """
    if batch.origin == REPLAY or not (ended or (batch.reason or "").startswith(REWRITTEN)):
        return None
    return batch.reason


def _end(lake: Lake, session: Session, pipeline: CheckedPipeline, going: Going) -> None:
    ids = [batch.id for batch in going.batches]
    for batch in session.scalars(select(Batch).where(Batch.id.in_(going.ids))):
        batch.status = "withdrawn" if batch.status == WITHDRAWING else "unpublished"
        attempt = session.get(Attempt, (batch.id, batch.attempt))
        batch.reason = reason_left(batch, attempt is not None and attempt.outcome is not None)
    for replay in going.alone:
        own = list(session.scalars(select(Correction).where(Correction.replay_id == replay.id)))
        same_fate(session, [correction for correction in own if correction.id not in going.obeyed], None)
        for correction in own:
            correction.replay_id = going.obeyed.get(correction.id)
    for landed in session.scalars(select(LandedFile).where(LandedFile.batch_id.in_(ids))):
        landed.status, landed.reason = "withdrawn", None if landed.status == FAILED else landed.reason
    session.execute(delete(Delivery).where(Delivery.batch_id.in_(ids)))
    same_fate(session, list(session.scalars(select(Correction).where(Correction.batch_id.in_(ids)))), WITHDRAWN)
    asked: dict[str, int] = {}
    for heir in session.scalars(select(Batch).where(Batch.id.in_(going.heirs))):
        heir.status, heir.attempt = "open", heir.attempt + 1
        asked[heir.id] = heir.attempt
    gone = {batch.id: batch.attempt for batch in (*going.batches, *going.replays)}
    journal_reopened(lake, pipeline.key, asked, gone)
    for batch in going.batches:
        ask_downstream(session, lake.catalog, pipeline, batch.business_date, f"{batch.key} was taken back")
    for heir in session.scalars(select(Batch).where(Batch.id.in_(going.heirs)).order_by(Batch.arrival)):
        cause = f"{heir.key} comes back: what had replaced it was taken back"
        day = heir.business_date
        session.add(Rerun(pipeline=pipeline.key, business_date=day, cause=cause[:500], asked_at=now()))
