"""The rule pack against its doubles in plain Python: the same verdict on every real record and on every act of damage.

The product's typed trees are evaluated here by a small interpreter with SQL's three-valued logic, so that no engine has
to start; what engines make of the same trees is tested with the emitters.
"""

from __future__ import annotations

import sys
from datetime import date
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from lxml import etree

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "demo"))

import damage  # noqa: E402  # the demo's scripts are no package: they run with nothing installed
import plain_contract  # noqa: E402
import plain_edits  # noqa: E402
from acts import EDITS, Act  # noqa: E402

from pipeline_xml.contract_read import read_contract  # noqa: E402
from pipeline_xml.expressions.compile import compile_condition  # noqa: E402
from pipeline_xml.expressions.tree import Binding, Call, ColumnRef, Literal, Tree  # noqa: E402
from pipeline_xml.location import Location  # noqa: E402
from pipeline_xml.problems import Problems  # noqa: E402

MORTGAGE = ROOT / "config" / "applications" / "mortgage"
PACK = MORTGAGE / "exceptions" / "rules" / "hmda_edits.xml"
REGISTERS = ROOT / "demo" / "registers"
DOUBLES = {**plain_edits.ERRORS, **plain_edits.WARNINGS}


@cache
def rules() -> dict[str, tuple[str, Tree]]:
    """Severity and tree of each rule that speaks of a record."""
    problems = Problems()
    contract = read_contract(MORTGAGE / "staging" / "schemas" / "lar.json", "lar.json", problems)
    assert contract is not None
    scope = {column.name: column.type for column in contract.columns}
    found = {}
    for rule in etree.parse(PACK).getroot().iter("satisfies"):
        compiled = compile_condition(rule.attrib["expression"], scope, Location(rule.attrib["id"]), problems)
        assert compiled is not None, problems.found
        found[str(rule.attrib["id"])] = (str(rule.attrib["severity"]), compiled.tree)
    assert problems.found == ()
    return found


def value(tree: Tree, row: dict[str, Any], bindings: dict[str, Any]) -> Any:
    match tree:
        case Literal():
            return tree.value
        case ColumnRef():
            return row[tree.name]
        case Binding():
            return bindings[tree.name]
        case Call():
            return call(tree.function, [value(a, row, bindings) for a in tree.arguments])


def call(function: str, of: list[Any]) -> Any:
    match function:
        case "and":
            return False if False in of else None if None in of else True
        case "or":
            return True if True in of else None if None in of else False
        case "coalesce":
            return next((each for each in of if each is not None), None)
        case "count_present":
            return sum(each is not None for each in of)
        case "is_null":
            return of[0] is None
        case "is_not_null":
            return of[0] is not None
        case "in":
            return None if of[0] is None else of[0] in of[1:] or (None if None in of[1:] else False)
    if None in of:
        return None
    return STRICT[function](*of)


STRICT: dict[str, Any] = {
    "eq": lambda a, b: a == b,
    "ne": lambda a, b: a != b,
    "lt": lambda a, b: a < b,
    "le": lambda a, b: a <= b,
    "gt": lambda a, b: a > b,
    "ge": lambda a, b: a >= b,
    "not": lambda a: not a,
    "between": lambda a, low, high: low <= a <= high,
    "cast": lambda a: a,
    "year": lambda a: a.year,
    "length": len,
    "substring": lambda a, start, length: a[start - 1 : start - 1 + length],
    "starts_with": lambda a, b: a.startswith(b),
}


def broken(row: dict[str, Any], year: int) -> set[str]:
    bindings = {"businessDate": date(year, 12, 31)}
    return {name for name, (_, tree) in rules().items() if value(tree, row, bindings) is False}


def test_the_pack_and_its_doubles_name_the_same_edits_with_the_same_severity() -> None:
    assert {n for n, (severity, _) in rules().items() if severity == "error"} == set(plain_edits.ERRORS)
    assert {n for n, (severity, _) in rules().items() if severity == "warning"} == set(plain_edits.WARNINGS)
    assert len(plain_edits.ERRORS) >= 15


@pytest.mark.parametrize("name", sorted(p.name for p in REGISTERS.glob("*.txt")))
def test_rule_and_double_agree_on_every_real_record(name: str) -> None:
    control, *records = plain_contract.records(REGISTERS / name)
    year = int(control[2])
    for number, cells in enumerate(records, start=1):
        if len(cells) == 110:
            row, _ = plain_contract.typed_row(damage.CONTRACT, cells)
            assert broken(row, year) == set(plain_edits.broken(DOUBLES, row, year)), (name, number)


@pytest.mark.parametrize("act", EDITS, ids=lambda act: act.done)
def test_every_edit_of_severity_error_can_be_broken_and_rule_and_double_see_it(act: Act) -> None:
    for cells in damage.Register.of("lar_2020_bank1_1000.txt").rows:
        row, _ = plain_contract.typed_row(damage.CONTRACT, cells)
        if damage.takes(row, [act]):
            damaged, _ = plain_contract.typed_row(damage.CONTRACT, damage.done_to(cells, [act]))
            assert broken(damaged, 2020) & set(plain_edits.ERRORS) == set(act.edits)
            return
    pytest.fail(f"no record can show {act.edits}")


def test_the_acts_cover_every_edit_of_severity_error() -> None:
    assert {edit for act in EDITS for edit in act.edits} == set(plain_edits.ERRORS)
