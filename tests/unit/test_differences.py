"""What changed between two states of the definitions: whether it breaks something, and for whom."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from typer.testing import CliRunner

from command_line.main import app
from pipeline_xml.differences import Change, differences
from pipeline_xml.load import load_catalog, read_catalog
from processing.transformations import registry

CASE = Path(__file__).resolve().parents[1] / "cases" / "valid" / "loans" / "config"
APP = "applications/lender"
STAGING = f"{APP}/staging/pipelines/loans.xml"
STANDARD = f"{APP}/standardization/pipelines/loan.xml"
CONTRACT = f"{APP}/staging/schemas/loans.json"
TABLE, MERGED, FEED = "lender.staging.loans", "lender.standardization.loan", "lender/loans: loans"
SENDERS = ("senders of lender/branches",)


def changed(root: Path, *edits: tuple[str, str, str]) -> tuple[Change, ...]:
    """The differences that edits (file, old text, new text) make; the notes on hashes left out."""
    shutil.copytree(CASE, root / "new")
    for file, old, new in edits:
        path = root / "new" / file
        text = path.read_text()
        assert old in text, old
        path.write_text(text.replace(old, new))
    found = differences(load_catalog(CASE, registry()), read_catalog(root / "new", registry()))
    return tuple(change for change in found if "definition changed" not in change.what)


def test_nothing_changed(tmp_path: Path) -> None:
    assert changed(tmp_path) == ()


def test_a_column_that_nobody_writes_any_more(tmp_path: Path) -> None:
    found = changed(tmp_path, (STANDARD, 'outputFields="country_name,region"', 'outputFields="country_name"'))
    assert Change(True, MERGED, "column region is gone", ("lender/exposure",)) in found


@pytest.mark.parametrize("version", ["1", "2"])
def test_a_column_that_goes_asks_for_a_greater_version(tmp_path: Path, version: str) -> None:
    contract = json.loads((CASE / CONTRACT).read_text())
    assert contract.get("x-version", "1") == "1"
    text = json.dumps({**contract, "x-version": version})
    edits = (STAGING, 'name="yearly_interest"', 'name="interest"'), (CONTRACT, (CASE / CONTRACT).read_text(), text)
    asked = [c.what for c in changed(tmp_path, *edits) if c.subject == TABLE and "are held until" in c.what]
    said = f"batches without yearly_interest are held until the x-version of {CONTRACT}, 1 now, is above 1"
    assert asked == ([said] if version == "1" else [])


def test_a_step_that_makes_the_same_columns_changes_nothing_for_others(tmp_path: Path) -> None:
    assert changed(tmp_path, (STANDARD, 'keepLast="2"', 'keepLast="3"')) == ()


@pytest.mark.parametrize(
    ("edit", "change"),
    [
        ((STAGING, 'name="yearly_interest"', 'name="interest"'),
         Change(True, TABLE, "column yearly_interest is gone", ("lender/loan",))),
        ((STAGING, 'partitionBy="opened_year"', 'partitionBy="_business_date"'),
         Change(True, TABLE, "partitions by opened_year became _business_date: the table has to be made anew",
                ("lender/loan",))),
        ((STANDARD, 'keys="loan_id" orderBy', 'keys="loan_id,branch" orderBy'),
         Change(True, MERGED, "keys loan_id became loan_id, branch", ("lender/exposure",))),
        ((STAGING, 'type="decimal(14,2)"', 'type="decimal(16,2)"'),
         Change(True, TABLE, "column yearly_interest decimal(14,2) became decimal(16,2)", ("lender/loan",))),
        ((STAGING, '<column name="opened_year"', '<column name="one" expression="1"/><column name="opened_year"'),
         Change(False, TABLE, "column one int is new", ("lender/loan",))),
    ],
)  # fmt: skip
def test_a_table_changed(tmp_path: Path, edit: tuple[str, str, str], change: Change) -> None:
    assert change in changed(tmp_path, edit)


def test_what_senders_have_to_keep(tmp_path: Path) -> None:
    contract = json.loads((CASE / CONTRACT).read_text())
    name = next(n for n in contract["properties"] if n not in contract.get("required", ()))
    text = (CASE / CONTRACT).read_text()
    found = changed(tmp_path, (CONTRACT, text, json.dumps({**contract, "required": [*contract["required"], name]})))
    assert Change(True, FEED, f"field {name} must not be empty now", SENDERS) in found


def test_a_writer_with_errors_is_told_and_exits_1(tmp_path: Path) -> None:
    shutil.copytree(CASE, tmp_path / "new")
    path = tmp_path / "new" / STANDARD
    path.write_text(path.read_text().replace("amount &gt;= 10", "amuont &gt;= 10"))
    done = CliRunner().invoke(app, ["diff", str(CASE), str(tmp_path / "new"), "--json"])
    document = json.loads(done.output)
    assert done.exit_code == 1
    assert document["breaking"]
    assert document["errors"] >= 1
    assert [c["what"] for c in document["changes"] if c["subject"] == MERGED] == [
        "lender/loan, which writes it, does not pass the check any more"
    ]


def test_the_same_twice_exits_0_and_a_wrong_root_2() -> None:
    done = CliRunner().invoke(app, ["diff", str(CASE), str(CASE)])
    assert (done.exit_code, done.output.strip()) == (0, "nothing that anybody relies on changed")
    assert CliRunner().invoke(app, ["diff", str(CASE / "nowhere"), str(CASE)]).exception is not None
