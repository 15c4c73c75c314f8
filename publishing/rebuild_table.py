"""`lake rebuild`: a table made again from raw and journal, in one commit, equal to what was published in it.

Every batch that stands is computed again with the decisions of stewards in place. Where the table is there, the rows
replace what it holds; where its folder is lost, a new table is made beside, with the transactions that say what was
published and taken back, and takes the place once it is whole. A crash leaves what stood, or what was rebuilt.
"""

from __future__ import annotations

import shutil
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from pipeline_xml.checked import CheckedPipeline, CheckedTarget
from pipeline_xml.model import HiveTarget
from pipeline_xml.versioned import versioned
from processing import frame as f
from publishing import failpoints
from publishing.commit import until_committed
from publishing.contenders import REBUILDS
from publishing.lake import Lake
from publishing.ledger import Attempt, Batch, LandedFile
from publishing.merge import REBUILT
from publishing.rebuild_merge import (
    CannotRebuild,
    Computed,
    Cost,
    computed,
    rebuild_merge,
    replayed_by,
    require_columns,
    standing_in,
)
from publishing.rebuild_standing import standing_transactions
from publishing.recount import recount
from publishing.targets import replaces_unit, target_schema, unit_name
from resources.durable import fsync
from resources.lake_table import DataFile, LakeTable, Snapshot, describe_parquet

_METADATA = {REBUILT: "true"}


@dataclass(frozen=True, slots=True)
class RebuildPlan:
    """What a rebuild does, and what it costs. `lost`: the table's folder is not there.

    `otherwise` are batches that were published under another definition than that of now.
    """

    table: str
    pipeline: str
    lost: bool
    cost: Cost
    otherwise: tuple[str, ...]

    def as_dict(self) -> dict[str, Any]:
        return {
            "table": self.table, "pipeline": self.pipeline, "lost": self.lost, "batches": self.cost.batches,
            "files": self.cost.files, "bytes": self.cost.bytes, "published_otherwise": list(self.otherwise),
        }  # fmt: skip


@dataclass(frozen=True, slots=True)
class RebuiltTable:
    """`before` is how many rows stood there, None where the table was lost."""

    version: int
    rows: int
    before: int | None


def plan_rebuild(lake: Lake, pipeline: CheckedPipeline, position: int) -> RebuildPlan:
    """CannotRebuild where a raw file is not there, or something else in the place of a lost table."""
    target = pipeline.targets[position]
    _free_or_whole(lake.table(target.asset))
    batches = _standing(lake, pipeline, target)
    ids = [batch.id for batch in batches]
    with lake.ledger.read() as session:
        files = session.scalars(select(LandedFile).where(LandedFile.batch_id.in_(ids))).all()
        attempts = {batch.id: session.get(Attempt, (batch.id, batch.attempt)) for batch in batches}
    for item in files:
        if not (lake.raw_root(pipeline.key) / item.raw).exists():
            raise CannotRebuild(f"raw/{pipeline.key}/{item.raw} is gone, and {item.name} with it: bring it back first")
    other = [b.key for b in batches if (a := attempts[b.id]) is None or a.definition_hash != pipeline.definition_hash]
    cost = Cost(len(batches), len(files), sum(item.size for item in files))
    return RebuildPlan("/".join(target.asset), pipeline.key, not lake.table(target.asset).exists, cost, tuple(other))


def rebuild_table(lake: Lake, pipeline: CheckedPipeline, position: int) -> RebuiltTable:
    """Makes the table of the target at `position` again; the caller holds `lake.alone`.

    CannotRebuild where a batch cannot be computed again, or would have other rows than were published.
    """
    target = pipeline.targets[position]
    table = lake.table(target.asset)
    _free_or_whole(table)
    for left in (lake.settings.data / "staged" / pipeline.key).glob("rebuild-*"):  # records in clear, of one killed
        shutil.rmtree(left, ignore_errors=True)
    before = table.snapshot().dataset().count_rows() if table.exists else None
    if table.exists:
        version = _rebuild(lake, pipeline, position, table)
    else:
        aside = lake.staged_root(pipeline.key, f"rebuild-{uuid.uuid4().hex}", 0)
        try:
            version = _rebuild(lake, pipeline, position, _made_aside(lake, pipeline, target, aside / target.asset[-1]))
            table.root.parent.mkdir(parents=True, exist_ok=True)
            (aside / target.asset[-1]).rename(table.root)
            fsync(table.root.parent)
        finally:
            shutil.rmtree(aside.parent, ignore_errors=True)
    if target.target.mode == "merge":
        recount(lake, pipeline, target)
    return RebuiltTable(version, table.snapshot().dataset().count_rows(), before)


def _free_or_whole(table: LakeTable) -> None:
    """CannotRebuild where a table lost its log and its files are left: nothing says which of them counted."""
    if not table.exists and table.root.is_dir() and any(table.root.iterdir()):
        raise CannotRebuild(
            f"{table.root} has no log, so nothing says which of its files counted: move the folder away, then again"
        )


def _standing(
    lake: Lake, pipeline: CheckedPipeline, target: CheckedTarget, table: LakeTable | None = None
) -> list[Batch]:
    """Batches whose rows the table holds, or has to hold; in order of arrival."""
    chosen = table or lake.table(target.asset)
    if not chosen.exists:
        with lake.ledger.read() as session:
            return standing_transactions(session, pipeline, target).batches
    snapshot = chosen.snapshot()
    found = standing_in(lake, pipeline, snapshot)
    return [b for b in found if not replaces_unit(target, b) or snapshot.transaction(unit_name(target, b)) == b.arrival]


