"""Publishing staged rows into lake tables: one Delta commit a target that carries the batch's transactions.

append: rows of an earlier attempt go out in the commit that brings the new ones in. overwrite: the unit's rows go out;
`g:<unit>` keeps the arrival, and an older one writes nothing. merge: publishing/merge.py.
"""

from __future__ import annotations

import re
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipeline_xml.checked import CheckedPipeline, CheckedTarget
from pipeline_xml.model import HiveTarget
from pipeline_xml.versioned import versioned
from processing import frame as f
from processing.compute import target_columns
from publishing import failpoints
from publishing.commit import committed, next_odd, until_committed
from publishing.ledger import Batch
from publishing.manifest import Manifest
from resources.durable import fsync, make_folder
from resources.lake_table import DataFile, LakeTable, Snapshot, describe_parquet


@dataclass(frozen=True, slots=True)
class Publication:
    """What is committed: a batch's attempt and its delivery keys.

    `replays` are the batches that replayed records of this one: an attempt reads those records corrected, so its commit
    takes the replays' rows out.
    """

    batch: Batch
    manifest: Manifest
    deliveries: Sequence[str]
    run_id: str
    staged: Path
    replays: Sequence[str] = ()

    @property
    def is_replay(self) -> bool:
        return self.batch.origin == "replay"

    @property
    def transaction(self) -> tuple[str, int]:
        return f"b:{self.batch.id}", 2 * self.manifest.attempt - 1

    def transactions(self, snapshot: Snapshot) -> dict[str, int]:
        """`b:` and one `f:` a delivery key, each at its next odd version."""
        standing = snapshot.transactions([f"f:{key}" for key in self.deliveries])
        found = {name: next_odd(version) for name, version in standing.items()}
        name, version = self.transaction
        return {name: version, **found}

    @property
    def mark(self) -> dict[str, str]:
        """What names this attempt in a commit's metadata."""
        return {"datalake.batch": self.batch.id, "datalake.attempt": str(self.manifest.attempt)}

    def metadata(self, pipeline: CheckedPipeline) -> dict[str, str]:
        counts = self.manifest.counts.as_dict()
        return {
            **self.mark,
            "datalake.pipeline": pipeline.key,
            "datalake.run": self.run_id,
            "datalake.definition": pipeline.definition_hash,
            "datalake.counts": " ".join(f"{k}={v}" for k, v in counts.items()),
        }


def target_schema(pipeline: CheckedPipeline, target: CheckedTarget) -> Any:
    """The Arrow schema of a target table: the dataset's columns with descriptions, then the platform's."""
    import pyarrow as pa

    from processing.arrow_types import arrow_type

    platform = {
        f.RECORD_ID: pa.string(), f.BATCH_ID: pa.string(), f.BUSINESS_DATE: pa.date32(), f.SENDER: pa.string(),
        f.ARRIVAL: pa.int64(), f.SOURCE_FILE: pa.string(), f.SOURCE_RECORD: pa.int64(),
        f.INGESTED_AT: pa.timestamp("us", tz="UTC"), f.INGEST_DATE: pa.date32(),
    }  # fmt: skip
    own = {c.name: pa.field(c.name, arrow_type(c.type)) for c in target.dataset.columns}
    return pa.schema([own.get(name) or pa.field(name, platform[name]) for name in target_columns(target)])


def in_order(pipeline: CheckedPipeline) -> list[tuple[int, CheckedTarget]]:
    """The targets with their positions, as they are published: tables in document order, then exports of their rows."""
    return sorted(enumerate(pipeline.targets), key=lambda each: (not isinstance(each[1].target, HiveTarget), each[0]))


def files_of(manifest: Manifest, position: int) -> Sequence[DataFile]:
    """The staged rows of a target: its own, or the accepted records."""
    if position in manifest.targets:
        return manifest.targets[position]
    return manifest.records.get(f.ACCEPTED, ())


