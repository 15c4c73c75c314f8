"""Row rules: all of them in one pass over the driving source's columns, every violation of a record kept."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from pipeline_xml.checked import KeyRule, RowRule
from pipeline_xml.expressions.tree import Call, Tree
from processing import frame as f
from processing.emit import emit
from processing.key_rules import mark_keys
from processing.rejects import Reason, reject

if TYPE_CHECKING:
    from pyspark.sql import Column, DataFrame

CODE = "rule"
_NULL_AWARE = {
    "case", "coalesce", "concat_ws", "count_present", "greatest", "is_not_null", "is_null", "least", "null_safe_eq",
    "nullif",
}  # fmt: skip


def apply_row_rules(
    frame: DataFrame,
    rules: Sequence[RowRule],
    bindings: Mapping[str, object],
    keys: Sequence[KeyRule] = (),
    references: Mapping[str, DataFrame] | None = None,
) -> DataFrame:
    """Adds an entry to `_errors` for each rule a record breaks; severity error also sets `_status` to quarantined.

    A record breaks a rule where its expression is false, or cannot be computed (overflow, division by zero); a null
    result keeps it. Records that the contract rejected are judged too, but not for nulls where a column could not be
    read: `notNull` would tell of one damage twice. A ragged record has no column that could be read.

    `references` holds, by rule id, the rows of what the rules over `keys` compare with.
    """
    columns = frame.columns if keys else ()
    frame, of_keys = mark_keys(frame, keys, references or {})
    judged = reject(frame, [*(_reason(rule, bindings) for rule in rules), *of_keys])
    return judged.select(*columns) if keys else judged


def _reason(rule: RowRule, bindings: Mapping[str, object]) -> Reason:
    from pyspark.sql import functions as F

    judged = emit(rule.expression, lambda _dataset, name: F.col(name), bindings)
    broken = F.coalesce(~judged.value, F.lit(False))
    code = F.lit(CODE)
    if judged.problem is not None:
        broken = broken | judged.problem.isNotNull()
        code = F.coalesce(judged.problem, code)
    message = rule.rule.description or rule.expression.text
    columns = ",".join(rule.columns)
    unless = _unreadable(rule.columns) if _sees_nulls(rule.expression.tree) else None
    return Reason(broken, rule.rule.id, columns, code, message, rule.rule.severity, unless)


def _sees_nulls(tree: Tree) -> bool:
    """Whether a null operand can make this false. Without these functions a null only ever makes it null."""
    return isinstance(tree, Call) and (tree.function in _NULL_AWARE or any(map(_sees_nulls, tree.arguments)))


def _unreadable(columns: Sequence[str]) -> Column:
    """Whether the contract rejected the record for one of these columns, or as a whole (an entry without a column)."""
    from pyspark.sql import functions as F

    fields = {name for column in columns for name in (column, column.removesuffix("_code"))}

    def blames(entry: Column) -> Column:
        column = entry.getField("column")
        return column.isNull() | column.isin(*sorted(fields))

    return F.coalesce(F.col(f.STATUS).isNotNull() & F.exists(F.col(f.ERRORS), blames), F.lit(False))
