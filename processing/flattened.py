"""Lists inside a text of JSON, made rows: the work of `<flatten>` on Arrow batches, in the engine's workers."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import pyarrow as pa

from pipeline_xml.types import DataType
from processing.arrow_types import arrow_type
from processing.validate_types import convert

INVALID_JSON = "invalid_json"
INVALID_ITEM = "invalid_item"
_BROKEN: Any = object()


@dataclass(frozen=True, slots=True)
class Part:
    """A column made of an item: the keys that lead to it (none: the item itself), its type and format."""

    name: str
    path: tuple[str, ...]
    type: DataType
    format: str | None


class NotFlat(Exception):
    """A text that is no JSON, or an item that does not fit, after record accounting ended; says how many, no value."""


def judge(parts: Sequence[Part]) -> Callable[[pa.Array], pa.Array]:
    """The function that says why each text cannot be flattened: INVALID_JSON, INVALID_ITEM; null where it can."""

    def judged(texts: pa.Array) -> pa.Array:
        found, reasons = _items(texts)
        rows = [row for row, items in enumerate(found) for _ in items]
        for part in parts:
            _, wrong = convert(_texts(part, found), part.type, part.format)
            for place in wrong.tolist():
                reasons[rows[place]] = reasons[rows[place]] or INVALID_ITEM
        return pa.array(reasons, pa.string())

    return judged


def flatten(
    column: str, parts: Sequence[Part], position: str | None, keep_empty: bool, kept: Sequence[str], out: pa.Schema
) -> Callable[[Iterable[pa.RecordBatch]], Iterator[pa.RecordBatch]]:
    """The function that makes a row of each item: the columns `kept`, the item's position from 1, its parts."""

    def make(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for batch in batches:
            found, reasons = _items(batch.column(column))
            broken = sum(reason is not None for reason in reasons)
            lists = [items or [None] if keep_empty else items for items in found]
            rows = pa.array([row for row, items in enumerate(lists) for _ in items], pa.int64())
            numbers = [at if found[row] else None for row, items in enumerate(lists) for at in range(1, len(items) + 1)]
            arrays = {name: batch.column(name).take(rows) for name in kept}
            if position is not None:
                arrays[position] = pa.array(numbers, pa.int32())
            for part in parts:
                arrays[part.name], wrong = convert(_texts(part, lists), part.type, part.format)
                broken += len(wrong)
            if broken:
                raise NotFlat(f"<flatten column='{column}'>: {broken} texts or items are not of the form expected")
            columns = [arrays[field.name].cast(field.type) for field in out]
            yield pa.RecordBatch.from_arrays(columns, schema=out)

    return make


def schema_of(columns: Sequence[tuple[str, DataType]]) -> pa.Schema:
    return pa.schema([(name, arrow_type(kind)) for name, kind in columns])


def _items(texts: pa.Array) -> tuple[list[list[Any]], list[str | None]]:
    """The items of each text: of a list its own, of a null none, of anything else the one."""
    found: list[list[Any]] = []
    reasons: list[str | None] = []
    for text in texts.to_pylist():
        items: list[Any] = []
        reason = None
        if text is not None:
            value = read_text(text, _BROKEN)
            if value is _BROKEN:
                reason = INVALID_JSON
            else:
                items = value if isinstance(value, list) else [] if value is None else [value]
        found.append(items)
        reasons.append(reason)
    return found, reasons


def read_text(text: str, broken: Any) -> Any:
    """The value of a text of JSON, decimals as they are written; `broken` where it is none or has a key twice."""
    try:
        return json.loads(text, parse_float=Decimal, parse_constant=_refuse, object_pairs_hook=_unique)
    except (ValueError, RecursionError):
        return broken


def _refuse(constant: str) -> None:
    raise ValueError(f"{constant} is no JSON")


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError("a key occurs twice")
    return found


def _texts(part: Part, lists: Sequence[Sequence[Any]]) -> pa.Array:
    return pa.array([as_text(_at(item, part.path)) for items in lists for item in items], pa.string())


def _at(item: Any, path: Sequence[str]) -> Any:
    for key in path:
        item = item.get(key) if isinstance(item, dict) else None
    return item


def as_text(value: Any) -> str | None:
    """A value as the text that its type is read from; lists and objects as JSON."""
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, Decimal):
        return format(value, "f")
    if isinstance(value, int):
        return str(value)
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"), default=_number)


def _number(value: Any) -> Any:
    """A decimal inside a list or object; JSON knows no other way than a float or a text, and a text loses nothing."""
    return format(value, "f")
