"""`<expectations suite="x.json"/>`: each expectation becomes a rule of its own, over records where it is about rows."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import replace
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from pipeline_xml.checked import DatasetRule, KeyRule, RowRule
from pipeline_xml.expressions.compile import compile_condition
from pipeline_xml.fingerprint import rule_fingerprint
from pipeline_xml.model import Rule
from pipeline_xml.nested import UNSEEN
from pipeline_xml.rule_text import BadRule
from pipeline_xml.rulebook import UNKNOWN_COLUMN, code
from pipeline_xml.suite import Expectation
from pipeline_xml.suite_conditions import (
    ARGUMENTS,
    CONDITION,
    UnknownColumn,
    condition_text,
    only_where,
)
from pipeline_xml.suite_rows import COLUMNS, KEYS, ROWS, columns_of, unique_key
from pipeline_xml.suite_whole import NUMBERS, REFUSED, TEXTS, WHOLE
from pipeline_xml.types import NESTED, DataType

if TYPE_CHECKING:
    from pipeline_xml.check_pipeline import PipelineCheck

UNKNOWN_EXPECTATION = code(
    "LK135", "An expectation that Great Expectations does not have, or that cannot be judged on a batch of records."
)
BAD_ARGUMENT = code("LK136", "An argument of an expectation is missing, unknown, or does not fit its column.")
KIND = "expectation"  # of rules that Great Expectations itself judges

Scope = Mapping[str, DataType]


def suite_rules(check: PipelineCheck, rule: Rule) -> Iterator[tuple[Rule, Expectation]]:
    """A rule for each expectation of the suite that `rule` names: its id is that of the rule, the kind and columns."""
    found = check.around.suites.suite(check.pipeline.app, rule.attributes["suite"], rule.place("suite"))
    taken: dict[str, int] = {}
    for expectation in found or ():
        named = [v for a in COLUMNS for v in _listed(expectation.arguments.get(a)) if isinstance(v, str)]
        kind = expectation.type.removeprefix("expect_").removeprefix("column_values_to_").removeprefix("column_")
        name = ".".join([rule.id, kind, *named])
        taken[name] = taken.get(name, 0) + 1
        yield (
            replace(
                rule,
                id=name if taken[name] == 1 else f"{name}.{taken[name]}",
                kind=KIND,
                attributes={"type": expectation.type, "arguments": _json(expectation.arguments)},
                severity="warning" if expectation.severity in ("warning", "info") else rule.severity,
                threshold=rule.threshold if expectation.mostly is None else 1 - expectation.mostly,
                description=expectation.description or rule.description,
                where=expectation.where,
                places={},
            ),
            expectation,
        )


def expectation_rule(
    check: PipelineCheck, pack: str, rule: Rule, said: Expectation, scope: Scope, accepted: Scope
) -> RowRule | KeyRule | DatasetRule | None:
    """The rule resolved over the columns of the source, or of what is accepted; None after a problem was reported."""
    row = ROWS.get(said.type)
    needs, may = (row.needs, (*row.may, *ARGUMENTS)) if row else KEYS.get(said.type) or WHOLE.get(said.type) or ((), ())
    if row is None and said.type not in KEYS and said.type not in WHOLE:
        why = REFUSED.get(said.type)
        valid = () if why else (*ROWS, *KEYS, *WHOLE)
        message = f"'{said.type}' is not judged here" if why else f"unknown expectation '{said.type}'"
        UNKNOWN_EXPECTATION.report(check.problems, message, said.where, valid, why or "")
        return None
    if not _arguments(check, said, needs, may):
        return None
    known = accepted if said.type in WHOLE else scope
    try:
        columns = () if said.type.startswith("expect_table_") else columns_of(said.arguments)
        for argument, column in ((a, c) for a in COLUMNS for c in _listed(said.arguments.get(a))):
            if column in columns and column not in known:
                message = f"unknown column '{column}' in {said.type} for pipeline '{check.pipeline.id}'"
                UNKNOWN_COLUMN.report(check.problems, message, said.place(argument), tuple(known))
                return None
            if column in columns and known[column] == NESTED:
                raise BadRule(f"'{column}' {UNSEEN}", argument)
        mark = rule_fingerprint(pack, rule)
        if row is not None:
            return _row_rule(check, pack, rule, said, scope, columns)
        types = tuple(known[c] for c in columns)
        if said.type in KEYS:
            if any(kind.kind == "double" for kind in types):
                raise BadRule("a double is never exact, so it is no key", "column")
            return KeyRule(rule, pack, unique_key(said.arguments, scope), mark)
        _fits(said, types)
        return DatasetRule(rule, pack, columns or _all(said, known), mark, types or _types(said, known))
    except UnknownColumn as unknown:
        message = f"unknown column '{unknown}' in row_condition of {said.type} for pipeline '{check.pipeline.id}'"
        UNKNOWN_COLUMN.report(check.problems, message, said.place(CONDITION), tuple(scope))
        return None
    except BadRule as bad:
        message = f"{said.type}: {bad} (pipeline '{check.pipeline.id}')"
        BAD_ARGUMENT.report(check.problems, message, said.place(bad.attribute))
        return None


def _row_rule(
    check: PipelineCheck, pack: str, rule: Rule, said: Expectation, scope: Scope, columns: tuple[str, ...]
) -> RowRule | None:
    """The rule over the records that `row_condition` selects; BadRule where it cannot be written so."""
    condition = condition_text(said.arguments, scope)
    if condition is not None and said.mostly is not None:
        raise BadRule("mostly counts rows that row_condition selects, a threshold all; leave one out", "mostly")
    if condition is not None:
        asked = compile_condition(condition, scope, said.place(CONDITION), check.problems, check.bindings())
        if asked is None:
            return None
        columns = tuple(dict.fromkeys([*columns, *sorted(asked.columns)]))
    text = only_where(condition, ROWS[said.type].text(said.arguments, scope))
    compiled = compile_condition(text, scope, said.where, check.problems, check.bindings())
    return RowRule(rule, pack, compiled, columns, rule_fingerprint(pack, rule)) if compiled else None


def _arguments(check: PipelineCheck, said: Expectation, needs: tuple[str, ...], may: tuple[str, ...]) -> bool:
    good = True
    for name in said.arguments:
        if name not in needs and name not in may:
            good = False
            message = f"{said.type} takes no '{name}' here"
            hint = "only what is judged row by row can leave rows out" if name in ARGUMENTS else ""
            BAD_ARGUMENT.report(check.problems, message, said.place(name), (*needs, *may), hint)
    for name in needs:
        if name not in said.arguments:
            good = False
            BAD_ARGUMENT.report(check.problems, f"{said.type} lacks the argument '{name}'", said.where)
    return good


def _fits(said: Expectation, types: tuple[DataType, ...]) -> None:
    for kind in types:
        if said.type in NUMBERS and not kind.numeric:
            raise BadRule(f"it needs a column of numbers, not {kind}", "column")
        if said.type in TEXTS and kind.kind != "string":
            raise BadRule(f"it needs a column of texts, not {kind}", "column")


def _all(said: Expectation, known: Scope) -> tuple[str, ...]:
    """What speaks of the columns of the table is given all their names; what counts rows, none."""
    return tuple(known) if "column" in said.type.removeprefix("expect_table_") else ()


def _types(said: Expectation, known: Scope) -> tuple[DataType, ...]:
    return tuple(known[c] for c in _all(said, known))


def _listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [] if value is None else [value]


def _json(arguments: Mapping[str, Any]) -> str:
    return json.dumps(arguments, sort_keys=True, default=lambda v: float(v) if isinstance(v, Decimal) else str(v))