def _made_aside(lake: Lake, pipeline: CheckedPipeline, target: CheckedTarget, root: Path) -> LakeTable:
    """An empty table with the transactions of everything that was published in the lost one and taken back from it."""
    made = LakeTable(root)
    assert isinstance(target.target, HiveTarget)  # noqa: S101 - only tables are rebuilt
    description = pipeline.pipeline.metadata.description
    snapshot = made.open_or_create(
        target_schema(pipeline, target), target.target.partition_by, description, versioned(pipeline, target)
    )
    with lake.ledger.read() as session:
        transactions = standing_transactions(session, pipeline, target).transactions
    if transactions:
        snapshot.commit([], [], transactions, {"datalake.pipeline": pipeline.key})
    return made


def _rebuild(lake: Lake, pipeline: CheckedPipeline, position: int, table: LakeTable) -> int:
    target = pipeline.targets[position]
    number = table.snapshot().transaction(REBUILDS) + 1
    metadata = {"datalake.pipeline": pipeline.key}
    if target.target.mode == "merge":
        rebuild_merge(lake, pipeline, position, lambda _: {REBUILDS: number}, lambda _: metadata, into=table)
        return table.snapshot().version
    require_columns(pipeline, target, table)
    table.add_columns(target_schema(pipeline, target))
    looked = table.snapshot().version
    root = lake.staged_root(pipeline.key, f"rebuild-{uuid.uuid4().hex}", 0)
    batches = _standing(lake, pipeline, target, table)
    try:
        root.mkdir(parents=True)
        rows = [computed(lake, pipeline, position, batch) for batch in batches]
        _same_as_published(lake, target, rows)
        owners = replayed_by(lake, batches)
        placed = [item for each in rows for item in _placed(table.root, root, each, owners)]
        failpoints.reached("rebuild.linked")

        def commit(snapshot: Snapshot) -> int:
            if snapshot.version != looked:  # by another machine, whose rows are in none of what was computed
                told = f"{table.root.name} got a commit while it was computed; nothing was done: run it again"
                raise CannotRebuild(told)
            return snapshot.commit(placed, snapshot.files(), {REBUILDS: number}, {**metadata, **_METADATA})

        version = until_committed(table, commit)
    finally:
        for folder in (root.parent, *(lake.staged_root(pipeline.key, batch.id, 0) for batch in batches)):
            shutil.rmtree(folder, ignore_errors=True)
    assert version is not None  # noqa: S101 - the commit always makes one
    return version


def _same_as_published(lake: Lake, target: CheckedTarget, rows: Sequence[Computed]) -> None:
    """CannotRebuild where a batch gives another number of rows than it and its replays published."""
    name = "/".join(target.asset)
    with lake.ledger.read() as session:
        for each in rows:
            published = _published_rows(session, each.batch, name)
            found = sum(item.records for item in each.files)
            if published is not None and found != published:
                raise CannotRebuild(
                    f"{each.batch.key} gives {found} rows now and {published} were published: its definition, its "
                    f"rules or what it refers to changed; bring them back, or compute it anew by lake run --reprocess"
                )


def _published_rows(session: Session, batch: Batch, table: str) -> int | None:
    """The rows that the newest published attempt of a batch wrote, and its replays after it; None where none says."""
    own = select(Attempt).where(Attempt.batch_id == batch.id).order_by(Attempt.number.desc())
    ended = (attempt.outcome or {} for attempt in session.scalars(own))
    found = next((outcome for outcome in ended if outcome.get("status") == "published"), None)
    if found is None:
        return None
    replays = select(Attempt).join(Batch, (Batch.id == Attempt.batch_id) & (Batch.attempt == Attempt.number)).where(
        Batch.origin == "replay", Batch.status == "published", Batch.window["source"].as_string() == batch.id
    )
    outcomes = [found, *(attempt.outcome or {} for attempt in session.scalars(replays))]
    written = (t for outcome in outcomes for t in outcome.get("targets", ()) if t["name"] == table)
    return sum(int(each["rows_written"]) for each in written)


def _placed(into: Path, root: Path, rows: Computed, owners: Mapping[str, str]) -> list[DataFile]:
    """The staged files of a batch as files of the table, uncommitted; replayed records under their replay's batch."""
    found = []
    for item in rows.files:
        partition = {key: value for key, value in item.partition.items() if key != f.STATUS}
        source = rows.root / item.path
        if owners and f.RECORD_ID in (changed := _reowned(source, owners)).schema.names:
            source = _written(root, changed)
        folder = Path(*[part for part in Path(item.path).parent.parts if part.partition("=")[0] in partition])
        path = str(folder / f"part-rebuilt-{uuid.uuid4().hex}.parquet")
        (into / folder).mkdir(parents=True, exist_ok=True)
        (into / path).hardlink_to(source)
        described = describe_parquet(into, path)
        found.append(DataFile(path, described.size, described.records, partition, described.low, described.high))
    return found


def _reowned(path: Path, owners: Mapping[str, str]) -> Any:
    import pyarrow as pa
    import pyarrow.parquet as pq

    rows = pq.ParquetFile(path).read()
    if f.RECORD_ID not in rows.schema.names:
        return rows
    ids, batches = rows[f.RECORD_ID].to_pylist(), rows[f.BATCH_ID].to_pylist()
    owned = pa.array([owners.get(record, batch) for record, batch in zip(ids, batches, strict=True)], pa.string())
    return rows.set_column(rows.schema.get_field_index(f.BATCH_ID), f.BATCH_ID, owned)


def _written(root: Path, rows: Any) -> Path:
    import pyarrow.parquet as pq

    path = root / f"{uuid.uuid4().hex}.parquet"
    pq.write_table(rows, path, compression="zstd")
    fsync(path)
    return path
