"""Rebuilding a merge target from raw and journal: how it forgets a batch, or a record that is no longer accepted.

Every batch whose transaction says that it stands is computed again, with the decisions of stewards in place, and all
their rows contend once in the total order of publishing/merge.py. The winners replace the table in one commit, made
against the snapshot that was looked at. Afterwards the batches count anew (publishing/recount.py).
"""

from __future__ import annotations

import json
import shutil
import uuid
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from sqlalchemy import select

from pipeline_xml.checked import CheckedPipeline, CheckedTarget
from pipeline_xml.model import HiveTarget
from processing import frame as f
from processing.compute import target_columns
from publishing import failpoints
from publishing.commit import committed, until_committed
from publishing.corrections import load_changes
from publishing.decisions import Correction
from publishing.inputs import attempt_input, landed, scan_again, used
from publishing.lake import Lake
from publishing.ledger import Attempt, Batch
from publishing.manifest import staged_files
from publishing.merge import REBUILT, SUPERSEDED, WRITTEN, stream_of
from publishing.recount import Stood, by_batch, recount
from publishing.stage import ReconciliationError, stage
from publishing.table_input import UpstreamFileGone, table_input
from publishing.targets import Publication, files_of, target_schema
from resources.lake_table import DataFile, LakeTable, Snapshot

_RANK = "_rank"
_REPLAY = "_replay"
_TURN = "_turn"


class CannotRebuild(Exception):
    """A batch that stands in the target cannot be computed again now (permanent); says which and why."""


@dataclass(frozen=True, slots=True)
class Cost:
    """What a rebuild reads."""

    batches: int
    files: int
    bytes: int

    def __str__(self) -> str:
        return f"{self.batches} batches, {self.files} files, {self.bytes:,} bytes of raw are computed again"


@dataclass(frozen=True, slots=True)
class Rows:
    """The accepted rows of a batch, staged: paths, and how many there are by arrival."""

    batch: Batch
    paths: Sequence[str]


@dataclass(frozen=True, slots=True)
class Computed:
    """The rows of a batch as they are computed again: files below `root`."""

    batch: Batch
    root: Path
    files: Sequence[DataFile]

    @property
    def rows(self) -> Rows:
        return Rows(self.batch, [str(self.root / item.path) for item in self.files])


def rebuild_cost(lake: Lake, pipeline: CheckedPipeline, target: CheckedTarget, without: Collection[str] = ()) -> Cost:
    batches = [batch for batch in _that_stand(lake, pipeline, target) if batch.id not in without]
    files = [item for batch in batches for item in landed(lake, batch)]
    return Cost(len(batches), len(files), sum(item.size for item in files))


def rebuild_merge(
    lake: Lake,
    pipeline: CheckedPipeline,
    position: int,
    transactions: Callable[[Snapshot], Mapping[str, int]],
    metadata: Callable[[Stood], Mapping[str, str]],
    *,
    without: Collection[str] = (),
    fresh: Rows | None = None,
    into: LakeTable | None = None,
) -> int | None:
    """Replaces the target at `position` by what its batches give without some; the committed version.

    `fresh` are the staged rows of an attempt that is being published: they stand for its batch. `metadata` is given the
    rows that win. The first of the transactions says whether it was done: then None. CannotRebuild names the batch.
    `into` is another table than that of the target, which will take its place.
    """
    target = pipeline.targets[position]
    table = into or lake.table(target.asset)

    def done(snapshot: Snapshot) -> bool:
        name, version = next(iter(transactions(snapshot).items()))
        return committed(snapshot, name, version)

    def commit(snapshot: Snapshot) -> int | None:
        if done(snapshot):
            return None
        stream = stream_of(root, winners, target_schema(pipeline, target))
        said = {**metadata(_stood(root, winners)), REBUILT: "true"}
        version = snapshot.overwrite(stream, transactions(snapshot), said)
        failpoints.reached("rebuild.committed")
        return version

    root = lake.staged_root(pipeline.key, f"rebuild-{uuid.uuid4().hex}", 0)
    winners: Sequence[DataFile] = ()
    standing: list[Batch] = []
    try:
        if not done(table.snapshot()):
            require_columns(pipeline, target, table)
            table.add_columns(target_schema(pipeline, target))
            root.mkdir(parents=True)
            rows = [fresh] if fresh is not None else []
            gone = {*without, *(each.batch.id for each in rows)}
            standing = [batch for batch in standing_in(lake, pipeline, table.snapshot()) if batch.id not in gone]
            rows += [computed(lake, pipeline, position, batch, without).rows for batch in standing]
            failpoints.reached("rebuild.staged")
            replayed = _replayed(lake, root, standing, without)  # not of `fresh`: it read its records corrected itself
            winners = _winners(lake, target, root, rows, replayed)
        version = until_committed(table, commit)
    finally:
        for folder in (root.parent, *(lake.staged_root(pipeline.key, batch.id, 0) for batch in standing)):
            shutil.rmtree(folder, ignore_errors=True)
    if into is None:
        recount(lake, pipeline, target)
    return version


