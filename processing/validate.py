"""Text columns in, typed columns and every reason against each record out: the contract, applied in Arrow.

    typed, found = validate(batch, contract, source.null_values)

Clean columns cost little: a constraint is first asked of the whole column, and rows are looked for only where it fails.
A cell that breaks something is null in the typed column if its type is wrong, else it keeps its value.
"""

from __future__ import annotations

from collections.abc import Sequence
from decimal import ROUND_CEILING, ROUND_FLOOR, Context, Decimal
from functools import lru_cache
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipeline_xml.contract import Constraints, Contract, Field
from pipeline_xml.expressions.patterns import portable_pattern
from pipeline_xml.types import DataType
from processing.arrow_types import arrow_type
from processing.validate_cell import describe
from processing.validate_errors import Entry, Found
from processing.validate_nested import judge_nested
from processing.validate_types import Mask, Rows, convert, nulled, rows_of, valid_mask, whole


def validate(
    batch: pa.RecordBatch, contract: Contract, null_values: Sequence[str] = ("",), nul_bytes: bool = True
) -> tuple[list[pa.Array], Found]:
    """The contract's columns (`contract.columns`) in order, and what is wrong with which row.

    `batch` holds string columns by field name; a field without a column is null in every row. `null_values` are the
    texts that mean null, () where that was done before. `nul_bytes` False: it is known that there are none.
    """
    found = Found()
    typed: list[pa.Array] = []
    for field in contract.fields:
        place = batch.schema.get_field_index(field.name)
        text = whole(batch.column(place)) if place >= 0 else pa.nulls(batch.num_rows, pa.string())
        typed += _field(text, field, null_values, nul_bytes, found)
    return typed, found


def _field(
    text: pa.StringArray, field: Field, null_values: Sequence[str], nul_bytes: bool, found: Found
) -> list[pa.Array]:
    if null_values:
        text = nulled(text, _members(text, null_values))
    refused: Rows = np.empty(0, np.int64)
    if nul_bytes:
        refused = _true(pc.match_substring(text, "\0"))
        found.add(_entry(field, "nul_byte", "must not hold a NUL byte"), refused)
    if not field.nullable and text.null_count:
        found.add(_entry(field, "required", "is required and must not be empty"), rows_of(~valid_mask(text)))
    text = nulled(text, refused)
    if field.nested is not None:
        judge_nested(text, field, field.nested, found, lambda inside, each, of: _inside(inside, each, nul_bytes, of))
        return [text]
    codes: list[pa.Array] = []
    if field.codes:
        coded = _members(text, field.codes)
        codes = [_only(text, coded)]
        text = nulled(text, coded)
    typed, wrong = convert(text, field.type, field.format)
    found.add(_entry(field, "type", f"must be {describe(field.type, field.format)}"), wrong)
    if field.constraints != _NONE:
        _constraints(nulled(text, wrong), typed, field, found)
    return [typed, *codes]


def _inside(text: pa.StringArray, field: Field, nul_bytes: bool, found: Found) -> None:
    """Reasons alone, of a field in a list or an object."""
    _field(text, field, (), nul_bytes, found)


_NONE = Constraints()


def _constraints(text: pa.StringArray, typed: pa.Array, field: Field, found: Found) -> None:
    """Enumerations, patterns and lengths are of the text as written, limits of the value. Null breaks none."""
    rules = field.constraints
    if rules.enum:
        valid = rules.enum if len(rules.enum) <= 20 else (*rules.enum[:20], "…")
        message = f"must be one of {', '.join(valid)}"
        found.add(_entry(field, "enum", message), _others(text, rules.enum))
    if rules.pattern is not None:
        kept = pc.match_substring_regex(text, portable_pattern(rules.pattern))
        found.add(_entry(field, "pattern", f"must match {rules.pattern}"), _false(kept))
    if rules.min_length is not None or rules.max_length is not None:
        _lengths(text, field, found)
    if field.type.numeric:
        for code, limit, words in (
            ("minimum", rules.minimum, "at least"),
            ("maximum", rules.maximum, "at most"),
            ("exclusiveMinimum", rules.exclusive_minimum, "more than"),
            ("exclusiveMaximum", rules.exclusive_maximum, "less than"),
        ):
            if limit is not None:
                found.add(_entry(field, code, f"must be {words} {limit:f}"), _beyond(typed, field.type, code, limit))


