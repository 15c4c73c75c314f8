"""`lake new` writes what `lake check` accepts and says what it guessed; `lake explain` shows the checked objects."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from typer.testing import CliRunner

from command_line.main import WrongUse, app
from command_line.new import CannotWrite, identifier, name_pattern, new
from pipeline_xml.load import check_path
from processing.transformations import registry

PROJECT = Path(__file__).parents[2]
SAMPLES = PROJECT / "tests" / "data" / "csv"

PEOPLE = "Customer ID,Name,E-Mail,Status,Balance,Since\n" + "".join(
    f"C{i:05},Person{i} Secretsurname{i},p{i}@example.org,{'OPEN' if i % 3 else 'CLOSED'},"
    f"{'NA' if i % 7 == 0 else f'{i}.50'},2023-01-{i % 28 + 1:02}\n"
    for i in range(80)
)


def lake(*arguments: str) -> str:
    ran = CliRunner().invoke(app, list(arguments), catch_exceptions=False)
    assert ran.exit_code == 0, ran.output
    return ran.stdout


@pytest.fixture
def people(tmp_path: Path) -> Path:
    file = tmp_path / "customers_2024-05-31.csv"
    file.write_text(PEOPLE)
    return file


def test_written_definition_is_checked_and_says_what_was_guessed(people: Path, tmp_path: Path) -> None:
    root = tmp_path / "config"
    said = lake("new", str(people), "--app", "shop", "--out", str(root))
    assert [p for p in check_path(root, registry()) if p.severity == "error"] == []
    for words in ("read 80 records (the whole file)", f"DATALAKE_CONFIG={root} lake run shop/customers", "not checked"):
        assert words in said
    contract = json.loads((root / "applications/shop/staging/schemas/customers.json").read_text())
    assert contract["x-primaryKey"] == ["customer_id"]
    properties = contract["properties"]
    assert properties["balance"]["x-codes"] == ["NA"]
    assert properties["status"]["enum"] == ["CLOSED", "OPEN"]
    assert properties["name"]["x-classification"] == "pii"
    assert properties["since"]["format"] == "date"
    xml = (root / "applications/shop/staging/pipelines/customers.xml").read_text()
    assert 'skipLines="1"' in xml  # "E-Mail" is no column name
    assert "(?P&lt;business_date&gt;[0-9]{4}-[0-9]{2}-[0-9]{2})" in xml


def test_no_value_is_printed_or_written_but_codes_and_lists(people: Path, tmp_path: Path) -> None:
    root = tmp_path / "config"
    said = lake("new", str(people), "--out", str(root))
    said += lake("new", str(people), "--out", str(root), "--force", "--json")
    said += "".join(p.read_text() for p in root.rglob("*") if p.is_file())
    cells = {c for line in PEOPLE.splitlines()[1:] for c in line.split(",")} - {"NA", "OPEN", "CLOSED"}
    assert not [c for c in cells if re.search(rf"(?<![\w.-]){re.escape(c)}(?![\w.-])", said)]
    assert "Secretsurname" not in said


def test_nothing_is_overwritten_without_force(people: Path, tmp_path: Path) -> None:
    new(people, tmp_path / "c", "shop")
    contract = tmp_path / "c/applications/shop/staging/schemas/customers.json"
    contract.write_text("mine")
    with pytest.raises(CannotWrite, match=r"(?s)customers\.json.*--force"):
        new(people, tmp_path / "c", "shop")
    assert contract.read_text() == "mine"
    new(people, tmp_path / "c", "shop", force=True)
    assert contract.read_text() != "mine"


@pytest.mark.parametrize(("option", "value"), [("app", "my shop"), ("pipeline", "../x")])
def test_names_that_cannot_be_used(people: Path, tmp_path: Path, option: str, value: str) -> None:
    with pytest.raises(CannotWrite, match="valid: letters, digits and _"):
        new(people, tmp_path / "c", **{option: value})  # type: ignore[arg-type]
    assert not (tmp_path / "c").exists()


def test_empty_and_header_only_files_are_wrong_use(tmp_path: Path) -> None:
    for text, says in (("", "empty"), ("a,b\n", "no record below it")):
        (tmp_path / "x.csv").write_text(text)
        with pytest.raises(WrongUse, match=says):
            CliRunner().invoke(app, ["new", str(tmp_path / "x.csv"), "--out", str(tmp_path)], catch_exceptions=False)


@pytest.mark.parametrize(
    "file", sorted(p for p in SAMPLES.rglob("*.csv") if p.stem != "empty" or p.parent.name != "csvkit"), ids=str
)
def test_definitions_of_awkward_samples_are_without_errors(file: Path, tmp_path: Path) -> None:
    made = new(file, tmp_path)
    assert [p for p in made.problems if p.severity == "error"] == []


def test_a_register_of_110_columns_with_a_control_record(tmp_path: Path) -> None:
    made = new(PROJECT / "demo" / "registers" / "lar_2018_bank0_1000.txt", tmp_path)
    assert made.problems == ()
    assert len(made.guess.columns) == 110
    xml = (tmp_path / "applications/sandbox/staging/pipelines/lar_bank0.xml").read_text()
    assert '<control record="first" field="13" counts="rows" businessDateField="3"/>' in xml
    assert '<partition grain="year"/>' in xml


@pytest.mark.parametrize(
    ("name", "pipeline", "matches", "grain"),
    [
        ("payments_2024-01-05.csv", "payments", "payments_2025-12-31.csv", "day"),
        ("payments_20240105_2.csv", "payments", "payments_20251231_17.csv", "day"),
        ("sales-202401.txt", "sales", "sales-202512.txt", "month"),
        ("budget 2024.csv", "budget", "budget 2025.csv", "year"),
        ("customers.csv", "customers", "customers_new.csv", None),
        ("7.csv", "feed_7", "8.csv", None),
        ("test_utf16_big.csv", "test_utf16_big", "test_utf16_big.csv", None),
    ],
)
def test_names_of_files(name: str, pipeline: str, matches: str, grain: str | None) -> None:
    pattern, found = name_pattern(name)
    assert identifier(Path(name).stem) == pipeline
    assert re.fullmatch(pattern, name)
    assert re.fullmatch(pattern, matches)
    assert found == grain


def test_explain_shows_what_is_built(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATALAKE_CONFIG", str(PROJECT / "tests/cases/valid/payments/config"))
    said = json.loads(lake("explain", "bank/payments", "--json"))
    target = said["targets"][0]
    lineage = {c["name"]: c["from"] for c in target["columns"]}
    assert target["asset"] == "bank/staging/payments"
    assert lineage["amount_cents"] == ["payments.amount"]
    assert [s["kind"] for s in said["steps"]] == ["deduplicate", "filter", "derive", "mask"]
    assert said["assets"] == ["bank/staging/payments", "bank/exceptions/payments"]
    assert len(said["definition_hash"]) == 64
    text = lake("explain", "bank/payments")
    assert "amount_cents" in text
    for rule in said["row_rules"]:
        assert rule["compiled"] in text


def test_explain_of_a_job_shows_its_chain() -> None:
    said = json.loads(lake("explain", "mortgage/hmda_filing", "--json"))
    assert [p["pipeline"].split("/")[1] for p in said["pipelines"]] == ["lar", "loan_application", "county_lending"]
    assert said["pipelines"][1]["after"] == ["lar"]
    assert "on failure continue" in lake("explain", "mortgage/hmda_filing")


def test_explain_shows_the_way_back() -> None:
    said = json.loads(lake("explain", "mortgage/lar", "--json"))["way_back"]
    assert (said["workflow"], said["replay"]) == ("hmda_remediation", "onApproval")
    assert said["approval_roles"] == ["approver"]
    assert said["comes_back"] == "by the next attempt of its batch", "it deduplicates"
    text = lake("explain", "mortgage/lar")
    people = [each["to"] for each in (*said["assignments"], *said["escalations"])]
    for told in (*people, said["sla"]):
        assert told in text
    assert "way back · workflow hmda_remediation" in text


def test_explain_says_what_holds_without_a_workflow(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATALAKE_CONFIG", str(PROJECT / "tests/cases/valid/payments/config"))
    said = json.loads(lake("explain", "bank/payments", "--json"))["way_back"]
    assert (said["workflow"], said["replay"], said["stewards"]) == (None, "manual", [])
    assert "everybody is steward and approver" in lake("explain", "bank/payments")
