"""New values for many records by expressions of the language, computed by the engine.

    set        amount = abs(amount)                 over the typed columns of the driving source
    where      raw_amount = '12,5' or country = 'DE'

Cells are those of the file, or as they were last corrected where that failed again. One that is no value of its
column's type is null in these columns; `raw_<column>` is its text. An expression that gives text sets the cell as a
file would hold it. Where one gives null, the cell stays as it is.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipeline_xml.checked import CheckedPipeline
from pipeline_xml.contract import Field
from pipeline_xml.expressions import Expression
from pipeline_xml.expressions.compile import compile_condition, compile_expression
from pipeline_xml.location import Location
from pipeline_xml.problems import Problems
from pipeline_xml.types import STRING, DataType
from publishing.lake import Lake
from publishing.private_folder import private_folder
from stewardship.cell_texts import as_texts, must_be, nulled, typed, unfit
from stewardship.corrected_cells import Corrected
from stewardship.new_values import change_columns, changed_only, known_columns
from stewardship.payloads import CELL, Payloads, fields, null_values
from stewardship.refused import Problem, Refused, Unfit

RAW = "raw_"
FOLDER = "corrections"  # below the staging folder, which is private
ROW = "_row"


@dataclass(frozen=True, slots=True)
class Bulk:
    """Compiled: an expression a column and, perhaps, a condition. `needed`: the fields whose cells are read."""

    sets: Mapping[str, Expression]
    where: Expression | None
    needed: tuple[Field, ...]


@dataclass(frozen=True, slots=True)
class Computed:
    """`changes` as of new_values.changes_of. `matched`: records under the condition; `without`: those that got null;
    `ragged`: those whose cells belong to no column, which are given whole by hand.
    """

    changes: Any
    matched: int
    without: int
    ragged: int
    problems: tuple[Problem, ...]


def compile_bulk(pipeline: CheckedPipeline, sets: Mapping[str, str], where: str | None) -> Bulk:
    """Unfit with everything that is wrong with the expressions."""
    known = {field.name: field for field in fields(pipeline)}
    scope = scope_of(pipeline)
    problems: list[tuple[str, tuple[str, ...]]] = [(p.message, ()) for p in known_columns(pipeline, sets)]
    compiled: dict[str, Expression] = {}
    for name, text in sets.items():
        found = Problems()
        at = Location(f"--set {name}")
        expression = compile_expression(text, scope, at, found)
        if expression is not None and name in known and expression.type not in (known[name].type, STRING):
            expression = compile_expression(f"cast(({text}) as {known[name].type})", scope, at, found)
        if expression is not None:
            compiled[name] = expression
        problems += [(f"{at.file}: {p.message}{'; ' + p.hint if p.hint else ''}", p.valid) for p in found.errors]
    condition = None
    if where is not None:
        found = Problems()
        condition = compile_condition(where, scope, Location("--where"), found)
        problems += [(f"--where: {p.message}{'; ' + p.hint if p.hint else ''}", p.valid) for p in found.errors]
    if problems:
        told = (f"{message}; valid: {', '.join(valid)}" if valid else message for message, valid in problems)
        raise Unfit([Problem(None, text) for text in told])
    read = {name for e in (*compiled.values(), *([condition] if condition else [])) for name in e.columns}
    return Bulk(compiled, condition, tuple(f for f in fields(pipeline) if f.name in compiled or _reads(f, read)))


def scope_of(pipeline: CheckedPipeline) -> dict[str, DataType]:
    """The columns that an expression may use; a contract's own column goes before `raw_<column>`."""
    texts = {RAW + field.name: STRING for field in fields(pipeline)}
    contract = pipeline.driving.contract
    return texts | {column.name: column.seen for column in contract.columns}


def _reads(field: Field, columns: set[str]) -> bool:
    return bool({field.name, field.code_column, RAW + field.name} & columns)


def compute(lake: Lake, pipeline: CheckedPipeline, bulk: Bulk, entries: Iterator[Any]) -> Computed:
    """The changes for these entries (Arrow tables of SEALED), evaluated by the engine.

    Over a file of the staging folder: the values of a frame made from memory would stand in the plan.
    """
    import numpy as np
    import pyarrow as pa
    import pyarrow.compute as pc

    with private_folder(lake.staged, lake.staged / FOLDER / uuid.uuid4().hex) as folder:
        kept, ragged = _write_cells(lake, pipeline, bulk, entries, folder / "cells.parquet")
        if kept.num_rows == 0:
            return Computed(changed_only(kept), 0, 0, 0, ())
        found = _evaluated(lake, bulk, folder / "cells.parquet")
    records = kept["record_id"].combine_chunks()
    matched = np.ones(kept.num_rows, bool) if bulk.where is None else _true(found["where"])
    odd = _true(pc.is_in(records, value_set=pa.array(sorted(ragged), pa.string()))) & matched
    problems: list[Problem] = []
    columns: dict[str, Any] = {"record_id": records, "batch_id": kept["batch_id"]}
    without = np.zeros(kept.num_rows, bool)
    for field in (field for field in bulk.needed if field.name in bulk.sets):
        values = found["value:" + field.name].combine_chunks()
        reasons = found["problem:" + field.name].combine_chunks()
        broken = _true(reasons.is_valid()) & matched & ~odd
        for at in np.flatnonzero(broken):
            problems.append(Problem(records[at].as_py(), f"{field.name} cannot be computed: {reasons[at].as_py()}"))
        there = _true(values.is_valid()) & matched & ~odd
        without |= matched & ~there & ~broken & ~odd
        as_text = bulk.sets[field.name].type == STRING
        texts = values.cast(pa.string()) if as_text else as_texts(values, field)
        texts = pc.if_else(pa.array(there), texts, pa.scalar(None, pa.string()))
        texts = nulled(texts, null_values(pipeline))
        wrong = np.flatnonzero(unfit(pipeline, field, texts))
        problems += [Problem(records[at].as_py(), must_be(field)) for at in wrong]
        columns |= change_columns(field.name, there, texts, kept[CELL + field.name], np.zeros(kept.num_rows, bool))
    return Computed(
        changes=changed_only(pa.table(columns)),
        matched=int(matched.sum()),
        without=int(without.sum()),
        ragged=int(odd.sum()),
        problems=tuple(problems),
    )


