"""The checks of the way back, of one quarantined batch: do its numbers close, and is every record where its state says?

Held against each other are what the last attempt counted, the quarantine table, and the targets.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from pipeline_xml.checked import CheckedPipeline, CheckedTarget
from pipeline_xml.model import HiveTarget
from publishing.decisions import Correction
from publishing.lake import Lake
from publishing.ledger import Attempt, Batch, LandedFile
from publishing.outcome import CheckOutcome
from publishing.quarantine import DISCARDED, HELD, OPEN, REPLAYED, RESOLVED, SUPERSEDED, WITHDRAWN
from publishing.targets import standing

RECONCILED = "reconciled"
NOTHING_LOST = "nothing_lost"
STATES = (OPEN, HELD, REPLAYED, RESOLVED, DISCARDED, SUPERSEDED, WITHDRAWN)


def replay_checks(lake: Lake, pipeline: CheckedPipeline, batch_key: str) -> tuple[CheckOutcome, ...]:
    """`reconciled` and `nothing_lost` of the quarantined batch with that key; empty where there is none."""
    with lake.ledger.read() as session:
        batch = session.scalars(select(Batch).where(Batch.pipeline == pipeline.key, Batch.key == batch_key)).first()
        table = lake.quarantine(pipeline.key)
        if batch is None or not table.exists:
            return ()
        entries = _entries(table.snapshot(), batch.id)
        return (
            _reconciled(session, batch, entries),
            _nothing_lost(lake, session, pipeline, batch, entries),
        )


def _entries(snapshot: Any, batch_id: str) -> Any:
    import pyarrow.dataset as ds

    files = [item for item in snapshot.files() if item.may_hold("batch_id", batch_id)]
    columns = ["record_id", "state", "attempt", "source_file", "business_date"]
    return snapshot.dataset(files).to_table(columns=columns, filter=ds.field("batch_id") == batch_id)


def _reconciled(session: Session, batch: Batch, entries: Any) -> CheckOutcome:
    """quarantined = open + replayed + resolved + discarded + superseded + withdrawn, for each file.

    The left side was counted by the last attempt that ended; the right side are its entries. A record that a later
    batch read again has its entry there: where one may have, none may be too many, and missing ones are told apart.
    """
    states = Counter(entries["state"].to_pylist())
    attempts = select(Attempt).where(Attempt.batch_id == batch.id, Attempt.outcome.is_not(None))
    last = session.scalars(attempts.order_by(Attempt.number.desc()).limit(1)).first()
    counted = _counted(session, batch, last.outcome or {}) if last else {}
    found: Counter[str] = Counter()
    for name, attempt in zip(entries["source_file"].to_pylist(), entries["attempt"].to_pylist(), strict=True):
        if last is not None and attempt == last.number:
            found[name if name in counted else ""] += 1
    moved = _read_again(session, batch)
    off = 0
    for name in {*counted, *found}:
        difference = found[name] - counted.get(name, 0)
        off += max(0, difference) if moved else abs(difference)
    strange = sum(count for state, count in states.items() if state not in STATES)
    total = f"{sum(states.values())} = {' + '.join(f'{n} {s}' for s in STATES if (n := states[s])) or '0'}"
    said = f"quarantined {total}; the last attempt counted {sum(counted.values())}, its entries are {found.total()}"
    if strange:
        said += f"; {strange} are in no state that there is"
    return CheckOutcome(RECONCILED, "error", off == 0 and strange == 0, off + strange, said)


def _counted(session: Session, batch: Batch, outcome: Mapping[str, Any]) -> dict[str, int]:
    """Quarantined records by name of their file; all under '' for a batch of a table, whose rows name other files."""
    if batch.origin != "files":
        return {"": outcome["counts"]["quarantined"]} if outcome else {}
    rows = session.execute(select(LandedFile.uri, LandedFile.name).where(LandedFile.batch_id == batch.id))
    names = {uri: name for uri, name in rows}
    found: dict[str, int] = {}
    for line in outcome.get("files", ()):
        name = names.get(line["uri"], "")
        found[name] = found.get(name, 0) + line["counts"]["quarantined"]
    return found


def _read_again(session: Session, batch: Batch) -> bool:
    """Whether a later batch may hold entries of this one's records: of the same table, or of the same files again."""
    if batch.origin == "table":
        later = select(Batch.id).where(Batch.pipeline == batch.pipeline, Batch.arrival > batch.arrival)
        return session.scalars(later.limit(1)).first() is not None
    own = select(LandedFile.delivery_key).where(LandedFile.batch_id == batch.id)
    others = LandedFile.batch_id.is_not(None) & (LandedFile.batch_id != batch.id)
    again = select(LandedFile.arrival).where(LandedFile.delivery_key.in_(own), others)
    return session.scalars(again.limit(1)).first() is not None


