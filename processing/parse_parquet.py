"""Rows of a Parquet file as the texts that a csv file would hold, so that one contract judges both alike."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pyarrow.types as pt

from processing.read_parse import Parsed, RecordCountError
from processing.scan_result import Range


def parse_group(path: str | Path, part: Range, names: Sequence[str], source_file: str) -> Parsed:
    """The rows of the row group `part.start`. RecordCountError names the file."""
    try:
        with pq.ParquetFile(path) as file:
            table = file.read_row_group(part.start, columns=list(names))
    except (pa.ArrowInvalid, OSError):
        # Arrow's message may quote the data.
        raise RecordCountError(f"{source_file}: records from {part.first_record} on cannot be read") from None
    if table.num_rows != part.records:
        raise RecordCountError(
            f"{source_file}: from record {part.first_record} on the parser found {table.num_rows} records, "
            f"the footer counts {part.records}"
        )
    arrays = [_texts(table[name]) for name in names]
    return Parsed(pa.RecordBatch.from_arrays(arrays, names=list(names)), ())


def row_texts(path: str | Path, part: Range, places: Any, names: Sequence[str]) -> list[bytes]:
    """Rows of a row group as JSON objects of texts, which is what their quarantine keeps."""
    columns = parse_group(path, part, names, "").columns.take(pa.array(places))
    return [
        json.dumps(dict(zip(names, row, strict=True)), ensure_ascii=False).encode()
        for row in zip(*(column.to_pylist() for column in columns.columns), strict=True)
    ]


def _texts(column: pa.ChunkedArray) -> pa.Array:
    array = column.combine_chunks()
    if isinstance(array, pa.ChunkedArray):
        array = array.chunk(0) if array.num_chunks else pa.array([], column.type)
    if pt.is_dictionary(array.type):
        array = array.dictionary_decode()
    kind = array.type
    if pt.is_nested(kind):
        return pa.array([None if value is None else _json(value) for value in array.to_pylist()], pa.string())
    if pt.is_floating(kind):
        return _doubles(pc.cast(array, pa.float64()))
    if pt.is_decimal(kind):
        return _plain(array)
    if pt.is_timestamp(kind) and kind.tz is not None:
        array = pc.cast(array, pa.timestamp(kind.unit, tz="UTC"))
    if pt.is_date64(kind):
        array = pc.cast(array, pa.date32())
    return pc.cast(array, pa.string())


def _doubles(array: pa.Array) -> pa.Array:
    """The shortest text that is read back as the same number; what is none says so and is no value of any type."""
    texts = pc.cast(array, pa.string())
    odd = ~np.isfinite(array.fill_null(0.0).to_numpy(zero_copy_only=False))
    return pc.if_else(pa.array(odd), "not a number", texts) if odd.any() else texts


def _plain(array: pa.Array) -> pa.Array:
    """Digits without an exponent, which Arrow writes for the smallest."""
    texts = pc.cast(array, pa.string())
    if pc.any(pc.match_substring(texts, "E"), min_count=0).as_py():
        texts = pa.array([None if v is None else format(v, "f") for v in array.to_pylist()], pa.string())
    return texts


def _json(value: Any) -> str:
    """A list or struct as JSON; what JSON has no kind for as the text that a single value of it would be."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"), default=_plain_text)


def _plain_text(value: Any) -> str:
    if isinstance(value, Decimal):
        return format(value, "f")
    if isinstance(value, date):  # a datetime is one too
        return value.isoformat()
    raise TypeError(f"a {type(value).__name__} inside a list or struct is no value of a contract")
