"""The rows of a lake table that a batch reads: those its window pinned, counted from the table itself."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import date
from typing import Any

from pipeline_xml.checked import CheckedPipeline, CheckedSource
from pipeline_xml.model import HiveSource
from processing.frame import BUSINESS_DATE, RECORD_ID
from processing.lines import read_beside
from publishing.lake import Lake
from publishing.ledger import Batch
from publishing.upstream_log import data_changes, log_holds, record_ids
from resources.lake_table import DataFile, LakeTable, Snapshot

_TABLE = "table:"  # before the name of a source, among the references that an attempt pins


@dataclass(frozen=True, slots=True)
class Window:
    """What a table batch reads. `files` only for changes: paths pinned when the batch was persisted.

    `others` are the versions of the other driving tables by source, where several come together, `parts` what is read
    of them where all are followed by their changes. Records of the files in `without` were read before, and stand in
    `files` once more as they were.
    """

    table: str
    read: str
    version: int
    since: int | None = None
    files: tuple[str, ...] = ()
    others: Mapping[str, int] = field(default_factory=dict)
    without: tuple[str, ...] = ()
    parts: Mapping[str, Window] = field(default_factory=dict)

    def as_dict(self) -> dict[str, Any]:
        stored = {
            "table": self.table, "read": self.read, "version": self.version, "since": self.since,
            "files": list(self.files),
        }  # fmt: skip
        stored |= {"without": list(self.without)} if self.without else {}
        stored |= {"parts": {source: part.as_dict() for source, part in self.parts.items()}} if self.parts else {}
        return stored | ({"others": dict(self.others)} if self.others else {})

    @staticmethod
    def of(stored: dict[str, Any]) -> Window:
        files, others = tuple(stored.get("files", ())), stored.get("others", {})
        without = tuple(stored.get("without", ()))
        parts = {source: Window.of(part) for source, part in stored.get("parts", {}).items()}
        return Window(
            stored["table"], stored["read"], stored["version"], stored["since"], files, others, without, parts
        )


@dataclass(frozen=True, slots=True)
class TableInput:
    """The rows of a table batch: files of one snapshot, of one business date or all. `records` is counted apart.

    Less the records of the files `without`, as paths.
    """

    name: str
    snapshot: Snapshot
    files: tuple[DataFile, ...]
    business_date: date | None
    records: int
    without: tuple[str, ...] = ()

    def record_ids(self) -> Any:
        """The ids of its records, of whatever business date, as one Arrow array."""
        import pyarrow as pa
        import pyarrow.compute as pc

        rows = self.snapshot.dataset(self.files).to_batches(columns=[RECORD_ID])
        ids = pa.chunked_array([read[RECORD_ID] for read in rows], pa.string()).combine_chunks()
        if not self.without:
            return ids
        return ids.filter(pc.invert(pc.is_in(ids, value_set=record_ids(self.without))))


def table_input(lake: Lake, pipeline: CheckedPipeline, batch: Batch) -> TableInput:
    """The pinned rows of a table batch, and their number counted from the table itself."""
    upstream = pipeline.driving.upstream
    if upstream is None or batch.window is None:
        raise ValueError(f"{pipeline.key}: batch {batch.id} has no upstream table")
    return _read_by(lake, upstream, Window.of(batch.window), batch.business_date)


def _read_by(lake: Lake, upstream: tuple[str, str, str], window: Window, business_date: date) -> TableInput:
    """What a window reads of a table."""
    import pyarrow.dataset as ds

    # The files of changes are pinned one by one: where the log forgot the version they are found all the same.
    snapshot = pinned(lake.table(upstream), window.table, window.version, or_newest=window.read == "changes")
    files = snapshot.files() if window.read != "changes" else _window_files(lake.table(upstream), snapshot, window)
    day = None if window.read == "full" else business_date
    if day is not None:
        files = [item for item in files if item.may_hold(BUSINESS_DATE, day.isoformat())]
    wanted = None if day is None else ds.field(BUSINESS_DATE) == day
    rows = snapshot.dataset(files)
    if not window.without:
        return TableInput(window.table, snapshot, tuple(files), day, rows.count_rows(filter=wanted))
    table = lake.table(upstream)
    if missing := [path for path in window.without if not (table.root / path).exists()]:
        raise UpstreamFileGone(f"{window.table}: {len(missing)} files of versions up to {window.version} are gone")
    without = tuple(str(table.root / path) for path in window.without)
    old = ds.field(RECORD_ID).isin(record_ids(without))
    number = rows.count_rows(filter=~old if wanted is None else wanted & ~old)
    return TableInput(window.table, snapshot, tuple(files), day, number, without)


def other_inputs(lake: Lake, pipeline: CheckedPipeline, batch: Batch) -> dict[str, TableInput]:
    """The pinned rows of the other driving tables of a batch, by source, each counted from the table itself."""
    import pyarrow.dataset as ds

    window = Window.of(batch.window) if batch.window is not None else None
    versions = window.others if window is not None else {}
    found = {}
    for source in pipeline.drivers[1:]:
        part = window.parts.get(source.source.id) if window is not None else None
        if part is not None and source.upstream is not None:
            found[source.source.id] = _read_by(lake, source.upstream, part, batch.business_date)
            continue
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
                what = f"'{source.source.id}' is joined, and {name} was never published; run what writes it first"
                raise TableNotThere(f"{pipeline.key}: {what}")
            found[f"{_TABLE}{source.source.id}"] = str(table.snapshot().version)
    for looked_up in pipeline.looked_up:
        name, table = ".".join(looked_up), lake.table(looked_up)
        if not table.exists:
            raise TableNotThere(f"{pipeline.key}: a rule or a lookup reads {name}, which was never published")
        found[f"{_TABLE}{name}"] = str(table.snapshot().version)  # a name with dots is no source's id
    return found


def versions_beside(pins: Mapping[str, str]) -> dict[str, int]:
    """{source, or app.layer.table of what is looked up: version} of what `pinned_beside` gave to an attempt."""
    return {name.removeprefix(_TABLE): int(version) for name, version in pins.items() if name.startswith(_TABLE)}


def table_beside(
    lake: Lake, pipeline: CheckedPipeline, source: CheckedSource, versions: Mapping[str, int], day: date
) -> TableInput:
    """The rows of a table beside the driving source: of the batch's date where it says read="partition"."""
    if source.upstream is None:
        raise ValueError(f"{pipeline.key}: '{source.source.id}' is no table")
    name = ".".join(source.upstream)
    snapshot = pinned(lake.table(source.upstream), name, versions.get(source.source.id))
    files = snapshot.files()
    only = day if isinstance(source.source, HiveSource) and source.source.read == "partition" else None
    if only is not None:
        files = [item for item in files if item.may_hold(BUSINESS_DATE, only.isoformat())]
    return TableInput(name, snapshot, tuple(files), only, 0)


