"""New values named record by record: from a command, or from a CSV file. All that is wrong with them at once."""

from __future__ import annotations

import csv
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipeline_xml.checked import CheckedPipeline
from pipeline_xml.problems import nearest
from stewardship.cell_texts import must_be, nulled, unfit
from stewardship.payloads import CELL, Cells, fields, null_values
from stewardship.quarantine import NEW, SET, WAS
from stewardship.refused import Problem, Refused

RECORD_ID = "record_id"
LONG = [RECORD_ID, "column", "value"]
BESIDE = (RECORD_ID, "source_file", "source_record", "rules")  # what an exported file says beside the columns
PLAIN = "value:"  # before a column that is named like one of those
Values = Mapping[str, Mapping[str, str | None]]  # {record id: {column: new text, None for null}}


@dataclass(frozen=True, slots=True)
class Named:
    """New texts by record and column; `problems` is what reading them found."""

    values: Values
    problems: tuple[Problem, ...] = ()


def header_name(column: str) -> str:
    """The column's name in the header of an exported file."""
    return f"{PLAIN}{column}" if column in BESIDE or column.startswith(PLAIN) else column


def read_values(path: Path) -> Named:
    """A CSV file (UTF-8) of `record_id,column,value`, or of `record_id` and columns; Refused where it is neither."""
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            rows = csv.reader(file, strict=True)
            header = next(rows, [])
            if RECORD_ID not in header:
                raise Refused(f"{path.name}: its first line names no column {RECORD_ID}; valid: {','.join(LONG)}, or "
                              f"{RECORD_ID} and the columns that change")  # fmt: skip
            if twice := sorted({name for name in header if header.count(name) > 1}):
                raise Refused(f"{path.name}: its first line names {', '.join(twice)} more than once")
            numbered = ((rows.line_num, row) for row in rows if row)
            return _long(numbered) if sorted(header) == sorted(LONG) else _wide(header, numbered)
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        why = error.strerror if isinstance(error, OSError) else type(error).__name__
        raise Refused(f"{path.name} cannot be read as CSV in UTF-8: {why}") from error


def _long(rows: Iterable[tuple[int, list[str]]]) -> Named:
    values: dict[str, dict[str, str | None]] = {}
    problems = []
    for line, row in rows:
        if len(row) != len(LONG):
            problems.append(Problem(None, f"line {line} has {len(row)} cells; it must have {len(LONG)}"))
            continue
        cells = values.setdefault(row[0], {})
        if row[1] in cells:
            problems.append(Problem(row[0], "has a column with two values"))
        cells[row[1]] = row[2]
    return Named(values, tuple(problems))


def _wide(header: Sequence[str], rows: Iterable[tuple[int, list[str]]]) -> Named:
    at = header.index(RECORD_ID)
    columns = [(i, name.removeprefix(PLAIN)) for i, name in enumerate(header) if name not in BESIDE]
    values: dict[str, dict[str, str | None]] = {}
    problems = []
    for line, row in rows:
        if len(row) != len(header):
            problems.append(Problem(None, f"line {line} has {len(row)} cells; its header has {len(header)}"))
        elif row[at] in values:
            problems.append(Problem(row[at], "stands in two lines"))
        else:
            values[row[at]] = {name: row[i] for i, name in columns}
    return Named(values, tuple(problems))


def known_columns(pipeline: CheckedPipeline, columns: Iterable[str]) -> list[Problem]:
    """A problem for each column that a correction cannot name."""
    valid = [field.name for field in fields(pipeline)]
    problems = []
    for name in columns:
        if name not in valid:
            close = nearest(name, valid)
            guess = f" Did you mean {close}?" if close else ""
            problems.append(Problem(None, f"unknown column '{name}';{guess} valid: {', '.join(valid)}"))
    return problems


def changes_of(
    pipeline: CheckedPipeline, values: Values, cells: Cells, corrected: Collection[str] = ()
) -> tuple[Any, list[Problem]]:
    """(changes, problems): an Arrow table of `record_id`, `batch_id` and set, new and was of each column.

    A record all of whose cells stay as they are is left out. Of records that were `corrected` before, what is named is
    set also where it is as the file had it: the earlier correction would stay over it.
    """
    import numpy as np
    import pyarrow as pa

    chosen = [field for field in fields(pipeline) if any(field.name in named for named in values.values())]
    records = cells.rows["record_id"].to_pylist()
    problems = [
        Problem(record, "has another number of cells than columns: give every column of it")
        for record in sorted(cells.ragged)
        if len(set(values[record]) & {field.name for field in fields(pipeline)}) < len(fields(pipeline))
    ]
    columns: dict[str, Any] = {"record_id": cells.rows["record_id"], "batch_id": cells.rows["batch_id"]}
    whole = np.array([record in cells.ragged or record in corrected for record in records], bool)
    for field in chosen:
        named = np.array([field.name in values[record] for record in records], bool)
        texts = nulled(pa.array([values[record].get(field.name) for record in records], pa.string()),
                       null_values(pipeline))  # fmt: skip
        problems += [Problem(records[at], must_be(field)) for at in np.flatnonzero(unfit(pipeline, field, texts))]
        columns |= change_columns(field.name, named, texts, cells.rows[CELL + field.name], whole)
    return changed_only(pa.table(columns)), problems


def change_columns(name: str, named: Any, new: Any, was: Any, whole: Any) -> dict[str, Any]:
    """set, new and was of a column. What stays as it is, is not set, but in records that are given as a `whole`."""
    import pyarrow as pa
    import pyarrow.compute as pc

    was = was.combine_chunks() if isinstance(was, pa.ChunkedArray) else was
    new = new.combine_chunks() if isinstance(new, pa.ChunkedArray) else new
    same = pc.if_else(pc.or_(new.is_null(), was.is_null()), pc.and_(new.is_null(), was.is_null()), pc.equal(new, was))
    moved = named & (~same.to_numpy(zero_copy_only=False) | whole)
    nothing = pa.scalar(None, pa.string())
    flags = pa.array(moved)
    return {SET + name: flags, NEW + name: pc.if_else(flags, new, nothing), WAS + name: pc.if_else(flags, was, nothing)}


def changed_only(changes: Any) -> Any:
    """The rows in which something is set, and the columns that are set somewhere."""
    import pyarrow as pa
    import pyarrow.compute as pc

    names = [c.removeprefix(SET) for c in changes.column_names if c.startswith(SET)]
    used = [name for name in names if pc.any(changes[SET + name], min_count=0).as_py()]
    kept = changes.select(["record_id", "batch_id", *(part + name for name in used for part in (SET, NEW, WAS))])
    if not used:
        return kept.slice(0, 0)
    mask = kept[SET + used[0]]
    for name in used[1:]:
        mask = pc.or_(mask, kept[SET + name])
    return kept.filter(mask) if pc.any(pa.chunked_array([pc.invert(c) for c in mask.chunks])).as_py() else kept
