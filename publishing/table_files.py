"""Files in the folder of a table, and which of them any version of its log still refers to."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import unquote

# What the table's library writes before it gives a file its name.
_UNNAMED = re.compile(r".*#\d+|_commit_.*\.tmp")


def unreferenced(table: Path) -> list[Path]:
    """Files that no version in the log folder adds or removes, in name order; none where the log cannot be read whole.

    The folder is listed before the log is read: a file that is committed meanwhile is seen there.
    """
    files = sorted(p for p in table.rglob("*") if p.is_file() and not _hidden(p.relative_to(table)))
    log = table / "_delta_log"
    unnamed = sorted(p for p in log.iterdir() if _UNNAMED.fullmatch(p.name))
    try:
        known = set(_referenced(log))
    except UnknownLog:
        return unnamed
    return [p for p in files if str(p.relative_to(table)) not in known] + unnamed


class UnknownLog(Exception):
    """The log has a file of a kind that is not read here, so what it refers to is not known."""


def _hidden(path: Path) -> bool:
    """The log, and what other programs keep beside the data: Delta takes names with _ or . for no data."""
    return any(part.startswith(("_", ".")) and "=" not in part for part in path.parts)


def _referenced(log: Path) -> Iterator[str]:
    for path in sorted(log.rglob("*")):
        if path.is_dir() or _UNNAMED.fullmatch(path.name) or path.name.startswith((".", "_last_checkpoint")):
            continue
        if path.suffix == ".json":
            for line in path.read_text(encoding="utf-8").splitlines():
                yield from _paths(json.loads(line))
        elif path.suffix == ".parquet":
            yield from _of_checkpoint(path)
        elif path.suffix != ".crc":
            raise UnknownLog(path.name)


def _paths(action: dict[str, Any]) -> Iterator[str]:
    for kind in ("add", "remove", "cdc"):
        found = action.get(kind)
        if found and found.get("path"):
            yield unquote(found["path"])


def _of_checkpoint(path: Path) -> Iterator[str]:
    import pyarrow.parquet as pq

    with pq.ParquetFile(path) as parquet:
        kinds = [kind for kind in ("add", "remove") if kind in parquet.schema_arrow.names]
        for rows in parquet.iter_batches(columns=[f"{kind}.path" for kind in kinds]):
            for row in rows.to_pylist():
                yield from _paths({kind: row[kind] for kind in kinds if row[kind]})
