"""Casts. Text passes an ASCII gate first: engines differ on '1e3', '1d', full-width digits, 'on' and odd spaces."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from pipeline_xml.expressions.coercion import lossless
from pipeline_xml.expressions.tree import Call
from pipeline_xml.types import DataType
from processing.emit_number import scaled_half_up
from processing.emitted import INVALID_CAST, OVERFLOW, Emitter, Part, Step, checked

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


def _cast(call: Call, arguments: list[Part]) -> Part:
    """cast and try_cast: the same value, with and without the reason."""
    (argument,) = arguments
    source, target = call.arguments[0].type, call.type
    if source.kind == "string":
        found = _of_text(argument, target)
    elif lossless(source, target):
        found = Part(argument.value.cast(str(target)), argument.steps)
    else:
        found = checked(_narrow(argument.value, source, target), arguments)
    return found if call.function == "cast" else Part(found.value, argument.steps)


def _of_text(argument: Part, target: DataType) -> Part:
    from pyspark.sql import functions as F

    text = argument.value
    if target.kind == "boolean":
        small = F.lower(text)
        value = F.when(small.isin(*TRUE), F.lit(True)).when(small.isin(*FALSE), F.lit(False))
        return checked(value, [argument], INVALID_CAST)
    fits = F.rlike(text, F.lit(GATES[target.kind]))
    value = F.when(fits, text).try_cast(str(target))
    if target.kind == "double":
        value = F.when(F.abs(value) < F.lit(float("inf")), value)
    failed = INVALID_CAST if target.kind in ("date", "timestamp") else OVERFLOW
    return Part(value, (*argument.steps, Step(~fits, INVALID_CAST), Step(fits & value.isNull(), failed)))


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
        if target.kind == "int":  # what is cut off may lie beyond the limits
            within = (value > F.lit(-2147483649.0)) & (value < F.lit(2147483648.0))
        else:
            within = (value >= F.lit(-(2.0**63))) & (value < F.lit(2.0**63))
        value = F.when(within, value)
    return value.try_cast(str(target))


EMITTERS: Mapping[str, Emitter] = {"cast": _cast, "try_cast": _cast}
