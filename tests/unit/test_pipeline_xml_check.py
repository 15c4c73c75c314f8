"""Checking: what a catalog holds, in which order tables are known, and what the hashes depend on."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from pipeline_xml.checked import CheckedPipeline
from pipeline_xml.load import check_path, load_catalog
from pipeline_xml.model import CsvSource
from pipeline_xml.problems import DefinitionError
from pipeline_xml.system_columns import SYSTEM_COLUMNS
from processing import frame
from tests.definition_cases import BASE
from tests.plain_steps import STEPS

ORDERS = "applications/shop/staging/pipelines/orders.xml"
RULES = "applications/shop/exceptions/rules/orders.xml"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return Path(shutil.copytree(BASE, tmp_path / "config"))


def pipeline(root: Path, name: str = "orders", app: str = "shop") -> CheckedPipeline:
    found = load_catalog(root, STEPS).pipeline(app, name)
    assert found is not None
    return found


def change(root: Path, file: str, *edits: tuple[str, str]) -> None:
    text = (root / file).read_text()
    for old, new in edits:
        assert old in text
        text = text.replace(old, new, 1)
    (root / file).write_text(text)


def test_a_pipeline_is_resolved(root: Path) -> None:
    found = pipeline(root)
    assert isinstance(found.driving.source, CsvSource)
    assert found.driving.source.pattern == r"orders_(?P<business_date>[0-9]{8})\.csv"
    assert found.driving.zone is not None and found.driving.zone.uri == "landing/orders"
    assert found.driving.control_contract is not None
    assert [t.asset for t in found.targets] == [("shop", "staging", "orders"), ("shop", "staging", "exports_orders")]
    assert found.targets[0].dataset.names[-2:] == ("amount_code", "updated_at")
    assert found.not_runnable == ()


def test_rules_are_compiled_over_the_driving_source(root: Path) -> None:
    found = pipeline(root)
    texts = {r.rule.id: r.expression.text for r in found.row_rules}
    assert texts == {
        "customer_given": "`customer` is not null",
        "known_status": "`status` in ('open', 'paid')",
        "amount_range": "`amount` >= 0 and `amount` <= 1000000.00",
        "country_code": "`country` rlike '^[A-Z]{2}$'",
        "customer_length": "length(`customer`) >= 2",
        "paid_has_amount": "status <> 'paid' or amount > 0",
    }
    assert {r.rule.id: r.columns for r in found.dataset_rules} == {
        "one_row_an_order": ("order_id",),
        "not_empty": (),
        "countries": ("country",),
    }
    marks = [r.fingerprint for r in found.row_rules] + [r.fingerprint for r in found.dataset_rules]
    assert len(set(marks)) == 9


def test_a_lake_table_has_the_columns_its_writer_makes(root: Path) -> None:
    source = pipeline(root, "sales").driving
    assert source.upstream == ("shop", "staging", "orders")
    assert source.contract.columns == source.contract.fields
    assert [f.name for f in source.contract.fields][-2:] == ["amount_code", "updated_at"]
    assert source.contract.fields[1].classification == "pii"


def test_an_application_that_is_read_from_is_checked_and_not_returned(root: Path) -> None:
    bank = root / "applications" / "bank" / "standardization" / "pipelines"
    bank.mkdir(parents=True)
    text = (root / "applications/shop/standardization/pipelines/sales.xml").read_text()
    text = text.replace("<appName>shop", "<appName>bank").replace('"staging.orders"', '"shop.staging.orders"')
    (bank / "sales.xml").write_text(text)
    catalog = load_catalog(root, STEPS, applications=("bank",))
    assert [a.name for a in catalog.applications] == ["bank"]
    assert pipeline(root, "sales", "bank").driving.upstream == ("shop", "staging", "orders")


def test_the_definition_hash_is_of_what_is_said(root: Path) -> None:
    before = pipeline(root)
    (root / ORDERS).write_text("<!-- said the same -->\n" + (root / ORDERS).read_text().replace("<sla>", "\n\t<sla>"))
    change(root, ORDERS, ('mode="append" partitionBy="ingest_date"', 'partitionBy="ingest_date"   mode="append"'))
    (root / ORDERS).rename((root / ORDERS).with_name("renamed.xml"))
    same = pipeline(root)
    assert (same.definition_hash, same.rule_hash) == (before.definition_hash, before.rule_hash)


@pytest.mark.parametrize(
    ("file", "old", "new", "definition", "rules"),
    [
        (ORDERS, 'mode="append" part', 'mode="merge" orderBy="updated_at" part', True, False),
        ("applications/shop/staging/schemas/orders.json", '"maxLength": 40', '"maxLength": 41', True, False),
        ("applications/shop/staging/schemas/control.json", '"integer"', '"number"', True, False),
        (RULES, 'max="1000000.00"', 'max="1000001.00"', False, True),
        (RULES, 'severity="warning"', 'severity="error"', False, True),
    ],
)
def test_the_hashes_change_with_what_decides(
    root: Path, file: str, old: str, new: str, definition: bool, rules: bool
) -> None:
    if 'mode="merge"' in new:
        change(root, "applications/shop/standardization/pipelines/sales.xml", ('read="changes"', 'read="full"'))
    before = pipeline(root)
    change(root, file, (old, new))
    after = pipeline(root)
    assert (before.definition_hash != after.definition_hash) is definition
    assert (before.rule_hash != after.rule_hash) is rules


def test_errors_of_all_files_come_together(root: Path) -> None:
    change(root, ORDERS, ('landing="inbox"', 'landing="inbx"'), ("PT2H", "2h"))
    change(root, "applications/shop/staging/jobs/daily.xml", ('dependsOn="orders"', 'dependsOn="order"'))
    schema = root / "applications/shop/staging/schemas/orders.json"
    schema.write_text(json.dumps(json.loads(schema.read_text()) | {"x-orderBy": ["when"]}))
    with pytest.raises(DefinitionError) as caught:
        load_catalog(root, STEPS)
    assert {p.code for p in caught.value.problems} >= {"LK601", "LK142", "LK612", "LK406"}


def test_a_path_limits_what_is_shown_not_what_is_checked(root: Path) -> None:
    change(root, ORDERS, ('landing="inbox"', 'landing="inbx"'))
    change(root, "applications/shop/staging/jobs/daily.xml", ('dependsOn="orders"', 'dependsOn="order"'))
    assert {p.code for p in check_path(root, STEPS, path=root / ORDERS)} == {"LK601"}
    assert {p.code for p in check_path(root, STEPS, path=root / "applications/shop/staging/jobs")} >= {"LK612"}
    assert check_path(root, STEPS, path=root / "applications/shop/standardization") == ()


def test_a_schema_that_is_a_link_out_of_its_folder_is_refused(root: Path, tmp_path: Path) -> None:
    secret = tmp_path / "secret.json"
    secret.write_text("{}")
    link = root / "applications/shop/staging/schemas/orders.json"
    link.unlink()
    link.symlink_to(secret)
    assert "LK409" in {p.code for p in check_path(root, STEPS)}


def test_delimiters_in_writing(root: Path) -> None:
    change(root, ORDERS, ('encoding="utf-8"', r'delimiter="\t" quote="" escape="\x01" nullValues="NULL, -"'))
    source = pipeline(root).driving.source
    assert isinstance(source, CsvSource)
    assert (source.delimiter, source.quote, source.escape) == ("\t", None, "\x01")
    assert source.null_values == ("", "NULL", "-")


def test_system_columns_are_those_of_the_rows() -> None:
    named = {*frame.IDENTITY, *frame.STAMPED, frame.ORDER, frame.STATUS, frame.ERRORS}
    assert set(SYSTEM_COLUMNS) == named
