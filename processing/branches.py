"""One status for a record that goes several ways: what the branches made of it, put together."""

from __future__ import annotations

from collections.abc import Sequence
from functools import reduce
from operator import or_
from typing import TYPE_CHECKING

from processing import frame as f

if TYPE_CHECKING:
    from pyspark.sql import Column, DataFrame

_ID, _STATUS, _ERRORS = "_branch_id", "_branch_status", "_branch_errors"


def together(stem: DataFrame, branches: Sequence[DataFrame]) -> DataFrame:
    """The records of the stem with the status and the reasons that all branches together give them.

    The first that applies: quarantined on any branch, alive on any, deduplicated on any, filtered. Every branch holds
    every record, and its reasons begin with those of the stem.
    """
    from pyspark.sql import functions as F

    rows = stem
    for number, branch in enumerate(branches):
        told = [(f.RECORD_ID, _ID), (f.STATUS, _STATUS), (f.ERRORS, _ERRORS)]
        narrow = branch.select(*(F.col(name).alias(f"{short}{number}") for name, short in told))
        rows = rows.join(narrow, rows[f.RECORD_ID] == narrow[f"{_ID}{number}"], "left")
    places = range(len(branches))
    statuses = [F.col(f"{_STATUS}{number}") for number in places]
    status = F.when(_any([each.eqNullSafe(f.QUARANTINED) for each in statuses]), F.lit(f.QUARANTINED))
    status = status.when(_any([each.isNull() for each in statuses]), F.lit(None).cast("string"))
    status = status.when(_any([each.eqNullSafe(f.DEDUPLICATED) for each in statuses]), F.lit(f.DEDUPLICATED))
    judged = rows.withColumns({f.STATUS: status.otherwise(F.lit(f.FILTERED)), f.ERRORS: _reasons(places)})
    return judged.select(*stem.columns)


def _any(conditions: Sequence[Column]) -> Column:
    return reduce(or_, conditions)


def _reasons(places: Sequence[int]) -> Column:
    """Those of the stem, then what each branch added; null where there are none. Two branches may share a step."""
    from pyspark.sql import functions as F

    def entries(name: str) -> Column:
        return F.coalesce(F.col(name), F.array().cast(f.ERRORS_DDL))

    before = F.size(entries(f.ERRORS))
    added = [entries(f"{_ERRORS}{number}") for number in places]
    fresh = [F.slice(each, before + 1, F.size(each)) for each in added]
    found = F.array_distinct(F.concat(entries(f.ERRORS), *fresh))
    return F.when(_any([F.col(f"{_ERRORS}{number}").isNotNull() for number in places]), found)
