"""Dates and timestamps, from 0001-01-01 to 9999-12-31. Sail's own trunc and date_trunc end at the year 2262."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from pipeline_xml.expressions.tree import Call
from processing.emitted import INVALID_CAST, Emitter, Part, checked, constants, plain

if TYPE_CHECKING:
    from pyspark.sql import Column

FIRST_DAY, LAST_DAY = -719_162, 2_932_896  # days from 1970-01-01 of 0001-01-01 and 9999-12-31
FIRST_MONTH, LAST_MONTH = 12, 9999 * 12 + 11  # year * 12 + month - 1
_MICROSECONDS = {"hour": 3_600_000_000, "minute": 60_000_000, "second": 1_000_000}


def _part(name: str) -> Emitter:
    def make(moment: Column) -> Column:
        from pyspark.sql import functions as F

        found: Column = getattr(F, name)(moment)
        return found.cast("int")

    return plain(make)


def _moved_days(call: Call, arguments: list[Part]) -> Part:
    from pyspark.sql import functions as F

    day, count = (a.value for a in arguments)
    near = F.when(count.between(-LAST_DAY * 2, LAST_DAY * 2), count)  # so that the sum below cannot overflow
    moved = near if call.function == "date_add" else -near
    target = F.unix_date(day).cast("bigint") + moved
    # The count is taken away where the result has no place, instead of computing a date that no engine can hold.
    return checked(F.date_add(day, F.when(target.between(FIRST_DAY, LAST_DAY), moved).cast("int")), arguments)


def _moved_months(call: Call, arguments: list[Part]) -> Part:
    from pyspark.sql import functions as F

    day, count = (a.value for a in arguments)
    near = F.when(count.between(-LAST_MONTH, LAST_MONTH), count)
    target = (F.year(day) * F.lit(12) + F.month(day) - F.lit(1)).cast("bigint") + near
    return checked(F.add_months(day, F.when(target.between(FIRST_MONTH, LAST_MONTH), near).cast("int")), arguments)


def _datediff(end: Column, start: Column) -> Column:
    from pyspark.sql import functions as F

    return F.datediff(end, start).cast("int")


def _last_day(day: Column) -> Column:
    from pyspark.sql import functions as F

    return F.last_day(day)


def _cut(day: Column, unit: str) -> Column:
    """The first day of the unit that `day` is in."""
    from pyspark.sql import functions as F

    if unit == "day":
        return day
    if unit == "week":
        back = (F.dayofweek(day) + F.lit(5)) % F.lit(7)  # 1 is Sunday: six days after Monday
    elif unit == "year":
        back = F.dayofyear(day) - F.lit(1)
    else:
        back = F.dayofmonth(day) - F.lit(1)
    cut = F.date_sub(day, back.cast("int"))
    return cut if unit != "quarter" else F.add_months(cut, -((F.month(day) - F.lit(1)) % F.lit(3)).cast("int"))


def _trunc(call: Call, arguments: list[Part]) -> Part:
    return Part(_cut(arguments[0].value, str(constants(call, 1)[0])), arguments[0].steps)


def _date_trunc(call: Call, arguments: list[Part]) -> Part:
    from pyspark.sql import functions as F

    unit, moment = str(constants(call, 0)[0]), arguments[1].value
    if unit not in _MICROSECONDS:
        return Part(_cut(moment.cast("date"), unit).cast("timestamp"), arguments[1].steps)
    micros = F.unix_micros(moment)
    size = F.lit(_MICROSECONDS[unit])
    return Part(F.timestamp_micros(micros - F.pmod(micros, size)), arguments[1].steps)


def _parsed(call: Call, arguments: list[Part]) -> Part:
    """Text that passed the ASCII gate of its format; engines differ on all that is nearly of the format."""
    from pyspark.sql import functions as F

    text = arguments[0].value
    form, gate = (str(c) for c in constants(call, 1))
    fitting = F.when(F.rlike(text, F.lit(gate)), text)
    value = F.try_to_timestamp(fitting, F.lit(form)).cast(str(call.type))
    if call.function.startswith("try_"):
        return Part(value, arguments[0].steps)
    return checked(value, arguments[:1], INVALID_CAST)


def _date_format(call: Call, arguments: list[Part]) -> Part:
    from pyspark.sql import functions as F

    return Part(F.date_format(arguments[0].value, str(constants(call, 1)[0])), arguments[0].steps)


EMITTERS: Mapping[str, Emitter] = {
    "year": _part("year"),
    "quarter": _part("quarter"),
    "month": _part("month"),
    "day": _part("dayofmonth"),
    "dayofweek": _part("dayofweek"),
    "dayofyear": _part("dayofyear"),
    "hour": _part("hour"),
    "minute": _part("minute"),
    "second": _part("second"),
    "date_add": _moved_days,
    "date_sub": _moved_days,
    "add_months": _moved_months,
    "datediff": plain(_datediff),
    "last_day": plain(_last_day),
    "trunc": _trunc,
    "date_trunc": _date_trunc,
    "to_date": _parsed,
    "try_to_date": _parsed,
    "to_timestamp": _parsed,
    "try_to_timestamp": _parsed,
    "date_format": _date_format,
}
