"""From the first records of a file to a guess at its contract and source, with how sure each part of it is.

Pure: bytes in, a `Guess` out. What a sample cannot show is listed in `unchecked`, never assumed in silence.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace

from pipeline_xml.system_columns import SYSTEM_COLUMNS
from pipeline_xml.types import BIGINT, INT, STRING
from processing.infer_columns import FEW, ColumnGuess, infer_column
from processing.infer_sample import CannotInfer, Dialect, Record, Text, decode, find_dialect, records

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,127}\Z")
_LOOKS_NAMED = re.compile(r"[A-Za-z_#@(][^\r\n]{0,120}\Z")
_VALUE = re.compile(r"[+-]?[0-9][0-9.,:/ -]*\Z")
_KEY_NAME = re.compile(r"(^|_)(id|key|uuid|guid|no|nr|num|number|ref|reference|code|uli)$", re.I)
_YEAR = re.compile(r"(19|20)[0-9]{2}\Z")
_DAY = re.compile(r"(19|20)[0-9]{2}-?(0[1-9]|1[0-2])-?(0[1-9]|[12][0-9]|3[01])\Z")
_MOST_LEADING = 10


@dataclass(frozen=True, slots=True)
class ControlGuess:
    """Fields count from 1; `field` is None where no cell could be compared with a count of the whole file."""

    record: str  # first | last
    field: int | None
    business_date_field: int | None
    why: str
    grain: str = "day"


@dataclass(frozen=True, slots=True)
class Guess:
    """`records` were read; `complete`: they are all there are. `header` is what the source declares: False with
    `skip_lines` where the header is there but its cells cannot be column names, as `written` shows."""

    encoding: str
    encoding_why: str
    dialect: Dialect
    header: bool
    header_why: str
    skip_lines: int
    columns: tuple[ColumnGuess, ...]
    written: tuple[str, ...]
    primary_key: tuple[str, ...]
    key_why: str
    control: ControlGuess | None
    records: int
    ragged: int
    complete: bool
    grain: str = "day"
    unchecked: tuple[str, ...] = ()

    @property
    def renamed(self) -> bool:
        return bool(self.written) and tuple(c.name for c in self.columns) != self.written


def infer(
    data: bytes, complete: bool, rows: int = 10_000, header: bool | None = None, delimiter: str | None = None
) -> Guess:
    """The guess from the beginning of a file; CannotInfer says what is missing. `header` overrides the guess."""
    text = decode(data, complete)
    dialect = find_dialect(text, delimiter)
    found = records(text.text, dialect, text.complete, rows + _MOST_LEADING)
    if not found:
        raise CannotInfer("the first record is longer than what is read of a file: is the delimiter or quote unusual?")
    width = _width(found)
    control, found = _control(found, width, text.complete and len(found) < rows + _MOST_LEADING)
    skip, found = _titles(found, width)
    named, header_why = _header(found, width) if header is None else (header, "as you said")
    first, body = (found[0], found[1:]) if named else (None, found)
    sound = [r.cells for r in body if len(r.cells) == width][:rows]
    if not body:
        raise CannotInfer(_nothing_below(width))
    seen = min(len(body), rows)
    complete = text.complete and len(body) <= rows
    names, usable = _names(first.cells if first else (), width)
    if first and not usable:
        skip = _lines_through(first, text)
        if control is not None and control.record == "first":
            control = None
            header_why += "; the control record before it is skipped with it, and checked no more"
    taken = frozenset(n.lower() for n in names)
    columns = tuple(infer_column(name, [r[i] for r in sound], taken) for i, name in enumerate(names))
    key, key_why = primary_key(columns, len(sound))
    columns = tuple(replace(c, required=True) if c.name in key else c for c in columns)
    return Guess(
        encoding=text.encoding,
        encoding_why=text.why,
        dialect=dialect,
        header=named and usable,
        header_why=header_why,
        skip_lines=skip,
        columns=columns,
        written=first.cells if first else (),
        primary_key=key,
        key_why=key_why,
        control=control,
        records=seen,
        ragged=sum(len(r.cells) != width for r in body[:rows]),
        complete=complete,
        grain=control.grain if control is not None else "day",
        unchecked=_unchecked(complete, seen, len(sound)),
    )


def _width(found: Sequence[Record]) -> int:
    """The most frequent number of cells; of equally frequent ones that of the earliest record."""
    return Counter(len(r.cells) for r in found).most_common(1)[0][0]


def _control(found: list[Record], width: int, complete: bool) -> tuple[ControlGuess | None, list[Record]]:
    """A first or last record of another width that declares how many records there are."""
    if len(found) < 2:
        return None, found
    for where, record in (("first", found[0]), ("last", found[-1])):
        if len(record.cells) == width or (where == "last" and not complete):
            continue
        rest = found[1:] if where == "first" else found[:-1]
        if sum(len(r.cells) == width for r in rest) < 0.9 * len(rest):
            continue
        with_header = not _VALUE.match(rest[0].cells[0])
        totals = {str(len(rest)), str(len(rest) - 1)} if with_header else {str(len(rest))}
        fields = [i for i, cell in enumerate(record.cells, 1) if cell.strip().lstrip("0") in totals]
        days = [i for i, cell in enumerate(record.cells, 1) if _DAY.match(cell)]
        years = [i for i, cell in enumerate(record.cells, 1) if _YEAR.match(cell)]
        dated = next(iter(days or years), None)
        grain = "year" if years and not days else "day"
        if complete and fields:
            why = f"the {where} record has {len(record.cells)} cells, the others {width}"
            why += f"; field {fields[-1]} holds their number"
            return ControlGuess(where, fields[-1], dated, why, grain), rest
        if where == "first" and not complete and 3 <= len(record.cells) < width / 2 and len(rest) >= FEW:
            why = f"the first record has {len(record.cells)} cells, the others {width}; its count was not compared"
            return ControlGuess(where, None, None, why), rest
    return None, found


def _titles(found: list[Record], width: int) -> tuple[int, list[Record]]:
    """Title lines before a header are passed over; anything that might be a record is not."""
    at = next((i for i, r in enumerate(found[:_MOST_LEADING]) if len(r.cells) == width), 0)
    narrow = all(len(r.cells) == 1 or len(r.cells) * 2 < width for r in found[:at])
    if at and narrow and all(_LOOKS_NAMED.match(c.strip()) for c in found[at].cells if c.strip()):
        return found[at].line, found[at:]
    return 0, found


def _header(found: Sequence[Record], width: int) -> tuple[bool, str]:
    first, body = found[0].cells, [r.cells for r in found[1:200] if len(r.cells) == width]
    cells = [c.strip() for c in first if c.strip()]
    if len(first) != width or not cells:
        return False, "the first record is not as wide as the others"
    if not all(_LOOKS_NAMED.match(c) for c in cells):
        return False, "the first record holds values, not names"
    if not body:
        return True, "the only record holds names"
    again = [i for i, cell in enumerate(first) if cell and any(r[i] == cell for r in body)]
    valued = [i for i, c in enumerate(first) if c.strip() and any(_VALUE.match(r[i]) for r in body)]
    if valued and len(again) * 2 <= len(first):
        below = f"{len(valued)} of {width} columns hold numbers or dates below them"
        return True, f"the first record holds names, and {below}"
    if again:
        return False, "cells of the first record occur again below it: it is data"
    plain = len(set(cells)) == len(cells) and all(len(c) <= 40 for c in cells)
    if plain:
        why = "the first record holds short names that do not occur again"
        return True, f"{why} (a weak guess, all columns are text: --no-header if it is data)"
    return False, "the first record is like the others"


def _nothing_below(width: int) -> str:
    return (
        f"the file has a header of {width} columns and no record below it: types cannot be guessed. Give a file with "
        "records, write the contract by hand, or say --no-header if the line is data"
    )


def _names(header: Sequence[str], width: int) -> tuple[list[str], bool]:
    """Column names, and whether they are the header's own, so that it can be checked by name."""
    if not header:
        return [f"column_{i}" for i in range(1, width + 1)], False
    lower = [c.lower() for c in header]
    if (
        len(header) == width
        and all(_NAME.match(c) and c.lower() not in SYSTEM_COLUMNS for c in header)
        and len(set(lower)) == len(lower)
    ):
        return list(header), True
    names: list[str] = []
    for i in range(width):
        name = re.sub(r"[^A-Za-z0-9]+", "_", header[i] if i < len(header) else "").strip("_").lower()[:100]
        name = f"c_{name}" if name[:1].isdigit() or name in SYSTEM_COLUMNS else name or f"column_{i + 1}"
        number, free = 2, name
        while free in names:
            number, free = number + 1, f"{name}_{number}"
        names.append(free)
    return names, False


