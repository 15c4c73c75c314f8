"""What single commits of an upstream table did to its rows: which came, which went, and which came back."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from processing.frame import BUSINESS_DATE, RECORD_ID
from resources.lake_table import DataFile, LakeTable


def log_holds(table: LakeTable, version: int) -> bool:
    """Whether the commit of a version can still be read."""
    return (table.root / "_delta_log" / f"{version:020d}.json").exists()


def comes_back(table: LakeTable, came: Sequence[str], went: Sequence[str]) -> bool:
    """Whether every record of the files that went is in those that came: a reprocess that rejects nothing more."""
    import pyarrow.compute as pc

    if not all((table.root / path).exists() for path in (*came, *went)):
        return False
    there = record_ids([table.root / path for path in came])
    missing = pc.invert(pc.is_in(record_ids([table.root / path for path in went]), value_set=there))
    return not pc.any(missing, min_count=0).as_py()


def come_back_equal(
    table: LakeTable, version: int, came: Mapping[str, DataFile], went: Collection[str], columns: Sequence[str]
) -> bool:
    """Whether every row that went in a commit came back as it was, in these columns: nothing but more rows is new."""
    import pyarrow.compute as pc

    if not log_holds(table, version - 1) or not all((table.root / path).exists() for path in (*came, *went)):
        return False
    old, new = table.snapshot(version - 1), table.snapshot(version)
    wanted = [RECORD_ID, BUSINESS_DATE, *columns]
    if any(name not in each.schema().names for name in wanted for each in (old, new)):
        return False
    before = old.dataset([item for item in old.files() if item.path in went]).to_table(columns=wanted)
    after = new.dataset(list(came.values())).to_table(columns=wanted)
    kept = after.filter(pc.is_in(after[RECORD_ID], value_set=before[RECORD_ID].combine_chunks()))
    order = [(RECORD_ID, "ascending")]
    same: bool = kept.sort_by(order).combine_chunks().equals(before.sort_by(order).combine_chunks())
    return same


def record_ids(paths: Collection[str | Path]) -> Any:
    """The record ids of some Parquet files, as one Arrow array."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    found = [pq.ParquetFile(path).read(columns=[RECORD_ID])[RECORD_ID] for path in paths]
    return pa.chunked_array([chunk for column in found for chunk in column.chunks], pa.string()).combine_chunks()


def data_changes(table: LakeTable, version: int) -> tuple[dict[str, DataFile], list[str]]:
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


