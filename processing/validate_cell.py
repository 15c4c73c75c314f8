"""What a single cell of each type may look like: the definition, in Python and in words."""

from __future__ import annotations

import math
import re
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal

from pipeline_xml.types import DataType

_INTEGER = re.compile(r"[+-]?[0-9]+\Z")
_DECIMAL = re.compile(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)\Z")
_DOUBLE = re.compile(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?\Z")
_DATE = re.compile(r"([0-9]{4})-([0-9]{2})-([0-9]{2})\Z")
_TIMESTAMP = re.compile(
    r"([0-9]{4}-[0-9]{2}-[0-9]{2})"
    r"(?:[ T]([0-9]{2})(?::([0-9]{2})(?::([0-9]{2})(?:\.([0-9]{1,6}))?)?)?"
    r"(?:Z|([+-])([0-9]{2})(?::?([0-9]{2}))?)?)?\Z"
)
_ISO = "yyyy-MM-ddTHH:mm:ss, with at most 6 decimals and an optional zone"
_LONGEST = 400  # no number of a column is longer; keeps int() and Decimal() from being fed megabytes


def parse(text: str, data_type: DataType) -> object | None:
    """The value, or None when the text is not of the type."""
    match data_type.kind:
        case "string" | "nested":
            return text
        case "boolean":
            return {"true": True, "false": False}.get(text.lower()) if text.isascii() else None
        case "int":
            return _integer(text, 31)
        case "bigint":
            return _integer(text, 63)
        case "decimal":
            return _decimal(text, data_type)
        case "double":
            value = float(text) if len(text) <= _LONGEST and _DOUBLE.match(text) else math.nan
            return value if math.isfinite(value) else None
        case "date":
            return _date(text)
        case "timestamp":
            return _timestamp(text)


def describe(data_type: DataType, layout: str | None) -> str:
    """What is valid, for a message: reads after `must be`."""
    match data_type.kind:
        case "boolean":
            return "true or false"
        case "int":
            return "a whole number from -2147483648 to 2147483647"
        case "bigint":
            return "a whole number of at most 64 bits"
        case "decimal":
            p, s = data_type.precision, data_type.scale
            return f"a number with at most {p - s} digits before the point and {s} after it"
        case "double":
            return "a number"
        case "date":
            return f"a date of the calendar written {layout or 'yyyy-MM-dd'}"
        case "timestamp":
            return f"a date and time written {layout or _ISO}"
        case kind:
            return f"a {kind}"


def _integer(text: str, bits: int) -> int | None:
    if len(text) > _LONGEST or not _INTEGER.match(text):
        return None
    value = int(text)
    return value if -(2**bits) <= value < 2**bits else None


def _decimal(text: str, data_type: DataType) -> Decimal | None:
    """Exact: a digit beyond the scale is refused, unless it is a zero."""
    if len(text) > _LONGEST or not _DECIMAL.match(text):
        return None
    whole, _, fraction = text.lstrip("+-").partition(".")
    fraction = fraction.rstrip("0")
    if len(fraction) > data_type.scale or len(whole.lstrip("0")) > data_type.precision - data_type.scale:
        return None
    return Decimal(f"{'-' if text[0] == '-' else ''}{whole or '0'}.{fraction.ljust(data_type.scale, '0')}")


def _date(text: str) -> date | None:
    match = _DATE.match(text)
    if match is None:
        return None
    try:
        return date(int(match[1]), int(match[2]), int(match[3]))
    except ValueError:
        return None


def _timestamp(text: str) -> datetime | None:
    match = _TIMESTAMP.match(text)
    day = _date(match[1]) if match else None
    if match is None or day is None:
        return None
    hour, minute, second = (int(match[i] or 0) for i in (2, 3, 4))
    zone_hours, zone_minutes = int(match[7] or 0), int(match[8] or 0)
    if zone_hours > 23 or zone_minutes > 59:
        return None
    shift = timedelta(hours=zone_hours, minutes=zone_minutes) * (-1 if match[6] == "-" else 1)
    try:
        micros = int((match[5] or "").ljust(6, "0"))
        return datetime(day.year, day.month, day.day, hour, minute, second, micros, UTC) - shift
    except (ValueError, OverflowError):
        return None