def rebuild_for(
    lake: Lake, pipeline: CheckedPipeline, position: int, files: Sequence[DataFile], given: Publication
) -> None:
    """Publishes an attempt by a rebuild. Its commit says what of it won and lost, as that of a merge does."""
    staged = _stood(given.staged, files).get(given.batch.id, {})

    def metadata(stood: Stood) -> dict[str, str]:
        won = stood.get(given.batch.id, {})
        lost = {arrival: number - won.get(arrival, 0) for arrival, number in staged.items()}
        said = {SUPERSEDED: json.dumps({a: n for a, n in lost.items() if n}), WRITTEN: str(sum(won.values()))}
        return {**given.metadata(pipeline), **said}

    fresh = Rows(given.batch, [str(given.staged / item.path) for item in files])
    rebuild_merge(lake, pipeline, position, given.transactions, metadata, fresh=fresh)


def _that_stand(lake: Lake, pipeline: CheckedPipeline, target: CheckedTarget) -> list[Batch]:
    """The batches of files or tables that are published in the target by its own transactions, in order of arrival."""
    table = lake.table(target.asset)
    if not table.exists:
        return []
    return standing_in(lake, pipeline, table.snapshot())


def standing_in(lake: Lake, pipeline: CheckedPipeline, snapshot: Snapshot) -> list[Batch]:
    """Those that are published in a table by its own transactions."""
    with lake.ledger.read() as session:
        chosen = select(Batch).where(Batch.pipeline == pipeline.key, Batch.origin != "replay")
        batches = session.scalars(chosen.order_by(Batch.arrival, Batch.id)).all()
    return [batch for batch in batches if snapshot.transaction(f"b:{batch.id}") % 2 == 1]


def computed(
    lake: Lake, pipeline: CheckedPipeline, position: int, batch: Batch, without: Collection[str] = ()
) -> Computed:
    """The batch's accepted rows, staged once more under the definition of now. CannotRebuild."""
    files = landed(lake, batch)
    scan_again(lake, pipeline, files)
    with lake.ledger.read() as session:
        attempt = session.get(Attempt, (batch.id, batch.attempt)) or session.get_one(Attempt, (batch.id, 1))
    layers = used(lake, batch, files, without)
    try:
        given = attempt_input(lake, pipeline, batch, files, attempt, layers, number=0)
        manifest = stage(lake, pipeline, replace(given, judged=False))
    except ReconciliationError as error:
        raise CannotRebuild(f"{batch.key} does not reconcile under the definition of now: {error}") from error
    except UpstreamFileGone as error:
        raise _unreadable(batch, error) from error
    return Computed(batch, lake.settings.data / manifest.root, files_of(manifest, position))


def _unreadable(batch: Batch, error: UpstreamFileGone) -> CannotRebuild:
    return CannotRebuild(f"{batch.key} cannot be computed again: {error}; un-publish it too, and read the table anew")


def require_columns(pipeline: CheckedPipeline, target: CheckedTarget, table: LakeTable) -> None:
    """CannotRebuild where the table cannot take what is computed under the definition of now."""
    chosen = target.target
    assert isinstance(chosen, HiveTarget)  # noqa: S101 - csv targets are no tables
    grows = chosen.schema_evolution == "addColumns"
    if table.exists and (drift := table.drift(target_schema(pipeline, target), chosen.partition_by, grows)):
        name = "/".join(target.asset)
        raise CannotRebuild(f"{name} cannot take what its batches give under the definition of now: {drift}")


def require_rebuild(lake: Lake, pipeline: CheckedPipeline, target: CheckedTarget, without: Collection[str]) -> None:
    """CannotRebuild where a batch that would be computed again read what its table does not have any more.

    Asked before anything is decided: a rebuild that cannot be done holds up all that comes after it.
    """
    require_columns(pipeline, target, lake.table(target.asset))
    for batch in _that_stand(lake, pipeline, target):
        if batch.origin == "table" and batch.id not in without:
            try:
                table_input(lake, pipeline, batch)
            except UpstreamFileGone as error:
                raise _unreadable(batch, error) from error


