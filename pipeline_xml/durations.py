"""ISO-8601 durations of weeks, days, hours, minutes and seconds (PT2H, P1D); months and years have no fixed length."""

from __future__ import annotations

import re
from datetime import timedelta

_UNITS = ("weeks", "days", "hours", "minutes", "seconds")
_DURATION = re.compile(r"P(?=.)(?:(\d+)W)?(?:(\d+)D)?(?:T(?=.)(?:(\d+)H)?(?:(\d+)M)?(?:(\d+(?:\.\d+)?)S)?)?\Z", re.A)


def settle_of(text: str) -> tuple[int, float]:
    """(looks, seconds) that a file has to stay as it is: of a number of looks, or a duration, which takes two of them.

    ValueError with an example where the text is neither.
    """
    if text.isascii() and text.isdigit() and int(text):
        return int(text), 0.0
    try:
        seconds = parse_duration(text).total_seconds()
    except ValueError:
        told = f"'{text}' is neither a number of looks nor an ISO-8601 duration; examples: 3, PT30S"
        raise ValueError(told) from None
    return (2, seconds) if seconds else (1, 0.0)


def parse_duration(text: str) -> timedelta:
    """ValueError with an example where the text is no duration."""
    match = _DURATION.match(text)
    if match is None:
        raise ValueError(f"'{text}' is no ISO-8601 duration; examples: PT30S, PT2H, P1D")
    try:
        return timedelta(**{name: float(n) for name, n in zip(_UNITS, match.groups(), strict=True) if n})
    except OverflowError as error:
        raise ValueError(f"'{text}' is longer than any duration; examples: PT30S, PT2H, P1D") from error
