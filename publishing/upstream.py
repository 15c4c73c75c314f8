"""Batches that come from a lake table: which rows of which version a pipeline has not read yet.

The position is the end of the last persisted batch. A `changes` batch is the files that commits in (from, to] added;
commits without data change (compaction) are skipped. One that takes rows away holds the batch, unless they come back
in the same commit (a reprocess) and the pipeline merges: reading a record again then replaces its row.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date
from typing import Any
from urllib.parse import unquote

from sqlalchemy import func, or_, select

from pipeline_xml.checked import CheckedPipeline, CheckedSource
from pipeline_xml.model import HiveSource, HiveTarget
from processing.frame import BUSINESS_DATE, RECORD_ID
from processing.lines import read_beside
from processing.scan_result import business_date as period_end
from publishing.intake import batch_key, journal_open_batches
from publishing.lake import Lake
from publishing.ledger import Batch, now
from resources.lake_table import DataFile, LakeTable, Snapshot

REWRITTEN = "upstream_rewritten"
_TABLE = "table:"  # before the name of a source, among the references that an attempt pins


@dataclass(frozen=True, slots=True)
class Window:
    """What a table batch reads. `files` only for changes: paths pinned when the batch was persisted.

    `others` are the versions of the other driving tables by source, where several come together.
    """

    table: str
    read: str
    version: int
    since: int | None = None
    files: tuple[str, ...] = ()
    others: Mapping[str, int] = field(default_factory=dict)

    def as_dict(self) -> dict[str, Any]:
        stored = {
            "table": self.table, "read": self.read, "version": self.version, "since": self.since,
            "files": list(self.files),
        }  # fmt: skip
        return stored | ({"others": dict(self.others)} if self.others else {})

    @staticmethod
    def of(stored: dict[str, Any]) -> Window:
        files, others = tuple(stored.get("files", ())), stored.get("others", {})
        return Window(stored["table"], stored["read"], stored["version"], stored["since"], files, others)


@dataclass(frozen=True, slots=True)
class TableInput:
    """The rows of a table batch: files of one snapshot, of one business date or all. `records` is counted apart."""

    name: str
    snapshot: Snapshot
    files: tuple[DataFile, ...]
    business_date: date | None
    records: int


def table_input(lake: Lake, pipeline: CheckedPipeline, batch: Batch) -> TableInput:
    """The pinned rows of a table batch, and their number counted from the table itself."""
    import pyarrow.dataset as ds

    upstream = pipeline.driving.upstream
    if upstream is None or batch.window is None:
        raise ValueError(f"{pipeline.key}: batch {batch.id} has no upstream table")
    window = Window.of(batch.window)
    snapshot = lake.table(upstream).snapshot(window.version)
    files = snapshot.files() if window.read != "changes" else _window_files(lake.table(upstream), snapshot, window)
    day = None if window.read == "full" else batch.business_date
    if day is not None:
        files = [item for item in files if item.may_hold(BUSINESS_DATE, day.isoformat())]
    wanted = None if day is None else ds.field(BUSINESS_DATE) == day
    return TableInput(window.table, snapshot, tuple(files), day, snapshot.dataset(files).count_rows(filter=wanted))


def other_inputs(lake: Lake, pipeline: CheckedPipeline, batch: Batch) -> dict[str, TableInput]:
    """The pinned rows of the other driving tables of a batch, by source, each counted from the table itself."""
    import pyarrow.dataset as ds

    versions = Window.of(batch.window).others if batch.window is not None else {}
    found = {}
    for source in pipeline.drivers[1:]:
        table = table_beside(lake, pipeline, source, versions, batch.business_date)
        wanted = None if table.business_date is None else ds.field(BUSINESS_DATE) == table.business_date
        records = table.snapshot.dataset(table.files).count_rows(filter=wanted)
        found[source.source.id] = replace(table, records=records)
    return found


class TableNotThere(Exception):
    """A table to join or to compare with was never published (permanent: run the pipeline that writes it first)."""


def pinned_beside(lake: Lake, pipeline: CheckedPipeline) -> dict[str, str]:
    """The tables that steps and rules read beside the driving source, with their versions of now; what an attempt
    pins."""
    found = {}
    for source in read_beside(pipeline):
        if source.upstream is not None:
            table = lake.table(source.upstream)
            if not table.exists:
                name = ".".join(source.upstream)
                raise TableNotThere(f"{pipeline.key}: '{source.source.id}' is joined, and {name} was never published")
            found[f"{_TABLE}{source.source.id}"] = str(table.snapshot().version)
    for compared in pipeline.rule_tables:
        name, table = ".".join(compared), lake.table(compared)
        if not table.exists:
            raise TableNotThere(f"{pipeline.key}: a rule compares with {name}, which was never published")
        found[f"{_TABLE}{name}"] = str(table.snapshot().version)  # a name with dots is no source's id
    return found


def versions_beside(pins: Mapping[str, str]) -> dict[str, int]:
    """{source, or app.layer.table of a rule's: version} of what `pinned_beside` gave to an attempt."""
    return {name.removeprefix(_TABLE): int(version) for name, version in pins.items() if name.startswith(_TABLE)}


def table_beside(
    lake: Lake, pipeline: CheckedPipeline, source: CheckedSource, versions: Mapping[str, int], day: date
) -> TableInput:
    """The rows of a table beside the driving source: of the batch's date where it says read="partition"."""
    if source.upstream is None:
        raise ValueError(f"{pipeline.key}: '{source.source.id}' is no table")
    name = ".".join(source.upstream)
    snapshot = lake.table(source.upstream).snapshot(versions.get(source.source.id))
    files = snapshot.files()
    only = day if isinstance(source.source, HiveSource) and source.source.read == "partition" else None
    if only is not None:
        files = [item for item in files if item.may_hold(BUSINESS_DATE, only.isoformat())]
    return TableInput(name, snapshot, tuple(files), only, 0)


class UpstreamFileGone(Exception):
    """A file that a batch is to read is not in the upstream table's folder any more (permanent)."""


def _window_files(table: LakeTable, snapshot: Snapshot, window: Window) -> list[DataFile]:
    """The pinned files: from the snapshot, or, where a compaction took them out of it, from the commits they came in.

    They stay in the folder until the table is vacuumed.
    """
    found = {item.path: item for item in snapshot.files() if item.path in window.files}
    if len(found) < len(window.files):
        for version in range((window.since or 0) + 1, window.version + 1):
            if _log_holds(table, version):
                found |= {k: v for k, v in _data_changes(table, version)[0].items() if k in window.files}
    missing = [path for path in window.files if path not in found or not (table.root / path).exists()]
    if missing:
        raise UpstreamFileGone(f"{window.table}: {len(missing)} files of versions up to {window.version} are gone")
    return [found[path] for path in window.files]


def persist_table_batches(lake: Lake, pipeline: CheckedPipeline, day: date | None) -> None:
    """Persists a batch for every business date whose rows the pipeline has not read (of `day` only, where given)."""
    source, upstream = pipeline.driving.source, pipeline.driving.upstream
    assert isinstance(source, HiveSource)  # noqa: S101 - the caller chose by kind
    if upstream is None:
        return
    table = lake.table(upstream)
    if not table.exists:
        return
    snapshot = table.snapshot()
    name = ".".join(upstream)
    if source.read == "changes":
        _persist_changes(lake, pipeline, table, snapshot, name)
        return
    others = {s.source.id: lake.table(s.upstream) for s in pipeline.drivers[1:] if s.upstream is not None}
    if not all(other.exists for other in others.values()):
        return
    snapshots = {each: other.snapshot() for each, other in others.items()}
    versions = {each: other.version for each, other in snapshots.items()}
    if source.read == "full":
        days = [day or period_end(now().date().isoformat(), pipeline.pipeline.metadata.grain)]
    else:
        found = {d for each in (snapshot, *snapshots.values()) for d in business_dates(each, each.files())}
        days = sorted(d for d in found if day in (None, d))
    for each in days:
        last = _last(lake, pipeline.key, each if source.read == "partition" else None)
        if last is not None and last.window is not None:
            before = Window.of(last.window)
            moved = _moved(table, before.version, snapshot, source.read, each) or any(
                _moved(others[name], before.others.get(name, -1), other, source.read, each)
                for name, other in snapshots.items()
            )
            if not moved:
                continue
        _persist(lake, pipeline, [(each, Window(name, source.read, snapshot.version, others=versions))])


def business_dates(snapshot: Snapshot, files: Sequence[DataFile]) -> list[date]:
    """The business dates that stand in some files; from statistics where they prove a single one."""
    found: set[date] = set()
    mixed = []
    for item in files:
        low, high = item.low.get(BUSINESS_DATE), item.high.get(BUSINESS_DATE)
        if low is not None and low == high:
            found.add(date.fromisoformat(str(low)))
        else:
            mixed.append(item)
    if mixed:
        import pyarrow.compute as pc

        column = snapshot.dataset(mixed).to_table(columns=[BUSINESS_DATE])[BUSINESS_DATE]
        found |= {d for d in pc.unique(column).to_pylist() if d is not None}
    return sorted(found)


def _moved(table: LakeTable, before: int, snapshot: Snapshot, read: str, day: date) -> bool:
    """Whether a file that may hold rows of the unit came or went since a version; True where that is not known."""
    if before == snapshot.version:
        return False
    if not _log_holds(table, before):
        return True
    old = {f.path: f for f in table.snapshot(before).files()}
    new = {f.path: f for f in snapshot.files()}
    changed = [f for f in (*old.values(), *new.values()) if (f.path in old) != (f.path in new)]
    return any(read == "full" or f.may_hold(BUSINESS_DATE, day.isoformat()) for f in changed)


def _log_holds(table: LakeTable, version: int) -> bool:
    return (table.root / "_delta_log" / f"{version:020d}.json").exists()


def _persist_changes(
    lake: Lake, pipeline: CheckedPipeline, table: LakeTable, snapshot: Snapshot, name: str
) -> None:
    last = _last(lake, pipeline.key, None)
    since = Window.of(last.window).version if last is not None and last.window is not None else -1
    if since >= snapshot.version:
        return
    added: dict[str, DataFile] = {}
    rewritten: set[str] = set()
    for version in range(since + 1, snapshot.version + 1) if since >= 0 else ():
        if not _log_holds(table, version):
            rewritten.add(f"the log of version {version} is gone")
            continue
        came, went = _data_changes(table, version)
        if went and not (_replaceable(pipeline) and _comes_back(table, list(came), went)):
            rewritten.add(f"version {version} takes rows away")
        elif went:
            # What is not read yet and came back in this commit is read as it came back.
            for path in list(added):
                if path in went or _comes_back(table, list(came), [path]):
                    del added[path]
        added |= came
    if gone := [path for path in added if not (table.root / path).exists()]:
        rewritten.add(f"{len(gone)} files were removed before they were read")
        added = {path: item for path, item in added.items() if path not in gone}
    if since == -1:  # the first read starts from what the snapshot holds
        added, rewritten = {f.path: f for f in snapshot.files()}, set()
    if not added and not rewritten:
        return
    by_day: dict[date, list[str]] = {}
    for item in added.values():
        for each in business_dates(snapshot, [item]):
            by_day.setdefault(each, []).append(item.path)
    if rewritten:
        day = min(by_day, default=period_end(now().date().isoformat(), pipeline.pipeline.metadata.grain))
        reason = f"{REWRITTEN}: {'; '.join(sorted(rewritten))}; partitions: " + ", ".join(map(str, by_day))
        _persist(lake, pipeline, [(day, Window(name, "changes", snapshot.version, since))], reason)
        return
    windows = [
        (each, Window(name, "changes", snapshot.version, since, tuple(sorted(paths))))
        for each, paths in sorted(by_day.items())
    ]
    _persist(lake, pipeline, windows)


def _replaceable(pipeline: CheckedPipeline) -> bool:
    """Whether reading a record a second time replaces its row: true of merge targets only."""
    return all(isinstance(t.target, HiveTarget) and t.target.mode == "merge" for t in pipeline.targets)


def _comes_back(table: LakeTable, came: Sequence[str], went: Sequence[str]) -> bool:
    """Whether every record of the files that went is in those that came: a reprocess that rejects nothing more."""
    import pyarrow as pa
    import pyarrow.compute as pc
    import pyarrow.parquet as pq

    def records(paths: Sequence[str]) -> Any:
        found = [pq.ParquetFile(table.root / path).read(columns=[RECORD_ID])[RECORD_ID] for path in paths]
        return pa.chunked_array([chunk for column in found for chunk in column.chunks], pa.string())

    if not all((table.root / path).exists() for path in (*came, *went)):
        return False
    missing = pc.invert(pc.is_in(records(went), value_set=records(came).combine_chunks()))
    return not pc.any(missing, min_count=0).as_py()


def _data_changes(table: LakeTable, version: int) -> tuple[dict[str, DataFile], list[str]]:
    """(files that came by path, paths that went) in a commit, as far as it changes data."""
    came: dict[str, DataFile] = {}
    went: list[str] = []
    log = table.root / "_delta_log" / f"{version:020d}.json"
    for line in log.read_text(encoding="utf-8").splitlines():
        action = json.loads(line)
        add, remove = action.get("add"), action.get("remove")
        if add and add.get("dataChange", True):
            item = _added(table, add)
            came[item.path] = item
        if remove and remove.get("dataChange", True):
            went.append(unquote(remove["path"]))
    return came, went


def _added(table: LakeTable, add: dict[str, Any]) -> DataFile:
    """A file as the commit that brought it says; a compaction may have put its rows elsewhere since."""
    stats = json.loads(add.get("stats") or "{}")
    partition = {k: v or None for k, v in add.get("partitionValues", {}).items()}
    low, high = stats.get("minValues", {}), stats.get("maxValues", {})
    return DataFile(unquote(add["path"]), add["size"], stats.get("numRecords", 0), partition, low, high)


def _last(lake: Lake, pipeline: str, day: date | None) -> Batch | None:
    """The newest batch whose window counts as read: not one that is held for its upstream, nor one taken back."""
    with lake.ledger.read() as session:
        read = or_(Batch.reason.is_(None), Batch.reason.not_like(f"{REWRITTEN}%"))
        stands = Batch.status.not_in(("withdrawing", "withdrawn", "unpublishing", "unpublished"))
        chosen = select(Batch).where(Batch.pipeline == pipeline, Batch.origin == "table", read, stands)
        if day is not None:
            chosen = chosen.where(Batch.business_date == day)
        return session.scalars(chosen.order_by(Batch.arrival.desc()).limit(1)).first()


def _identity(parts: Sequence[str]) -> str:
    return hashlib.sha256("\x00".join(parts).encode()).hexdigest()[:32]


def _persist(
    lake: Lake, pipeline: CheckedPipeline, windows: Sequence[tuple[date, Window]], fault: str | None = None
) -> None:
    """All in one transaction: the dates of one range of changes are read together or not at all."""
    with lake.ledger.write() as session:
        newest = session.scalar(select(func.max(Batch.arrival)).where(Batch.pipeline == pipeline.key)) or 0
        for day, window in windows:
            others = (f"{source}@{version}" for source, version in sorted(window.others.items()))
            parts = (pipeline.key, window.table, day.isoformat(), str(window.since), str(window.version), *others)
            identity, known, before = _identity(parts), True, 0
            while known and (found := session.get(Batch, identity)) is not None:
                known = found.status in ("withdrawn", "unpublished")  # taken back: the window may be read once more
                before += 1
                identity = _identity((*parts, f"#{before}")) if known else identity
            if not known:
                continue
            newest += 1
            session.add(
                Batch(
                    id=identity,
                    key=batch_key(day, f"{window.table.rsplit('.', 1)[-1]}-v{window.version}", 1, identity),
                    pipeline=pipeline.key,
                    business_date=day,
                    origin="table",
                    sender=None,
                    arrival=newest,
                    window=window.as_dict(),
                    status="open",
                    reason=fault,
                    attempt=1,
                    created_at=now(),
                )
            )
    journal_open_batches(lake, pipeline.key)