def _winners(
    lake: Lake, target: CheckedTarget, root: Path, rows: Sequence[Rows], replayed: str | None
) -> list[DataFile]:
    """One row a key, the greatest in the total order, written below `root`. `replayed`: the file of those records."""
    from pyspark.sql import Window
    from pyspark.sql import functions as F

    paths = [path for each in rows for path in each.paths]
    if not paths:
        return []
    assert isinstance(target.target, HiveTarget)  # noqa: S101 - only those merge
    order = [c for c in target.order_by if c not in target.keys]
    ordering = [F.col(c).desc_nulls_last() for c in (*order, f.ARRIVAL, f.SOURCE_RECORD, f.RECORD_ID)]
    frame: Any = lake.engine.session.read.parquet(*paths)
    if len(rows) > 1 and any(each.batch.origin == "table" for each in rows):
        frame = _newest_reading(lake, root, frame, rows)
    if replayed is not None:
        named = lake.engine.session.read.parquet(replayed)
        frame = frame.join(named, [f.RECORD_ID], "left").withColumn(
            f.BATCH_ID, F.coalesce(F.col(_REPLAY), F.col(f.BATCH_ID))
        )
    narrow = frame.select(*dict.fromkeys([*target.keys, *order, f.ARRIVAL, f.SOURCE_RECORD, f.RECORD_ID]))
    ranked = narrow.withColumn(_RANK, F.row_number().over(Window.partitionBy(*target.keys).orderBy(*ordering)))
    best = ranked.where(F.col(_RANK) == 1).select(f.RECORD_ID)
    won = frame.join(best, [f.RECORD_ID], "left_semi").select(*target_columns(target))
    won.write.parquet(str(root / "winners"))
    return staged_files(root, root / "winners")


def _newest_reading(lake: Lake, root: Path, frame: Any, rows: Sequence[Rows]) -> Any:
    """One row a record: a lake table's record that several batches read stands as the newest of them read it."""
    import pyarrow as pa
    import pyarrow.parquet as pq
    from pyspark.sql import Window
    from pyspark.sql import functions as F

    ids = [each.batch.id for each in sorted(rows, key=lambda each: (each.batch.arrival, each.batch.id))]
    path = root / "turns.parquet"
    pq.write_table(pa.table({f.BATCH_ID: ids, _TURN: pa.array(range(len(ids)), pa.int64())}), path)
    turns = lake.engine.session.read.parquet(str(path))
    reading = frame.select(f.RECORD_ID, f.BATCH_ID).join(turns, [f.BATCH_ID])
    newest = Window.partitionBy(f.RECORD_ID).orderBy(F.col(_TURN).desc())
    kept = reading.withColumn(_RANK, F.row_number().over(newest)).where(F.col(_RANK) == 1)
    return frame.join(kept.select(f.RECORD_ID, f.BATCH_ID), [f.RECORD_ID, f.BATCH_ID], "left_semi")


def _replayed(lake: Lake, root: Path, batches: Sequence[Batch], without: Collection[str]) -> str | None:
    """A file of (record id, replay batch): a record that came back by a replay keeps its batch. None for none."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    owners = replayed_by(lake, batches, without)
    if not owners:
        return None
    path = root / "replayed.parquet"
    pq.write_table(pa.table({f.RECORD_ID: list(owners), _REPLAY: list(owners.values())}), path)
    return str(path)


def replayed_by(lake: Lake, batches: Sequence[Batch], without: Collection[str] = ()) -> dict[str, str]:
    """{record id: the replay batch that brought it back} of the records of these batches."""
    ids = [batch.id for batch in batches]
    with lake.ledger.read() as session:
        chosen = (
            select(Correction)
            .join(Batch, Batch.id == Correction.replay_id)
            .where(Correction.batch_id.in_(ids), Batch.origin == "replay", Batch.status == "published")
            .order_by(Correction.made_at)
        )
        corrections = [correction for correction in session.scalars(chosen) if correction.replay_id not in without]
    return {
        record: str(correction.replay_id)
        for correction in corrections
        for record in load_changes(lake, correction)["record_id"].to_pylist()
    }


def _stood(root: Path, files: Sequence[DataFile]) -> Stood:
    import pyarrow as pa
    import pyarrow.parquet as pq

    columns = [f.BATCH_ID, f.ARRIVAL]
    rows = [pq.ParquetFile(root / item.path).read(columns=columns).select(columns) for item in files]
    return by_batch(pa.concat_tables(rows)) if rows else {}
