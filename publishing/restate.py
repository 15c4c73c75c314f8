"""Changing the state of entries in quarantine: one commit against the snapshot looked at, once for its transaction."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Collection, Mapping
from typing import Any

from publishing import failpoints
from publishing.commit import committed, until_committed
from publishing.lake import Lake
from publishing.quarantine import schema, write_entries
from resources.lake_table import DataFile, Snapshot

Change = Callable[[Any], Any]  # entries (an Arrow table of the quarantine schema) in, the same entries changed out


def restate(
    lake: Lake, pipeline: str, batches: Collection[str], transactions: Mapping[str, int], change: Change
) -> bool:
    """Rewrites the entries of these batches by `change`; whether it did, now.

    Nothing is done where the first transaction is in the table already, or where there is no entry to change.
    """
    table = lake.quarantine(pipeline)
    if not table.exists:
        return False
    table.add_columns(schema())
    name, version = next(iter(transactions.items()))
    changed = False

    def commit(snapshot: Snapshot) -> int | None:
        nonlocal changed
        if committed(snapshot, name, version):
            return None
        files = [item for item in snapshot.files() if any(item.may_hold("batch_id", b) for b in batches)]
        adds, removes = _rewritten(snapshot, files, batches, change)
        if not removes:
            return None
        failpoints.reached("restate.written")
        landed = snapshot.commit(adds, removes, transactions, {"datalake.restated": name})
        failpoints.reached("restate.committed")
        changed = True
        return landed

    until_committed(table, commit)
    return changed


def _rewritten(
    snapshot: Snapshot, files: Collection[DataFile], batches: Collection[str], change: Change
) -> tuple[list[DataFile], list[DataFile]]:
    """(files to add, files to remove): only those in which an entry changes."""
    import pyarrow as pa
    import pyarrow.compute as pc

    adds, removes = [], []
    for item in files:
        rows = snapshot.dataset([item]).to_table().cast(schema())
        ours = pc.is_in(rows["batch_id"], value_set=pa.array(sorted(batches), pa.string()))
        alone = pc.all(ours).as_py()  # the usual case, and then nothing is copied
        before = rows if alone else rows.filter(ours)
        after = change(before) if before.num_rows else before
        if after.equals(before):
            continue
        removes.append(item)
        whole = after if alone else pa.concat_tables([rows.filter(pc.invert(ours)), after])
        adds.append(write_entries(snapshot.root, f"part-restated-{uuid.uuid4().hex}.parquet", iter([whole])))
    return adds, removes


def to_state(state: str, over: Collection[str], records: Any = None) -> Change:
    """Entries in one of the states `over` get `state`; only these record ids (an Arrow array), or all of them."""

    def change(entries: Any) -> Any:
        import pyarrow as pa
        import pyarrow.compute as pc

        chosen = pc.is_in(entries["state"], value_set=pa.array(list(over)))
        if records is not None:
            chosen = pc.and_(chosen, pc.is_in(entries["record_id"], value_set=records))
        return with_column(entries, "state", pc.if_else(chosen, state, entries["state"]))

    return change


def with_column(entries: Any, name: str, values: Any) -> Any:
    return entries.set_column(entries.schema.get_field_index(name), entries.schema.field(name), values)
