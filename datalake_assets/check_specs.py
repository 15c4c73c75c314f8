"""The asset checks of a pipeline: one a rule, one a pack above a limit, and the platform's own. Pure functions."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import dagster as dg

from datalake_assets import names
from datalake_assets.previews import previews_accepted
from datalake_assets.translate import code_reference
from pipeline_xml.checked import CheckedPipeline, DatasetRule, KeyRule, RowRule
from pipeline_xml.model import HiveTarget
from publishing.outcome import CheckOutcome

GROUP_ABOVE = 50  # the UI and the event log take a row a check and run; beyond this, one a rule pack
PLATFORM = {
    "reconciled": "Every record that came in is accounted for: in = accepted + quarantined + deduplicated + filtered"
    " + superseded + skipped, for each file and target.",
    "control_totals": "The totals that the files declare are those that were counted.",
    "contract": "Every field of every record keeps its contract: type, nullability and constraints.",
    "quarantine_rate": "The share of rejected records stays below maxErrorRate and maxErrors.",
    "schema_drift": "The files have the columns and types of the contract.",
}


@dataclass(frozen=True, slots=True)
class Verdict:
    """What several batches, or several rules of one group, say about one check together."""

    name: str
    passed: bool
    error: bool
    failed_rows: int
    rows: tuple[CheckOutcome, ...]


def main_asset(checked: CheckedPipeline) -> dg.AssetKey:
    """The asset that carries a pipeline's checks: its first lake table, else its first target."""
    tables = [t for t in checked.targets if isinstance(t.target, HiveTarget)]
    return names.target_key((tables or list(checked.targets))[0])


@previews_accepted()
def check_specs(root: Path, checked: CheckedPipeline) -> list[dg.AssetCheckSpec]:
    rules = _rules(checked)
    specs = [(name, text, {"code": "platform"}) for name, text in PLATFORM.items()]
    if len(rules) > GROUP_ABOVE:
        packs = dict.fromkeys(rule.pack for rule in rules)
        for pack in packs:
            members = [rule for rule in rules if rule.pack == pack]
            specs.append((names.identifier(pack), f"{len(members)} rules of pack {pack}", {"rules": str(len(members))}))
    else:
        specs += [(names.identifier(r.rule.id), _description(r), _rule_metadata(root, r)) for r in rules]
    return [
        dg.AssetCheckSpec(
            name,
            asset=main_asset(checked),
            description=text,
            metadata=metadata,
            # without partitions a check leaves an unresolved row for each run
            partitions_def=names.business_dates(checked.pipeline.metadata.grain),
        )
        for name, text, metadata in specs
    ]


def check_names(checked: CheckedPipeline) -> dict[str, str]:
    """The name of an outcome's check to the name of its Dagster check (a rule may stand in a group)."""
    rules = _rules(checked)
    grouped = len(rules) > GROUP_ABOVE
    own = {name: name for name in PLATFORM}
    return own | {r.rule.id: names.identifier(r.pack if grouped else r.rule.id) for r in rules}


def verdicts(checked: CheckedPipeline, outcomes: Iterable[CheckOutcome]) -> list[Verdict]:
    """One verdict a Dagster check; an outcome of no rule keeps its own name, so that nothing evaluated is lost."""
    known = check_names(checked)
    found: dict[str, list[CheckOutcome]] = {}
    for outcome in outcomes:
        found.setdefault(known.get(outcome.name, names.identifier(outcome.name)), []).append(outcome)
    return [
        Verdict(
            name=name,
            passed=all(o.passed for o in group),
            # what failed decides the colour; where nothing failed, the gravest that could have
            error=any(o.severity == "error" for o in group if not o.passed or all(x.passed for x in group)),
            failed_rows=sum(o.failed_rows for o in group),
            rows=tuple(group),
        )
        for name, group in found.items()
    ]


def evaluation(checked: CheckedPipeline, verdict: Verdict, partition: str | None) -> dg.AssetCheckEvaluation:
    metadata: dict[str, Any] = {"failed_rows": verdict.failed_rows}
    by_rule = _by_rule(verdict.rows)
    if len(by_rule) > 1:
        metadata["rules"] = dg.TableMetadataValue(
            records=[dg.TableRecord({"rule": name, "failed_rows": rows}) for name, rows in by_rule.items()],
            schema=dg.TableSchema([dg.TableColumn("rule", "string"), dg.TableColumn("failed_rows", "int")]),
        )
    return dg.AssetCheckEvaluation(
        asset_key=main_asset(checked),
        check_name=verdict.name,
        passed=verdict.passed,
        severity=dg.AssetCheckSeverity.ERROR if verdict.error else dg.AssetCheckSeverity.WARN,
        description="; ".join(dict.fromkeys(o.description for o in verdict.rows if o.description))[:500] or None,
        metadata=metadata,
        partition=partition,
    )


def _by_rule(outcomes: Sequence[CheckOutcome]) -> Mapping[str, int]:
    found: dict[str, int] = {}
    for outcome in outcomes:
        found[outcome.name] = found.get(outcome.name, 0) + outcome.failed_rows
    return found


def _rules(checked: CheckedPipeline) -> list[RowRule | KeyRule | DatasetRule]:
    return [*checked.record_rules, *checked.dataset_rules]


def _description(found: RowRule | KeyRule | DatasetRule) -> str:
    return found.rule.description or f"{found.rule.kind} on {', '.join(found.columns) or 'the dataset'}"


def _rule_metadata(root: Path, found: RowRule | KeyRule | DatasetRule) -> dict[str, Any]:
    rule = found.rule
    optional = {
        "expression": found.expression.text if isinstance(found, RowRule) else "",
        "columns": ", ".join(found.columns),
        "owner": rule.owner,
        "runbook": rule.runbook,
        "threshold": rule.threshold,
    }
    return {
        "rule": rule.kind,
        "pack": found.pack,
        "severity": rule.severity,
        "fingerprint": found.fingerprint,
        "dagster/code_references": code_reference(root, rule.where),
        **{name: value for name, value in optional.items() if value not in ("", None)},
    }