def _nothing_lost(lake: Lake, session: Session, pipeline: CheckedPipeline, batch: Batch, entries: Any) -> CheckOutcome:
    """Each record has one entry, in one state, and what is `replayed` stands in the targets.

    What came after the replay may have taken a row's place: a newer one of its key in a merge target, or a later
    attempt of the batch, which accounts for the record itself.
    """
    import pyarrow.compute as pc
    import pyarrow.dataset as ds

    ids = entries["record_id"].combine_chunks()
    quarantine = lake.quarantine(pipeline.key).snapshot()
    wanted = ds.field("record_id").isin(ids.unique())
    doubled = quarantine.dataset().count_rows(filter=wanted) - len(ids.unique())
    replayed = entries.filter(pc.equal(entries["state"], REPLAYED))
    missing, replaced = 0, 0
    since = _replayed_at(session, batch)
    for targets in _together(pipeline) if replayed.num_rows else ():
        gone = replayed.num_rows - _standing(lake, targets, replayed)
        if gone and since is not None and any(_overtaken(session, batch, target, since) for target in targets):
            replaced += gone
        else:
            missing += gone
    said = f"{len(ids)} records, each with one entry; {replayed.num_rows} replayed ones stand in the targets"
    if doubled or missing:
        said = f"{doubled} entries too many, {missing} replayed records are in no target"
    elif replaced:
        said = f"{len(ids)} records, each with one entry; of the replayed ones {replaced} were replaced since"
    return CheckOutcome(NOTHING_LOST, "error", not (doubled or missing), doubled + missing, said)


def _together(pipeline: CheckedPipeline) -> list[list[CheckedTarget]]:
    """Tables of which one at least holds what is `replayed`: it has its branch, and may have lost in a merge target."""
    tables = [t for t in pipeline.targets if isinstance(t.target, HiveTarget) and t.dataset.per_record]
    if pipeline.branches.several:
        return [tables]
    merges = [t for t in tables if t.target.mode == "merge"]
    alone = [[t] for t in tables if t not in merges]
    return [*alone, tables] if merges else alone


def _standing(lake: Lake, targets: Sequence[CheckedTarget], replayed: Any) -> int:
    import pyarrow as pa

    ids = replayed["record_id"].combine_chunks()
    tables = [lake.table(target.asset) for target in targets]
    found = [standing(table.snapshot(), ids, lambda _: True) for table in tables if table.exists]
    return len(pa.concat_arrays(found).unique()) if found else 0


def _replayed_at(session: Session, batch: Batch) -> datetime | None:
    """When the first attempt of a replay of the batch was opened."""
    replays: Sequence[str | None] = session.scalars(
        select(Correction.replay_id).where(Correction.batch_id == batch.id, Correction.replay_id.is_not(None))
    ).all()
    chosen = select(Attempt.opened_at).where(Attempt.batch_id.in_(replays)).order_by(Attempt.opened_at)
    return session.scalars(chosen.limit(1)).first()


def _overtaken(session: Session, batch: Batch, target: CheckedTarget, since: datetime) -> bool:
    """Whether an attempt published since may have replaced rows: of the batch, or of any in a merge target."""
    later = (
        select(Batch.id)
        .join(Attempt, (Attempt.batch_id == Batch.id) & (Attempt.number == Batch.attempt))
        .where(Batch.pipeline == batch.pipeline, Batch.status == "published", Attempt.opened_at > since)
    )
    if target.target.mode != "merge":
        later = later.where(Batch.id == batch.id)
    return session.scalars(later.limit(1)).first() is not None
