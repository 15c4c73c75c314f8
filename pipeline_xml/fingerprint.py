"""Hashes by which an attempt pins what decided its result: file names, spacing and order of attributes do not count."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import fields
from typing import TYPE_CHECKING, Any

from pipeline_xml.checked import CheckedSource, CheckedTarget, DatasetRule, KeyRule, RowRule, StepPlan
from pipeline_xml.contract import Contract
from pipeline_xml.element import digest
from pipeline_xml.model import Pipeline, Rule

if TYPE_CHECKING:
    from pipeline_xml.check_pipeline import Surroundings


def rule_fingerprint(pack: str, rule: Rule) -> str:
    """Of everything a rule says; where it stands is no part of it."""
    said = [pack, rule.id, rule.kind, sorted(rule.attributes.items()), rule.severity, rule.threshold]
    return digest(said)


def rule_hash(rules: Iterable[RowRule | KeyRule | DatasetRule]) -> str:
    return digest(sorted(r.fingerprint for r in rules))


def definition_hash(
    pipeline: Pipeline,
    around: Surroundings,
    sources: Sequence[CheckedSource],
    targets: Sequence[CheckedTarget],
    plans: Sequence[StepPlan],
) -> str:
    """Of the pipeline's document, the contracts it reads and writes by, and the versions of its transformations."""
    contracts = [s.contract for s in sources] + [s.control_contract for s in sources] + [t.contract for t in targets]
    versions = {p.kind: str(getattr(around.transformations[p.kind], "version", "1")) for p in plans}
    versions |= {f"{p.kind} {p.version}": p.version for p in plans if p.version}
    text = around.texts[pipeline.where.file]
    return digest([pipeline.app, pipeline.id, text, [_plain(c) for c in contracts if c], versions])


def _plain(contract: Contract) -> list[Any]:
    """The contract as plain data, without where it stands."""
    said = [contract.name, contract.primary_key, contract.order_by, contract.version]
    columns = [
        [f.name, str(f.type), f.nullable, f.codes, f.format, f.classification]
        + [str(getattr(f.constraints, c.name)) for c in fields(f.constraints)]
        for f in contract.fields
    ]
    return [said, columns]
