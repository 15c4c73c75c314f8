"""Publishing into a merge target: one total order decides which row of a key stays.

The order is orderBy (nulls lowest), arrival, record number; the greatest wins; a row with the target row's `_record_id`
replaces it. Losers are computed against snapshot V, and the commit is made against V or not at all.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import reduce
from pathlib import Path
from typing import Any

from pipeline_xml.checked import CheckedPipeline, CheckedTarget
from pipeline_xml.model import HiveTarget
from pipeline_xml.versioned import versioned
from processing import frame as f
from processing.compute import target_columns
from processing.read_table import read_table_columns
from publishing import failpoints
from publishing.commit import committed, until_committed
from publishing.contenders import others_lost
from publishing.lake import Lake
from publishing.manifest import staged_files
from publishing.targets import Publication, not_standing, target_schema
from resources.lake_table import DataFile, Snapshot

_NEW = "_new"
_RANK = "_rank"
SUPERSEDED = "datalake.superseded"
WRITTEN = "datalake.written"
REBUILT = "datalake.rebuilt"
TOOK = "datalake.took"  # an attempt that came again took rows of other batches


@dataclass(frozen=True, slots=True)
class MergeResult:
    """`superseded` counts the records of this batch that lost, by arrival. `recount`: what the other batches have there
    is no longer what they counted, for the table was made anew, or an attempt that came again took rows of theirs.
    """

    version: int | None
    written: int
    superseded: dict[int, int]
    recount: bool = False


def publish_merge(
    lake: Lake, pipeline: CheckedPipeline, target: CheckedTarget, files: Sequence[DataFile], given: Publication
) -> MergeResult:
    """Merges the accepted records once."""
    chosen = target.target
    assert isinstance(chosen, HiveTarget)  # noqa: S101 - the caller chose by mode
    table = lake.table(target.asset)
    description = pipeline.pipeline.metadata.description
    table.open_or_create(target_schema(pipeline, target), chosen.partition_by, description, versioned(pipeline, target))
    name, version = given.transaction
    result = MergeResult(None, 0, {})

    def commit(snapshot: Snapshot) -> int | None:
        nonlocal result
        if committed(snapshot, name, version):
            found = snapshot.find_commit(given.mark)
            if found is not None:
                result = _recorded(*found)
            return result.version
        transactions = given.transactions(snapshot)
        rows = not_standing(snapshot, files, given) if given.is_replay else files
        if not rows:
            committed_version = snapshot.commit([], [], transactions, given.metadata(pipeline))
            result = MergeResult(committed_version, 0, {})
            return committed_version
        winners, superseded, took = _contest(lake, target, snapshot, rows, given)
        written = sum(item.records for item in winners)
        metadata = {**given.metadata(pipeline), SUPERSEDED: json.dumps(superseded), WRITTEN: str(written)}
        metadata |= {TOOK: "true"} if took else {}
        failpoints.reached("merge.contested")
        if not written:
            committed_version = snapshot.commit([], [], transactions, metadata)
        else:
            committed_version = snapshot.merge(
                _whole(stream_of(given.staged, winners, target_schema(pipeline, target)), snapshot.schema()),
                target.keys,
                transactions,
                metadata,
            )
        failpoints.reached("merge.committed")
        result = MergeResult(committed_version, written, superseded, took)
        return committed_version

    until_committed(table, commit)
    return result


def _recorded(version: int, info: Mapping[str, Any]) -> MergeResult:
    """What the commit says of itself: a retry after a crash counts as the first run did."""
    lost = {int(k): int(v) for k, v in json.loads(info.get(SUPERSEDED, "{}")).items()}
    return MergeResult(version, int(info.get(WRITTEN, 0)), lost, REBUILT in info or TOOK in info)


def _contest(
    lake: Lake, target: CheckedTarget, snapshot: Snapshot, files: Sequence[DataFile], given: Publication
) -> tuple[list[DataFile], dict[int, int], bool]:
    """Writes the winning rows aside; returns their files, the losers of this batch by arrival, and, of an attempt that
    comes again, whether rows of other batches give way. A first one is newer, and what they counted was so before it.
    """
    from pyspark.sql import Window
    from pyspark.sql import functions as F

    session = lake.engine.session
    keys, order = list(target.keys), [c for c in target.order_by if c not in target.keys]
    narrow = list(dict.fromkeys([*keys, *order, f.ARRIVAL, f.SOURCE_RECORD, f.RECORD_ID]))
    staged: Any = session.read.parquet(*[str(given.staged / item.path) for item in files])
    fresh = staged.select(*narrow).withColumn(_NEW, F.lit(1))
    contest: Any = fresh
    live = [(str(snapshot.root / item.path), dict(item.partition)) for item in snapshot.files()]
    if live:
        held = read_table_columns(session, live, _types(target, narrow))
        held = held.join(fresh.select(*keys).distinct(), keys, "left_semi")
        held = held.join(fresh.select(f.RECORD_ID), [f.RECORD_ID], "left_anti").select(*narrow)
        contest = fresh.unionByName(held.withColumn(_NEW, F.lit(0)))
    ordering = [F.col(c).desc_nulls_last() for c in (*order, f.ARRIVAL, f.SOURCE_RECORD, f.RECORD_ID)]
    ranked = contest.withColumn(_RANK, F.row_number().over(Window.partitionBy(*keys).orderBy(*ordering)))
    losers = ranked.where((F.col(_NEW) == 1) & (F.col(_RANK) > 1)).select(f.RECORD_ID, f.ARRIVAL)
    root = given.staged / f"merge-{uuid.uuid4().hex}"
    losers.write.parquet(str(root / "losers"))
    lost = staged_files(root, root / "losers", ())
    rows = staged
    if sum(item.records for item in lost):
        lost_ids = session.read.parquet(str(root / "losers")).select(f.RECORD_ID)
        rows = staged.join(lost_ids, [f.RECORD_ID], "left_anti")
    rows.select(*target_columns(target)).write.parquet(str(root / "winners"))
    took = False
    if live and given.manifest.attempt > 1:
        others = read_table_columns(session, live, _types(target, [*keys, f.BATCH_ID]))
        others = others.where(~F.col(f.BATCH_ID).isin(given.batch.id, *given.replays))
        took = bool(others.join(rows.select(*keys), keys, "left_semi").limit(1).count())
    return staged_files(given.staged, root / "winners"), _by_arrival(root, lost), took


def _by_arrival(root: Path, files: Sequence[DataFile]) -> dict[int, int]:
    import pyarrow.parquet as pq

    found: dict[int, int] = {}
    for item in files:
        for arrival in pq.ParquetFile(root / item.path).read(columns=[f.ARRIVAL])[f.ARRIVAL].to_pylist():
            found[arrival] = found.get(arrival, 0) + 1
    return found


def _types(target: CheckedTarget, names: Sequence[str]) -> list[tuple[str, str]]:
    """(name, engine type) of columns of the target table."""
    platform = {f.ARRIVAL: "bigint", f.SOURCE_RECORD: "bigint", f.RECORD_ID: "string", f.BATCH_ID: "string"}
    own = {c.name: str(c.type) for c in target.dataset.columns}
    return [(name, own.get(name) or platform[name]) for name in names]


def stream_of(root: Path, files: Sequence[DataFile], schema: Any) -> Any:
    """The winners as a stream of Arrow batches of exactly the table's schema."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    def batches() -> Any:
        for item in files:
            with pq.ParquetFile(root / item.path) as parquet:
                for batch in parquet.iter_batches():
                    yield from pa.Table.from_batches([batch]).select(schema.names).cast(schema).to_batches()

    return pa.RecordBatchReader.from_batches(schema, batches())


