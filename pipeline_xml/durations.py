"""ISO-8601 durations of weeks, days, hours, minutes and seconds (PT2H, P1D); months and years have no fixed length."""

from __future__ import annotations

from datetime import timedelta

from pydantic import TypeAdapter, ValidationError

_PARSER = TypeAdapter(timedelta)


def parse_duration(text: str) -> timedelta:
    """ValueError with an example where the text is no duration."""
    if not text.startswith("P"):
        raise ValueError(f"'{text}' is no ISO-8601 duration; examples: PT30S, PT2H, P1D")
    try:
        found = _PARSER.validate_python(text)
    except ValidationError as error:
        raise ValueError(f"'{text}' is no ISO-8601 duration; examples: PT30S, PT2H, P1D") from error
    if found < timedelta(0):
        raise ValueError(f"'{text}' is negative; examples: PT30S, PT2H, P1D")
    return found
