"""Rows of a lake table from the Parquet files of one snapshot, the same on both engines.

The engine is given files, not a table: the snapshot was chosen and pinned by whoever asks.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, TypeAlias

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from pipeline_xml.contract import Field
from pipeline_xml.types import DataType, parse_type
from processing import frame as f
from processing.arrow_types import arrow_type
from processing.overlay import corrected_rows, load_overlay
from processing.read import IDENTITY_TYPES
from processing.validate_types import convert

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

TableFile: TypeAlias = tuple[str, Mapping[str, str | None]]  # path, and its values of the partition columns
_ROWS = 65_536


class ColumnTypeError(Exception):
    """A column of a lake table does not hold what is expected of it."""


def read_lake_rows(
    session: Any, files: Sequence[TableFile], columns: Sequence[Field], overlay: str | None = None
) -> DataFrame:
    """The columns, IDENTITY as the upstream table has it, and `_status` and `_errors`, which are null.

    `overlay` is a file of corrections by record id: their reasons stand in those two.
    """
    from pyspark.sql import functions as F

    types = [(c.name, str(c.type)) for c in columns] + list(IDENTITY_TYPES.items())
    rows = read_table_columns(session, files, types, overlay)
    if overlay is not None:
        return rows
    return rows.withColumns({f.STATUS: F.lit(None).cast("string"), f.ERRORS: F.lit(None).cast(f.ERRORS_DDL)})


def read_table_columns(
    session: Any, files: Sequence[TableFile], columns: Sequence[tuple[str, str]], overlay: str | None = None
) -> DataFrame:
    """Columns as (name, type). One that a file lacks was added to the table later: null there.

    ColumnTypeError (inside the engine's own error) where a file's column cannot be cast without loss; it names both.
    """
    judged = [] if overlay is None else [(f.STATUS, "string"), (f.ERRORS, f.ERRORS_DDL)]
    ddl = ", ".join(f"`{name.replace('`', '``')}` {kind}" for name, kind in (*columns, *judged))
    types = tuple((name, parse_type(kind)) for name, kind in columns)
    ids = session.range(0, len(files), 1, max(1, min(len(files), os.cpu_count() or 1)))
    tasks = tuple((path, dict(values)) for path, values in files)
    rows: DataFrame = ids.mapInArrow(partial(_read_files, tasks, types, overlay), ddl)
    return rows


def _read_files(
    files: Sequence[TableFile],
    columns: Sequence[tuple[str, DataType]],
    overlay: str | None,
    batches: Iterable[pa.RecordBatch],
) -> Iterator[pa.RecordBatch]:
    changes = load_overlay(overlay) if overlay is not None else None
    for batch in batches:
        for index in batch.column(0).to_pylist():
            path, values = files[index]
            for rows in _read_file(path, values, columns):
                yield rows if changes is None else corrected_rows(rows, changes, columns)


def _read_file(
    path: str, values: Mapping[str, str | None], columns: Sequence[tuple[str, DataType]]
) -> Iterator[pa.RecordBatch]:
    schema = pa.schema([(name, arrow_type(kind)) for name, kind in columns])
    with pq.ParquetFile(path) as file:
        there = [name for name, _ in columns if name in file.schema_arrow.names and name not in values]
        for batch in file.iter_batches(_ROWS, columns=there):
            arrays = []
            for name, kind in columns:
                if name in values:
                    arrays.append(_constant(path, name, values[name], kind, batch.num_rows))
                elif name in there:
                    arrays.append(_cast(path, name, batch.column(batch.schema.get_field_index(name)), kind))
                else:
                    arrays.append(pa.nulls(batch.num_rows, arrow_type(kind)))
            yield pa.RecordBatch.from_arrays(arrays, schema=schema)


def _constant(path: str, name: str, value: str | None, kind: DataType, count: int) -> pa.Array:
    """A partition value; an empty one is null, as Delta writes it."""
    typed, wrong = convert(pa.array([value or None], pa.string()), kind)
    if len(wrong):
        raise ColumnTypeError(f"{path}: the partition value of column {name} is not a {kind}")
    return pa.repeat(typed[0], count)


def _cast(path: str, name: str, array: pa.Array, kind: DataType) -> pa.Array:
    try:
        return pc.cast(array, arrow_type(kind))
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
        # Arrow's message may quote a value.
        raise ColumnTypeError(f"{path}: column {name} is {array.type}, which is no {kind}") from None