def publish_table(
    pipeline: CheckedPipeline, target: CheckedTarget, table: LakeTable, files: Sequence[DataFile], given: Publication
) -> int | None:
    """Appends or overwrites once; the committed version, None where the log of an earlier commit is gone.

    Raises Superseded where a newer arrival owns the unit.
    """
    chosen = target.target
    assert isinstance(chosen, HiveTarget)  # noqa: S101 - csv targets are exported, not published
    description = pipeline.pipeline.metadata.description
    table.open_or_create(target_schema(pipeline, target), chosen.partition_by, description, versioned(pipeline, target))
    name, version = given.transaction
    rows_of = _unit(target, given.batch)
    unit = unit_name(target, given.batch)

    def commit(snapshot: Snapshot) -> int | None:
        if committed(snapshot, name, version):
            found = snapshot.find_commit(given.mark)
            return found[0] if found else None
        transactions = given.transactions(snapshot)
        if replaces_unit(target, given.batch):
            if snapshot.transaction(unit) > given.batch.arrival:
                raise Superseded(f"a newer snapshot of {given.batch.business_date} is published")
            transactions[unit] = given.batch.arrival
            removed, kept = rows_out(snapshot, rows_of)
        elif given.manifest.attempt > 1:
            removed, kept = rows_out(snapshot, {f.BATCH_ID: (given.batch.id, *given.replays)})
        else:
            removed, kept = [], []
        rows = not_standing(snapshot, files, given) if given.is_replay else files
        adds = [*link_in(table.root, given, rows), *kept]
        failpoints.reached("target.linked")
        landed = snapshot.commit(adds, removed, transactions, given.metadata(pipeline))
        failpoints.reached("target.committed")
        return landed

    return until_committed(table, commit)


def replaces_unit(target: CheckedTarget, batch: Batch) -> bool:
    """Whether the batch is the whole of its unit: an overwrite, and what was read whole and would be appended again."""
    read = (batch.window or {}).get("read", "changes")
    return target.target.mode == "overwrite" or (target.target.mode == "append" and read != "changes")


def unit_name(target: CheckedTarget, batch: Batch) -> str:
    """The transaction that keeps the arrival of the unit's owner."""
    return f"g:{batch.business_date.isoformat()}/{batch.sender or ''}" if _unit(target, batch) else "g:*"


def _unit(target: CheckedTarget, batch: Batch) -> dict[str, Sequence[str]]:
    """What the rows of the unit have in common. Records of a table read in full keep their own dates: all of them."""
    if (batch.window or {}).get("read") == "full" and target.dataset.per_record:
        return {}
    unit: dict[str, Sequence[str]] = {f.BUSINESS_DATE: (batch.business_date.isoformat(),)}
    if batch.sender is not None and target.dataset.per_record:
        unit[f.SENDER] = (batch.sender,)
    return unit


class Superseded(Exception):
    """A newer snapshot of the same unit is in the target: this batch publishes nothing."""


def rows_out(snapshot: Snapshot, wanted: Mapping[str, Sequence[str]]) -> tuple[list[DataFile], list[DataFile]]:
    """(files to remove, files to add) so that no row is left that has one of the values in each of these columns.

    Files that hold others as well are written again without them.
    """
    import pyarrow as pa
    import pyarrow.compute as pc

    removed, kept = [], []
    for item in snapshot.files():
        if not all(any(item.may_hold(column, value) for value in values) for column, values in wanted.items()):
            continue
        if all(any(item.holds_only(column, value) for value in values) for column, values in wanted.items()):
            removed.append(item)
            continue
        rows = snapshot.dataset([item]).to_table()
        out = pa.repeat(pa.scalar(True), rows.num_rows)
        for column, values in wanted.items():
            asked = pa.array(values, pa.string()).cast(rows.schema.field(column).type)
            out = pc.and_(out, pc.is_in(rows[column], value_set=asked, skip_nulls=True))
        if not pc.any(out).as_py():
            continue
        removed.append(item)
        rest = rows.filter(pc.invert(out))
        if rest.num_rows:
            kept.append(_written_again(snapshot.root, item, rest))
    return removed, kept


