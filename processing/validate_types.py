"""From the text of a column to typed values: exact, ASCII only, and the same on every engine, as no engine does it.

`processing.validate_cell` defines each type for one cell; here it is done for whole columns: cells whose bytes are all
of the type's alphabet are converted at once, the others one by one. A property test holds the two to each other.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from pipeline_xml.types import DataType
from processing.arrow_types import arrow_type
from processing.validate_cell import parse
from processing.validate_dates import from_layout, layout_of

Rows: TypeAlias = npt.NDArray[np.int64]
Mask: TypeAlias = npt.NDArray[np.bool_]

NO_ROWS: Rows = np.empty(0, np.int64)
_FIRST_MICROS = -62_135_596_800_000_000  # 0001-01-01T00:00:00Z
_LAST_MICROS = 253_402_300_799_999_999  # 9999-12-31T23:59:59.999999Z
_FIRST_DAY = -719_162
_CHARACTERS = {
    "int": b"0123456789-",
    "bigint": b"0123456789-",
    "decimal": b"0123456789-.",
    "double": b"0123456789-+.eE",
    "date": b"0123456789-",
    "timestamp": b"0123456789-+:.TZ ",
}
_TABLES = {kind: np.isin(np.arange(256), list(chars), invert=True) for kind, chars in _CHARACTERS.items()}

# What every text that `validate_cell.parse` takes looks like; not all that looks so is taken.
_POSSIBLE = {
    "int": r"^[+-]?[0-9]+$",
    "bigint": r"^[+-]?[0-9]+$",
    "decimal": r"^[+-]?0*[0-9]{{0,{whole}}}(\.[0-9]{{0,{scale}}}0*)?$",
    "double": r"^[+-]?[0-9]*\.?[0-9]*([eE][+-]?[0-9]+)?$",
    "date": r"^[0-9]{4}-[01][0-9]-[0-3][0-9]$",
    "timestamp": r"^[0-9]{4}-[01][0-9]-[0-3][0-9]([ T][0-9:.]+(Z|[+-][0-9:]+)?)?$",
}


def convert(text: pa.StringArray, data_type: DataType, layout: str | None = None) -> tuple[pa.Array, Rows]:
    """The typed column, null where the text is null or wrong, and the rows (ascending) whose text is wrong."""
    kind = data_type.kind
    if kind == "string":
        return text, NO_ROWS
    if kind == "boolean":
        typed = pc.cast(pc.index_in(pc.ascii_lower(text), pa.array(["false", "true"])), pa.bool_())
        return typed, rows_of(valid_mask(text) & ~valid_mask(typed))
    text = whole(text)
    if layout is not None:
        typed = from_layout(text, layout_of(layout), kind == "timestamp")
        return typed, rows_of(valid_mask(text) & ~valid_mask(typed))
    odd = _strange(text, kind)
    regular = nulled(text, odd)
    typed = _COLUMNS[kind](regular, data_type)
    if typed.null_count == text.null_count and not len(odd):
        return typed, NO_ROWS
    wrong = valid_mask(text) & ~valid_mask(typed)
    left = _worth_a_look(text, rows_of(wrong), data_type)
    values = [parse(cell, data_type) for cell in text.take(pa.array(left)).to_pylist()]
    good = np.array([v is not None for v in values], bool)
    if good.any():
        mask = np.zeros(len(text), bool)
        mask[left[good]] = True
        found = pa.array([v for v in values if v is not None], typed.type)
        typed = pc.replace_with_mask(typed, pa.array(mask), found)
        wrong[left[good]] = False
    return typed, rows_of(wrong)


def _worth_a_look(text: pa.StringArray, rows: Rows, data_type: DataType) -> Rows:
    """Those of the rows whose cell may be a value after all: one by one is slow where every row of a file is wrong."""
    shape = _POSSIBLE[data_type.kind]
    if data_type.kind == "decimal":
        shape = shape.format(whole=data_type.precision - data_type.scale, scale=data_type.scale)
    shaped: Mask = pc.match_substring_regex(text.take(pa.array(rows)), shape).to_numpy(zero_copy_only=False)
    return rows[shaped]


def whole(array: pa.Array) -> pa.Array:
    """The array with offset 0, so that its buffers can be read as they are."""
    return array if array.offset == 0 else pa.concat_arrays([array])


def valid_mask(array: pa.Array) -> Mask:
    if not array.null_count:
        return np.ones(len(array), bool)
    mask: Mask = pc.is_valid(array).to_numpy(zero_copy_only=False)
    return mask


def rows_of(mask: Mask) -> Rows:
    return np.flatnonzero(mask)


def nulled(array: pa.Array, rows: Rows) -> pa.Array:
    """The array with these rows null; nothing but the validity bits is copied (if_else copies strings one by one)."""
    if not len(rows):
        return array
    array = whole(array)
    valid = valid_mask(array).copy()
    valid[rows] = False
    bits = pa.py_buffer(np.packbits(valid, bitorder="little"))
    return pa.Array.from_buffers(array.type, len(array), [bits, *array.buffers()[1:]])


def bytes_of(text: pa.StringArray) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.int32]]:
    """The bytes of all cells of an array of offset 0, and where each cell begins (and the last ends)."""
    offsets = np.frombuffer(text.buffers()[1], np.int32, len(text) + 1)
    data = text.buffers()[2]
    if data is None:
        return np.empty(0, np.uint8), offsets
    return np.frombuffer(data, np.uint8), offsets


def _strange(text: pa.StringArray, kind: str) -> Rows:
    """Rows with a byte that no regular text of the kind has."""
    if not len(text):
        return NO_ROWS
    data, offsets = bytes_of(text)
    cells = data[offsets[0] : offsets[-1]]
    if not cells.tobytes().translate(None, _CHARACTERS[kind]):
        return NO_ROWS
    places = np.flatnonzero(_TABLES[kind][cells]) + offsets[0]
    strange = np.zeros(len(text), bool)
    strange[np.searchsorted(offsets, places, "right") - 1] = True
    return rows_of(strange & valid_mask(text))  # a cell that was made null keeps its bytes


def _gated(text: pa.StringArray, target: pa.DataType, shape: str) -> pa.Array:
    """The cast; where a cell stops it, the cast of those that have the shape (which is to imply that it succeeds)."""
    try:
        return pc.cast(text, target)
    except pa.ArrowInvalid:
        fits = pc.match_substring_regex(text, shape).fill_null(True)
        return pc.cast(nulled(text, rows_of(~fits.to_numpy(zero_copy_only=False))), target)


def _integers(text: pa.StringArray, data_type: DataType) -> pa.Array:
    typed = _gated(text, pa.int64(), r"^-?[0-9]{1,18}$")
    if data_type.kind == "bigint":
        return typed
    limits = pc.min_max(typed)
    if limits["min"].is_valid and (limits["min"].as_py() < -(2**31) or limits["max"].as_py() >= 2**31):
        values = typed.fill_null(0).to_numpy()
        typed = nulled(typed, rows_of((values < -(2**31)) | (values >= 2**31)))
    return pc.cast(typed, pa.int32())


def _doubles(text: pa.StringArray, data_type: DataType) -> pa.Array:
    shape = r"^[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?$"
    typed = _gated(text, pa.float64(), shape)
    values = typed.fill_null(0.0).to_numpy()
    return nulled(typed, rows_of(~np.isfinite(values)))


def _decimals(text: pa.StringArray, data_type: DataType) -> pa.Array:
    """Through floating point where that is exact (at most 15 digits), which is many times faster than Arrow's cast."""
    precision, scale = data_type.precision, data_type.scale
    lengths = pc.binary_length(text).fill_null(0).to_numpy()
    long = rows_of(lengths > 15)
    if scale > 15 or len(long) * 10 > len(text):
        shape = rf"^-?[0-9]{{1,{max(1, precision - scale)}}}(\.[0-9]{{0,{scale}}})?$"
        if precision == scale:
            shape = rf"^-?0(\.[0-9]{{0,{scale}}})?$"
        fits = pc.match_substring_regex(text, shape).fill_null(True)
        regular = nulled(text, rows_of(~fits.to_numpy(zero_copy_only=False)))
        return pc.cast(regular, arrow_type(data_type))
    floats = _gated(nulled(text, long), pa.float64(), r"^-?([0-9]+\.?[0-9]*|\.[0-9]+)$")
    scaled = floats.fill_null(0.0).to_numpy() * 10.0**scale
    rounded = np.rint(scaled)
    # A value of the type is off by at most 2.3e-16 of itself; one with a digit too many by at least 7.7e-16.
    exact = (np.abs(scaled - rounded) <= 5e-16 * np.abs(scaled)) & (np.abs(rounded) < 10.0 ** min(precision, 15))
    floats = nulled(floats, rows_of(~exact))
    words = np.empty((len(text), 2), np.int64)
    words[:, 0] = np.where(exact, rounded, 0).astype(np.int64)
    words[:, 1] = words[:, 0] >> 63
    return pa.Array.from_buffers(
        arrow_type(data_type), len(text), [whole(floats).buffers()[0], pa.py_buffer(words)]
    )


