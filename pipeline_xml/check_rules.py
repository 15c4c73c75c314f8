"""Rule packs: each rule over a record becomes one typed expression on the driving source's columns."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from pipeline_xml.check_compared import foreign_key, reconcile
from pipeline_xml.check_suites import expectation_rule, suite_rules
from pipeline_xml.checked import Dataset, DatasetRule, KeyRule, RowRule
from pipeline_xml.expressions.compile import compile_condition
from pipeline_xml.fingerprint import rule_fingerprint
from pipeline_xml.location import Location
from pipeline_xml.model import Rule
from pipeline_xml.nested import UNSEEN
from pipeline_xml.place import items
from pipeline_xml.rule_text import BadRule, between, in_list, length, matches, not_null
from pipeline_xml.rulebook import UNKNOWN_COLUMN, code
from pipeline_xml.types import NESTED, DataType

if TYPE_CHECKING:
    from pipeline_xml.check_pipeline import PipelineCheck

UNKNOWN_PACK = code("LK130", "A pipeline's <quality> names a rule pack that the application does not have.")
BAD_RULE = code("LK201", "A rule's values do not fit the type of its column, or the rule says nothing.")
TWICE = code("LK131", "Two rules of one pipeline have the same id: each is a check with that name.")

# kind -> the text of the expression a record has to fulfil, from the rule's attributes and its column's type
_ROW: Mapping[str, Callable[[Mapping[str, str], DataType], str]] = {
    "notNull": not_null,
    "in": in_list,
    "between": between,
    "matches": matches,
    "length": length,
}
_DATASET = ("unique", "rowCount", "completeness", "freshness", "reconcile")


@dataclass(slots=True)
class Rules:
    """The rules of a pipeline: over single records, over their keys, over the batch."""

    rows: list[RowRule] = field(default_factory=list)
    keys: list[KeyRule] = field(default_factory=list)
    datasets: list[DatasetRule] = field(default_factory=list)

    def add(self, rule: RowRule | KeyRule | DatasetRule | None) -> None:
        """Puts a rule among those of its kind; None is one that could not be resolved."""
        if isinstance(rule, RowRule):
            self.rows.append(rule)
        elif isinstance(rule, KeyRule):
            self.keys.append(rule)
        elif rule is not None:
            self.datasets.append(rule)


def check_rules(check: PipelineCheck, driving: str | None, stem: Dataset | None) -> Rules:
    """The rules of the pipeline's packs, over the source `driving`; those on the whole batch over the dataset `stem`,
    where a step made it.
    """
    packs = check.application.packs_by_id
    contract = check.contracts.get(driving) if driving else None
    seen: dict[str, Rule] = {}
    found = Rules()
    for name in check.pipeline.rule_packs:
        if name not in packs:
            if "rulePack" in check.application.unread:
                continue
            message = f"unknown rule pack '{name}'"
            UNKNOWN_PACK.report(check.problems, message, check.pipeline.place("rules"), sorted(packs))
            continue
        for rule in packs[name].rules:
            if not _first(check, rule, seen):
                continue
            if contract is None or driving is None:
                continue
            scope = {c.name: c.seen for c in contract.columns}
            accepted = stem.scope if stem is not None else scope
            if rule.kind == "expectations":
                for made, said in suite_rules(check, rule):
                    if _first(check, made, seen):
                        found.add(expectation_rule(check, name, made, said, scope, accepted))
            else:
                _rule(check, name, rule, accepted if rule.kind in _DATASET else scope, found)
    return found


def _first(check: PipelineCheck, rule: Rule, seen: dict[str, Rule]) -> bool:
    if rule.id in seen:
        first = seen[rule.id].where
        message = f"rule '{rule.id}' of pipeline '{check.pipeline.id}' is there twice (first at {first})"
        TWICE.report(check.problems, message, rule.place("id"))
        return False
    seen[rule.id] = rule
    return True


def _rule(check: PipelineCheck, pack: str, rule: Rule, scope: Mapping[str, DataType], found: Rules) -> None:
    columns = tuple(c for c in (rule.attributes.get("column"), *items(rule.attributes.get("columns"))) if c)
    good = True
    for column in columns:
        if column not in scope:
            good = False
            attribute = "column" if "column" in rule.attributes else "columns"
            message = f"unknown column '{column}' in rule '{rule.id}' for pipeline '{check.pipeline.id}'"
            where = rule.item_place(attribute, column)
            UNKNOWN_COLUMN.report(check.problems, message, where, tuple(scope))
        elif scope[column] == NESTED:
            good = False
            message = f"rule '{rule.id}': '{column}' {UNSEEN} (pipeline '{check.pipeline.id}')"
            hint = "what stands inside is held against the contract, each item of it"
            BAD_RULE.report(check.problems, message, rule.where, hint=hint)
    if not good:
        return
    if rule.kind == "foreignKey":
        found.add(foreign_key(check, pack, rule, scope))
    elif rule.kind in _DATASET:
        found.add(_dataset_rule(check, pack, rule, scope, columns))
    else:
        text, where = _text(check, rule, scope)
        compiled = compile_condition(text, scope, where, check.problems, check.bindings()) if text else None
        check.reads(compiled)
        if compiled is not None:
            read = columns or tuple(sorted(compiled.columns))
            found.add(RowRule(rule, pack, compiled, read, rule_fingerprint(pack, rule)))


def _dataset_rule(
    check: PipelineCheck, pack: str, rule: Rule, scope: Mapping[str, DataType], columns: tuple[str, ...]
) -> DatasetRule | None:
    if rule.kind == "reconcile":
        return reconcile(check, pack, rule, scope)
    types = tuple(scope[c] for c in columns)
    if rule.kind == "freshness" and types[0].kind not in ("date", "timestamp"):
        message = f"rule '{rule.id}': freshness needs a date or timestamp, not {types[0]}"
        BAD_RULE.report(check.problems, message, rule.place("column"))
        return None
    return DatasetRule(rule, pack, columns, rule_fingerprint(pack, rule), types)


def _text(check: PipelineCheck, rule: Rule, scope: Mapping[str, DataType]) -> tuple[str, Location]:
    """The expression's text and where it stands; an empty text after a problem was reported."""
    if rule.kind == "satisfies":
        return rule.attributes["expression"], rule.place("expression")
    try:
        return _ROW[rule.kind](rule.attributes, scope[rule.attributes["column"]]), rule.where
    except BadRule as bad:
        message = f"rule '{rule.id}': {bad} (pipeline '{check.pipeline.id}')"
        BAD_RULE.report(check.problems, message, rule.place(bad.attribute))
        return "", rule.where
