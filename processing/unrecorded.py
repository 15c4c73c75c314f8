"""Rows that are no records any more: what a step makes once record accounting has ended."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date
from typing import TYPE_CHECKING

from processing import frame as f

if TYPE_CHECKING:
    from pyspark.sql import Column, DataFrame

_NOTHING = {
    f.RECORD_ID: "string", f.SENDER: "string", f.ARRIVAL: "bigint", f.SOURCE_FILE: "string", f.SOURCE_RECORD: "bigint",
    f.STATUS: "string", f.ERRORS: f.ERRORS_DDL,
}  # fmt: skip


def without_identity(rows: DataFrame, columns: Sequence[Column | str], business_date: date | None) -> DataFrame:
    """These columns and the frame's others, which are null but for the business date."""
    from pyspark.sql import functions as F

    day = F.lit(business_date.isoformat() if business_date else None).cast("date").alias(f.BUSINESS_DATE)
    empty = [F.lit(None).cast(kind).alias(name) for name, kind in _NOTHING.items()]
    return rows.select(*columns, day, *empty)
