"""What a pipeline looks like in Dagster, before anything runs."""

from __future__ import annotations

from dataclasses import fields, replace
from datetime import timedelta
from typing import Any

import dagster as dg
import pytest

from datalake_assets import names
from datalake_assets.check_specs import check_names, check_specs
from datalake_assets.columns import column_lineage, column_schema
from datalake_assets.freshness import freshness_policy
from datalake_assets.previews import previews_accepted
from datalake_assets.translate import grains, outside_specs, quarantine_spec, target_specs
from pipeline_xml.load import load_catalog
from pipeline_xml.model import Metadata
from processing.transformations import registry
from tests import small_catalog as small
from tests.golden_cases import CASES

SHOP = small.catalog()


def specs_of(index: int) -> list[dg.AssetSpec]:
    return target_specs(SHOP.root, SHOP.applications[0].pipelines[index], grains(SHOP))


def test_keys_of_a_whole_application() -> None:
    own = [spec.key.to_user_string() for index in range(3) for spec in specs_of(index)]
    assert own == [
        "shop/staging/orders", "shop/standardization/clean", "shop/service/report_csv", "shop/service/report",
    ]
    outside = sorted(spec.key.to_user_string() for spec in outside_specs(SHOP))
    assert outside == ["lookups/country", "shop/landing/inbox"]


def test_the_spec_of_a_staging_table() -> None:
    (spec,) = specs_of(0)
    assert [dep.asset_key.to_user_string() for dep in spec.deps] == ["shop/landing/inbox"]
    assert spec.skippable
    assert spec.group_name == "shop__staging"
    assert spec.description == "Orders as the shops file them"
    assert list(spec.owners) == ["orders@example.com"]
    assert spec.kinds == {"delta", "register"}
    assert spec.partitions_def == names.business_dates("year")
    shown = {key: value for key, value in spec.tags.items() if not key.startswith("dagster/")}
    assert shown == {
        "application": "shop", "layer": "staging", "pipeline": "orders", "grain": "year",
        "product_processor": "Retail_Banking", "retail": "", "daily_report": "",
    }
    plain = {key: value for key, value in spec.metadata.items() if not key.startswith("dagster/")}
    lineage = plain.pop("column_lineage")
    assert [dict(r.data) for r in lineage.records][1] == {"column": "amount", "from": "shop/landing/inbox.amount"}
    assert plain == {
        "pipeline": "shop/orders", "version": "1.0", "mode": "append", "definition_hash": "def-orders",
        "rule_hash": "rules-orders", "time_zone": "Europe/Madrid", "sla": "PT2H", "schedule": "0 6 * * *",
        "calendar": "TARGET2",
    }
    assert spec.metadata["dagster/table_name"] == "shop.staging.orders"


def test_code_references_lead_to_the_pipeline_and_the_target() -> None:
    (spec,) = specs_of(0)
    found = spec.metadata["dagster/code_references"].code_references
    assert [(one.file_path, one.line_number) for one in found] == [
        ("/config/applications/shop/staging/pipelines/orders.xml", 1),
        (f"/config/{small.ORDERS_XML}", 22),
    ]


def test_an_owner_that_is_no_address_becomes_a_team() -> None:
    assert names.owners("Mortgage data") == ["team:Mortgage_data"]
    assert names.owners(" ") == []


def test_columns_carry_types_constraints_descriptions_and_classification() -> None:
    checked = small.orders()
    schema = column_schema(checked, checked.targets[0])
    by_name = {column.name: column for column in schema.columns}
    assert list(by_name)[:3] == ["id", "amount", "email"]
    assert (by_name["id"].type, by_name["id"].constraints.nullable) == ("string", False)
    assert by_name["id"].description == "Order number"
    assert by_name["amount"].constraints.other == [">= 0"]
    assert by_name["email"].constraints.other == ["matches @"]
    assert by_name["email"].tags == {"classification": "pii"}
    assert by_name["_source_record"].tags == {"system": ""}


def test_a_merge_key_of_one_column_is_unique_and_an_export_has_no_system_columns() -> None:
    clean, report = small.clean(), small.report()
    unique = {c.name: c.constraints.unique for c in column_schema(clean, clean.targets[0]).columns}
    assert (unique["id"], unique["amount"]) == (True, False)
    assert [c.name for c in column_schema(report, report.targets[0]).columns] == ["total"]


def test_lineage_leads_to_landing_zones_tables_and_lookups() -> None:
    def lineage(checked: Any) -> dict[str, list[tuple[str, str]]]:
        deps = column_lineage(checked, checked.targets[0]).deps_by_column
        return {c: [(d.asset_key.to_user_string(), d.column_name) for d in found] for c, found in deps.items()}

    assert lineage(small.orders())["amount"] == [("shop/landing/inbox", "amount")]
    assert lineage(small.clean()) == {
        "id": [("shop/staging/orders", "id")],
        "amount": [("shop/staging/orders", "amount")],
        "country": [("lookups/country", "name")],
    }


