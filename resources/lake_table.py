"""A Delta table as the platform writes it: files that already exist are committed, against the snapshot that was read.

Every commit is made with no retries of the library's own: a commit in between means that the caller opens the table
again, looks, and computes anew. A stale commit with removes was seen to land after a compaction and keep old and new
rows; without library retries it cannot. The committed version is therefore always the snapshot's version plus one.
"""

from __future__ import annotations

import json
import time
from collections.abc import Collection, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

from pipeline_xml.system_columns import SYSTEM_COLUMNS
from pipeline_xml.versioned import Versioned
from processing.frame import BATCH_ID, BUSINESS_DATE, RECORD_ID
from resources.durable import fsync, make_folder, sync_commit
from resources.failures import Transient
from resources.table_columns import remembered, to_remember, why_not_gone
from resources.table_log import all_transactions

if TYPE_CHECKING:
    import pyarrow as pa
    from deltalake import DeltaTable

SKIPPING_COLUMNS = (BATCH_ID, BUSINESS_DATE, RECORD_ID, "batch_id")
FEW_NAMES = 32  # transaction ids that are asked for one by one
NULL_PARTITION = "__HIVE_DEFAULT_PARTITION__"


class CommitConflict(Transient):
    """Another commit landed since the snapshot was read (transient: open again, look, compute anew)."""


@dataclass(frozen=True, slots=True)
class DataFile:
    """A Parquet file of a table. `path` is relative to the table; `low` and `high` are statistics by column."""

    path: str
    size: int
    records: int
    partition: Mapping[str, str | None]
    low: Mapping[str, Any]
    high: Mapping[str, Any]

    def may_hold(self, column: str, value: str) -> bool:
        """False only where the statistics rule the value out."""
        if column in self.partition:
            return self.partition[column] == value
        low, high = self.low.get(column), self.high.get(column)
        return low is None or high is None or str(low) <= value <= str(high)

    def holds_only(self, column: str, value: str) -> bool:
        """True only where the statistics prove that every row has the value."""
        if column in self.partition:
            return self.partition[column] == value
        return str(self.low.get(column)) == value == str(self.high.get(column)) and self.low.get(column) is not None


