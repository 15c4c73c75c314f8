"""The contract of the registers against the registers themselves, judged by plain Python.

The outage this prevents: read literally, the published field lists reject every record of every register.
"""

from __future__ import annotations

import json
import sys
from collections import Counter
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "demo"))

import plain_contract  # noqa: E402  # the demo's scripts are no package: they run with nothing installed
import plain_edits  # noqa: E402

from pipeline_xml.contract_read import read_contract  # noqa: E402
from pipeline_xml.problems import Problems  # noqa: E402

REGISTERS = ROOT / "demo" / "registers"
MORTGAGE = ROOT / "config" / "applications" / "mortgage"
CLEAN = {
    "lar_2018_bank0_100.txt": 100,
    "lar_2018_bank0_1000.txt": 1000,
    "lar_2020_bank0_1000.txt": 1000,
    "lar_2020_bank1_1000.txt": 1000,
}
CONTRACT = plain_contract.load()


@pytest.mark.parametrize(("name", "rows"), CLEAN.items())
def test_every_record_of_a_clean_register_keeps_the_contract_and_its_edits(name: str, rows: int) -> None:
    control, *records = plain_contract.records(REGISTERS / name)
    assert (len(control), int(control[12]), len(records)) == (15, rows, rows)
    found: Counter[object] = Counter()
    for cells in records:
        row, violations = plain_contract.typed_row(CONTRACT, cells)
        found.update(violations)
        found.update(plain_edits.broken(plain_edits.ERRORS, row, int(control[2])))
    assert found == Counter()


def test_registers_share_no_identifier() -> None:
    identifiers = [cells[2] for name in CLEAN for cells in plain_contract.records(REGISTERS / name)[1:]]
    assert len(identifiers) == len(set(identifiers)) == 3100


def test_the_name_that_speaks_of_three_rows_lies() -> None:
    control, *records = plain_contract.records(REGISTERS / "clean_file_3_rows_bank0.txt")
    assert (int(control[12]), len(records)) == (2, 2)


def test_known_bad_cells_are_found() -> None:
    _, first, second = plain_contract.records(REGISTERS / "bad_two_cells.txt")
    assert plain_contract.typed_row(CONTRACT, first)[1] == [("loan_type", "type")]
    assert plain_contract.typed_row(CONTRACT, second)[1] == []


def test_warnings_are_broken_by_as_many_clean_records_as_the_page_says() -> None:
    counts: Counter[str] = Counter()
    for name in CLEAN:
        control, *records = plain_contract.records(REGISTERS / name)
        for cells in records:
            row, _ = plain_contract.typed_row(CONTRACT, cells)
            counts.update(plain_edits.broken(plain_edits.WARNINGS, row, int(control[2])))
    page = (ROOT / "docs" / "mortgage.md").read_text(encoding="utf-8")
    for name in plain_edits.WARNINGS:
        assert f"| {name} | {counts[name]:,} |" in page


def test_the_product_reads_every_schema_of_the_application_and_sees_the_same_fields() -> None:
    problems = Problems()
    for path in [*MORTGAGE.rglob("schemas/*.json"), *MORTGAGE.glob("lookups/*.json")]:
        read_contract(path, path.name, problems)
    assert problems.found == ()
    contract = read_contract(MORTGAGE / "staging" / "schemas" / "lar.json", "lar.json", problems)
    assert contract is not None
    assert tuple(f.name for f in contract.fields) == tuple(CONTRACT["properties"])
    assert len(contract.fields) == 110
    coded = {f.name: list(f.codes) for f in contract.fields if f.codes}
    assert coded == {n: f["x-codes"] for n, f in CONTRACT["properties"].items() if "x-codes" in f}


def test_what_is_not_published_of_a_record_is_classified() -> None:
    """HMDA's modified register leaves these fields out (its list has 85): they are private to the lender."""
    free_text = [n for n in CONTRACT["properties"] if n.endswith(("_other", "_native", "_asian", "_islander"))]
    assert len(free_text) == 13
    private = {"uli", "application_date", "action_taken_date", "street_address", "city", "zip_code", "nmlsr_id",
               "applicant_credit_score", "co_applicant_credit_score", "applicant_age", "co_applicant_age",
               *(f"aus_result_{n}" for n in range(1, 6)), *free_text}  # fmt: skip
    assert {n for n, f in CONTRACT["properties"].items() if f.get("x-classification") == "pii"} == private


def test_every_county_of_the_registers_is_in_the_reference_once() -> None:
    lines = (MORTGAGE / "lookups" / "county_loan_limit.csv").read_text(encoding="utf-8").splitlines()[1:]
    states = {line.split(",")[0]: line.split(",")[1] for line in lines}
    assert len(lines) == len(states) == 3243
    for name in CLEAN:
        for cells in plain_contract.records(REGISTERS / name)[1:]:
            assert states[cells[16]] == cells[14]
    schema = json.loads((MORTGAGE / "lookups" / "county_loan_limit.json").read_text(encoding="utf-8"))
    for line in lines:
        row, violations = plain_contract.typed_row(schema, line.split(","))
        assert violations == [] and row["limit_year"] == 2024