def test_between_grains_every_upstream_period_counts() -> None:
    same, other = specs_of(1)[0].deps, specs_of(2)[0].deps
    assert [dep.partition_mapping for dep in same] == [None, None]
    assert [type(dep.partition_mapping) for dep in other] == [dg.AllPartitionMapping]


def test_a_table_of_an_application_that_is_not_loaded_is_external() -> None:
    alone = small.catalog((small.clean(),), ())
    keys = {spec.key.to_user_string() for spec in outside_specs(alone)}
    assert "shop/staging/orders" in keys


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"sla": None}, None),
        ({"grain": "day"}, "0 8 * * *"),
        ({"grain": "day", "schedule": "30 23 * * *"}, timedelta(days=1, hours=2)),  # the deadline is tomorrow
        ({"grain": "day", "schedule": "*/5 * * * *"}, timedelta(days=1, hours=2)),
        ({"grain": "year"}, timedelta(days=366, hours=2)),
    ],
)
def test_freshness_follows_the_sla(change: dict[str, Any], expected: object) -> None:
    policy = freshness_policy(replace(small.METADATA, **change))
    window = getattr(policy, "fail_window", None)
    assert (window.to_timedelta() if window else getattr(policy, "deadline_cron", None)) == expected


def test_checks_are_rules_and_the_platforms_own_with_the_partitions_of_the_asset() -> None:
    checked = small.orders()
    specs = check_specs(SHOP.root, checked)
    assert [spec.name for spec in specs] == [
        "reconciled", "control_totals", "contract", "quarantine_rate", "schema_drift", "E1", "E2",
    ]
    assert {spec.asset_key.to_user_string() for spec in specs} == {"shop/staging/orders"}
    assert {spec.partitions_def for spec in specs} == {names.business_dates("year")}
    rule = specs[-1]
    assert rule.description == "Edit E2"
    assert {k: rule.metadata[k] for k in ("severity", "pack", "expression", "columns", "threshold", "runbook")} == {
        "severity": "warning", "pack": "edits", "expression": "amount > 0", "columns": "amount", "threshold": 0.1,
        "runbook": "https://example.com/edits",
    }


def test_checks_of_a_pipeline_with_an_export_first_stand_on_its_table() -> None:
    assert {s.asset_key.to_user_string() for s in check_specs(SHOP.root, small.report())} == {"shop/service/report"}


def test_more_than_fifty_rules_are_one_check_a_pack() -> None:
    rules = tuple(small.row_rule(f"E{n}", "even" if n % 2 == 0 else "odd") for n in range(51))
    checked = small.orders(rules=rules)
    assert [spec.name for spec in check_specs(SHOP.root, checked)][5:] == ["even", "odd"]
    assert check_names(checked)["E50"] == "even"
    assert len(check_specs(SHOP.root, small.orders(rules=rules[:50]))) == 55


OTHER: dict[str, Any] = {
    "app_name": "store", "sla": "PT9H", "schedule": "5 5 * * *", "time_zone": "UTC", "calendar": "NYSE",
    "description": "other", "owner": "other@example.com", "tags": ("other",), "kinds": ("other",),
    "product_processor": "Other", "grain": "month",
}


NOT_SHOWN = ("where", "places", "reserved")  # places lead to the code reference; reserved elements are refused


@pytest.mark.parametrize("name", [f.name for f in fields(Metadata) if f.name not in NOT_SHOWN])
def test_translation_uses_every_field_of_metadata(name: str) -> None:
    """A field added to the language without a place in Dagster fails here (no entry in OTHER, or no difference)."""
    changed = replace(small.METADATA, **{name: OTHER[name]})
    with previews_accepted():
        before, after = (target_specs(SHOP.root, small.orders(m), {}) for m in (small.METADATA, changed))
    assert before != after


def test_the_quarantine_of_a_pipeline() -> None:
    spec = quarantine_spec(SHOP.root, small.orders())
    assert spec.key.to_user_string() == "shop/exceptions/orders"
    assert spec.partitions_def == dg.DynamicPartitionsDefinition(name="shop__orders__quarantine")
    assert [dep.asset_key.to_user_string() for dep in spec.deps] == ["shop/landing/inbox"]
    assert spec.metadata["remediation_sla"] == "P5D"


def test_what_rules_compare_with_is_upstream() -> None:
    catalog = load_catalog(CASES / "compared" / "config", registry())
    orders = catalog.pipeline("till", "orders")
    assert orders is not None
    (spec,) = target_specs(catalog.root, orders, grains(catalog))
    assert sorted(dep.asset_key.to_user_string() for dep in spec.deps) == [
        "lookups/country", "till/landing/till", "till/staging/customers", "till/staging/totals",
    ]  # fmt: skip
    assert "lookups/country" in {spec.key.to_user_string() for spec in outside_specs(catalog)}
