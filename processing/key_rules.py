"""Rules over keys: whether a record's key stands in a reference, or in other records too. One join a rule."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import reduce
from operator import and_
from typing import TYPE_CHECKING, Any

from pipeline_xml.checked import KeyRule
from pipeline_xml.types import DataType
from processing.rejects import Reason, alive

if TYPE_CHECKING:
    from pyspark.sql import Column, DataFrame


def reference_keys(rule: KeyRule, session: Any) -> DataFrame:
    """The rows of a lookup, for `mark_keys`; ReferenceBroken where it cannot be used."""
    from pyspark.sql import functions as F

    from processing.references import read_reference

    if rule.reference is None:
        raise ValueError(f"{rule.rule.id}: no lookup")
    return F.broadcast(read_reference(rule.reference, session).select(*(c.name for c in rule.theirs)))


def mark_keys(
    frame: DataFrame, rules: Sequence[KeyRule], references: Mapping[str, DataFrame]
) -> tuple[DataFrame, list[Reason]]:
    """`frame` with a helper column a rule, and the reasons that read them.

    `references` holds the reference's rows by rule id. A key with a null in it breaks no rule. Keys are compared among
    the records that the contract accepted and nobody gave up.
    """
    reasons = []
    for number, rule in enumerate(rules):
        found = f"_key{number}"
        keys = {f"{found}_{i}": column for i, column in enumerate(rule.columns)}
        known = _several(frame, rule, keys, found) if rule.compares_records else _there(rule, references, keys, found)
        frame = frame.join(known, _equal(frame, known, rule, keys), "left").drop(*keys)
        reasons.append(_reason(rule, found))
    return frame, reasons


def _there(rule: KeyRule, references: Mapping[str, DataFrame], keys: Mapping[str, str], found: str) -> DataFrame:
    """Every key of the reference, once."""
    from pyspark.sql import functions as F

    rows = references[rule.rule.id]
    columns = [_plain(F.col(c.name), c.type).alias(key) for key, c in zip(keys, rule.theirs, strict=True)]
    return rows.select(*columns).dropna().distinct().withColumn(found, F.lit(True))


def _several(frame: DataFrame, rule: KeyRule, keys: Mapping[str, str], found: str) -> DataFrame:
    """Every key that more than one record has."""
    from pyspark.sql import functions as F

    narrow = frame.where(alive()).select(*(F.col(c).alias(key) for key, c in keys.items())).dropna()
    counted = narrow.groupBy(*keys).agg(F.count(F.lit(1)).alias(found)).where(F.col(found) > 1)
    return counted.withColumn(found, F.lit(True))


def _equal(frame: DataFrame, known: DataFrame, rule: KeyRule, keys: Mapping[str, str]) -> Column:
    types = [c.type for c in rule.theirs] if rule.theirs else [None] * len(keys)
    pairs = zip(keys.items(), types, strict=True)
    return reduce(and_, (_plain(frame[c], kind) == known[key] for (key, c), kind in pairs))


def _plain(column: Column, kind: DataType | None) -> Column:
    """Whole numbers of any width are one type for a comparison."""
    return column.cast("bigint") if kind is not None and kind.kind in ("int", "bigint") else column


def _reason(rule: KeyRule, found: str) -> Reason:
    from pyspark.sql import functions as F

    columns, there = ",".join(rule.columns), F.col(found).isNotNull()
    if rule.compares_records:
        when, code, message = alive() & there, "duplicate", f"other records of the batch have the same {columns}"
    else:
        when, code = reduce(and_, (F.col(c).isNotNull() for c in rule.columns)) & ~there, "missing_reference"
        message = f"{columns} must be in {rule.reference.id if rule.reference else '.'.join(rule.table or ())}"
    return Reason(when, rule.rule.id, columns, code, rule.rule.description or message, rule.rule.severity)
