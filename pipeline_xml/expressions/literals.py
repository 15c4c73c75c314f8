"""Numbers, dates and timestamps as they are written."""

from __future__ import annotations

from datetime import date, datetime
from decimal import Decimal

from pipeline_xml.expressions.codes import ARGUMENT_TYPE, SYNTAX, Refused
from pipeline_xml.expressions.coercion import DIGITS
from pipeline_xml.expressions.tree import Literal
from pipeline_xml.types import BIGINT, DATE, DOUBLE, INT, TIMESTAMP, DataType, decimal


def number(text: str) -> Literal:
    """A whole number is an int, a bigint where it must be; 1.50 a decimal(3,2); 1e3 a double."""
    if text.isdigit():
        value = int(text)
        if value < 2**31:
            return Literal(INT, value)
        if value < 2**63:
            return Literal(BIGINT, value)
    elif "e" in text.lower():
        approximate = float(text)
        if approximate == float("inf"):
            raise Refused(ARGUMENT_TYPE, "the number is too large for a double")
        return Literal(DOUBLE, approximate)
    exact = Decimal(text)
    _, digits, exponent = exact.as_tuple()
    scale = -int(exponent)
    precision = max(len(digits), scale, 1)
    if precision > DIGITS:
        raise Refused(ARGUMENT_TYPE, f"the number has more than {DIGITS} digits")
    return Literal(decimal(precision, scale), exact)


def moment(text: str, target: DataType) -> Literal:
    """date '2020-01-31', timestamp '2020-01-31 10:11:12'."""
    try:
        if target == DATE and len(text) == 10:
            return Literal(DATE, date.fromisoformat(text))
        if target == TIMESTAMP and text.isascii() and len(text) in (10, 19, 26):
            found = datetime.fromisoformat(text)
            if found.tzinfo is None:
                return Literal(TIMESTAMP, found)
    except ValueError:
        pass  # said below, in one way for all of them
    hint = "write date 'yyyy-MM-dd' or timestamp 'yyyy-MM-dd HH:mm:ss'"
    raise Refused(SYNTAX, f"'{text}' is no {target} literal", hint=hint)
