"""Corrections as publishing obeys them: sealed sets of changes in the journal, laid over every attempt's records.

A set is a table of `record_id` and, for each changed column F, `set:F` (bool), `new:F` and `was:F` (string): the new
text of F, null for null, and the one before. A discard has only `record_id`. It is sealed as one file: its values are
those of rejected records.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from sqlalchemy import select, update
from sqlalchemy.orm import Session

from processing.keys import seal, unseal
from publishing import failpoints
from publishing.decisions import APPROVED, CORRECT, DISCARD, DISCARDED, Correction
from publishing.durable import write_whole
from publishing.lake import Lake
from publishing.ledger import Batch, LandedFile
from publishing.quarantine import HELD, OPEN
from publishing.quarantined import refresh
from publishing.restate import restate, to_state
from resources.quarantine_key import quarantine_key

WAS = "was:"


def changes_table(rows: Iterable[tuple[str, Mapping[str, str | None], Mapping[str, str | None]]]) -> Any:
    """The set of (record id, new texts by column, texts before by column)."""
    import pyarrow as pa

    from processing.overlay import NEW, RECORD_ID, SET

    given = list(rows)
    columns: dict[str, Any] = {RECORD_ID: pa.array([record for record, _, _ in given], pa.string())}
    for name in dict.fromkeys(name for _, new, _ in given for name in new):
        columns[SET + name] = pa.array([name in new for _, new, _ in given], pa.bool_())
        columns[NEW + name] = pa.array([new.get(name) for _, new, _ in given], pa.string())
        columns[WAS + name] = pa.array([was.get(name) for _, _, was in given], pa.string())
    return pa.table(columns)


def save_changes(lake: Lake, pipeline: str, batch_id: str, correction_id: str, changes: Any) -> str:
    """Seals a set into the journal and returns its name there; it is on the disk before the ledger knows of it."""
    import pyarrow as pa

    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, changes.schema, options=pa.ipc.IpcWriteOptions(compression="zstd")) as writer:
        writer.write_table(changes)
    key = quarantine_key(lake.settings)
    name = f"{pipeline}/{batch_id}/correction-{correction_id}.sealed"
    path = lake.journal.root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    sealed = seal(sink.getvalue().to_pybytes(), key.value, key.id, correction_id)
    write_whole(path, key.id.encode() + b"\n" + sealed)
    return name


def load_changes(lake: Lake, correction: Correction) -> Any:
    """The set of a correction as an Arrow table; SealBroken where its file was changed or belongs to another key."""
    import pyarrow as pa

    key = quarantine_key(lake.settings)
    key_id, _, sealed = (lake.journal.root / correction.sealed).read_bytes().partition(b"\n")
    with pa.ipc.open_stream(unseal(sealed, key.value, key_id.decode(), correction.id)) as reader:
        return reader.read_all()


def approved_for(session: Session, batch: Batch, files: Sequence[LandedFile]) -> list[Correction]:
    """Approved corrections and discards that may touch the batch's records, in the order they were made.

    A record keeps its id when its file is loaded again after an un-publishing, and a lake table's record when it is
    read again: decisions over it hold there too.
    """
    chosen = select(Correction).where(Correction.pipeline == batch.pipeline, Correction.state == APPROVED)
    if batch.origin == "files":
        keys = [item.delivery_key for item in files]
        before = select(LandedFile.batch_id).where(LandedFile.delivery_key.in_(keys))
        chosen = chosen.where(Correction.batch_id.in_(before))
    return list(session.scalars(chosen.order_by(Correction.made_at, Correction.id)))


def stacked(layers: Sequence[tuple[str, Any]]) -> Any:
    """Sets (kind, changes) as one overlay by record id, later ones over earlier ones; a row a record.

    The usual case, no record in two sets, is put together by column.
    """
    import pyarrow as pa
    import pyarrow.compute as pc

    from processing.overlay import DISCARD as GIVEN_UP
    from processing.overlay import NEW, RECORD_ID, SET, fields_of

    tables = []
    for kind, table in layers:
        kept = [RECORD_ID, *(c for name in fields_of(table) for c in (SET + name, NEW + name))]
        gone = pa.repeat(pa.scalar(kind == DISCARD), table.num_rows)
        tables.append(table.select(kept).append_column(GIVEN_UP, gone))
    whole = pa.concat_tables(tables, promote_options="default")
    if pc.count_distinct(whole[RECORD_ID]).as_py() == whole.num_rows:
        return whole
    rows: dict[str, dict[str, Any]] = {}
    names = fields_of(whole)
    for row in whole.to_pylist():
        merged = rows.setdefault(row[RECORD_ID], {})
        merged |= {RECORD_ID: row[RECORD_ID], GIVEN_UP: row[GIVEN_UP]}
        for name in names:
            if row[SET + name]:
                merged |= {SET + name: True, NEW + name: row[NEW + name]}
    return pa.Table.from_pylist(list(rows.values()), whole.schema)


def joined_ids(tables: Iterable[Any]) -> Any:
    """The record ids of some sets as one Arrow array."""
    import pyarrow as pa

    found = [chunk for table in tables for chunk in table["record_id"].chunks]
    return pa.concat_arrays(found) if found else pa.array([], pa.string())


def write_file_overlays(root: Path, changes: Any, deliveries: Mapping[int, str]) -> dict[int, str]:
    """{arrival: path of the overlay of that file}, for the files (delivery prefix by arrival) that have one."""
    import pyarrow as pa
    import pyarrow.compute as pc

    from processing.overlay import RECORD, RECORD_ID, write_overlay

    ids = changes[RECORD_ID]
    prefixes = pc.utf8_slice_codeunits(ids, 0, 24)
    numbers = pc.cast(pc.utf8_slice_codeunits(ids, 25), pa.int64())
    by_number = changes.append_column(RECORD, numbers)
    found = {}
    for arrival, delivery in deliveries.items():
        own = by_number.filter(pc.equal(prefixes, delivery)).sort_by(RECORD)
        if own.num_rows:
            root.mkdir(parents=True, exist_ok=True)
            path = root / f"overlay-{arrival}.arrow"
            write_overlay(str(path), own)
            found[arrival] = str(path)
    return found


def write_table_overlay(root: Path, changes: Any) -> str:
    """The overlay of a lake table's rows, by record id."""
    from processing.overlay import write_overlay

    root.mkdir(parents=True, exist_ok=True)
    path = root / "overlay.arrow"
    write_overlay(str(path), changes)
    return str(path)


