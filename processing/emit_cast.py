"""Casts. Text passes an ASCII gate first: engines differ on '1e3', '1d', full-width digits, 'on' and odd spaces."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from pipeline_xml.expressions.coercion import lossless
from pipeline_xml.expressions.tree import Call
from pipeline_xml.types import DataType
from processing.emit_number import scaled_half_up
from processing.emitted import INVALID_CAST, OVERFLOW, Emitted, Emitter, checked, first_problem

if TYPE_CHECKING:
    from pyspark.sql import Column

_YEAR = "(?:[1-9][0-9]{3}|0[1-9][0-9]{2}|00[1-9][0-9]|000[1-9])"
_DAY = _YEAR + "-[0-9]{2}-[0-9]{2}"
GATES: Mapping[str, str] = {
    "int": r"\A[+-]?[0-9]{1,38}\z",
    "bigint": r"\A[+-]?[0-9]{1,38}\z",
    "decimal": r"\A[+-]?(?:[0-9]{1,38}(?:\.[0-9]{0,38})?|\.[0-9]{1,38})\z",
    "double": r"\A[+-]?(?:[0-9]{1,38}(?:\.[0-9]{0,38})?|\.[0-9]{1,38})(?:[eE][+-]?[0-9]{1,3})?\z",
    "date": rf"\A{_DAY}\z",
    "timestamp": rf"\A{_DAY}(?:[ T][0-9]{{2}}:[0-9]{{2}}:[0-9]{{2}}(?:\.[0-9]{{1,6}})?)?\z",
}
TRUE = ("true", "t", "yes", "y", "1")
FALSE = ("false", "f", "no", "n", "0")


def _cast(call: Call, arguments: list[Emitted]) -> Emitted:
    """cast and try_cast: the same value, with and without the reason."""
    (argument,) = arguments
    source, target = call.arguments[0].type, call.type
    if source.kind == "string":
        value, problem = cast_text(argument.value, target)
        found = Emitted(value, first_problem([argument.problem, problem]))
    elif lossless(source, target):
        found = Emitted(argument.value.cast(str(target)), argument.problem)
    else:
        found = checked(_narrow(argument.value, source, target), arguments)
    return found if call.function == "cast" else Emitted(found.value, argument.problem)


def cast_text(text: Column, target: DataType) -> tuple[Column, Column | None]:
    """Text as a typed value, and the reason where it has none (`invalid_cast`, `overflow`)."""
    from pyspark.sql import functions as F

    if target.kind == "string":
        return text, None
    if target.kind == "boolean":
        small = F.lower(text)
        value = F.when(small.isin(*TRUE), F.lit(True)).when(small.isin(*FALSE), F.lit(False))
        return value, F.when(text.isNotNull() & value.isNull(), F.lit(INVALID_CAST))
    fits = F.rlike(text, F.lit(GATES[target.kind]))
    value = F.when(fits, text).try_cast(str(target))
    if target.kind == "double":
        value = F.when(F.abs(value) < F.lit(float("inf")), value)
    failed = F.lit(INVALID_CAST) if target.kind in ("date", "timestamp") else F.lit(OVERFLOW)
    return value, F.when(~fits, F.lit(INVALID_CAST)).when(fits & value.isNull(), failed)


def _narrow(value: Column, source: DataType, target: DataType) -> Column:
    """Null where it does not fit."""
    from pyspark.sql import functions as F

    if source.kind == "double" and target.kind == "decimal":
        scaled = F.abs(value) * F.lit(float(10**target.scale))
        whole = scaled_half_up(F.when(scaled < F.lit(2.0**53), scaled))
        side = F.when(value < F.lit(0.0), F.lit(-1)).otherwise(F.lit(1))
        signed = (whole * side).cast("decimal(19,0)")
        if target.scale:
            unit = F.lit(f"0.{'1':0>{target.scale}}").cast(f"decimal({target.scale + 1},{target.scale})")
            signed = signed * unit
        return signed.try_cast(str(target))
    if source.kind == "double":
        low, high = (-2147483649.0, 2147483648.0) if target.kind == "int" else (-(2.0**63), 2.0**63)
        value = F.when((value > F.lit(low)) & (value < F.lit(high)), value)
    return value.try_cast(str(target))


EMITTERS: Mapping[str, Emitter] = {"cast": _cast, "try_cast": _cast}