def _written_again(root: Path, item: DataFile, rows: Any, folder: str | None = None) -> DataFile:
    """Some rows of a file as a file of its own, beside it or in another folder, with its partition values."""
    import pyarrow.parquet as pq

    path = str(Path(folder or Path(item.path).parent) / f"part-rest-{uuid.uuid4().hex}.parquet")
    inside = rows.drop_columns([c for c in item.partition if c in rows.column_names])
    pq.write_table(inside, root / path, compression="zstd")
    fsync(root / path)
    described = describe_parquet(root, path)
    return DataFile(path, described.size, described.records, item.partition, described.low, described.high)


def not_standing(snapshot: Snapshot, files: Sequence[DataFile], given: Publication) -> Sequence[DataFile]:
    """The staged rows of a replay, less the records that stand in the target already by another batch.

    An attempt that read them corrected may have brought them in since the replay was asked for.
    """
    return rows_that(snapshot, files, given, lambda batch: batch != given.batch.id, keep=False)


def rows_that(
    snapshot: Snapshot, files: Sequence[DataFile], given: Publication, of: Callable[[str], bool], keep: bool
) -> Sequence[DataFile]:
    """The staged rows whose record stands in the table by a batch that `of` is true for (`keep`), or the others."""
    import pyarrow.compute as pc
    import pyarrow.parquet as pq

    found: list[DataFile] = []
    for item in files:
        staged = pq.ParquetFile(given.staged / item.path)
        ids = staged.read(columns=[f.RECORD_ID])[f.RECORD_ID].combine_chunks()
        there = pc.is_in(ids, value_set=standing(snapshot, ids, of))
        chosen = there if keep else pc.invert(there)
        if pc.all(chosen, min_count=0).as_py():
            found.append(item)
        elif pc.any(chosen).as_py():
            found.append(_written_again(given.staged, item, staged.read().filter(chosen), "."))
    return found


def standing(snapshot: Snapshot, records: Any, of: Callable[[str], bool]) -> Any:
    """Which of the record ids (an Arrow array) stand in the table in a row of a batch that `of` is true for."""
    import pyarrow as pa
    import pyarrow.compute as pc

    none = pa.array([], pa.string())
    if not len(records):
        return none
    low, high = pc.min(records).as_py(), pc.max(records).as_py()
    files = [i for i in snapshot.files() if str(i.low.get(f.RECORD_ID, low)) <= high]
    files = [i for i in files if str(i.high.get(f.RECORD_ID, high)) >= low]
    found = []
    for rows in snapshot.dataset(files).to_batches(columns=[f.RECORD_ID, f.BATCH_ID]):
        rows = rows.filter(pc.is_in(rows[f.RECORD_ID], value_set=records))
        batches = [batch for batch in pc.unique(rows[f.BATCH_ID]).to_pylist() if of(batch)]
        found.append(rows.filter(pc.is_in(rows[f.BATCH_ID], value_set=pa.array(batches, pa.string())))[f.RECORD_ID])
    return pa.concat_arrays(found) if found else none


def link_in(root: Path, given: Publication, files: Sequence[DataFile]) -> list[DataFile]:
    """Staged files as files of the table, by hard link under names that no other attempt uses; a retry finds them."""
    placed = []
    for position, item in enumerate(files):
        folder = Path(*[_folder(k, v) for k, v in item.partition.items() if k != f.STATUS])
        partition = {k: v for k, v in item.partition.items() if k != f.STATUS}
        path = folder / f"part-{given.batch.id}-{given.manifest.attempt:04d}-{position:05d}.parquet"
        make_folder(root / folder)
        source = given.staged / item.path
        try:
            (root / path).hardlink_to(source)
        except FileExistsError:
            if (root / path).stat().st_size != item.size:
                raise
        placed.append(DataFile(str(path), item.size, item.records, partition, item.low, item.high))
    return placed


def _folder(key: str, value: str | None) -> str:
    """A folder name for a partition value; the value itself stands in the log, so an approximation is enough."""
    return f"{key}={re.sub(r'[^A-Za-z0-9_.-]', '_', value or '__null__')}"

