"""All transaction ids of a Delta table at once, read from its log.

deltalake answers for one id at a time, and each answer reads the ids of all: milliseconds where a table has 100,000
of them, and a batch of 1,000 files asks for 1,000.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

_COMMIT = re.compile(r"(\d{20})\.json")
_CHECKPOINT = re.compile(r"(\d{20})\.checkpoint(?:\.(\d{10})\.(\d{10}))?\.parquet")


def all_transactions(log: Path, version: int) -> dict[str, int] | None:
    """{transaction id: its newest version} at a version of the table, from `_delta_log`.

    None where the log has it in no usual way: no whole checkpoint (classic, in one file or in parts) with all
    commits after it. Checkpoints of another kind do not count.
    """
    commits, checkpoints = _listed(log, version)
    start, parts = max(checkpoints.items(), default=(-1, []))
    after = range(start + 1, version + 1)
    if any(number not in commits for number in after):
        return None
    found: dict[str, int] = {}
    for path in parts:
        found |= _of_checkpoint(path)
    for number in after:
        found |= dict(_of_commit(commits[number]))
    return found


def _listed(log: Path, version: int) -> tuple[dict[int, Path], dict[int, list[Path]]]:
    """({version: its commit}, {version: the parts of a whole checkpoint}) up to a version."""
    commits: dict[int, Path] = {}
    parts: dict[int, dict[str, list[Path]]] = {}
    for path in log.iterdir():
        commit, checkpoint = _COMMIT.fullmatch(path.name), _CHECKPOINT.fullmatch(path.name)
        if commit and int(commit[1]) <= version:
            commits[int(commit[1])] = path
        elif checkpoint and int(checkpoint[1]) <= version:
            parts.setdefault(int(checkpoint[1]), {}).setdefault(checkpoint[3] or "1", []).append(path)
    whole = {
        number: paths
        for number, by_total in parts.items()
        for total, paths in by_total.items()
        if len(paths) == int(total)
    }
    return commits, whole


def _of_checkpoint(path: Path) -> dict[str, int]:
    import pyarrow.parquet as pq

    with pq.ParquetFile(path) as file:
        if "txn" not in file.schema_arrow.names:
            return {}
        column = file.read(columns=["txn.appId", "txn.version"])["txn"].combine_chunks()
    rows: Any = column.filter(column.is_valid())
    return dict(zip(rows.field("appId").to_pylist(), rows.field("version").to_pylist(), strict=True))


def _of_commit(path: Path) -> Iterator[tuple[str, int]]:
    with path.open("rb") as lines:
        for line in lines:
            if b'"txn"' in line and (found := json.loads(line).get("txn")):
                yield found["appId"], found["version"]
