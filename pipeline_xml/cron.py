"""Cron expressions of five fields: minute, hour, day of month, month, day of week."""

from __future__ import annotations

import re
from bisect import bisect_right
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import lru_cache
from itertools import pairwise

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


@dataclass(frozen=True, slots=True)
class Ticks:
    """The moments of a sound cron expression, in whatever time zone the moments given are in.

    A day fits where both day fields allow it; where both are written as something else than `*`, either is enough.
    """

    minutes: tuple[int, ...]  # of a day, in order
    days: frozenset[int]
    months: frozenset[int]
    weekdays: frozenset[int]  # Monday is 0
    either: bool

    def at_or_before(self, moment: datetime) -> datetime | None:
        """The last tick that is not later; None where there is none in the eight years before."""
        minute = moment.hour * 60 + moment.minute
        for back in range(_FARTHEST):
            day = moment - timedelta(days=back)
            if self._fits(day):
                at = bisect_right(self.minutes, minute if back == 0 else 24 * 60)
                if at:
                    return _at(day, self.minutes[at - 1])
        return None

    def after(self, moment: datetime) -> datetime | None:
        """The next tick that is later; None where there is none in the eight years to come."""
        minute = moment.hour * 60 + moment.minute
        for ahead in range(_FARTHEST):
            day = moment + timedelta(days=ahead)
            if self._fits(day):
                at = bisect_right(self.minutes, minute if ahead == 0 else -1)
                if at < len(self.minutes):
                    return _at(day, self.minutes[at])
        return None

    def longest_gap(self) -> timedelta | None:
        """The longest time from one tick to the next within four years; None where it ticks less than twice."""
        fitting = [d for d in range(1461) if self._fits(_START + timedelta(days=d))]
        if not fitting or len(fitting) + len(self.minutes) < 3:
            return None
        within = [b - a for a, b in pairwise(self.minutes)]
        overnight = [(b - a) * 1440 + self.minutes[0] - self.minutes[-1] for a, b in pairwise(fitting)]
        return timedelta(minutes=max(within + overnight))

    def _fits(self, day: datetime) -> bool:
        if day.month not in self.months:
            return False
        by_month, by_week = day.day in self.days, day.weekday() in self.weekdays
        return by_month or by_week if self.either else by_month and by_week


_FARTHEST = 8 * 366 + 2  # days; the 29th of February may be eight years away
_START = datetime(2024, 1, 1)


def _at(day: datetime, minute: int) -> datetime:
    return day.replace(hour=minute // 60, minute=minute % 60, second=0, microsecond=0)


@lru_cache(maxsize=1024)
def ticks(text: str) -> Ticks:
    """The ticks of a cron expression in which `cron_fault` finds nothing."""
    minutes, hours, days, months, weekdays = (
        _numbers(written.lower(), low, high, names)
        for written, (_, low, high, names) in zip(text.split(), _FIELDS, strict=True)
    )
    _, _, day_field, _, weekday_field = text.split()
    return Ticks(
        tuple(sorted(hour * 60 + minute for hour in hours for minute in minutes)),
        frozenset(days),
        frozenset(months),
        frozenset((number - 1) % 7 for number in weekdays),
        either=not day_field.startswith("*") and not weekday_field.startswith("*"),
    )


def _numbers(field: str, low: int, high: int, names: tuple[str, ...]) -> set[int]:
    found: set[int] = set()
    for part in field.split(","):
        match = _PART.match(part)
        if match is None:
            raise ValueError(f"'{field}' is no field of a cron expression")
        first, last, step = _number(match[1], low, names), _number(match[2], low, names), int(match[3] or 1)
        start = low if first is None else first
        end = last if last is not None else high if first is None or match[3] else start
        found.update(range(start, end + 1, step))
    return found
