"""The checks of a staged batch, and whether it may be published."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Any

from pipeline_xml.checked import CheckedPipeline
from processing.frame import ACCEPTED
from publishing.dataset_rules import Rows, check_dataset
from publishing.manifest import Manifest
from publishing.outcome import CheckOutcome
from publishing.rule_tables import Compared
from resources.lake_table import DataFile


def judge(
    pipeline: CheckedPipeline,
    manifest: Manifest,
    root: Path,
    business_date: date,
    compared: Compared,
    waived: Mapping[str, float] | None = None,
) -> tuple[tuple[CheckOutcome, ...], str | None]:
    """Every check of the pipeline on a staged attempt, and the reason to hold the batch, or None.

    `compared` reads what reconcile rules compare with. `waived`: what a release let pass, by name, and how bad it was
    then; what is worse now holds again.
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
    for rule in (found.rule for found in pipeline.record_rules):
        failed = manifest.rules.get(rule.id, 0)
        allowed = (rule.threshold or 0.0) * counts.in_
        checks.append(CheckOutcome(rule.id, rule.severity, failed <= allowed, failed, rule.description))

    def read(columns: Sequence[str]) -> Any:
        return staged_rows(root, manifest.records.get(ACCEPTED, ()), columns)

    held = []
    batch = Rows(read, counts.accepted, business_date, compared)
    for dataset_rule in pipeline.dataset_rules:
        found = check_dataset(dataset_rule, batch)
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
