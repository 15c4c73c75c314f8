"""The quarantine table of a pipeline: every rejected record with all its reasons, its raw text sealed.

One commit an attempt, with the transaction `q:<batch>`: publishing attempt n is version 2n-1. Entries of an earlier
attempt that this one no longer rejects become `resolved`; those it rejects again are replaced, and keep their tries,
one more where it was the first to read them corrected.
What a steward discarded is rejected by every attempt, and stays `discarded`.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from sqlalchemy import select

from pipeline_xml.checked import CheckedPipeline
from processing import frame as f
from processing.read import RawFile
from publishing import failpoints
from publishing.commit import committed, until_committed
from publishing.lake import Lake
from publishing.ledger import Batch, LandedFile
from publishing.manifest import Manifest
from publishing.quarantine_others import later_entries, tried_now, without, without_rows
from publishing.quarantine_rows import rejected_rows
from resources.durable import fsync
from resources.lake_table import DataFile, Snapshot, describe_parquet

OPEN = "open"
HELD = "held"
RESOLVED = "resolved"  # a later attempt no longer rejects it
REPLAYED = "replayed"  # in the target, corrected
DISCARDED = "discarded"  # given up by a steward
SUPERSEDED = "superseded"  # a newer snapshot of its unit, or a newer row of its key, is in the target
WITHDRAWN = "withdrawn"  # its batch was un-published or withdrawn
GIVEN_UP = "steward.discarded"  # the rule of what a steward gave up
BATCH, ATTEMPT, CHANGED = "datalake.batch", "datalake.attempt", "datalake.changed"


def schema() -> Any:
    """The Arrow schema of a quarantine table."""
    import pyarrow as pa

    text = pa.string()
    error = pa.struct([(name, text) for name in f.ERROR_FIELDS])
    return pa.schema(
        [
            ("record_id", text), ("batch_id", text), ("attempt", pa.int32()), ("state", text), ("pipeline", text),
            ("dataset", text), ("source_file", text), ("source_record", pa.int64()), ("business_date", pa.date32()),
            ("stage", text), ("errors", pa.list_(error)), ("raw", pa.binary()), ("key_id", text), ("preview", text),
            ("definition_hash", text), ("rule_hash", text), ("run_id", text),
            ("quarantined_at", pa.timestamp("us", tz="UTC")), ("arrival", pa.int64()), ("sender", text),
            ("tries", pa.int32()),
        ]
    )  # fmt: skip


def commit_quarantine(
    lake: Lake,
    pipeline: CheckedPipeline,
    batch: Batch,
    manifest: Manifest,
    raw: Mapping[int, RawFile],
    opened_at: datetime,
    run_id: str,
) -> tuple[Path, int]:
    """Commits the rejects of an attempt once; returns the table's path and the number of records.

    The commit names the batches whose entries changed: a table's records may have been rejected by earlier ones.
    """
    staged = manifest.records.get(f.QUARANTINED, ())
    records = sum(item.records for item in staged)
    table = lake.quarantine(pipeline.key)
    seen = _record_ids(lake, manifest) if table.exists and read_before(lake, batch) else None
    if not records and not (table.exists and (manifest.attempt > 1 or seen is not None)):
        return table.root, 0
    table.open_or_create(schema(), (), f"Rejected records of {pipeline.key}")
    name, version = f"q:{manifest.batch}", 2 * manifest.attempt - 1
    tried = tried_now(lake, batch, manifest)

    def commit(snapshot: Snapshot) -> int | None:
        if committed(snapshot, name, version):
            return None
        kept = later_entries(lake, batch, snapshot, seen)
        own = without(seen, kept)
        replaced = _known(snapshot, manifest, own) if version > 1 or own is not None else []
        if not records and not replaced:
            return None
        state = HELD if manifest.held else OPEN
        rows = rejected_rows(lake, pipeline, manifest, raw, opened_at, run_id, state, schema())
        rows = (without_rows(each, kept) for each in rows)
        if replaced or len(tried) or GIVEN_UP in manifest.rejecting:  # else nobody decided anything about them yet
            rows = _kept(rows, snapshot, replaced, tried, state == HELD)
        adds = [_write(table.root, manifest, rows)] if records else []
        for nothing in (item for item in adds if not item.records):  # all of them are of later batches
            (table.root / nothing.path).unlink()
            adds = []
        adds += _earlier(snapshot, replaced, manifest, adds, own)
        failpoints.reached("quarantine.written")
        before = snapshot.dataset(replaced).to_table(columns=["batch_id"])["batch_id"].unique().to_pylist()
        metadata = {BATCH: manifest.batch, ATTEMPT: str(manifest.attempt), CHANGED: " ".join(sorted(before))}
        landed = snapshot.commit(adds, replaced, {name: version}, metadata)
        failpoints.reached("quarantine.committed")
        return landed

    until_committed(table, commit)
    return table.root, records


def changed_batches(lake: Lake, pipeline: str, batch_id: str, attempt: int) -> list[str]:
    """The other batches whose entries an attempt took over; none where the log of its commit is gone."""
    table = lake.quarantine(pipeline)
    mark = {BATCH: batch_id, ATTEMPT: str(attempt)}
    found = table.snapshot().find_commit(mark, newest=20) if table.exists else None
    named = str(found[1].get(CHANGED, "")).split() if found is not None else []
    return [each for each in named if each != batch_id]


def read_before(lake: Lake, batch: Batch) -> bool:
    """Whether another batch may have rejected its records: of a lake table, or of files loaded once more."""
    if batch.origin == "table":
        return True
    with lake.ledger.read() as session:
        own = select(LandedFile.delivery_key).where(LandedFile.batch_id == batch.id)
        others = LandedFile.batch_id.is_not(None) & (LandedFile.batch_id != batch.id)
        again = select(LandedFile.arrival).where(LandedFile.delivery_key.in_(own), others)
        return session.scalars(again.limit(1)).first() is not None


def _kept(
    tables: Iterator[Any], snapshot: Snapshot, replaced: Sequence[DataFile], tried: Any, held: bool
) -> Iterator[Any]:
    """New entries with what outlives an attempt: given up by a steward, and how often a replay was rejected.

    Of the records `tried`, this was one time more. Of a held attempt, what was replayed stays so: it takes no row out.
    """
    import pyarrow as pa
    import pyarrow.compute as pc
    import pyarrow.dataset as ds

    wanted = ds.field("tries").is_valid()
    known = None
    if replaced and "tries" in snapshot.schema().names:
        known = snapshot.dataset(replaced).to_table(columns=["record_id", "tries"], filter=wanted).combine_chunks()
    given_up_before = replayed = pa.array([], pa.string())
    if replaced:  # a discard may have been approved after the attempt was staged
        staying = ds.field("state").isin([DISCARDED, REPLAYED])
        before = snapshot.dataset(replaced).to_table(columns=["record_id", "state"], filter=staying)
        given_up_before = _in_state(before, DISCARDED)
        replayed = _in_state(before, REPLAYED) if held else replayed
    for rows in tables:
        errors = rows["errors"].combine_chunks()
        parents = pc.list_parent_indices(errors)
        given_up = parents.filter(pc.equal(errors.flatten().field("rule"), GIVEN_UP))
        if len(given_up) or len(given_up_before):
            discarded = pc.is_in(pa.array(range(rows.num_rows), parents.type), value_set=given_up)
            discarded = pc.or_(discarded, pc.is_in(rows["record_id"].combine_chunks(), value_set=given_up_before))
            at = rows.schema.get_field_index("state")
            rows = rows.set_column(at, rows.schema.field(at), pc.if_else(discarded, DISCARDED, rows["state"]))
        if len(replayed):
            at = rows.schema.get_field_index("state")
            stays = pc.is_in(rows["record_id"], value_set=replayed)
            rows = rows.set_column(at, rows.schema.field(at), pc.if_else(stays, REPLAYED, rows["state"]))
        at = rows.schema.get_field_index("tries")
        if known is not None and known.num_rows:
            index = pc.index_in(rows["record_id"], value_set=known["record_id"].combine_chunks())
            rows = rows.set_column(at, rows.schema.field(at), known["tries"].combine_chunks().take(index))
        if len(tried):
            more = pc.add(pc.fill_null(rows["tries"], 0), pa.scalar(1, pa.int32()))
            tries = pc.if_else(pc.is_in(rows["record_id"], value_set=tried), more, rows["tries"])
            rows = rows.set_column(at, rows.schema.field(at), tries)
        yield rows


def _in_state(entries: Any, state: str) -> Any:
    import pyarrow.compute as pc

    return entries.filter(pc.equal(entries["state"], state))["record_id"].combine_chunks()


def _write(root: Path, manifest: Manifest, tables: Iterator[Any]) -> DataFile:
    path = f"part-{manifest.batch}-{manifest.attempt:04d}-{uuid.uuid4().hex}.parquet"
    return write_entries(root, path, tables)


def write_entries(root: Path, path: str, tables: Iterator[Any]) -> DataFile:
    """Writes tables of the schema as one file of a quarantine table; it is on the disk when this returns."""
    import pyarrow.parquet as pq

    # Sealed bytes cannot be made smaller, and no record's id is worth a dictionary.
    leaves = [name for name in schema().names if name != "errors"]
    leaves += [f"errors.list.element.{name}" for name in f.ERROR_FIELDS]
    with pq.ParquetWriter(
        root / path,
        schema(),
        compression={name: "none" if name == "raw" else "zstd" for name in leaves},
        use_dictionary=[name for name in leaves if name not in ("raw", "record_id", "source_record")],
    ) as writer:
        for table in tables:
            writer.write_table(table)
    fsync(root / path)
    return describe_parquet(root, path)


def _record_ids(lake: Lake, manifest: Manifest) -> Any:
    """Every record of the attempt. Those of a table may have been read, and rejected, by an earlier batch."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    staged = [lake.settings.data / manifest.root / item.path for files in manifest.records.values() for item in files]
    found = [pq.ParquetFile(path).read(columns=[f.RECORD_ID])[f.RECORD_ID] for path in staged]
    return pa.chunked_array([chunk for column in found for chunk in column.chunks], pa.string()).combine_chunks()