def _lengths(text: pa.StringArray, field: Field, found: Found) -> None:
    low, high = field.constraints.min_length, field.constraints.max_length
    extent = pc.min_max(pc.binary_length(text))
    if not extent["min"].is_valid:
        return
    # A code point has one to four bytes, so most columns are settled by their bytes.
    if (low is None or extent["min"].as_py() >= 4 * low) and (high is None or extent["max"].as_py() <= high):
        return
    lengths = pc.utf8_length(text)
    if low is not None:
        rows = _false(pc.greater_equal(lengths, low))
        found.add(_entry(field, "minLength", f"must have at least {low} characters"), rows)
    if high is not None:
        rows = _false(pc.less_equal(lengths, high))
        found.add(_entry(field, "maxLength", f"must have at most {high} characters"), rows)


def _beyond(typed: pa.Array, data_type: DataType, code: str, limit: Decimal) -> Rows:
    """The rows on the wrong side of the limit; a look at the least or greatest value settles most columns."""
    from_below = code in ("minimum", "exclusiveMinimum")
    extreme = pc.min_max(typed)["min" if from_below else "max"]
    # A limit such as 0.1 on a double is the double nearest to it, which is what 0.1 in a cell becomes.
    exact = float(limit) if data_type.kind == "double" else limit
    if not extreme.is_valid or _keeps(extreme.as_py(), code, exact):
        return np.empty(0, np.int64)
    bound, strict = _bound(data_type, code, limit)
    if bound is None:
        return rows_of(valid_mask(typed))
    if from_below:
        return _true((pc.less_equal if strict else pc.less)(typed, bound))
    return _true((pc.greater_equal if strict else pc.greater)(typed, bound))


def _keeps(value: Any, code: str, limit: Decimal | float) -> bool:
    match code:
        case "minimum":
            return bool(value >= limit)
        case "maximum":
            return bool(value <= limit)
        case "exclusiveMinimum":
            return bool(value > limit)
        case _:
            return bool(value < limit)


@lru_cache(maxsize=1024)
def _bound(data_type: DataType, code: str, limit: Decimal) -> tuple[pa.Scalar | None, bool]:
    """The limit as a value of the type and whether it is itself forbidden; None where every value is beyond it."""
    if data_type.kind == "double":
        return pa.scalar(float(limit)), code.startswith("exclusive")
    from_below = code in ("minimum", "exclusiveMinimum")
    step = Decimal(1).scaleb(-data_type.scale)
    nearest = limit.quantize(step, ROUND_CEILING if from_below else ROUND_FLOOR, Context(prec=400))
    # 2.5 as a minimum of whole numbers is 3, which is allowed, exclusive or not.
    strict = code.startswith("exclusive") and nearest == limit
    try:
        value = nearest if data_type.kind == "decimal" else int(nearest)
        return pa.scalar(value, arrow_type(data_type)), strict
    except (pa.ArrowInvalid, OverflowError):
        return None, strict  # beyond what the type can hold, and a value was found on the wrong side


def _members(text: pa.StringArray, values: Sequence[str]) -> Rows:
    return _true(pc.is_in(text, pa.array(values, pa.string()), skip_nulls=True))


def _others(text: pa.StringArray, values: Sequence[str]) -> Rows:
    members = pc.is_in(text, pa.array(values, pa.string()), skip_nulls=True)
    if members.true_count == len(text) - text.null_count:
        return np.empty(0, np.int64)
    return rows_of(valid_mask(text) & ~_mask(members))


def _only(text: pa.StringArray, rows: Rows) -> pa.Array:
    """The text of these rows, null elsewhere."""
    if not len(rows):
        return pa.nulls(len(text), pa.string())
    keep = np.ones(len(text), bool)
    keep[rows] = False
    return nulled(text, rows_of(keep))


def _true(mask: pa.BooleanArray) -> Rows:
    return np.empty(0, np.int64) if not mask.true_count else rows_of(_mask(mask))


def _false(mask: pa.BooleanArray) -> Rows:
    return np.empty(0, np.int64) if not mask.false_count else rows_of(~_mask(mask.fill_null(True)))


def _mask(mask: pa.BooleanArray) -> Mask:
    out: Mask = mask.fill_null(False).to_numpy(zero_copy_only=False)
    return out


def _entry(field: Field, constraint: str, message: str) -> Entry:
    coded = field.codes and constraint not in ("nul_byte", "required")
    either = f", or one of the codes {', '.join(field.codes)}" if coded else ""
    return Entry(f"contract.{field.name}.{constraint}", field.name, constraint, f"{field.name} {message}{either}")