class Snapshot:
    """One version of a table, and the commit that may follow it."""

    def __init__(self, root: Path, table: DeltaTable) -> None:
        self.root = root
        self._table = table
        self.version: int = table.version()

    def transaction(self, name: str) -> int:
        """The greatest version committed under a transaction id; 0 where there is none."""
        return self._table.transaction_version(name) or 0

    def transactions(self, names: Collection[str]) -> dict[str, int]:
        """`transaction` of many."""
        if len(names) > FEW_NAMES and (found := all_transactions(self.root / "_delta_log", self.version)) is not None:
            return {name: found.get(name, 0) for name in names}
        return {name: self.transaction(name) for name in names}

    @property
    def partition_by(self) -> list[str]:
        return list(self._table.metadata().partition_columns)

    @property
    def properties(self) -> dict[str, str | None]:
        return dict(self._table.metadata().configuration)

    def schema(self) -> pa.Schema:
        import pyarrow as pa

        return pa.schema(self._table.schema())

    def files(self) -> list[DataFile]:
        import pyarrow as pa

        rows = pa.table(self._table.get_add_actions(flatten=True)).to_pylist()
        out = []
        for row in rows:
            part = {k.removeprefix("partition."): v for k, v in row.items() if k.startswith("partition.")}
            out.append(
                DataFile(
                    path=unquote(row["path"]),
                    size=row["size_bytes"],
                    records=row["num_records"],
                    partition={k: _partition_text(v) for k, v in part.items()},
                    low={k.removeprefix("min."): v for k, v in row.items() if k.startswith("min.")},
                    high={k.removeprefix("max."): v for k, v in row.items() if k.startswith("max.")},
                )
            )
        return sorted(out, key=lambda f: f.path)

    def commit(
        self,
        adds: Sequence[DataFile],
        removes: Iterable[DataFile],
        transactions: Mapping[str, int],
        metadata: Mapping[str, str],
    ) -> int:
        """Adds and removes files in one commit and returns its version; CommitConflict when the table has moved on."""
        from deltalake import CommitProperties, Transaction
        from deltalake.exceptions import CommitFailedError
        from deltalake.transaction import AddAction, RemoveAction

        now = int(time.time() * 1000)
        actions: list[Any] = [
            RemoveAction(f.path, True, now, f.size, dict(f.partition) if self.partition_by else None) for f in removes
        ]
        actions += [AddAction(f.path, f.size, dict(f.partition), now, True, _stats(f)) for f in adds]
        properties = CommitProperties(
            custom_metadata=dict(metadata),
            max_commit_retries=0,
            app_transactions=[Transaction(name, version) for name, version in transactions.items()],
        )
        try:
            self._table.create_write_transaction(
                actions, "append", self._table.schema(), self.partition_by, commit_properties=properties
            )
        except CommitFailedError as error:
            raise CommitConflict(f"{self.root.name}: version {self.version} is no longer the newest") from error
        return self._made()

    def merge(
        self,
        source: pa.RecordBatchReader,
        keys: Sequence[str],
        transactions: Mapping[str, int],
        metadata: Mapping[str, str],
    ) -> int:
        """Replaces the rows with the source's keys and inserts the others, in one commit against this snapshot."""
        from deltalake import CommitProperties, Transaction
        from deltalake.exceptions import CommitFailedError, DeltaError

        predicate = " AND ".join(f't."{k}" = s."{k}"' for k in keys)
        properties = CommitProperties(
            custom_metadata=dict(metadata),
            max_commit_retries=0,
            app_transactions=[Transaction(name, version) for name, version in transactions.items()],
        )
        try:
            (
                self._table.merge(
                    source, predicate, source_alias="s", target_alias="t", commit_properties=properties
                )
                .when_matched_update_all()
                .when_not_matched_insert_all()
                .execute()
            )
        except CommitFailedError as error:
            raise CommitConflict(f"{self.root.name}: version {self.version} is no longer the newest") from error
        except DeltaError as error:
            if "concurrent" in str(error).lower():
                raise CommitConflict(f"{self.root.name}: version {self.version} is no longer the newest") from error
            raise
        return self._made()

    def _made(self) -> int:
        """The version of the commit that was made; it is on the disk."""
        sync_commit(self.root, self.version + 1)
        return self.version + 1

    def compact(self) -> None:
        """Puts small files together, without change of data; does nothing where somebody commits meanwhile."""
        from deltalake import CommitProperties
        from deltalake.exceptions import CommitFailedError

        with suppress(CommitFailedError):
            self._table.optimize.compact(commit_properties=CommitProperties(max_commit_retries=0))
            self._made()

    def overwrite(
        self, source: pa.RecordBatchReader, transactions: Mapping[str, int], metadata: Mapping[str, str]
    ) -> int:
        """Replaces all rows, in one commit against this snapshot; CommitConflict when the table has moved on."""
        from deltalake import CommitProperties, Transaction, write_deltalake
        from deltalake.exceptions import CommitFailedError

        properties = CommitProperties(
            custom_metadata=dict(metadata),
            max_commit_retries=0,
            app_transactions=[Transaction(name, version) for name, version in transactions.items()],
        )
        try:
            write_deltalake(self._table, source, mode="overwrite", commit_properties=properties)
        except CommitFailedError as error:
            raise CommitConflict(f"{self.root.name}: version {self.version} is no longer the newest") from error
        return self._made()

    def find_commit(self, wanted: Mapping[str, str], newest: int | None = None) -> tuple[int, dict[str, Any]] | None:
        """(version, commit info) of the newest commit whose metadata has these values; None where the log lost it.

        With `newest`, only among that many: each is a file of the log to read.
        """
        for entry in self._table.history(newest):
            if all(entry.get(key) == value for key, value in wanted.items()):
                return int(entry["version"]), entry
        return None

    def dataset(self, files: Sequence[DataFile] | None = None) -> Any:
        """The rows as a pyarrow dataset (partition columns included), of all files or of some."""
        import pyarrow.dataset as ds

        schema = self.schema()
        chosen = self.files() if files is None else files
        keys = self.partition_by
        fragments = []
        parquet = ds.ParquetFileFormat()
        from pyarrow.fs import LocalFileSystem

        local = LocalFileSystem()
        for item in chosen:
            guarantee = None
            for key in keys:
                field = ds.field(key)
                value = item.partition[key]
                part = field.is_null() if value is None else field == _partition_scalar(value, schema.field(key).type)
                guarantee = part if guarantee is None else guarantee & part
            fragments.append(parquet.make_fragment(str(self.root / item.path), local, partition_expression=guarantee))
        return ds.FileSystemDataset(fragments, schema, parquet, local)


