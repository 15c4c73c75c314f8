"""Rules over a batch as a whole, one function a kind: rows or groups that are wrong are counted, never shown."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from decimal import Decimal, localcontext
from typing import Any

from pipeline_xml.checked import DatasetRule
from pipeline_xml.durations import parse_duration
from pipeline_xml.types import DataType
from publishing.expectations import met
from publishing.outcome import CheckOutcome
from publishing.rule_tables import Compared

_NOISE = 1e-9  # two sums of the same doubles in another order are that much apart


@dataclass(frozen=True, slots=True)
class Rows:
    """What a rule looks at: `read` gives columns of all rows as an Arrow table, `number` says how many there are.

    `business_date` is what freshness is measured from; `compared` reads what reconcile compares with.
    """

    read: Callable[[Sequence[str]], Any]
    number: int
    business_date: date
    compared: Compared


def check_dataset(rule: DatasetRule, rows: Rows) -> CheckOutcome:
    """The rule's verdict. `failed_rows` says how bad it is, and what a waiver is held against: rows, or what the
    description names."""
    bad, description = _KINDS[rule.rule.kind](rule, rows)
    return CheckOutcome(rule.rule.id, rule.rule.severity, bad == 0, bad, description)


def _row_count(rule: DatasetRule, rows: Rows) -> tuple[int, str]:
    wanted = rule.rule.attributes
    low, high = int(wanted.get("min", 0)), int(wanted["max"]) if "max" in wanted else None
    beyond = max(low - rows.number, 0 if high is None else rows.number - high, 0)
    return beyond, f"{rows.number} rows, wanted {low}..{'any' if high is None else high}"


def _completeness(rule: DatasetRule, rows: Rows) -> tuple[int, str]:
    least = float(rule.rule.attributes.get("min", 1))
    missing = sum(column.null_count for column in rows.read(rule.columns).columns)
    share = 1 - missing / rows.number if rows.number else 1.0
    return 0 if share >= least else missing, f"{share:.4f} filled, wanted at least {least}"


def _unique(rule: DatasetRule, rows: Rows) -> tuple[int, str]:
    import pyarrow.compute as pc

    counts = rows.read(rule.columns).group_by(list(rule.columns)).aggregate([([], "count_all")])["count_all"]
    doubled = int(pc.sum(pc.filter(counts, pc.greater(counts, 1))).as_py() or 0)
    return doubled, f"{doubled} rows share {', '.join(rule.columns)}"


def _freshness(rule: DatasetRule, rows: Rows) -> tuple[int, str]:
    """Hours beyond. A date lasts to its end, and so does the business date: never the clock, so a rerun agrees."""
    import pyarrow.compute as pc

    column, allowed = rule.columns[0], rule.rule.attributes["max"]
    newest = pc.max(typed(rows.read([column])[column], rule.types[0])).as_py()
    if newest is None:
        return max(rows.number, 1), f"no value in {column}; the newest may be {allowed} old"
    end = datetime.combine(rows.business_date, time()) + timedelta(days=1)
    moment = newest if isinstance(newest, datetime) else datetime.combine(newest, time()) + timedelta(days=1)
    late = end - moment.replace(tzinfo=None) - parse_duration(allowed)
    hours = math.ceil(late / timedelta(hours=1)) if late > timedelta(0) else 0
    said = f"{hours} hours older than {allowed}" if hours else f"not older than {allowed}"
    return hours, f"the newest {column} is {said} at the end of {rows.business_date}"


def _reconcile(rule: DatasetRule, rows: Rows) -> tuple[int, str]:
    """Rows too many or too few; of a sum, basis points of the other. No sum is shown: of one row it is a value."""
    if rule.table is None:
        raise ValueError(f"{rule.rule.id} names no table")
    name, allowed = ".".join(rule.table[1:]), rule.rule.threshold or 0.0
    there, number = rows.compared(rule.table, [c.name for c in rule.theirs])
    if not rule.columns:
        off = abs(rows.number - number)
        good = off <= allowed * number
        return 0 if good else off, f"{rows.number} rows, {number} in {name}"
    mine = total(typed(rows.read(rule.columns)[rule.columns[0]], rule.types[0]))
    theirs = total(there[rule.theirs[0].name])
    doubles = any(kind.kind == "double" for kind in (rule.types[0], rule.theirs[0].type))
    share = _apart(mine, theirs)
    good = share <= max(allowed, _NOISE if doubles else 0.0)
    said = f"the sum of {rule.columns[0]} is {f'{share:.4%} off' if share else 'equal to'} that in {name}"
    return 0 if good else max(1, math.ceil(share * 10_000)), f"{said}; allowed {allowed:.4%}"


def _expectation(rule: DatasetRule, rows: Rows) -> tuple[int, str]:
    import pyarrow as pa

    if rule.rule.attributes["type"].startswith("expect_table_column"):  # of their names alone
        return met(rule, pa.table({name: pa.array([], pa.string()) for name in rule.columns}), 0)
    read = rows.read(rule.columns)
    columns = [typed(read[name], kind) for name, kind in zip(rule.columns, rule.types, strict=True)]
    return met(rule, pa.table(columns, names=list(rule.columns)), rows.number)


def _apart(mine: Decimal, theirs: Decimal) -> float:
    """The difference as a share of the other sum; all of it where that is nothing or no number."""
    if not (mine.is_finite() and theirs.is_finite()):
        return 1.0
    with localcontext(prec=100):
        apart = abs(mine - theirs)
        return float(apart / abs(theirs)) if theirs else float(bool(apart))


def typed(column: Any, kind: DataType) -> Any:
    """What a batch is partitioned by is read as text: here it has its type again."""
    import pyarrow as pa
    import pyarrow.types as pt

    from processing.validate_types import convert

    if kind.kind == "string" or not (pt.is_string(column.type) or pt.is_large_string(column.type)):
        return column
    return pa.chunked_array([convert(column.combine_chunks(), kind)[0]])


def total(column: Any) -> Decimal:
    """The exact sum of numbers, not finite where one is not; nulls count nothing."""
    import pyarrow as pa
    import pyarrow.compute as pc
    import pyarrow.types as pt

    if pt.is_floating(column.type):
        values = column.drop_null().to_numpy()
        return Decimal(math.fsum(values)) if all(map(math.isfinite, values)) else Decimal("NaN")
    scale = column.type.scale if pt.is_decimal(column.type) else 0
    return pc.sum(column.cast(pa.decimal256(76, scale))).as_py() or Decimal(0)  # room for any sum of 38 digits


_KINDS: Mapping[str, Callable[[DatasetRule, Rows], tuple[int, str]]] = {
    "rowCount": _row_count,
    "completeness": _completeness,
    "unique": _unique,
    "freshness": _freshness,
    "reconcile": _reconcile,
    "expectation": _expectation,
}
