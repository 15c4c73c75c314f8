"""The `_errors` of a batch, built for groups of rows: what can go wrong is known beforehand, only where is not."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import astuple, dataclass

import numpy as np
import pyarrow as pa

from processing.frame import ERROR_FIELDS
from processing.validate_types import Mask, Rows

ENTRY_TYPE = pa.struct([(name, pa.string()) for name in ERROR_FIELDS])
ERRORS_TYPE = pa.list_(ENTRY_TYPE)


@dataclass(frozen=True, slots=True)
class Entry:
    """One reason, as in `processing.frame.ERROR_FIELDS`. Its message never holds a value of the record."""

    rule: str
    column: str | None
    code: str
    message: str
    severity: str = "error"


class Found:
    """Which rows of a batch are broken, and why; reasons of one row keep the order in which they were found."""

    def __init__(self) -> None:
        self._entries: list[Entry] = []
        self._rows: list[Rows] = []

    def add(self, entry: Entry, rows: Rows) -> None:
        if len(rows):
            self._entries.append(entry)
            self._rows.append(rows)

    def entries(self) -> Iterator[tuple[Entry, Rows]]:
        """Each reason with its rows."""
        return zip(self._entries, self._rows, strict=True)

    def moved(self, places: Rows) -> Found:
        """The same for a batch in which row i stands at places[i]."""
        other = Found()
        for entry, rows in zip(self._entries, self._rows, strict=True):
            other.add(entry, places[rows])
        return other

    def mask(self, count: int) -> Mask:
        """True for the rows with a reason."""
        broken = np.zeros(count, bool)
        for rows in self._rows:
            broken[rows] = True
        return broken

    def array(self, count: int) -> pa.Array:
        """`_errors`: null for the rows without a reason."""
        if not self._rows:
            return pa.nulls(count, ERRORS_TYPE)
        rows = np.concatenate(self._rows)
        which = np.repeat(np.arange(len(self._rows)), [len(r) for r in self._rows])
        order = np.argsort(rows, kind="stable")
        entries = pa.StructArray.from_arrays(
            [pa.array(texts, pa.string()) for texts in zip(*(astuple(e) for e in self._entries), strict=True)],
            fields=list(ENTRY_TYPE),
        )
        counts = np.bincount(rows, minlength=count)
        offsets = np.zeros(count + 1, np.int32)
        np.cumsum(counts, out=offsets[1:])
        return pa.ListArray.from_arrays(
            pa.array(offsets), entries.take(pa.array(which[order])), type=ERRORS_TYPE, mask=pa.array(counts == 0)
        )
