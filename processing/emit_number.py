"""Arithmetic. Decimal results have the room they need by their type; bigint and double are tested."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from pipeline_xml.expressions.coercion import is_constant
from pipeline_xml.expressions.tree import Call
from processing.emitted import DIVISION_BY_ZERO, OVERFLOW, Emitter, Part, Step, checked, constants, plain, steps_of

if TYPE_CHECKING:
    from pyspark.sql import Column

EXACT = 2.0**52  # a double beyond has no fraction


def _arithmetic(call: Call, arguments: list[Part]) -> Part:
    """add, subtract, multiply."""
    from pyspark.sql import functions as F

    left, right = (a.value for a in arguments)
    if call.type.kind == "bigint":
        function = {"add": F.try_add, "subtract": F.try_subtract, "multiply": F.try_multiply}[call.function]
        return checked(function(left, right), arguments)
    value = {"add": left + right, "subtract": left - right, "multiply": left * right}[call.function]
    if call.type.kind == "double":
        return _finite(value, arguments)
    return Part(value.cast(str(call.type)), steps_of(arguments))


def _finite(value: Column, arguments: list[Part], before: tuple[Step, ...] = ()) -> Part:
    """A double that must be a number; infinity and NaN (the greatest of all, on both engines) are an overflow."""
    from pyspark.sql import functions as F

    infinite = Step(F.abs(value) >= F.lit(float("inf")), OVERFLOW)
    return Part(value, (*steps_of(arguments), *before, infinite))


def _divide(call: Call, arguments: list[Part]) -> Part:
    from pyspark.sql import functions as F

    left, right = (a.value for a in arguments)
    by_zero = Step((right == F.lit(0.0)) & left.isNotNull(), DIVISION_BY_ZERO)
    return _finite(left / _no_zero(right, F.lit(0.0), True), arguments, (by_zero,))


def _no_zero(divisor: Column, zero: Column, double: bool) -> Column:
    """Null instead of zero. Sail's nullif does not take -0.0 for 0.0, and a remainder by it ends the query."""
    from pyspark.sql import functions as F

    return F.nullif(divisor + zero if double else divisor, zero)


def _remainder(call: Call, arguments: list[Part]) -> Part:
    """Not try_mod: it fails on the smallest bigint by -1 on one engine only."""
    from pyspark.sql import functions as F

    left, right = (a.value for a in arguments)
    zero = F.lit(0).cast(str(call.arguments[1].type))
    value = (left % _no_zero(right, zero, call.type.kind == "double")).cast(str(call.type))
    if call.type.kind == "decimal" and call.type.scale and is_constant(call.arguments[1]):
        # Sail takes x % 1 for 0 whatever x is. Over the same numbers without a point that is true.
        precision, scale = call.type.precision, call.type.scale
        ten = F.lit("1" + "0" * scale).cast(f"decimal({scale + 1},0)")
        whole, by = (v * ten for v in (left, right))
        room = f"decimal({precision + scale},0)"
        rest = whole.cast(room) % F.nullif(by.cast(room), F.lit(0).cast(room))
        unit = F.lit(f"0.{'1':0>{scale}}").cast(f"decimal({scale},{scale})")
        value = (rest.cast(f"decimal({precision},0)") * unit).cast(str(call.type))
    by_zero = Step((right == zero) & left.isNotNull(), DIVISION_BY_ZERO)
    if call.type.kind == "double":
        return _finite(value, arguments, (by_zero,))
    return Part(value, (*steps_of(arguments), by_zero))


def _negate(call: Call, arguments: list[Part]) -> Part:
    from pyspark.sql import functions as F

    value = arguments[0].value
    if call.type.kind == "bigint":
        return checked(F.try_subtract(F.lit(0).cast("bigint"), value), arguments)
    return Part((-value).cast(str(call.type)), arguments[0].steps)


def _abs(call: Call, arguments: list[Part]) -> Part:
    from pyspark.sql import functions as F

    value = arguments[0].value
    if call.type.kind == "bigint":
        zero = F.lit(0).cast("bigint")
        return checked(F.when(value < zero, F.try_subtract(zero, value)).otherwise(value), arguments)
    return Part(F.abs(value).cast(str(call.type)), arguments[0].steps)


def _sign(value: Column) -> Column:
    from pyspark.sql import functions as F

    found = F.when(value > F.lit(0), F.lit(1)).when(value < F.lit(0), F.lit(-1)).when(value.isNotNull(), F.lit(0))
    return found.cast("int")


def _round(call: Call, arguments: list[Part]) -> Part:
    """Of a decimal, a cast (half away from zero on both engines). Of a double, by hand: the engines' own differ."""
    from pyspark.sql import functions as F

    value = arguments[0].value
    if call.type.kind == "decimal":
        return Part(value.cast(str(call.type)), arguments[0].steps)
    factor = float(10 ** int(str(constants(call, 1)[0])))
    scaled = F.abs(value) * F.lit(factor)
    rounded = scaled_half_up(scaled).cast("double") / F.lit(factor)
    side = F.when(value < F.lit(0.0), F.lit(-1.0)).otherwise(F.lit(1.0))
    return Part(F.when(scaled < F.lit(EXACT), rounded * side).otherwise(value) + F.lit(0.0), arguments[0].steps)


def scaled_half_up(scaled: Column) -> Column:
    """The bigint nearest to a double of 0 to 2**53, halves upwards. The difference to its floor is exact."""
    from pyspark.sql import functions as F

    whole = F.floor(scaled).cast("bigint")
    return whole + F.when(scaled - whole.cast("double") >= F.lit(0.5), F.lit(1)).otherwise(F.lit(0)).cast("bigint")


def _whole(call: Call, arguments: list[Part]) -> Part:
    """floor, ceil."""
    from pyspark.sql import functions as F

    value = arguments[0].value
    function = F.floor if call.function == "floor" else F.ceil
    if call.type.kind == "decimal":
        return Part(function(value).cast(str(call.type)), arguments[0].steps)
    fits = F.when((value >= F.lit(-(2.0**63))) & (value < F.lit(2.0**63)), value)
    return checked(function(fits).cast("bigint"), arguments)


EMITTERS: Mapping[str, Emitter] = {
    "add": _arithmetic,
    "subtract": _arithmetic,
    "multiply": _arithmetic,
    "divide": _divide,
    "remainder": _remainder,
    "negate": _negate,
    "abs": _abs,
    "sign": plain(_sign),
    "round": _round,
    "floor": _whole,
    "ceil": _whole,
}