def matching(lake: Lake, pipeline: CheckedPipeline, where: str, entries: Iterator[Any]) -> Any:
    """`record_id` and `batch_id` of the entries under the condition, as an Arrow table; Unfit where it is none."""
    import pyarrow as pa

    compiled = compile_bulk(pipeline, {}, where)
    with private_folder(lake.staged, lake.staged / FOLDER / uuid.uuid4().hex) as folder:
        kept, _ = _write_cells(lake, pipeline, compiled, entries, folder / "cells.parquet")
        if kept.num_rows == 0:
            return kept
        found = _evaluated(lake, compiled, folder / "cells.parquet")
    return kept.filter(pa.array(_true(found["where"])))


def _true(flags: Any) -> Any:
    """A numpy mask of an Arrow column of booleans; null is false."""
    import pyarrow as pa

    whole = flags.combine_chunks() if isinstance(flags, pa.ChunkedArray) else flags
    return whole.fill_null(False).to_numpy(zero_copy_only=False)


def _write_cells(
    lake: Lake, pipeline: CheckedPipeline, bulk: Bulk, entries: Iterator[Any], path: Path
) -> tuple[Any, set[str]]:
    """Writes what the expressions read; returns ids and the cells that will change, and the ids of ragged records."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    payloads, corrected = Payloads(lake, pipeline), Corrected(lake, pipeline)
    used = {name for e in (*bulk.sets.values(), *([bulk.where] if bulk.where else [])) for name in e.columns}
    read = tuple(field for field in bulk.needed if {field.name, field.code_column} & used)  # as values, not as texts
    names = ["record_id", "batch_id", *(CELL + field.name for field in bulk.needed if field.name in bulk.sets)]
    kept: list[Any] = []
    ragged: set[str] = set()
    row = 0
    writer = None
    try:
        for part in entries:
            cells = corrected.over(payloads.cells(part, bulk.needed))
            texts = [cells.rows[CELL + field.name].combine_chunks() for field in bulk.needed]
            raw = pa.RecordBatch.from_arrays(texts, names=[field.name for field in bulk.needed])
            columns: dict[str, Any] = {RAW + field.name: text for field, text in zip(bulk.needed, texts, strict=True)}
            if read:
                columns |= typed(pipeline, read, raw.select([field.name for field in read]))
            columns[ROW] = pa.array(range(row, row + raw.num_rows), pa.int64())
            table = pa.table(columns)
            if writer is None:
                writer = pq.ParquetWriter(path, table.schema, compression="snappy")
            writer.write_table(table)
            kept.append(cells.rows.select(names))
            ragged |= cells.ragged
            row += raw.num_rows
    finally:
        if writer is not None:
            writer.close()
    empty = pa.table({name: pa.array([], pa.string()) for name in names})
    return pa.concat_tables(kept).combine_chunks() if kept else empty, ragged


def _evaluated(lake: Lake, bulk: Bulk, path: Path) -> Any:
    """`where`, and `value:` and `problem:` of each column, in the order of the rows written."""
    from pyspark.sql import functions as F

    from processing.emit import Emitted, UnboundValue, emit

    def emitted(expression: Expression) -> Emitted:
        try:
            return emit(expression, lambda _dataset, column: F.col(f"`{column}`"))
        except UnboundValue as error:
            raise Refused(f"a correction belongs to no run, so it cannot use {str(error).split()[0]}") from error

    rows = lake.engine.session.read.parquet(str(path))
    chosen = [F.col(ROW)]
    for name, expression in bulk.sets.items():
        found = emitted(expression)
        problem = found.problem if found.problem is not None else F.lit(None)
        chosen += [found.value.alias("value:" + name), problem.cast("string").alias("problem:" + name)]
    if bulk.where is not None:
        chosen.append(emitted(bulk.where).value.alias("where"))
    return rows.select(*chosen).toArrow().sort_by(ROW)
