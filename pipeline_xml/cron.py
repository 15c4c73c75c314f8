"""Cron expressions of five fields: minute, hour, day of month, month, day of week."""

from __future__ import annotations

import re

_FIELDS = (
    ("minute", 0, 59, ()),
    ("hour", 0, 23, ()),
    ("day of month", 1, 31, ()),
    ("month", 1, 12, ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")),
    ("day of week", 0, 7, ("sun", "mon", "tue", "wed", "thu", "fri", "sat")),
)
_PART = re.compile(r"(?:\*|(\w+)(?:-(\w+))?)(?:/([1-9]\d*))?\Z")


def cron_fault(text: str) -> str | None:
    """What is wrong with a cron expression, or None."""
    fields = text.split()
    if len(fields) != len(_FIELDS):
        return f"it has {len(fields)} fields, not 5 (minute hour day-of-month month day-of-week)"
    for written, (name, low, high, names) in zip(fields, _FIELDS, strict=True):
        for part in written.split(","):
            if not _part_fits(part.lower(), low, high, names):
                return f"'{part}' is no {name} ({low} to {high})"
    return None


def _part_fits(part: str, low: int, high: int, names: tuple[str, ...]) -> bool:
    match = _PART.match(part)
    if match is None:
        return False
    first, last = _number(match[1], low, names), _number(match[2], low, names)
    for written, number in ((match[1], first), (match[2], last)):
        if written is not None and (number is None or not low <= number <= high):
            return False
    return first is None or last is None or first <= last


def _number(text: str | None, low: int, names: tuple[str, ...]) -> int | None:
    if text is None:
        return None
    if text in names:
        return names.index(text) + low
    return int(text) if text.isdecimal() and text.isascii() else None
