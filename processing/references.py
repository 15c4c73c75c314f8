"""Reference tables: a small CSV with a contract beside it, loaded whole and valid, or not at all.

    ReferenceBroken         every problem of the file at once, each with its record
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv

from pipeline_xml.checked import Reference
from pipeline_xml.contract import Constraints, Field
from processing.arrow_types import arrow_type
from processing.validate_cell import describe
from processing.validate_types import convert

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

MOST = 20  # problems told of one kind; the rest is counted


class ReferenceBroken(Exception):
    """A reference table that cannot be used. `problems` are sentences without any value of the file."""

    def __init__(self, reference: Reference, problems: Sequence[str]) -> None:
        self.problems = tuple(problems)
        lines = "\n".join(f"  {problem}" for problem in self.problems)
        super().__init__(f"reference table '{reference.id}' ({reference.path}) cannot be used:\n{lines}")


def read_reference(reference: Reference, session: Any, keys: Sequence[str] = ()) -> DataFrame:
    """The reference table as a typed frame of its contract's columns."""
    frame: DataFrame = session.createDataFrame(load_reference(reference, keys))
    return frame


def load_reference(reference: Reference, keys: Sequence[str] = ()) -> pa.Table:
    """The table typed by its contract, unique on the contract's primary key and on `keys`; ReferenceBroken if not."""
    text = _read(reference)
    problems: list[str] = []
    columns: dict[str, pa.Array] = {}
    for field in reference.contract.fields:
        columns |= _typed(field, text.column(field.name).combine_chunks(), problems)
    table = pa.table(columns)
    for key in dict.fromkeys((tuple(reference.contract.primary_key), tuple(keys))):
        problems += _repeated(table, key)
    if problems:
        raise ReferenceBroken(reference, problems)
    return table


def _read(reference: Reference) -> pa.Table:
    """All cells as text. Records count from 1, without the header."""
    expected = [field.name for field in reference.contract.fields]
    ragged: list[str] = []

    def refuse(row: Any) -> str:
        ragged.append(f"record {row.number - 1} has {row.actual_columns} fields instead of {row.expected_columns}")
        return "skip"

    try:
        table = pyarrow.csv.read_csv(
            reference.path,
            # one thread, or the rows refused would not know their number
            read_options=pyarrow.csv.ReadOptions(use_threads=False),
            parse_options=pyarrow.csv.ParseOptions(newlines_in_values=True, invalid_row_handler=refuse),
            convert_options=pyarrow.csv.ConvertOptions(
                column_types=dict.fromkeys(expected, pa.string()), strings_can_be_null=True, null_values=[""],
                quoted_strings_can_be_null=True,
            ),
        )  # fmt: skip
    except OSError as error:
        absent = isinstance(error, FileNotFoundError)
        reason = "does not exist" if absent else f"cannot be read ({type(error).__name__})"
        raise ReferenceBroken(reference, [f"the file {reason}"]) from None
    except pa.ArrowInvalid as error:
        # not the words of the parser: they may quote the file
        problem = f"it is not a comma-separated UTF-8 file with a header ({_kind(error)})"
        raise ReferenceBroken(reference, [problem]) from None
    problems = [*_wrong_header(expected, table.column_names), *_few(ragged)]
    if problems:
        raise ReferenceBroken(reference, problems)
    return table


def _kind(error: pa.ArrowInvalid) -> str:
    told = str(error)
    return "it is empty" if "Empty" in told else "not UTF-8" if "UTF8" in told else "it cannot be parsed"


def _wrong_header(expected: Sequence[str], found: Sequence[str]) -> list[str]:
    problems = []
    if missing := [name for name in expected if name not in found]:
        problems.append(f"the header lacks {', '.join(missing)}; the contract has {', '.join(expected)}")
    if unknown := [name for name in found if name not in expected]:
        problems.append(f"the header has {len(unknown)} columns that the contract lacks: {', '.join(unknown)}")
    if len(set(found)) != len(found):
        problems.append("the header names a column twice")
    return problems