def _whole(rows: Any, schema: Any) -> Any:
    """The stream with the columns that left the contract, as nulls: a merge would leave there what it updates."""
    import pyarrow as pa

    left = [field for field in schema if field.name not in rows.schema.names]
    if not left:
        return rows
    whole = pa.schema([*rows.schema, *left])

    def batches() -> Any:
        for batch in rows:
            nulls = [pa.nulls(batch.num_rows, field.type) for field in left]
            yield pa.RecordBatch.from_arrays([*batch.columns, *nulls], schema=whole)

    return pa.RecordBatchReader.from_batches(whole, batches())


def without_key(target: CheckedTarget, files: Sequence[DataFile], given: Publication) -> int:
    """How many rows of groups have a null in their key: nothing would find them again. Records were rejected for it."""
    import pyarrow.compute as pc

    if target.dataset.per_record or not files:
        return 0
    rows = _staged(files, given, list(target.keys))
    there = [rows[key].is_valid() for key in target.keys]
    return int(rows.num_rows) - int(pc.sum(reduce(pc.and_, there)).as_py() or 0)


def rebuild_needed(
    lake: Lake, target: CheckedTarget, position: int, files: Sequence[DataFile], given: Publication
) -> str | None:
    """Why a merge target would have to forget a row, which only a rebuild can; None where it has to forget none.

    A reprocess that no longer accepts a record that stands there; a record that came back under another key: its row of
    the old key would stay beside the new one; one that came back lower in the order, where what had lost to it may win.
    Asked before anything of the attempt is committed.
    """
    table = lake.table(target.asset)
    if not table.exists or (given.manifest.attempt == 1 and given.batch.origin != "table"):  # its records are new
        return None
    snapshot = table.snapshot()
    if committed(snapshot, *given.transaction):
        return None
    missing = _no_longer_accepted(snapshot, files, given)
    if missing:
        return f"{missing} records that stand in the merge target are no longer accepted"
    fresh, held = _read_again(snapshot, target, files, given)
    moved = _under_another_key(target, fresh, held)
    if moved:
        return f"{moved} records stand in the merge target under another key"
    lowered = _lower_than_before(target, fresh, held)
    own = (given.batch.id, *given.replays)  # what lost among the attempt's own does so again
    if lowered and others_lost(lake, given.batch.pipeline, position, snapshot, own):
        return f"{lowered} keys of the merge target have a row that stood above what comes now"
    return None