def _dates(text: pa.StringArray, data_type: DataType) -> pa.Array:
    try:
        typed = pc.cast(text, pa.date32())
    except pa.ArrowInvalid:
        return from_layout(text, layout_of("yyyy-MM-dd"), False)
    first = pc.min(pc.cast(typed, pa.int32())).as_py()
    return from_layout(text, layout_of("yyyy-MM-dd"), False) if first is not None and first < _FIRST_DAY else typed


_CLOCK = r"([01][0-9]|2[0-3])(:[0-5][0-9](:[0-5][0-9](\.[0-9]{1,6})?)?)?"
_ZONE = r"(Z|[+-]([01][0-9]|2[0-3])(:?[0-5][0-9])?)"


def _timestamps(text: pa.StringArray, data_type: DataType) -> pa.Array:
    """ISO: a date alone, or with a time, or with a time and a zone; without a zone it is UTC."""
    try:
        typed = pc.cast(text, pa.timestamp("us"))
    except pa.ArrowInvalid:
        fits = pc.match_substring_regex(text, rf"^[0-9]{{4}}-[0-9]{{2}}-[0-9]{{2}}([ T]{_CLOCK}{_ZONE}?)?$")
        days = from_layout(pc.utf8_slice_codeunits(text, 0, 10), layout_of("yyyy-MM-dd"), False)
        text = nulled(text, rows_of(~fits.fill_null(True).to_numpy(zero_copy_only=False) | ~valid_mask(days)))
        zoned = pc.match_substring_regex(text, rf":[0-9.]+{_ZONE}$|[ T][0-9]{{2}}{_ZONE}$").fill_null(False)
        zoned = zoned.to_numpy(zero_copy_only=False)
        there = pc.cast(nulled(text, rows_of(~zoned)), pa.timestamp("us", tz="UTC"))
        plain = pc.cast(nulled(text, rows_of(zoned)), pa.timestamp("us"))
        micros = np.where(zoned, _micros(there), _micros(plain))
        typed = pa.array(micros, mask=~valid_mask(text))
    values = _micros(typed)
    typed = nulled(typed, rows_of((values < _FIRST_MICROS) | (values > _LAST_MICROS)))
    return typed.view(pa.timestamp("us", tz="UTC"))


def _micros(array: pa.Array) -> npt.NDArray[np.int64]:
    values: npt.NDArray[np.int64] = array.view(pa.int64()).fill_null(0).to_numpy()
    return values


_COLUMNS: dict[str, Callable[[pa.StringArray, DataType], pa.Array]] = {
    "int": _integers,
    "bigint": _integers,
    "decimal": _decimals,
    "double": _doubles,
    "date": _dates,
    "timestamp": _timestamps,
}
