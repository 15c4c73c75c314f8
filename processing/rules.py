"""Row rules: all of them in one pass over the driving source's columns, every violation of a record kept."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from pipeline_xml.checked import RowRule
from processing.emit import emit
from processing.rejects import Reason, reject

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

CODE = "rule"


def apply_row_rules(frame: DataFrame, rules: Sequence[RowRule], bindings: Mapping[str, object]) -> DataFrame:
    """Adds an entry to `_errors` for each rule a record breaks; severity error also sets `_status` to quarantined.

    A record breaks a rule where its expression is false, or cannot be computed (overflow, division by zero); a null
    result keeps it. Records that the contract rejected are evaluated too: a column that could not be read is null, so
    it breaks nothing, and the other columns are still judged.
    """
    return reject(frame, [_reason(rule, bindings) for rule in rules])


def _reason(rule: RowRule, bindings: Mapping[str, object]) -> Reason:
    from pyspark.sql import functions as F

    judged = emit(rule.expression, lambda _dataset, name: F.col(name), bindings)
    broken = F.coalesce(~judged.value, F.lit(False))
    code = F.lit(CODE)
    if judged.problem is not None:
        broken = broken | judged.problem.isNotNull()
        code = F.coalesce(judged.problem, code)
    message = rule.rule.description or rule.expression.text
    return Reason(broken, rule.rule.id, ",".join(rule.columns), code, message, rule.rule.severity)