def _no_longer_accepted(snapshot: Snapshot, files: Sequence[DataFile], given: Publication) -> int:
    import pyarrow as pa
    import pyarrow.compute as pc

    ours = (given.batch.id, *given.replays)  # what was replayed is read by the attempt itself
    candidates = [item for item in snapshot.files() if any(item.may_hold(f.BATCH_ID, each) for each in ours)]
    known = _staged(files, given, [f.RECORD_ID])[f.RECORD_ID].combine_chunks()
    missing = 0
    # Filtered here: a merge writes texts as views, which a filter of the reader cannot compare with a text.
    for rows in snapshot.dataset(candidates).to_batches(columns=[f.RECORD_ID, f.BATCH_ID]):
        own = rows.filter(pc.is_in(rows[f.BATCH_ID], value_set=pa.array(ours, pa.string())))
        missing += own.num_rows - (pc.sum(pc.is_in(own[f.RECORD_ID], value_set=known)).as_py() or 0)
    return missing


def _read_again(
    snapshot: Snapshot, target: CheckedTarget, files: Sequence[DataFile], given: Publication
) -> tuple[Any, Any]:
    """(rows of the attempt, rows that stand of the same records): record id, keys, and what the total order is of."""
    import pyarrow as pa
    import pyarrow.compute as pc

    columns = [f.RECORD_ID, *target.keys, *_order(target)]
    fresh = _staged(files, given, columns)
    known = fresh[f.RECORD_ID].combine_chunks()
    # Filtered batch by batch: records that are new to the table, the usual case, leave no row in memory.
    found = []
    for batch in snapshot.dataset(snapshot.files()).to_batches(columns=columns) if files else ():
        rows = pa.Table.from_batches([batch]).cast(fresh.schema)
        found.append(rows.filter(pc.is_in(rows[f.RECORD_ID], value_set=known)))
    return fresh, pa.concat_tables(found) if found else fresh.slice(0, 0)


def _order(target: CheckedTarget) -> list[str]:
    """What decides among rows of a key, the most significant first."""
    return [*(c for c in target.order_by if c not in target.keys), f.ARRIVAL, f.SOURCE_RECORD]


def _under_another_key(target: CheckedTarget, fresh: Any, held: Any) -> int:
    columns = [f.RECORD_ID, *target.keys]
    same = held.select(columns).join(fresh.select(columns), columns, join_type="left semi")
    return int(held.num_rows - same.num_rows)


def _lower_than_before(target: CheckedTarget, fresh: Any, held: Any) -> int:
    """Keys whose row that stands is greater than every row of the attempt. All of them are rows of its own records."""
    import pyarrow as pa
    import pyarrow.compute as pc

    if not held.num_rows:
        return 0
    keys, order = list(target.keys), _order(target)
    contested = fresh.join(held.select(keys), keys, join_type="left semi").select(fresh.column_names)
    both = pa.concat_tables(
        [held.append_column(_NEW, pa.repeat(pa.scalar(0), held.num_rows)),
         contested.append_column(_NEW, pa.repeat(pa.scalar(1), contested.num_rows))]
    )  # fmt: skip
    # Nulls come last, as the lowest; of equals the fresh one is first.
    rows = both.take(pc.sort_indices(both, sort_keys=[(column, "descending") for column in (*order, _NEW)]))
    greatest = rows.select([*keys, _NEW]).group_by(keys, use_threads=False).aggregate([(_NEW, "first")])
    return int(pc.sum(pc.equal(greatest[f"{_NEW}_first"], 0)).as_py() or 0)


def _staged(files: Sequence[DataFile], given: Publication, columns: Sequence[str]) -> Any:
    import pyarrow as pa
    import pyarrow.parquet as pq

    none = pa.table({c: pa.array([], pa.string()) for c in columns})
    found = [pq.ParquetFile(given.staged / item.path).read(columns=list(columns)).select(columns) for item in files]
    if not found:
        return none
    nullable = pa.schema([field.with_nullable(True) for field in found[0].schema])  # constants are not
    return pa.concat_tables([rows.cast(nullable) for rows in found])
