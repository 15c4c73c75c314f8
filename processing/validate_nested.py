"""What stands in a list or an object of a record, held against the contract item by item; the record has each reason.

The column itself stays the text that it is. A record with a wrong item is rejected as a whole: half a list is none.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pyarrow as pa

from pipeline_xml.contract import Field
from pipeline_xml.nested import ITEM, Nested
from processing.flattened import as_text, read_text
from processing.validate_errors import Entry, Found
from processing.validate_types import Rows

Judge = Callable[[pa.StringArray, Field, Found], None]  # a field's text, held against the rest of what it declares
_MISSING: Any = object()


def judge_nested(text: pa.StringArray, field: Field, nested: Nested, found: Found, judge: Judge) -> None:
    """Adds the reasons of `text`, the JSON of a field; `judge` is for the plain fields inside."""
    items: list[Any] = []
    rows: list[int] = []
    wrong: list[int] = []
    for row, written in enumerate(text.to_pylist()):
        if written is None:
            continue
        value = read_text(written, _MISSING)
        if value is _MISSING or isinstance(value, list) is not nested.many:
            wrong.append(row)
            continue
        inside = value if nested.many else [value]
        items += inside
        rows += [row] * len(inside)
    owners = np.array(rows, np.int64)
    if nested.fields[0].name != ITEM:
        odd = [place for place, item in enumerate(items) if not isinstance(item, dict)]
        wrong += owners[odd].tolist()
        keep = np.setdiff1d(np.arange(len(items)), odd)
        items, owners = [items[place] for place in keep], owners[keep]
        known = {each.name for each in nested.fields}
        more = owners[[place for place, item in enumerate(items) if not known.issuperset(item)]]
        message = f"{field.name} has a field inside that the contract lacks"
        found.add(_of(field, "unknown_field", message), np.unique(more))
    found.add(_of(field, "type", f"{field.name} must be {nested}"), np.unique(np.array(wrong, np.int64)))
    for each in nested.fields:
        _field(items, owners, each, field, found, judge)


def _field(
    items: Sequence[Any], owners: Rows, each: Field, field: Field, found: Found, judge: Judge
) -> None:
    """One field of all items, its reasons given to the records that they stand in."""
    values = items if each.name == ITEM else [item.get(each.name) for item in items]
    named = field.name if each.name == ITEM else f"{field.name}.{each.name}"
    inner = Found()
    if each.nested is None:
        odd = np.array([isinstance(value, list | dict) for value in values], bool)
        inner.add(_of(replace(field, name=named), "type", f"{named} must be {each.type}"), owners[odd])
        values, owners = [value for value, is_odd in zip(values, odd, strict=True) if not is_odd], owners[~odd]
    plain = Found()
    judge(pa.array(map(as_text, values), pa.string()), replace(each, name=named), plain)
    told: dict[str, tuple[Entry, list[Rows]]] = {}
    for entry, rows in [*inner.entries(), *plain.moved(owners).entries()]:
        told.setdefault(entry.rule, (entry, []))[1].append(rows)
    for entry, several in told.values():
        found.add(replace(entry, column=field.name), np.unique(np.concatenate(several)))


def _of(field: Field, what: str, message: str) -> Entry:
    return Entry(f"contract.{field.name}.{what}", field.name, what, message)
