"""Checks on what is published: the rules over the rows that stand in the target now, and ledger against table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import date
from typing import Any

from sqlalchemy import select

from pipeline_xml.checked import CheckedPipeline, CheckedTarget, KeyRule, RowRule
from pipeline_xml.model import HiveTarget
from processing import frame as f
from processing.read_table import read_table_columns
from processing.rules import apply_row_rules
from publishing.dataset_rules import Rows, check_dataset
from publishing.lake import Lake
from publishing.ledger import Attempt, Batch
from publishing.outcome import CheckOutcome
from publishing.rule_tables import compared_rows, rule_references
from resources.lake_table import DataFile, Snapshot


def published_checks(lake: Lake, pipeline: CheckedPipeline, business_date: date | None) -> tuple[CheckOutcome, ...]:
    """Every check of the pipeline on what is published (of one business date, or all); empty where nothing is."""
    published = _published(lake, pipeline.key, business_date)
    if not published:
        return ()
    recorded = _recorded(published)
    target = next((t for t in pipeline.targets if isinstance(t.target, HiveTarget)), None)
    if target is None or not lake.table(target.asset).exists:
        return tuple(recorded.values())
    snapshot = lake.table(target.asset).snapshot()
    files = [
        item
        for item in snapshot.files()
        if business_date is None or item.may_hold(f.BUSINESS_DATE, business_date.isoformat())
    ]
    recorded["reconciled"] = _reconciled(target, snapshot, files, published)
    for name, failed in _rows_now(lake, pipeline, target, snapshot, files, business_date).items():
        recorded[name] = replace(
            recorded[name], failed_rows=failed, passed=failed == 0, description="rows of the target as they are now"
        )
    if target.dataset.per_record and not pipeline.branches.several:  # else the rules are about more than the target

        def read(columns: Sequence[str]) -> Any:
            return snapshot.dataset(files).to_table(columns=list(columns), filter=_only(business_date))

        rows = snapshot.dataset(files).count_rows(filter=_only(business_date))
        # A batch is as fresh as it was on its day, so all batches together are judged by the newest day.
        newest = business_date or max(batch.business_date for batch, _ in published)
        now = Rows(read, rows, newest, compared_rows(lake, {}, business_date))
        for rule in pipeline.dataset_rules:
            if all(target.dataset.column(c) for c in rule.columns):
                recorded[rule.rule.id] = check_dataset(rule, now)
    return tuple(recorded.values())


def _published(lake: Lake, pipeline: str, day: date | None) -> list[tuple[Batch, Mapping[str, Any]]]:
    with lake.ledger.read() as session:
        chosen = (
            select(Batch, Attempt)
            .join(Attempt, (Attempt.batch_id == Batch.id) & (Attempt.number == Batch.attempt))
            .where(Batch.pipeline == pipeline, Batch.status == "published")
            .order_by(Batch.arrival)
        )
        if day is not None:
            chosen = chosen.where(Batch.business_date == day)
        return [(batch, attempt.outcome or {}) for batch, attempt in session.execute(chosen)]


def _recorded(published: Sequence[tuple[Batch, Mapping[str, Any]]]) -> dict[str, CheckOutcome]:
    """The checks as the runs found them, summed over the batches: a check passed where it passed in each."""
    found: dict[str, CheckOutcome] = {}
    for _, outcome in published:
        for entry in outcome.get("checks", ()):
            known = found.get(entry["name"])
            found[entry["name"]] = CheckOutcome(
                entry["name"],
                entry["severity"],
                entry["passed"] and (known is None or known.passed),
                entry["failed_rows"] + (known.failed_rows if known else 0),
                "as found when the batches were published",
            )
    return found


def _reconciled(
    target: CheckedTarget,
    snapshot: Snapshot,
    files: Sequence[DataFile],
    published: Sequence[tuple[Batch, Mapping[str, Any]]],
) -> CheckOutcome:
    """Rows of each batch in the target against its outcome; in a merge target others may have replaced them."""
    import pyarrow.compute as pc

    counted = pc.value_counts(snapshot.dataset(files).to_table(columns=[f.BATCH_ID])[f.BATCH_ID].combine_chunks())
    rows = {entry["values"].as_py(): entry["counts"].as_py() for entry in counted}
    mode = target.target.mode
    off = 0
    for batch, outcome in published:
        name = "/".join(target.asset)
        wanted = next((t["rows_written"] for t in outcome.get("targets", ()) if t["name"] == name), 0)
        found = rows.get(batch.id, 0)
        off += max(0, found - wanted) if mode == "merge" else abs(found - wanted)
    return CheckOutcome("reconciled", "error", off == 0, off, "rows of the target against the ledger")


def _rows_now(
    lake: Lake,
    pipeline: CheckedPipeline,
    target: CheckedTarget,
    snapshot: Snapshot,
    files: Sequence[DataFile],
    day: date | None,
) -> dict[str, int]:
    """{rule: rows of the target that break it} for the rules of records whose columns reach the target unchanged.

    Those that read what a run was given stay as the runs found them: it may be another for each batch.
    """
    from pyspark.sql import functions as F

    given = {value.name for value in pipeline.bound}
    found = [rule for rule in pipeline.row_rules if not rule.expression.bindings & given]
    rules = [rule for rule in found if target.dataset.per_record and _unchanged(pipeline, target, rule)]
    keys = [rule for rule in pipeline.key_rules if target.dataset.per_record and _unchanged(pipeline, target, rule)]
    keys = [rule for rule in keys if not rule.compares_records]  # that is about one batch
    if not (rules or keys) or not files:
        return {}
    both: list[RowRule | KeyRule] = [*rules, *keys]
    columns = sorted({c for rule in both for c in rule.columns})
    types = [(c, str(column.type)) for c in columns if (column := target.dataset.column(c)) is not None]
    paths = [(str(snapshot.root / item.path), dict(item.partition)) for item in files]
    rows = read_table_columns(lake.engine.session, paths, [*types, (f.BUSINESS_DATE, "date")])
    if day is not None:
        rows = rows.where(F.col(f.BUSINESS_DATE) == F.lit(day.isoformat()).cast("date"))
    rows = rows.withColumn(f.STATUS, F.lit(None).cast("string")).withColumn(f.ERRORS, F.lit(None).cast(f.ERRORS_DDL))
    references = rule_references(lake, pipeline, {})
    judged = apply_row_rules(rows, rules, {"businessDate": day}, keys, references)
    broken = judged.where(F.col(f.ERRORS).isNotNull())
    counted = broken.select(F.explode(F.col(f"{f.ERRORS}.rule")).alias("rule")).groupBy("rule").count().collect()
    return {rule.rule.id: 0 for rule in both} | {row["rule"]: row["count"] for row in counted}


def _unchanged(pipeline: CheckedPipeline, target: CheckedTarget, rule: RowRule | KeyRule) -> bool:
    source = pipeline.driving.source.id
    for name in rule.columns:
        column = target.dataset.column(name)
        if column is None or column.origins != {(source, name)}:
            return False
    return True


def _only(day: date | None) -> Any:
    import pyarrow.dataset as ds

    return None if day is None else ds.field(f.BUSINESS_DATE) == day
