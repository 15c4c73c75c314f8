"""Setting a record aside: its `_status`, and a reason in `_errors` for everything that is wrong with it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import reduce
from operator import or_
from typing import TYPE_CHECKING

from processing import frame as names

if TYPE_CHECKING:
    from pyspark.sql import Column, DataFrame


@dataclass(frozen=True)
class Reason:
    """Why records are broken: `when` is true for those that are, null counts as false. The rest becomes the entry.

    `code` is a text, or a column that is not null where `when` is true. `unless` takes back the entry (not the status)
    of records that are set aside already; an engine computes it for suspects only.
    """

    when: Column
    rule: str
    column: str
    code: str | Column
    message: str
    severity: str = "error"
    unless: Column | None = None

    def entry(self) -> Column:
        """The struct of `_errors`, null where the record is sound."""
        from pyspark.sql import functions as F

        values = (self.rule, self.column, self.code, self.message, self.severity)
        columns = [F.lit(value) if isinstance(value, str) else value for value in values]
        fields = [column.alias(name) for name, column in zip(names.ERROR_FIELDS, columns, strict=True)]
        return F.when(self.when if self.unless is None else self.when & ~self.unless, F.struct(*fields))


def problem_reasons(problem: Column, rule: str, column: str, message: str) -> list[Reason]:
    """The reason that an emitted expression's `problem` gives to living records; its code is the problem's."""
    return [Reason(alive() & problem.isNotNull(), rule, column, problem, message)]


def alive() -> Column:
    from pyspark.sql import functions as F

    return F.col(names.STATUS).isNull()


def set_aside(frame: DataFrame, when: Column, status: str) -> DataFrame:
    """`frame` with `status` on the living records for which `when` is true."""
    from pyspark.sql import functions as F

    return frame.withColumn(names.STATUS, F.when(alive() & when, F.lit(status)).otherwise(F.col(names.STATUS)))


def reject(frame: DataFrame, reasons: Sequence[Reason], suspects: Column | None = None) -> DataFrame:
    """Adds every reason that holds to `_errors`; living records with one of severity error become quarantined.

    The entries are built only where `suspects` (by default: any reason holds), which an engine computes first, so
    sound records cost no array.
    """
    if not reasons:
        return frame
    from pyspark.sql import functions as F

    suspects = _any(reasons) if suspects is None else suspects
    grave = [reason for reason in reasons if reason.severity == "error"]
    before = F.col(names.ERRORS)
    # Sail tells nullable and non-null fields apart when it joins arrays: both sides are cast to the one type
    fresh = F.array_compact(F.array(*(reason.entry() for reason in reasons))).cast(names.ERRORS_DDL)
    known = F.coalesce(before, F.array().cast(names.ERRORS_DDL))
    changed = {names.ERRORS: F.when(suspects, _unless_empty(F.concat(known, fresh))).otherwise(before)}
    if grave:
        broken = alive() & _any(grave)
        changed[names.STATUS] = F.when(broken, F.lit(names.QUARANTINED)).otherwise(F.col(names.STATUS))
    return frame.withColumns(changed)


def _any(reasons: Sequence[Reason]) -> Column:
    """Whether one holds, as a balanced tree: a plan nests at most 100 messages deep, 40 rules in a chain more."""
    from pyspark.sql import functions as F

    level = [F.coalesce(reason.when, F.lit(False)) for reason in reasons]
    while len(level) > 1:
        level = [reduce(or_, level[i : i + 2]) for i in range(0, len(level), 2)]
    return level[0]


def _unless_empty(entries: Column) -> Column:
    """`_errors` is null where there are none."""
    from pyspark.sql import functions as F

    return F.when(F.size(entries) > 0, entries)
