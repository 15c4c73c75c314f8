"""The checks of a staged batch, and whether it may be published."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from pipeline_xml.checked import CheckedPipeline, DatasetRule
from processing.frame import ACCEPTED
from publishing.manifest import Manifest
from publishing.outcome import CheckOutcome
from resources.lake_table import DataFile


class RuleNotRunnable(Exception):
    """A rule kind that is checked but not run by this version (permanent: take it out or wait for the version)."""


def judge(
    pipeline: CheckedPipeline, manifest: Manifest, root: Path, waived: Mapping[str, float] | None = None
) -> tuple[tuple[CheckOutcome, ...], str | None]:
    """Every check of the pipeline on a staged attempt, and the reason to hold the batch, or None.

    `waived`: what a release let pass, by name, and how bad it was then; what is worse now holds again.
    """
    passes = waived or {}
    counts = manifest.counts
    policy = pipeline.pipeline.error_policy
    contract = sum(n for rule, n in manifest.rules.items() if rule.startswith("contract."))
    rate = (counts.quarantined + counts.skipped) / counts.in_ if counts.in_ else 0.0
    too_many = policy.max_errors is not None and counts.quarantined + counts.skipped > policy.max_errors
    too_often = policy.max_error_rate is not None and rate > policy.max_error_rate
    checks = [
        CheckOutcome("reconciled", "error", counts.closes, 0, "every scanned record has exactly one status"),
        CheckOutcome("control_totals", "error", True, 0, "declared and counted records agree"),
        CheckOutcome("contract", "warning", contract == 0, contract, "violations of the contract's row rules"),
        CheckOutcome(
            "quarantine_rate", "error", not (too_many or too_often), counts.quarantined, _limits(policy)
        ),
        CheckOutcome("schema_drift", "error", True, 0, "the columns are those of the contract"),
    ]
    for row_rule in pipeline.row_rules:
        failed = manifest.rules.get(row_rule.rule.id, 0)
        allowed = (row_rule.rule.threshold or 0.0) * counts.in_
        checks.append(
            CheckOutcome(row_rule.rule.id, row_rule.rule.severity, failed <= allowed, failed, row_rule.rule.description)
        )

    def read(columns: Sequence[str]) -> Any:
        return staged_rows(root, manifest.records.get(ACCEPTED, ()), columns)

    held = []
    for dataset_rule in pipeline.dataset_rules:
        found = check_dataset(dataset_rule, read, counts.accepted)
        if not found.passed and found.failed_rows <= passes.get(found.name, -1):
            found = replace(found, severity="warning", description=f"waived: {found.description}")
        checks.append(found)
        if not found.passed and found.severity == "error":
            held.append(f"rule {found.name} failed: {found.description}")
    rejected = counts.quarantined + counts.skipped
    if too_many and rejected > passes.get("maxErrors", -1):
        held.append(f"maxErrors: {rejected} records rejected, {policy.max_errors} allowed")
    if too_often and rate > passes.get("maxErrorRate", -1):
        held.append(f"maxErrorRate: {rate:.4f} of the records rejected, {policy.max_error_rate} allowed")
    return tuple(checks), "; ".join(held) or None


def _limits(policy: Any) -> str:
    limits = []
    if policy.max_errors is not None:
        limits.append(f"at most {policy.max_errors} records")
    if policy.max_error_rate is not None:
        limits.append(f"at most {policy.max_error_rate:.2%} of the records")
    return "rejected: " + (" and ".join(limits) or "no limit set")


def check_dataset(rule: DatasetRule, read: Callable[[Sequence[str]], Any], rows: int) -> CheckOutcome:
    """One rule over all rows that `read` gives as an Arrow table of some columns; `rows` is their number."""
    kind, wanted = rule.rule.kind, rule.rule.attributes
    name, severity = rule.rule.id, rule.rule.severity
    if kind == "rowCount":
        low, high = int(wanted.get("min", 0)), int(wanted["max"]) if "max" in wanted else None
        beyond = max(low - rows, 0 if high is None else rows - high, 0)
        wanted_rows = f"{low}..{'any' if high is None else high}"
        return CheckOutcome(name, severity, beyond == 0, beyond, f"{rows} rows, wanted {wanted_rows}")
    if kind == "completeness":
        least = float(wanted.get("min", 1))
        missing = sum(column.null_count for column in read(rule.columns).columns)
        share = 1 - missing / rows if rows else 1.0
        return CheckOutcome(name, severity, share >= least, missing, f"{share:.4f} filled, wanted at least {least}")
    if kind == "unique":
        doubled = _doubled(read(rule.columns), rule.columns)
        return CheckOutcome(name, severity, doubled == 0, doubled, f"{doubled} rows share {', '.join(rule.columns)}")
    raise RuleNotRunnable(f"{rule.rule.where}: rule {name}: <{kind}> is not run by this version")


def _doubled(rows: Any, columns: Sequence[str]) -> int:
    import pyarrow.compute as pc

    groups = rows.group_by(list(columns)).aggregate([([], "count_all")])
    counts = groups["count_all"]
    doubled = pc.sum(pc.filter(counts, pc.greater(counts, 1))).as_py()
    return int(doubled or 0)


def staged_rows(root: Path, files: Sequence[DataFile], columns: Sequence[str]) -> Any:
    """The columns of all files. What the target is partitioned by stands in no file: it is filled in, as text."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    tables = [pa.table({c: pa.array([], pa.string()) for c in columns})] if not files else []
    for item in files:
        inside = pq.ParquetFile(root / item.path).read(columns=[c for c in columns if c not in item.partition])
        constant = {c: pa.repeat(pa.scalar(v, pa.string()), item.records) for c, v in item.partition.items()}
        tables.append(pa.table({c: constant[c] if c in constant else inside[c] for c in columns}))
    return pa.concat_tables(tables)