def _typed(field: Field, text: pa.Array, problems: list[str]) -> dict[str, pa.Array]:
    columns: dict[str, pa.Array] = {}
    if field.codes:
        is_code = pc.is_in(text, pa.array(field.codes, pa.string()))
        columns[field.code_column] = pc.if_else(is_code, text, pa.scalar(None, pa.string()))
        text = pc.if_else(is_code, pa.scalar(None, pa.string()), text)
    typed, wrong = convert(text, field.type, field.format)
    problems += _at(field, wrong.tolist(), f"must be {describe(field.type, field.format)}")
    if not field.nullable:
        absent = pc.and_(pc.is_null(text), pc.is_null(columns.get(field.code_column, text)))
        problems += _at(field, _true(absent), "must not be empty")
    problems += _constrained(field, text, typed)
    return {field.name: typed.cast(arrow_type(field.type)), **columns}


def _constrained(field: Field, text: pa.Array, typed: pa.Array) -> list[str]:
    rules: Constraints = field.constraints
    problems: list[str] = []
    if rules.enum:
        allowed = pa.array(rules.enum, pa.string())
        problems += _at(field, _true(pc.invert(pc.is_in(text, allowed, skip_nulls=True)), text), "is not in its enum")
    if rules.pattern is not None:
        matches = pc.match_substring_regex(text, rules.pattern)
        problems += _at(field, _true(pc.invert(matches)), "does not match its pattern")
    limits: tuple[tuple[Decimal | None, str, str], ...] = (
        (rules.minimum, "less", "is below its minimum"),
        (rules.maximum, "greater", "is above its maximum"),
        (rules.exclusive_minimum, "less_equal", "is not above its exclusive minimum"),
        (rules.exclusive_maximum, "greater_equal", "is not below its exclusive maximum"),
    )
    for limit, comparison, message in limits:
        if limit is not None and field.type.numeric:
            wide = typed if field.type.kind in ("double", "decimal") else typed.cast(pa.int64())
            broken = pc.call_function(comparison, [wide, pa.scalar(_like(limit, field))])
            problems += _at(field, _true(broken), message)
    if rules.min_length is not None:
        problems += _at(field, _true(pc.less(pc.utf8_length(text), rules.min_length)), "is too short")
    if rules.max_length is not None:
        problems += _at(field, _true(pc.greater(pc.utf8_length(text), rules.max_length)), "is too long")
    return problems


def _like(limit: Decimal, field: Field) -> Decimal | float:
    return float(limit) if field.type.kind in ("double", "int", "bigint") else limit


def _true(mask: pa.Array, unless_null: pa.Array | None = None) -> list[int]:
    """Positions where the mask is true; where `unless_null` is null, never."""
    mask = pc.fill_null(mask, False)
    if unless_null is not None:
        mask = pc.and_(mask, pc.is_valid(unless_null))
    positions: list[int] = pc.indices_nonzero(mask).to_pylist()
    return positions


def _at(field: Field, rows: Iterable[int], message: str) -> list[str]:
    records = [str(row + 1) for row in rows]
    return [f"column '{field.name}' {message}: {_records(records)}"] if records else []


def _repeated(table: pa.Table, key: tuple[str, ...]) -> list[str]:
    """One sentence a key that occurs twice, by record numbers: the key itself may be personal."""
    if not key or table.num_rows == 0:
        return []
    problems = []
    for name in key:
        if empty := _true(pc.is_null(table[name]).combine_chunks()):
            problems.append(f"key column '{name}' must not be empty: {_records([str(row + 1) for row in empty])}")
    numbered = table.select(list(key)).append_column("_record", pa.array(range(1, table.num_rows + 1)))
    grouped = numbered.group_by(list(key), use_threads=False).aggregate([("_record", "list"), ("_record", "count")])
    repeated = grouped.filter(pc.greater(grouped["_record_count"], 1))["_record_list"].to_pylist()
    named = ", ".join(key)
    sentences = [f"the key ({named}) occurs more than once: {_records([str(r) for r in rows])}" for rows in repeated]
    return problems + _few(sentences)


def _records(records: Sequence[str]) -> str:
    shown = ", ".join(records[:MOST])
    rest = f" and {len(records) - MOST} more" if len(records) > MOST else ""
    return f"record{'s' if len(records) > 1 else ''} {shown}{rest}"


def _few(sentences: Sequence[str]) -> list[str]:
    rest = [f"… and {len(sentences) - MOST} more of this kind"] if len(sentences) > MOST else []
    return [*sentences[:MOST], *rest]
