"""What lies in quarantine, by batch: the ledger's rows of `quarantined_batch`, counted from the quarantine tables.

One row a batch, however many records, so that a list of batches never opens a table. The rows are derived: whoever
changes entries of a batch counts its row anew.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import delete, select
from sqlalchemy.orm import Session

from publishing.decisions import QuarantinedBatch
from publishing.lake import Lake
from publishing.ledger import Attempt, Batch
from publishing.quarantine import HELD, OPEN
from publishing.rule_columns import rule_columns
from resources.lake_table import DataFile, Snapshot

ROWS = 262_144


@dataclass(frozen=True, slots=True)
class Counted:
    """The entries of a batch: by state, and by rule those that are open or held. `first_at` is UTC without zone."""

    states: Mapping[str, int]
    rules: Mapping[str, int]
    first_at: datetime

    @property
    def records(self) -> int:
        return sum(self.states.values())


def refresh(lake: Lake, pipeline: str, batch_id: str) -> None:
    """Counts the batch's row anew and stores it; a batch without entries has none.

    Where entries of the batch change meanwhile they are counted again: the row is never older than its table.
    """
    table = lake.quarantine(pipeline)
    while True:
        files, counted = [], None
        if table.exists:
            snapshot = table.snapshot()
            files = _files_of(snapshot, batch_id)
            counted = count_entries(snapshot, files, batch_id).get(batch_id)
        with lake.ledger.write() as session:
            now = _files_of(table.snapshot(), batch_id) if table.exists else []
            if [item.path for item in now] == [item.path for item in files]:
                store_counted(session, batch_id, counted)
                return


def refresh_all(lake: Lake, pipeline: str) -> list[str]:
    """`refresh` for every batch whose row is not what its table says, in one pass over the entries; which ones."""
    table = lake.quarantine(pipeline)
    snapshot = table.snapshot() if table.exists else None
    counted = count_entries(snapshot, snapshot.files()) if snapshot is not None else {}
    with lake.ledger.read() as session:
        rows = session.scalars(select(QuarantinedBatch).where(QuarantinedBatch.pipeline == pipeline))
        stored = {row.batch_id: (row.states, row.rules) for row in rows}
    found = {batch_id: (dict(each.states), dict(each.rules)) for batch_id, each in counted.items()}
    stale = sorted(each for each in {*stored, *found} if stored.get(each) != found.get(each))
    for batch_id in stale:
        refresh(lake, pipeline, batch_id)
    return stale


def count_entries(snapshot: Snapshot, files: Sequence[DataFile], batch_id: str | None = None) -> dict[str, Counted]:
    """The entries in these files by batch, of one or of all; a record counts once for a rule, however many columns."""
    states: dict[str, Counter[str]] = {}
    rules: dict[str, Counter[str]] = {}
    first: dict[str, datetime] = {}
    for rows in _entries(snapshot, files, batch_id):
        for found in _states(rows):
            states.setdefault(found["batch_id"], Counter())[found["state"]] += found["count_all"]
            moment = found["quarantined_at_min"].astimezone(UTC).replace(tzinfo=None)
            first[found["batch_id"]] = min(moment, first.get(found["batch_id"], moment))
        for found in _rules(rows):
            rules.setdefault(found["batch"], Counter())[found["rule"]] += found["count_all"]
    return {each: Counted(dict(count), dict(rules.get(each, {})), first[each]) for each, count in states.items()}


def _entries(snapshot: Snapshot, files: Sequence[DataFile], batch_id: str | None) -> Iterator[Any]:
    """Batches of what is counted; straight from the files, for a dataset reads all of an entry's errors or nothing."""
    import pyarrow.compute as pc
    import pyarrow.parquet as pq

    for item in files:
        alone = batch_id is None or item.holds_only("batch_id", batch_id)
        with pq.ParquetFile(snapshot.root / item.path, read_dictionary=["batch_id", "state"]) as parquet:
            columns = ["batch_id", "state", "quarantined_at", *rule_columns(parquet, "errors")]
            for rows in parquet.iter_batches(columns=columns, batch_size=ROWS):
                yield rows if alone else rows.filter(pc.equal(rows["batch_id"], batch_id))


def _states(rows: Any) -> list[dict[str, Any]]:
    import pyarrow as pa

    table = pa.table([rows["batch_id"], rows["state"], rows["quarantined_at"]], ["batch_id", "state", "quarantined_at"])
    wanted = [([], "count_all"), ("quarantined_at", "min")]
    found: list[dict[str, Any]] = table.group_by(["batch_id", "state"]).aggregate(wanted).to_pylist()
    return found


def _rules(rows: Any) -> list[dict[str, Any]]:
    """By batch and rule, of entries that still ask for somebody."""
    import pyarrow as pa
    import pyarrow.compute as pc

    asks = pc.is_in(rows["state"], pa.array([OPEN, HELD]))
    waiting = rows if pc.all(asks).as_py() else rows.filter(asks)
    errors = waiting["errors"]
    parents = pc.list_parent_indices(errors)
    names = ["row", "batch", "rule"]
    flat = pa.table([parents, waiting["batch_id"].take(parents), errors.flatten().field("rule")], names)
    once = flat.group_by(names).aggregate([]) if len(flat) > len(pc.unique(parents)) else flat
    found: list[dict[str, Any]] = once.group_by(["batch", "rule"]).aggregate([([], "count_all")]).to_pylist()
    return found


def _files_of(snapshot: Snapshot, batch_id: str) -> list[DataFile]:
    return [item for item in snapshot.files() if item.may_hold("batch_id", batch_id)]


def store_counted(session: Session, batch_id: str, counted: Counted | None) -> None:
    batch = session.get(Batch, batch_id)
    if counted is None or batch is None:
        session.execute(delete(QuarantinedBatch).where(QuarantinedBatch.batch_id == batch_id))
        return
    session.merge(
        QuarantinedBatch(
            batch_id=batch_id,
            pipeline=batch.pipeline,
            key=batch.key,
            business_date=batch.business_date,
            records=counted.records,
            open=counted.states.get(OPEN, 0),
            states=counted.states,
            rules=counted.rules,
            quarantined_at=min(counted.first_at, _rejecting_since(session, batch_id) or counted.first_at),
        )
    )


def _rejecting_since(session: Session, batch_id: str) -> datetime | None:
    """When the first of the attempts opened that have rejected ever since: a reprocess starts no new deadline."""
    since = None
    attempts = select(Attempt).where(Attempt.batch_id == batch_id, Attempt.outcome.is_not(None))
    for attempt in session.scalars(attempts.order_by(Attempt.number.desc())):
        quarantine = (attempt.outcome or {}).get("quarantine")
        if not quarantine or not quarantine["records"]:
            break
        since = attempt.opened_at
    return since
