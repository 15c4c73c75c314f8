"""What stewards decided, laid over records as they are read: new texts for cells, records given up, and nothing else.

An overlay is an Arrow file of the staging folder, so that no value stands in a plan. Columns: `record` (bigint, the
number in its file, ascending) or `record_id` (string), `discard` (bool), and for each changed column F `set:F` (bool,
whether it changes here) and `new:F` (string, null for null).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import lru_cache
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.ipc

from pipeline_xml.types import DataType
from processing import frame as f
from processing.read_parse import Parsed
from processing.scan_result import Range
from processing.validate_errors import Entry, Found
from processing.validate_types import convert

RECORD = "record"
RECORD_ID = "record_id"
DISCARD = "discard"
SET, NEW = "set:", "new:"
GIVEN_UP = Entry("steward.discarded", None, "discarded", "a steward gave the record up")


def fields_of(changes: pa.Table) -> list[str]:
    """The columns that some record of the overlay changes."""
    return [name.removeprefix(SET) for name in changes.column_names if name.startswith(SET)]


def write_overlay(path: str, changes: pa.Table) -> None:
    with pa.OSFile(path, "wb") as out, pa.ipc.new_file(out, changes.schema) as writer:
        writer.write_table(changes.combine_chunks())


@lru_cache(maxsize=4)
def load_overlay(path: str) -> pa.Table:
    """Read once a process: a file has many ranges."""
    with pa.memory_map(path) as source, pa.ipc.open_file(source) as reader:
        return reader.read_all()


def of_range(path: str, part: Range) -> pa.Table:
    """The overlay's rows of the records of a range."""
    changes = load_overlay(path)
    numbers = changes[RECORD].to_numpy()
    low, high = np.searchsorted(numbers, [part.first_record, part.first_record + part.records])
    return changes.slice(int(low), int(high - low))


def places(changes: pa.Table, part: Range) -> Any:
    """Where in the range, from 0, the overlay's records stand."""
    return changes[RECORD].to_numpy() - part.first_record


def corrected(parsed: Parsed, changes: pa.Table, part: Range, null_values: Sequence[str]) -> Parsed:
    """The range with the new texts in place. A broken record that was given every column anew is broken no more."""
    at = places(changes, part)
    columns = parsed.columns
    broken = np.array([place for place, _ in parsed.broken], np.int64)
    names = columns.schema.names
    whole = _sets_all(changes, names) & np.isin(at, broken)
    sound = np.ones(part.records, bool)
    sound[broken] = False
    if whole.any():
        mended = sound.copy()
        mended[at[whole]] = True
        order = np.cumsum(sound) - 1
        chosen = np.flatnonzero(mended)
        take = pa.array(order[chosen], mask=~sound[chosen])
        columns = pa.RecordBatch.from_arrays([column.take(take) for column in columns.columns], schema=columns.schema)
        sound = mended
    row_of = np.cumsum(sound) - 1
    standing = sound[at]
    arrays = []
    for position, name in enumerate(names):
        column = columns.column(position)
        if SET + name in changes.column_names:
            column = _replaced(column, changes, name, row_of, at, standing, null_values)
        arrays.append(column)
    left = tuple((place, why) for place, why in parsed.broken if not sound[place])
    return replace(parsed, columns=pa.RecordBatch.from_arrays(arrays, schema=columns.schema), broken=left)


def _sets_all(changes: pa.Table, names: Sequence[str]) -> Any:
    found = np.ones(changes.num_rows, bool)
    for name in names:
        if SET + name not in changes.column_names:
            return np.zeros(changes.num_rows, bool)
        found &= _flags(changes, SET + name)
    return found


def _replaced(
    column: pa.Array, changes: pa.Table, name: str, row_of: Any, at: Any, standing: Any, null_values: Sequence[str]
) -> pa.Array:
    chosen = _flags(changes, SET + name) & standing
    if not chosen.any():
        return column
    mask = np.zeros(len(column), bool)
    mask[row_of[at[chosen]]] = True
    texts = changes[NEW + name].combine_chunks().filter(pa.array(chosen))
    if null_values:
        texts = pc.if_else(pc.is_in(texts, pa.array(null_values, pa.string()), skip_nulls=True), None, texts)
    return pc.replace_with_mask(column, pa.array(mask), texts)


def _flags(changes: pa.Table, name: str) -> Any:
    return changes[name].combine_chunks().fill_null(False).to_numpy(zero_copy_only=False)


def give_up(found: Found, changes: pa.Table, part: Range) -> None:
    """Adds the reason of the records that a steward discarded: no attempt accepts them."""
    found.add(GIVEN_UP, places(changes, part)[_flags(changes, DISCARD)])


def corrected_rows(rows: pa.RecordBatch, changes: pa.Table, types: Sequence[tuple[str, DataType]]) -> pa.RecordBatch:
    """Rows of a lake table with the new values in place, typed; with `_status` and `_errors`.

    A text that is no value of its column is null there, and a reason.
    """
    found = Found()
    at = pc.index_in(rows[f.RECORD_ID], value_set=changes[RECORD_ID].combine_chunks())
    touched = np.flatnonzero(at.is_valid().to_numpy(zero_copy_only=False))
    index = at.drop_null().to_numpy()
    arrays = dict(zip(rows.schema.names, rows.columns, strict=True))
    for name, kind in types if len(touched) else ():
        if SET + name not in changes.column_names:
            continue
        chosen = _flags(changes, SET + name)[index]
        texts = changes[NEW + name].combine_chunks().take(pa.array(index[chosen]))
        typed, wrong = convert(texts, kind)
        mask = np.zeros(rows.num_rows, bool)
        mask[touched[chosen]] = True
        arrays[name] = pc.replace_with_mask(arrays[name], pa.array(mask), typed.cast(arrays[name].type))
        found.add(Entry(f"contract.{name}.type", name, "type", f"{name} must be {kind}"), touched[chosen][wrong])
    found.add(GIVEN_UP, touched[_flags(changes, DISCARD)[index]] if len(touched) else touched)
    return pa.RecordBatch.from_arrays(
        [*arrays.values(), statuses(found, rows.num_rows), found.array(rows.num_rows)],
        names=[*arrays, f.STATUS, f.ERRORS],
    )


def statuses(found: Found, count: int) -> pa.Array:
    """`_status`: quarantined where there is a reason, else null."""
    broken = found.mask(count)
    status = pa.array(np.where(broken, 0, -1), mask=~broken).cast(pa.int32())
    return pa.array([f.QUARANTINED]).take(status)