def _partition_text(value: Any) -> str | None:
    """A partition value as the log writes it; Python's own text of a boolean or a moment is another."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, datetime):
        return value.replace(tzinfo=None).isoformat(sep=" ")
    return None if value is None else str(value)


def _partition_scalar(text: str, kind: Any) -> Any:
    import pyarrow as pa

    if pa.types.is_timestamp(kind) and kind.tz is not None:  # the log's moments are UTC and do not say so
        return pa.scalar(datetime.fromisoformat(text).replace(tzinfo=UTC), kind)
    return pa.scalar(text).cast(kind)


def _stats(file: DataFile) -> str:
    return json.dumps({"numRecords": file.records, "minValues": dict(file.low), "maxValues": dict(file.high)})


class LakeTable:
    """A table by its folder."""

    def __init__(self, root: Path) -> None:
        self.root = root

    @property
    def exists(self) -> bool:
        """Whether a first commit is there; a log folder without one is what a crash left of the table's creation."""
        log = self.root / "_delta_log"
        return log.is_dir() and any(p.name[0].isdigit() and p.suffix in (".json", ".parquet") for p in log.iterdir())

    def snapshot(self, version: int | None = None) -> Snapshot:
        from deltalake import DeltaTable

        return Snapshot(self.root, DeltaTable(str(self.root), version=version))

    def open_or_create(
        self, schema: pa.Schema, partition_by: Sequence[str], description: str, now: Versioned | None = None
    ) -> Snapshot:
        """Creates an empty table where there is none: all columns nullable, statistics on the identity columns.

        With `now` the table remembers by which version of its contract it is written, before rows of it come.
        """
        import pyarrow as pa
        from deltalake import DeltaTable

        if not self.exists:
            make_folder(self.root)
            nullable = pa.schema([f.with_nullable(True) for f in schema])
            skipping = [c for c in SKIPPING_COLUMNS if c in schema.names and c not in partition_by]
            properties = {"delta.dataSkippingStatsColumns": ",".join(skipping)} if skipping else {}
            if now is not None:
                properties |= to_remember(None, now, (), ()).property
            DeltaTable.create(
                str(self.root),
                nullable,
                mode="ignore",
                partition_by=list(partition_by),
                description=description,
                configuration=properties or None,
                raise_if_key_not_exists=False,  # a property of the platform's own
            )
            fsync(self.root)
            self._on_disk()
        snapshot = self.add_columns(schema)
        return snapshot if now is None else self._remember(snapshot, schema, now)

    def _remember(self, snapshot: Snapshot, schema: pa.Schema, now: Versioned) -> Snapshot:
        from deltalake import CommitProperties
        from deltalake.exceptions import CommitFailedError

        before = remembered(snapshot.properties)
        after = to_remember(before, now, snapshot.schema().names, schema.names)
        if after == before:
            return snapshot
        once = CommitProperties(max_commit_retries=0)
        try:
            snapshot._table.alter.set_table_properties(after.property, False, commit_properties=once)
        except CommitFailedError as error:
            raise CommitConflict(f"{self.root.name}: version {snapshot.version} is no longer the newest") from error
        return self._on_disk()

    def _on_disk(self) -> Snapshot:
        newest = self.snapshot()
        sync_commit(self.root, newest.version)
        return newest

    def drift(
        self, schema: pa.Schema, partition_by: Sequence[str], grows: bool, now: Versioned | None = None
    ) -> str | None:
        """Why rows of the schema do not fit the table: a type, a missing column, other partitions. None where they do.

        A column that the table lacks is no drift where the table `grows`: then it is added, as the platform's own are.
        One that the rows lack is none where `now` is a greater version than the table was last published with.
        """
        from deltalake import Schema

        snapshot = self.snapshot()
        fields = snapshot._table.schema().fields
        have = {f.name: f.type for f in fields}
        want = {f.name: f.type for f in Schema.from_arrow(schema).fields}
        found = []
        if changed := [name for name in want if name in have and have[name] != want[name]]:
            found.append(f"the type of {', '.join(changed)} changed, which no version lets it: name it otherwise")
        fixed = [*snapshot.partition_by, *(f.name for f in fields if not f.nullable)]
        dropped = [name for name in have if name not in want]
        if why := why_not_gone(dropped, remembered(snapshot.properties), now, fixed):
            found.append(why)
        fresh = [name for name in want if name not in have and name not in SYSTEM_COLUMNS]
        if fresh and not grows:
            found.append(f"the table has no {', '.join(fresh)}; schemaEvolution=\"addColumns\" on the target adds them")
        if snapshot.partition_by != list(partition_by):
            found.append(f"the table is partitioned by {', '.join(snapshot.partition_by) or 'nothing'}")
        return "; ".join(found) or None

    def add_columns(self, schema: pa.Schema) -> Snapshot:
        """Adds the columns the table lacks, as nullable, in a metadata commit of its own."""
        from deltalake import Schema

        snapshot = self.snapshot()
        have = set(snapshot.schema().names)
        fields = [f for f in Schema.from_arrow(schema).fields if f.name not in have]
        if fields:
            snapshot._table.alter.add_columns(fields)
            return self._on_disk()
        return snapshot


def describe_parquet(root: Path, path: str, columns: Sequence[str] = SKIPPING_COLUMNS) -> DataFile:
    """A staged Parquet file as a table file: size, row count, statistics; partition values from its folder names."""
    import pyarrow.parquet as pq

    metadata = pq.read_metadata(root / path)
    low: dict[str, Any] = {}
    high: dict[str, Any] = {}
    names = [metadata.schema.column(i).path for i in range(metadata.num_columns)]
    for column in columns:
        if column not in names:
            continue
        index = names.index(column)
        parts = [metadata.row_group(g).column(index).statistics for g in range(metadata.num_row_groups)]
        if parts and all(s is not None and s.has_min_max for s in parts):
            low[column] = str(min(s.min for s in parts))
            high[column] = str(max(s.max for s in parts))
    partition: dict[str, str | None] = {}
    for part in Path(path).parent.parts:
        key, _, value = part.partition("=")
        partition[key] = None if value in (NULL_PARTITION, "") else unquote(value)  # the log knows no empty text
    return DataFile(path, (root / path).stat().st_size, metadata.num_rows, partition, low, high)
