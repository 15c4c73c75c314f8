"""Replaying in Dagster over a scripted lake: the asset over quarantined batches, the job, and what they say."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from datalake_assets import names
from datalake_assets.build import build
from datalake_assets.previews import quiet_inside_dagster
from datalake_assets.replay_specs import replay_check_specs, replay_spec
from datalake_assets.way_back import downstream
from pipeline_xml.checked import Catalog
from pipeline_xml.location import Location
from pipeline_xml.model import ErrorPolicy, Workflow
from publishing.outcome import BatchOutcome, CheckOutcome
from resources.settings import Settings
from tests import small_catalog as small

REPLAY = dg.AssetKey(["shop", "exceptions", "orders_replay"])
QUARANTINE = dg.AssetKey(["shop", "exceptions", "orders"])
ORDERS = dg.AssetKey(["shop", "staging", "orders"])
SETTINGS = Settings(config=Path("/config"), data=Path("/nowhere"))
KEY, OTHER = "2018-12-31_orders_9f3a", "2020-12-31_orders_9f3a"
WORKFLOW = Workflow(
    where=Location("applications/shop/exceptions/workflows/orders.xml", 2, 1),
    app="shop",
    id="orders_remediation",
    pipelines=("orders",),
    owner="desk@example.com",
    replay="onApproval",
    sla="PT48H",
)


@pytest.fixture
def instance() -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.ephemeral() as found:
        yield found


def with_workflow(workflow: Workflow = WORKFLOW) -> Catalog:
    catalog = small.catalog()
    return replace(catalog, applications=(replace(catalog.applications[0], workflows=(workflow,)),))


def replay_batch(checked: Any, **more: Any) -> BatchOutcome:
    found = small.batch(checked, batch="r-1", key="2018-12-31_replay_77aa", origin="replay", checks=(), files=())
    return replace(found, **more)


UNTOUCHED = small.standing("2020-12-31", open=3)


def work(**more: Any) -> small.ScriptedWork:
    """Ten quarantined; a replay brings six back, two are rejected again."""
    given: dict[str, Any] = {
        "script": {"orders_replay": lambda c: [replay_batch(c)]},
        "before": (small.standing(open=10), UNTOUCHED),
        "after": (small.standing(tries=2, open=3, replayed=6, superseded=1), UNTOUCHED),
        "closed": (CheckOutcome("reconciled", "error", True, 0, "quarantined 10 = 3 open + 6 replayed + 1 superseded"),
                   CheckOutcome("nothing_lost", "error", False, 1, "1 replayed record is in no target")),
    }
    return small.ScriptedWork(**(given | more))


def run(work: small.ScriptedWork, instance: dg.DagsterInstance, job: str, **asked: Any) -> dg.ExecuteInProcessResult:
    quiet_inside_dagster()
    found = build(SETTINGS, with_workflow(), work.open()).get_repository_def().get_job(job)
    return found.execute_in_process(instance=instance, raise_on_error=False, **asked)


def materialise(work: small.ScriptedWork, instance: dg.DagsterInstance, **asked: Any) -> dg.ExecuteInProcessResult:
    """As the button of the UI does it."""
    instance.add_dynamic_partitions("shop__orders__quarantine", [KEY, OTHER])
    return run(work, instance, "__ASSET_JOB", asset_selection=[REPLAY], **asked)


def latest(instance: dg.DagsterInstance, key: dg.AssetKey) -> dg.AssetMaterialization:
    event = instance.get_latest_materialization_event(key)
    assert event is not None and event.asset_materialization is not None
    return event.asset_materialization


def shown(found: dg.AssetMaterialization, *wanted: str) -> dict[str, object]:
    return {name: found.metadata[name].value for name in wanted}


def evaluations(instance: dg.DagsterInstance, check: str) -> dict[str | None, str]:
    records = instance.event_log_storage.get_asset_check_execution_history(dg.AssetCheckKey(REPLAY, check), limit=100)
    return {record.partition: record.status.value for record in reversed(records)}


def test_a_materialised_partition_replays_that_batch_and_says_what_became_of_it(instance: dg.DagsterInstance) -> None:
    played = work()
    assert materialise(played, instance, partition_key=KEY).success
    assert played.asked == [
        ("orders_replay", None, False, KEY), ("orders", None, False, f"replay checks of {KEY}"),
    ]
    found = latest(instance, REPLAY)
    assert found.partition == KEY
    assert found.description == "6 records of batch 2018-12-31_orders_9f3a replayed, 2 rejected again, 3 still open"
    assert shown(
        found, "records_replayed", "records_rejected_again", "records_superseded", "records_still_open", "state_open",
        "state_replayed", "age_hours",
    ) == {
        "records_replayed": 6, "records_rejected_again": 2, "records_superseded": 1, "records_still_open": 3,
        "state_open": 3, "state_replayed": 6, "age_hours": 2.0,
    }


def test_a_replay_is_in_the_history_of_the_target_and_of_the_quarantine(instance: dg.DagsterInstance) -> None:
    materialise(work(), instance, partition_key=KEY)
    assert instance.get_materialized_partitions(ORDERS) == {"2018-12-31"}
    assert latest(instance, ORDERS).metadata["batch"].value == "r-1"
    left = latest(instance, QUARANTINE)
    assert left.partition == KEY  # no partition of the replay's own
    assert shown(left, "dagster/row_count", "state_open", "tries") == {
        "dagster/row_count": 10, "state_open": 3, "tries": 2,
    }


def test_its_checks_are_evaluated_in_the_batchs_partition(instance: dg.DagsterInstance) -> None:
    materialise(work(), instance, partition_key=KEY)
    assert evaluations(instance, "reconciled") == {KEY: "SUCCEEDED"}
    assert evaluations(instance, "nothing_lost") == {KEY: "FAILED"}


def test_its_checks_can_run_alone(instance: dg.DagsterInstance) -> None:
    quiet_inside_dagster()
    instance.add_dynamic_partitions("shop__orders__quarantine", [KEY])
    played = work()
    job = build(SETTINGS, with_workflow(), played.open()).get_repository_def().get_job("__ASSET_JOB")
    alone = job.get_subset(asset_selection=set(), asset_check_selection={dg.AssetCheckKey(REPLAY, "reconciled")})
    assert alone.execute_in_process(instance=instance, tags={"dagster/partition": KEY}).success
    assert instance.get_latest_materialization_event(REPLAY) is None
    assert "orders_replay" not in played.ran


def test_checks_without_a_partition_are_of_every_batch(instance: dg.DagsterInstance) -> None:
    """So the button `Execute all` of their page asks."""
    quiet_inside_dagster()
    instance.add_dynamic_partitions("shop__orders__quarantine", [KEY, OTHER])
    job = build(SETTINGS, with_workflow(), work().open()).get_repository_def().get_job("__ASSET_JOB")
    both = {dg.AssetCheckKey(REPLAY, name) for name in ("reconciled", "nothing_lost")}
    alone = job.get_subset(asset_selection=set(), asset_check_selection=both)
    assert alone.execute_in_process(instance=instance).success
    assert evaluations(instance, "reconciled") == {None: "SUCCEEDED", KEY: "SUCCEEDED", OTHER: "SUCCEEDED"}
    assert evaluations(instance, "nothing_lost") == {None: "FAILED", KEY: "FAILED", OTHER: "FAILED"}
    assert instance.get_latest_materialization_event(REPLAY) is None


def test_a_backfill_replays_many_batches_in_one_run(instance: dg.DagsterInstance) -> None:
    played = work()
    tags = {"dagster/asset_partition_range_start": KEY, "dagster/asset_partition_range_end": OTHER}
    assert materialise(played, instance, tags=tags).success
    assert [asked for name, *_, asked in played.asked if name == "orders_replay"] == [KEY, OTHER]
    assert instance.get_materialized_partitions(REPLAY) == {KEY, OTHER}


def test_the_job_with_the_tag_replays_all_and_tells_of_those_that_changed(instance: dg.DagsterInstance) -> None:
    played = work()
    tags = {names.PIPELINES_TAG: "shop/orders", names.REPLAY_TAG: names.EVERY_BATCH}
    assert run(played, instance, "shop__ready", tags=tags).success
    assert played.asked[0] == ("orders_replay", None, False, None)
    assert instance.get_materialized_partitions(REPLAY) == {KEY}
    assert instance.get_dynamic_partitions("shop__orders__quarantine") == [KEY]


def test_nothing_approved_is_success_and_the_partition_is_told_all_the_same(instance: dg.DagsterInstance) -> None:
    assert materialise(work(script={}, after=()), instance, partition_key=KEY).success
    assert latest(instance, REPLAY).description == (
        "0 records of batch 2018-12-31_orders_9f3a replayed, 0 rejected again, 10 still open"
    )


@pytest.mark.parametrize(("status", "message"), [("held", "is held: "), ("failed", "failed: ")])
def test_a_replay_that_ends_otherwise_fails_the_run(instance: dg.DagsterInstance, status: str, message: str) -> None:
    played = work(script={"orders_replay": lambda c: [replay_batch(c, status=status, reason="disk full", targets=())]})
    result = materialise(played, instance, partition_key=KEY)
    (event,) = [e for e in result.all_events if e.is_step_failure]
    assert event.step_failure_data.user_failure_data is not None
    assert event.step_failure_data.user_failure_data.description == (
        f"shop/orders {message}2018-12-31_replay_77aa: disk full"
    )
    assert latest(instance, REPLAY).partition == KEY


def test_a_batch_that_is_not_in_quarantine_is_named(instance: dg.DagsterInstance) -> None:
    result = materialise(work(before=()), instance, partition_key=KEY)
    (event,) = [e for e in result.all_events if e.is_step_failure]
    assert event.step_failure_data.user_failure_data is not None
    assert event.step_failure_data.user_failure_data.description == f"shop/orders has no quarantined batch {KEY}"


def test_what_a_run_ends_of_a_broken_replay_makes_no_partition_of_its_own(instance: dg.DagsterInstance) -> None:
    played = small.ScriptedWork({"orders": lambda c: [small.batch(c), replay_batch(c)]})
    assert run(played, instance, "shop__ready", tags={names.PIPELINES_TAG: "shop/orders"}).success
    assert instance.get_dynamic_partitions("shop__orders__quarantine") == [KEY]


def test_the_quarantine_of_a_run_shows_ages_and_states(instance: dg.DagsterInstance) -> None:
    played = small.ScriptedWork({"orders": lambda c: [small.batch(c)]}, before=(small.standing(open=1, resolved=4),))
    run(played, instance, "shop__ready", tags={names.PIPELINES_TAG: "shop/orders"})
    assert shown(latest(instance, QUARANTINE), "age_hours", "state_open", "state_resolved", "records_quarantined") == {
        "age_hours": 2.0, "state_open": 1, "state_resolved": 4, "records_quarantined": 1,
    }


def test_the_spec_of_a_replay() -> None:
    catalog = with_workflow()
    spec = replay_spec(catalog.root, catalog.applications[0].pipelines[0], WORKFLOW)
    assert spec.key == REPLAY
    assert [dep.asset_key for dep in spec.deps] == [QUARANTINE]
    assert spec.partitions_def == names.quarantine_partitions(catalog.applications[0].pipelines[0])
    assert (spec.group_name, list(spec.owners), spec.kinds) == (
        "shop__exceptions", ["desk@example.com"], {"delta", "replay"},
    )
    plain = {key: value for key, value in spec.metadata.items() if not key.startswith("dagster/")}
    assert plain == {"workflow": "orders_remediation", "replay_mode": "onApproval", "remediation_sla": "PT48H"}
    (reference, _) = spec.metadata["dagster/code_references"].code_references
    assert reference.label == "applications/shop/exceptions/workflows/orders.xml:2"
    checks = replay_check_specs(catalog.applications[0].pipelines[0])
    assert [(c.name, c.asset_key, c.partitions_def) for c in checks] == [
        (name, REPLAY, spec.partitions_def) for name in ("reconciled", "nothing_lost")
    ]


def test_without_a_workflow_a_replay_is_manual_and_the_pipelines_own_sla_counts() -> None:
    catalog = small.catalog()
    spec = replay_spec(catalog.root, catalog.applications[0].pipelines[0], None)
    plain = {key: value for key, value in spec.metadata.items() if not key.startswith("dagster/")}
    assert plain == {"replay_mode": "manual", "remediation_sla": "P5D"}
    assert list(spec.owners) == ["orders@example.com"]


def test_a_pipeline_that_skips_has_no_replay() -> None:
    orders = small.orders()
    skips = ErrorPolicy(where=orders.pipeline.where, on_record_error="skip")
    quiet_inside_dagster()
    catalog = small.catalog((replace(orders, pipeline=replace(orders.pipeline, error_policy=skips)),), ())
    repository = build(SETTINGS, catalog, small.ScriptedWork().open()).get_repository_def()
    assert REPLAY not in repository.asset_graph.get_all_asset_keys()
    assert [s.name for s in repository.sensor_defs] == ["shop__inbox__landing"]


def test_a_rerun_takes_what_reads_the_table_through_others_with_it() -> None:
    assert downstream(small.catalog().applications[0]) == {
        "shop/clean": ("shop/clean", "shop/report"), "shop/report": ("shop/report",),
    }
