"""ISO-8601 durations of weeks, days, hours, minutes and seconds (PT2H, P1D); months and years have no fixed length."""

from __future__ import annotations

import re
from datetime import timedelta

_UNITS = ("weeks", "days", "hours", "minutes", "seconds")
_DURATION = re.compile(r"P(?=.)(?:(\d+)W)?(?:(\d+)D)?(?:T(?=.)(?:(\d+)H)?(?:(\d+)M)?(?:(\d+(?:\.\d+)?)S)?)?\Z", re.A)


def parse_duration(text: str) -> timedelta:
    """ValueError with an example where the text is no duration."""
    match = _DURATION.match(text)
    if match is None:
        raise ValueError(f"'{text}' is no ISO-8601 duration; examples: PT30S, PT2H, P1D")
    try:
        return timedelta(**{name: float(n) for name, n in zip(_UNITS, match.groups(), strict=True) if n})
    except OverflowError as error:
        raise ValueError(f"'{text}' is longer than any duration; examples: PT30S, PT2H, P1D") from error
