"""The windows of an aggregate: stretches of time, in UTC, from `window_start` up to and without `window_end`.

    hourly, daily, weekly (from Monday), monthly, or a cron expression: from each of its ticks to the next
    rolling="P7D": each window reaches back that far from its end, and so shares rows with those before it
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from pipeline_xml.checked import Column, Dataset
from pipeline_xml.cron import cron_fault, ticks
from pipeline_xml.durations import parse_duration
from pipeline_xml.types import TIMESTAMP
from processing.transformations.attributes import INCOMPLETE, WRONG_TYPE, WRONG_VALUE, Attributes, derived_from

if TYPE_CHECKING:
    import pyarrow as pa
    from pyspark.sql import Column as Expr
    from pyspark.sql import DataFrame

START, END = "window_start", "window_end"
NAMED = ("hourly", "daily", "weekly", "monthly")
_MICROS = 1_000_000
_DAY = 86_400 * _MICROS
_EPOCH = datetime(1970, 1, 1)
_FIXED = {"hourly": (3600 * _MICROS, 0), "daily": (_DAY, 0), "weekly": (7 * _DAY, 4 * _DAY)}  # 1970-01-05 was a Monday


@dataclass(frozen=True)
class Windows:
    """`every` is one of NAMED or a cron expression; `rolling` is in microseconds, 0 where windows do not overlap."""

    time_column: str
    every: str
    rolling: int


def check_windows(read: Attributes, source: Dataset) -> tuple[Windows | None, tuple[Column, ...]]:
    """The windows that the attributes ask for, and the columns that they add; nothing where they ask for none."""
    given = [name for name in ("window", "rolling", "timeColumn") if read.text(name)]
    if not given:
        return None, ()
    if "timeColumn" not in given or given == ["timeColumn"]:
        lack = "timeColumn" if given[0] != "timeColumn" else "window"
        message = f"<aggregate {given[0]}> needs {lack} as well"
        hint = 'timeColumn="…" names a date or timestamp' if lack == "timeColumn" else f"one of {', '.join(NAMED)}"
        read.report(INCOMPLETE, message, read.place(given[0]), (), hint)
        return None, ()
    every = read.text("window") or "daily"
    fault = None if every in NAMED else cron_fault(every)
    if fault:
        message = f"<aggregate window> cannot be '{every}': {fault}"
        read.report(WRONG_VALUE, message, read.place("window"), (*NAMED, "a cron expression such as 0 6 * * *"))
    rolling = _rolling(read)
    column = read.column(read.text("timeColumn"), source, read.place("timeColumn"), "timeColumn")
    if column is None:
        return None, ()
    if column.type.kind not in ("date", "timestamp"):
        message = f"<aggregate timeColumn> needs a time; {column.name} is {column.type}"
        read.report(WRONG_TYPE, message, read.place("timeColumn"), ("date", "timestamp"), "cast it before")
    classification, origins = derived_from([column])
    added = tuple(Column(name, TIMESTAMP, column.nullable, "", classification, origins) for name in (START, END))
    return Windows(column.name, every, rolling), added


def _rolling(read: Attributes) -> int:
    written = read.text("rolling")
    if not written:
        return 0
    try:
        length = parse_duration(written)
    except ValueError as error:
        read.report(WRONG_VALUE, f"<aggregate rolling>: {error}", read.place("rolling"))
        return 0
    if length <= timedelta(0):
        read.report(WRONG_VALUE, "<aggregate rolling> must be longer than nothing", read.place("rolling"))
    return round(length.total_seconds() * _MICROS)


def in_windows(rows: DataFrame, windows: Windows, group_by: Sequence[str]) -> DataFrame:
    """The rows with the bounds of their window; where windows overlap, a row for each that it is in.

    A group has the windows in which it has rows of its own. Rows without a time have a window of nulls.
    """
    from pyspark.sql import functions as F

    start, end = bounds(windows)
    timed = rows.withColumns({START: start, END: end})
    if not windows.rolling:
        return timed
    length = F.lit(windows.rolling)
    groups = {f"_of_{name}": name for name in group_by}
    ends = timed.select(*(F.col(name).alias(of) for of, name in groups.items()), F.col(END).alias("_until")).distinct()
    time = F.unix_micros(F.col(windows.time_column).cast("timestamp"))
    until = F.unix_micros(F.col("_until"))
    inside = ((time >= until - length) & (time < until)) | (time.isNull() & until.isNull())
    for of, name in groups.items():
        inside = inside & F.col(of).eqNullSafe(F.col(name))
    joined = timed.join(ends, inside, "inner")
    return joined.withColumns({START: F.timestamp_micros(until - length), END: F.col("_until")})


def bounds(windows: Windows) -> tuple[Expr, Expr]:
    """(start, end) of the window that a row's time is in, as timestamps; null where it has none."""
    from pyspark.sql import functions as F

    time = F.col(windows.time_column).cast("timestamp")
    if windows.every in _FIXED:
        size, offset = _FIXED[windows.every]
        micros = F.unix_micros(time)
        start = micros - F.pmod(micros - F.lit(offset), F.lit(size))
        return F.timestamp_micros(start), F.timestamp_micros(start + F.lit(size))
    if windows.every == "monthly":
        first = F.trunc(time.cast("date"), "month")
        return first.cast("timestamp"), F.add_months(first, 1).cast("timestamp")
    from pyspark.sql.pandas.functions import arrow_udf

    start, end = (
        F.timestamp_micros(arrow_udf(worker, "bigint")(F.unix_micros(time)))  # type: ignore[call-overload]
        for worker in (ticker(windows.every, first=True), ticker(windows.every, first=False))
    )
    return start, end


def ticker(cron: str, first: bool) -> Callable[[pa.Array], pa.Array]:
    """The function that finds the tick at or before each time (`first`), or the next one; in microseconds."""
    import pyarrow as pa

    def tick(values: pa.Array) -> pa.Array:
        schedule = ticks(cron)
        find = schedule.at_or_before if first else schedule.after
        distinct = values.dictionary_encode()
        found: list[Any] = []
        for value in distinct.dictionary.to_pylist():
            moment = find(_EPOCH + timedelta(microseconds=value))
            found.append(None if moment is None else round(moment.replace(tzinfo=UTC).timestamp()) * _MICROS)
        return pa.array(found, pa.int64()).take(distinct.indices)

    # arrow_udf reads the hints as types, and this module must be importable without pyarrow
    tick.__annotations__.update({"values": pa.Array, "return": pa.Array})
    return tick
