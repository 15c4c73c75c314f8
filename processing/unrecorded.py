"""Rows that are no records any more: what a step makes once record accounting has ended."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, date, datetime
from functools import partial
from typing import TYPE_CHECKING

import pyarrow as pa

from processing import frame as f

if TYPE_CHECKING:
    from pyspark.sql import Column, DataFrame

    from pipeline_xml.checked import Dataset

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


def with_identity(rows: DataFrame, dataset: Dataset, batch_id: str, arrival: int, day: date) -> DataFrame:
    """The dataset's columns with an identity of each row's own, so that it is a record to whoever reads the table.

    The id is made of the batch and the row's key, where the dataset has one, else of all its values and of how many
    alike come before: an attempt that makes the row again gives it the same.
    """
    from pyspark.sql import Window
    from pyspark.sql import functions as F
    from pyspark.sql.types import StringType

    narrow = rows.select(*dataset.names)
    schema = narrow.schema.add(f.RECORD_ID, StringType())
    found = narrow.mapInArrow(partial(_named, dataset.names, dataset.key, batch_id), schema)
    if not dataset.key or any(c.nullable for c in dataset.columns if c.name in dataset.key):
        alike = Window.partitionBy(f.RECORD_ID).orderBy(f.RECORD_ID)
        number = F.row_number().over(alike).cast("string")
        found = found.withColumn(f.RECORD_ID, F.concat(F.col(f.RECORD_ID), F.lit("-"), number))
    nothing = {f.SENDER: "string", f.SOURCE_FILE: "string", f.SOURCE_RECORD: "bigint"}
    told = {name: F.lit(None).cast(kind) for name, kind in nothing.items()}
    told |= {f.BUSINESS_DATE: F.lit(day.isoformat()).cast("date"), f.ARRIVAL: F.lit(arrival).cast("bigint")}
    return found.withColumns(told)


def _named(
    names: Sequence[str], key: Sequence[str], batch_id: str, batches: Iterable[pa.RecordBatch]
) -> Iterator[pa.RecordBatch]:
    for batch in batches:
        ids = []
        for row in batch.to_pylist():
            keyed = [row[name] for name in key]
            whole = bool(keyed) and None not in keyed
            ids.append(_digest(batch_id, keyed if whole else [row[name] for name in names]))
        columns = [*batch.columns, pa.array(ids, pa.string())]
        yield pa.RecordBatch.from_arrays(columns, [*batch.schema.names, f.RECORD_ID])


def _digest(batch_id: str, values: Sequence[object]) -> str:
    found = hashlib.sha256(batch_id.encode())
    for value in values:
        if isinstance(value, datetime) and value.tzinfo is not None:  # engines name the zone UTC otherwise
            value = value.astimezone(UTC).replace(tzinfo=None)
        text = "" if value is None else str(value)
        found.update(f"{'-' if value is None else len(text)}:{text}".encode())
    return found.hexdigest()[:32]
