"""Row rules: all of them in one pass over the driving source's columns, every violation of a record kept."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import reduce
from operator import or_
from typing import TYPE_CHECKING

from pipeline_xml.checked import RowRule
from processing import frame as f
from processing.emit import emit

if TYPE_CHECKING:
    from pyspark.sql import Column, DataFrame

CODE = "rule"


def apply_row_rules(frame: DataFrame, rules: Sequence[RowRule], bindings: Mapping[str, object]) -> DataFrame:
    """Adds an entry to `_errors` for each rule a record breaks; severity error also sets `_status` to quarantined.

    A record breaks a rule where its expression is false, or cannot be computed (overflow, division by zero); a null
    result keeps it. Records that the contract rejected are evaluated too: a column that could not be read is null, so
    it breaks nothing, and the other columns are still judged.
    """
    if not rules:
        return frame
    from pyspark.sql import functions as F

    judged = [_broken(rule, bindings) for rule in rules]
    entries = [
        F.when(
            broken,
            F.struct(
                F.lit(rule.rule.id).alias("rule"),
                F.lit(",".join(rule.columns)).alias("column"),
                code.alias("code"),
                F.lit(rule.rule.description or rule.expression.text).alias("message"),
                F.lit(rule.rule.severity).alias("severity"),
            ),
        )
        for rule, (broken, code) in zip(rules, judged, strict=True)
    ]
    # One cheap boolean first: the array of entries is built only for the records that break something.
    any_broken = reduce(or_, (broken for broken, _ in judged))
    known = F.coalesce(F.col(f.ERRORS), F.array().cast(f.ERRORS_DDL))
    found = F.filter(F.array(*entries), lambda entry: entry.isNotNull()).cast(f.ERRORS_DDL)
    out = frame.withColumn(f.ERRORS, F.when(any_broken, F.concat(known, found)).otherwise(F.col(f.ERRORS)))
    severe = [broken for rule, (broken, _) in zip(rules, judged, strict=True) if rule.rule.severity == "error"]
    if not severe:
        return out
    rejected = reduce(or_, severe) & F.col(f.STATUS).isNull()
    return out.withColumn(f.STATUS, F.when(rejected, F.lit(f.QUARANTINED)).otherwise(F.col(f.STATUS)))


def _broken(rule: RowRule, bindings: Mapping[str, object]) -> tuple[Column, Column]:
    """(whether the record breaks the rule, never null; the error code)."""
    from pyspark.sql import functions as F

    judged = emit(rule.expression, lambda _dataset, name: F.col(name), bindings)
    false = F.coalesce(~judged.value, F.lit(False))
    if judged.problem is None:
        return false, F.lit(CODE)
    return false | judged.problem.isNotNull(), F.coalesce(judged.problem, F.lit(CODE))
