"""Which columns of a Parquet file tell the rules that its records broke, and no more than that."""

from __future__ import annotations

from typing import Any

TOLD = ("rule", "severity")


def rule_columns(file: Any, errors: str) -> list[str]:
    """The columns below the list `errors` of an open pyarrow ParquetFile that name rule and severity.

    Read with these alone, the entries are structs of the two. Their messages are most of what there is to decode.
    """
    paths = [file.schema.column(i).path for i in range(len(file.schema))]
    return [path for path in paths if path.startswith(f"{errors}.") and path.rpartition(".")[2] in TOLD]
