"""A rule over a column that the target is partitioned by: the column stands in folder names, not in the files.

Read from the files alone it was simply missing, and a completeness rule over it passed whatever was there.
"""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from publishing.verdict import staged_rows
from resources.lake_table import DataFile, describe_parquet


def staged(root: Path, path: str, amounts: list[int]) -> DataFile:
    (root / path).parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.table({"amount": amounts}), root / path)
    return describe_parquet(root, path)


def test_partition_columns_are_filled_in(tmp_path: Path) -> None:
    files = [
        staged(tmp_path, "region=eu/a.parquet", [1, 2]),
        staged(tmp_path, "region=__HIVE_DEFAULT_PARTITION__/b.parquet", [3]),
    ]
    rows = staged_rows(tmp_path, files, ["region", "amount"])
    assert rows.to_pydict() == {"region": ["eu", "eu", None], "amount": [1, 2, 3]}
    assert staged_rows(tmp_path, files, ["region"]).column("region").null_count == 1
    assert staged_rows(tmp_path, [], ["region"]).num_rows == 0