def _ours(rows: Any, manifest: Manifest, seen: Any) -> Any:
    """Which entries are of this batch, or of a record that it read again."""
    import pyarrow.compute as pc

    ours = pc.equal(rows["batch_id"], manifest.batch)
    return ours if seen is None else pc.or_(ours, pc.is_in(rows["record_id"], value_set=seen))


def _known(snapshot: Snapshot, manifest: Manifest, seen: Any) -> list[DataFile]:
    """The files that hold such entries."""
    import pyarrow.compute as pc

    if seen is None:
        return [item for item in snapshot.files() if item.may_hold("batch_id", manifest.batch)]
    columns = ["batch_id", "record_id"]
    tables = ((item, snapshot.dataset([item]).to_table(columns=columns)) for item in snapshot.files())
    return [item for item, rows in tables if pc.any(_ours(rows, manifest, seen), min_count=0).as_py()]


def _earlier(
    snapshot: Snapshot, files: Sequence[DataFile], manifest: Manifest, adds: Sequence[DataFile], seen: Any
) -> list[DataFile]:
    """The rows of the files that go out, less those rejected again; open ones that were not become resolved.

    A held attempt publishes nothing, so a record that it would accept is not back yet: what was open stays open.
    """
    import pyarrow as pa
    import pyarrow.compute as pc
    import pyarrow.parquet as pq

    if not files:
        return []
    old = snapshot.dataset(files).to_table().cast(schema())
    again: Any = pa.array([], pa.string())
    for item in adds:
        again = pq.ParquetFile(snapshot.root / item.path).read(columns=["record_id"])["record_id"].combine_chunks()
    if len(again):
        rejected_again = pc.and_(_ours(old, manifest, seen), pc.is_in(old["record_id"], value_set=again))
        old = old.filter(pc.invert(rejected_again))
    over = [HELD] if manifest.held else [OPEN, HELD, SUPERSEDED, WITHDRAWN]
    resolved = pc.and_(_ours(old, manifest, seen), pc.is_in(old["state"], pa.array(over)))
    position = old.schema.get_field_index("state")
    old = old.set_column(position, "state", pc.if_else(resolved, RESOLVED, old["state"]))
    return [_write(snapshot.root, manifest, iter([old]))] if old.num_rows else []
