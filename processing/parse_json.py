"""JSON objects as string columns by field, each at its place; what is no such object is told apart, never left out."""

from __future__ import annotations

import json
from collections.abc import Sequence
from decimal import Decimal
from typing import Any

import pyarrow as pa

from processing.read_parse import Parsed
from processing.validate_errors import Entry

MALFORMED = Entry("record.malformed", None, "malformed", "the record must be one JSON object in UTF-8")
TWICE = Entry("record.malformed", None, "malformed", "the record names a field twice")
UNKNOWN = Entry("record.unknown_field", None, "unknown_field", "the record has a field that the contract lacks")


class Number(str):
    """A number as it is written, so that its digits reach the contract."""


class _Twice(ValueError):
    pass


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise _Twice
    return found


def _constant(_name: str) -> Any:
    raise ValueError("NaN and Infinity are no JSON")


_DECODER = json.JSONDecoder(
    object_pairs_hook=_object, parse_float=Number, parse_int=Number, parse_constant=_constant
)


def parse_records(records: Sequence[bytes], names: Sequence[str], only: Sequence[str] | None = None) -> Parsed:
    """The objects' values as texts in the columns `names`, or in some of them; null where there is none or null.

    Numbers keep their digits (1e1 is 10), true and false are those words, and what is nested is its JSON text.
    """
    known = frozenset(names)
    columns: dict[str, list[str | None]] = {name: [] for name in (names if only is None else only)}
    broken: list[tuple[int, Entry]] = []
    for place, record in enumerate(records):
        found = read_object(record)
        if isinstance(found, Entry):
            broken.append((place, found))
        elif not known.issuperset(found):
            broken.append((place, UNKNOWN))
        else:
            for name, cells in columns.items():
                value = found.get(name)
                cells.append(value if value is None or type(value) is str else value_text(value))
    arrays = [pa.array(cells, pa.string()) for cells in columns.values()]
    return Parsed(pa.RecordBatch.from_arrays(arrays, names=list(columns)), tuple(broken))


def read_object(record: bytes) -> dict[str, Any] | Entry:
    """The fields of a record, numbers as Number; the reason where it is no object of JSON."""
    try:
        text = record.decode("utf-8")
        found = _DECODER.decode(text)
        if "\\u" in text:
            json.dumps(found, ensure_ascii=False).encode("utf-8")  # half of a surrogate pair is no text
    except _Twice:
        return TWICE
    except (ValueError, RecursionError):
        return MALFORMED
    return found if isinstance(found, dict) else MALFORMED


def value_text(value: Any) -> str:
    """A value that is not null as the text that its type is read from."""
    if type(value) is str:
        return value
    if isinstance(value, Number):
        return _digits(value)
    if isinstance(value, bool):
        return "true" if value else "false"
    return _written(value)


def _digits(number: str) -> str:
    """A number without an exponent, which a decimal may not have and means the same; far ones stay as they are."""
    exponent = number.lower().partition("e")[2]
    return format(Decimal(number), "f") if exponent and len(exponent) < 4 else str(number)


def _written(value: Any) -> str:
    """A nested value as JSON, its numbers as they stand."""
    if isinstance(value, dict):
        return "{" + ",".join(f"{json.dumps(k, ensure_ascii=False)}:{_written(v)}" for k, v in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ",".join(map(_written, value)) + "]"
    return str(value) if isinstance(value, Number) else json.dumps(value, ensure_ascii=False)
