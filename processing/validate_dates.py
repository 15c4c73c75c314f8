"""Dates and times in a fixed layout (x-format: yyyy MM dd HH mm ss and literal characters), a column at a time."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import numpy.typing as npt
import pyarrow as pa

_TOKENS = re.compile(r"yyyy|MM|dd|HH|mm|ss|'([^']*)'|[^A-Za-z']")
TOKENS = ("yyyy", "MM", "dd", "HH", "mm", "ss")


@dataclass(frozen=True)
class Layout:
    """`parts`: where each token stands. `literals`: place and byte of everything else."""

    length: int
    parts: tuple[tuple[str, int], ...]
    literals: tuple[tuple[int, int], ...]


@lru_cache(maxsize=256)
def layout_of(text: str) -> Layout:
    """ValueError names the valid tokens."""
    parts: list[tuple[str, int]] = []
    literals: list[tuple[int, int]] = []
    at = length = 0
    while at < len(text):
        match = _TOKENS.match(text, at)
        if match is None or not text.isascii():
            raise ValueError(f"x-format '{text}': valid are {', '.join(TOKENS)}, punctuation, and letters in 'quotes'")
        token = match[0]
        if token in TOKENS:
            parts.append((token, length))
            length += len(token)
        else:
            for letter in match[1] if match[1] is not None else token:
                literals.append((length, ord(letter)))
                length += 1
        at = match.end()
    named = [p for p, _ in parts]
    if "yyyy" not in named or len(set(named)) != len(named):
        raise ValueError(f"x-format '{text}': yyyy is needed, and each of {', '.join(TOKENS)} at most once")
    return Layout(length, tuple(parts), tuple(literals))


def from_layout(text: pa.StringArray, layout: Layout, with_time: bool) -> pa.Array:
    """date32 or UTC timestamps; null where the text is null or not a moment in this layout."""
    offset, count = text.offset, len(text)
    offsets = np.frombuffer(text.buffers()[1], np.int32)[offset : offset + count + 1].astype(np.int64)
    valid = np.ones(count, bool) if not text.null_count else text.is_valid().to_numpy(zero_copy_only=False)
    ok = valid & (np.diff(offsets) == layout.length)
    rows = np.flatnonzero(ok)
    raw = text.buffers()[2]
    data = np.frombuffer(raw, np.uint8) if raw is not None and raw.size else np.zeros(1, np.uint8)
    starts = offsets[:-1][rows]
    good = np.ones(len(rows), bool)
    for place, byte in layout.literals:
        good &= data[starts + place] == byte
    ones = np.ones(len(rows), np.int64)
    found = {"yyyy": ones, "MM": ones, "dd": ones, "HH": ones * 0, "mm": ones * 0, "ss": ones * 0}
    for token, place in layout.parts:
        value = np.zeros(len(rows), np.int64)
        for i in range(len(token)):
            digit = data[starts + place + i].astype(np.int64) - 48
            good &= (digit >= 0) & (digit <= 9)
            value = value * 10 + digit
        found[token] = value
    good &= (found["yyyy"] >= 1) & (found["MM"] >= 1) & (found["MM"] <= 12)
    good &= (found["HH"] <= 23) & (found["mm"] <= 59) & (found["ss"] <= 59)
    month = np.where(good, (found["yyyy"] - 1970) * 12 + found["MM"] - 1, 0)
    first, following = _first_day(month), _first_day(month + 1)
    good &= (found["dd"] >= 1) & (found["dd"] <= following - first)
    days = first + found["dd"] - 1
    ok[rows[~good]] = False
    if with_time:
        seconds = ((days * 24 + found["HH"]) * 60 + found["mm"]) * 60 + found["ss"]
        micros = np.zeros(count, np.int64)
        micros[rows] = np.where(good, seconds, 0) * 1_000_000
        return pa.array(micros, mask=~ok).view(pa.timestamp("us", tz="UTC"))
    out = np.zeros(count, np.int32)
    out[rows] = np.where(good, days, 0)
    return pa.array(out, mask=~ok).view(pa.date32())


def _first_day(month: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """Days since 1970 of the first of a month counted from January 1970."""
    return month.astype("datetime64[M]").astype("datetime64[D]").astype(np.int64)