def _lines_through(header: Record, text: Text) -> int:
    """Physical lines up to and with the header record."""
    breaks = sum(len(re.findall(r"\r\n|\r|\n", c)) for c in header.cells)
    return header.line + 1 + breaks


def primary_key(columns: Sequence[ColumnGuess], count: int) -> tuple[tuple[str, ...], str]:
    """One column that is unique and always there; with few records only where its name says so too."""
    good = [c for c in columns if c.unique and not c.codes and c.type in (INT, BIGINT, STRING)]
    by_name = [c for c in good if _KEY_NAME.search(c.name)]
    chosen = by_name[0] if by_name else good[0] if good and count >= FEW * 5 else None
    if chosen is None:
        return (), "no single column is unique and always there; keys of several columns were not looked for"
    others = [c.name for c in good if c is not chosen]
    why = f"{chosen.name} is unique in {chosen.values:,} of {count:,} records"
    return (chosen.name,), why + (f" (so is {', '.join(others[:3])})" if others else "")


def _unchecked(complete: bool, seen: int, sound: int) -> tuple[str, ...]:
    found = [
        "rules between columns, and limits of numbers and lengths",
        "numbers that stand for a code, such as 9999",
        "keys of several columns, and whether the key is unique across files",
        "which columns are personal: only by their names",
    ]
    if not complete:
        found.insert(0, f"everything after the first {seen:,} records")
    if sound < FEW:
        found.insert(0, f"whether a column may be blank, and lists of values: {sound} records are too few")
    return tuple(found)