def unplayed(session: Session, pipeline: str, batch_id: str | None) -> list[Correction]:
    """Approved corrections (no discards) that wait for a replay and belong to none, in the order they were made."""
    chosen = select(Correction).where(
        Correction.pipeline == pipeline,
        Correction.state == APPROVED,
        Correction.kind == CORRECT,
        Correction.replay_id.is_(None),
        Correction.fate.is_(None),
    )
    if batch_id is not None:
        chosen = chosen.where(Correction.batch_id == batch_id)
    return list(session.scalars(chosen.order_by(Correction.made_at, Correction.id)))


def replays_of(lake: Lake, batch: Batch) -> tuple[str, ...]:
    """The replay batches whose records come from this one: an attempt that reads those again takes their rows out."""
    with lake.ledger.read() as session:
        chosen = select(Correction.replay_id).where(
            Correction.batch_id == batch.id, Correction.replay_id.is_not(None), Correction.replay_id != batch.id
        )
        return tuple(sorted({each for each in session.scalars(chosen) if each is not None}))


def apply_discards(lake: Lake, pipeline: str) -> int:
    """Entries of approved discards become `discarded`, once each; how many discards took effect now."""
    with lake.ledger.read() as session:
        chosen = select(Correction).where(
            Correction.pipeline == pipeline,
            Correction.kind == DISCARD,
            Correction.state == APPROVED,
            Correction.fate.is_(None),
        )
        discards = list(session.scalars(chosen.order_by(Correction.made_at, Correction.id)))
    for discard in discards:
        records = load_changes(lake, discard)["record_id"].combine_chunks()
        change = to_state(DISCARDED, [OPEN, HELD], records)
        holders = _holders(lake, pipeline, discard, records)
        restate(lake, pipeline, holders, {f"d:{discard.id}": 1}, change)
        failpoints.reached("discard.committed")
        with lake.ledger.write() as session:
            own = update(Correction).where(Correction.id == discard.id, Correction.fate.is_(None))
            session.execute(own.values(fate=DISCARDED))
        for holder in holders:
            refresh(lake, pipeline, holder)
    return len(discards)


def _holders(lake: Lake, pipeline: str, discard: Correction, records: Any) -> list[str]:
    """The batch of a discard, and those that read rows of its table again since and rejected them."""
    import pyarrow.dataset as ds

    with lake.ledger.read() as session:
        of_table = session.get_one(Batch, discard.batch_id).origin == "table"
    table = lake.quarantine(pipeline)
    if not of_table or not table.exists:
        return [discard.batch_id]
    wanted = ds.field("record_id").isin(records)
    rows = table.snapshot().dataset().to_table(columns=["batch_id"], filter=wanted)
    return sorted({discard.batch_id, *rows["batch_id"].unique().to_pylist()})