class UpstreamFileGone(Exception):
    """A file or a version that a batch is to read is not in the upstream table any more (permanent)."""


def pinned(table: LakeTable, name: str, version: int | None, or_newest: bool = False) -> Snapshot:
    """The table as of a version; UpstreamFileGone where its log forgot that one, unless the newest does as well."""
    from deltalake.exceptions import TableNotFoundError

    try:
        return table.snapshot(version)
    except TableNotFoundError as error:
        if version is None or not table.exists:
            raise
        if not or_newest:
            raise UpstreamFileGone(f"{name}: the log of version {version} is gone") from error
        return table.snapshot()


def _window_files(table: LakeTable, snapshot: Snapshot, window: Window) -> list[DataFile]:
    """The pinned files: from the snapshot, or, where a compaction took them out of it, from the commits they came in.

    They stay in the folder until the table is vacuumed.
    """
    found = {item.path: item for item in snapshot.files() if item.path in window.files}
    if len(found) < len(window.files):
        for version in range((window.since or 0) + 1, window.version + 1):
            if log_holds(table, version):
                found |= {k: v for k, v in data_changes(table, version)[0].items() if k in window.files}
    missing = [path for path in window.files if path not in found or not (table.root / path).exists()]
    if missing:
        raise UpstreamFileGone(f"{window.table}: {len(missing)} files of versions up to {window.version} are gone")
    return [found[path] for path in window.files]
