"""The counts of a staged attempt are read from its files: by file and status, and by rule."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from processing import frame as f
from publishing.manifest import staged_files
from publishing.stage import count_records

ERROR = pa.struct([(name, pa.string()) for name in f.ERROR_FIELDS])


def error(rule: str, column: str, severity: str) -> dict[str, str]:
    return {"rule": rule, "column": column, "code": "rule", "message": "", "severity": severity}


def test_a_rule_counts_a_record_once_and_warnings_stand_apart(tmp_path: Path) -> None:
    rejected = [
        [error("E1", "a", "error"), error("E1", "b", "error"), error("Q1", "a", "warning")],
        [error("E2", "a", "error")],
    ]
    accepted = [None, [error("Q1", "a", "warning")], None]
    for status, arrivals, errors in (("quarantined", [1, 2], rejected), ("accepted", [1, 1, 2], accepted)):
        folder = tmp_path / f"_status={status}"
        folder.mkdir()
        rows = pa.table({f.ARRIVAL: arrivals, f.ERRORS: pa.array(errors, pa.list_(ERROR))})
        pq.write_table(rows, folder / "part.parquet")
    records = {s: staged_files(tmp_path, tmp_path / f"_status={s}") for s in ("quarantined", "accepted")}
    counted, rules, rejecting = count_records(tmp_path, records, by_file=True)
    assert counted == {1: {"quarantined": 1, "accepted": 2}, 2: {"quarantined": 1, "accepted": 1}}
    assert rules == {"E1": 1, "Q1": 2, "E2": 1}
    assert rejecting == {"E1": 1, "E2": 1}
