"""Runs over a scripted lake: what ends up in Dagster's history, and how jobs go on or stop."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from datalake_assets import names
from datalake_assets.build import build
from datalake_assets.previews import quiet_inside_dagster
from pipeline_xml.checked import Catalog, CheckedPipeline
from publishing.ledger_errors import LedgerGone, LedgerLocked
from publishing.outcome import BatchOutcome, CheckOutcome, Counts
from resources.failures import DiskFull, NotWritable
from resources.secrets import SecretMissing
from resources.settings import Settings
from tests import small_catalog as small

ORDERS = dg.AssetKey(["shop", "staging", "orders"])
QUARANTINE = dg.AssetKey(["shop", "exceptions", "orders"])
SETTINGS = Settings(config=Path("/config"), data=Path("/nowhere"))
Script = Callable[[CheckedPipeline], list[BatchOutcome]]


@pytest.fixture
def instance() -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.ephemeral() as found:
        yield found


def published(checked: CheckedPipeline) -> list[BatchOutcome]:
    return [small.batch(checked)]


def held(checked: CheckedPipeline) -> list[BatchOutcome]:
    return [small.batch(checked, status="held", reason="declared 10, counted 9", passed=False)]


def failed(checked: CheckedPipeline) -> list[BatchOutcome]:
    return [small.batch(checked, status="failed", reason="disk full", checks=(), quarantine=None, transient=True)]


def run(
    work: small.ScriptedWork,
    instance: dg.DagsterInstance,
    job: str = "shop__ready",
    catalog: Catalog | None = None,
    **asked: Any,
) -> dg.ExecuteInProcessResult:
    quiet_inside_dagster()
    definitions = build(SETTINGS, catalog or small.catalog(), work.open())
    return definitions.resolve_job_def(job).execute_in_process(instance=instance, raise_on_error=False, **asked)


def only(pipeline: str) -> dict[str, str]:
    return {names.PIPELINES_TAG: f"shop/{pipeline}"}


def latest(instance: dg.DagsterInstance, key: dg.AssetKey) -> dg.AssetMaterialization:
    event = instance.get_latest_materialization_event(key)
    assert event is not None
    assert event.asset_materialization is not None
    return event.asset_materialization


def evaluations(instance: dg.DagsterInstance, check: str) -> dict[str | None, str]:
    records = instance.event_log_storage.get_asset_check_execution_history(dg.AssetCheckKey(ORDERS, check), limit=100)
    return {record.partition: record.status.value for record in reversed(records)}


def failure(result: dg.ExecuteInProcessResult) -> str:
    (event,) = [e for e in result.all_events if e.is_step_failure]
    data = event.step_failure_data.user_failure_data
    assert data is not None
    return str(data.description)


def test_jobs_are_few(instance: dg.DagsterInstance) -> None:
    quiet_inside_dagster()
    repository = build(SETTINGS, small.catalog(), small.ScriptedWork().open()).get_repository_def()
    assert {job.name for job in repository.get_all_jobs()} - {"__ASSET_JOB"} == {
        "all_asset_checks", "shop__ready", "shop__nightly", "shop__staging__year", "shop__standardization__year",
        "shop__service__month", "ops__leftovers",
    }
    assert [s.name for s in repository.schedule_defs] == [  # the pipelines of a scheduled job have none
        "ops__leftovers__schedule", "shop__nightly__schedule",
    ]
    assert [s.name for s in repository.sensor_defs] == ["shop__inbox__landing", "shop__remediation", "shop__rerun"]


def test_one_run_over_several_business_dates_materialises_a_partition_each(instance: dg.DagsterInstance) -> None:
    work = small.ScriptedWork({"orders": lambda c: [small.batch(c, "2018-12-31"), small.batch(c, "2020-12-31")]})
    assert run(work, instance, tags=only("orders")).success
    assert instance.get_materialized_partitions(ORDERS) == {"2018-12-31", "2020-12-31"}
    assert set(instance.get_dynamic_partitions("business_year")) == {"2018-12-31", "2020-12-31"}
    assert work.ran == ["orders"]
    assert work.opened == 1


def test_what_a_materialisation_says(instance: dg.DagsterInstance) -> None:
    run(small.ScriptedWork({"orders": published}), instance, tags=only("orders"))
    found = latest(instance, ORDERS).metadata
    assert found["dagster/row_count"].value == 9
    assert found["delta_version"].value == 4
    assert found["batch"].value == "b-2018-12-31"
    assert found["quarantine_rate"].value == 0.1
    assert found["seconds"].value == 1.5
    table = found["reconciliation"]
    assert isinstance(table, dg.TableMetadataValue)
    assert [dict(record.data) for record in table.records] == [
        {"file": name, "status": "published", **Counts(10, 9, 1).as_dict(), "closes": True}
        for name in ("a.csv", "batch")
    ]


def test_quarantined_records_are_a_partition_of_their_own(instance: dg.DagsterInstance) -> None:
    run(small.ScriptedWork({"orders": published}), instance, tags=only("orders"))
    found = latest(instance, QUARANTINE)
    assert found.partition == "2018-12-31_orders_9f3a"
    assert instance.get_dynamic_partitions("shop__orders__quarantine") == ["2018-12-31_orders_9f3a"]
    table = found.metadata["records_by_rule"]
    assert isinstance(table, dg.TableMetadataValue)
    assert [dict(record.data) for record in table.records] == [{"rule": "E1", "records": 1}]


def test_the_reasons_of_a_quarantine_come_with_the_most_frequent_first(instance: dg.DagsterInstance) -> None:
    counts = {"E1": 1, "amount": 2}
    run(small.ScriptedWork({"orders": lambda c: [small.batch(c, quarantined_by_rule=counts)]}), instance,
        tags=only("orders"))
    table = latest(instance, QUARANTINE).metadata["records_by_rule"]
    assert isinstance(table, dg.TableMetadataValue)
    assert [record.data["rule"] for record in table.records] == ["amount", "E1"]


def test_a_held_batch_fails_the_run_without_retry_and_publishes_nothing(instance: dg.DagsterInstance) -> None:
    result = run(small.ScriptedWork({"orders": held}), instance, tags=only("orders"))
    assert failure(result) == "shop/orders is held: 2018-12-31_orders_9f3a: declared 10, counted 9"
    (event,) = [e for e in result.all_events if e.is_step_failure]
    assert event.step_failure_data.user_failure_data is not None
    assert instance.get_latest_materialization_event(ORDERS) is None
    assert latest(instance, QUARANTINE).partition == "2018-12-31_orders_9f3a"  # to be seen, not yet acted on
    assert evaluations(instance, "quarantine_rate") == {"2018-12-31": "FAILED"}


def test_batches_that_ended_are_in_the_history_although_the_run_broke_off(instance: dg.DagsterInstance) -> None:
    class Breaking(small.ScriptedWork):
        def run(self, checked: CheckedPipeline, **asked: Any) -> Any:
            super().run(checked, **asked)
            raise OSError("disk full")

    result = run(Breaking({"orders": published}), instance, tags=only("orders"))
    assert not result.success
    assert instance.get_materialized_partitions(ORDERS) == {"2018-12-31"}
    assert evaluations(instance, "reconciled") == {"2018-12-31": "SUCCEEDED"}


def test_two_batches_of_one_date_share_a_verdict(instance: dg.DagsterInstance) -> None:
    work = small.ScriptedWork({"orders": lambda c: [small.batch(c, passed=False), small.batch(c, passed=True)]})
    run(work, instance, tags=only("orders"))
    assert evaluations(instance, "quarantine_rate") == {"2018-12-31": "FAILED"}


def test_an_asset_run_of_a_partition_asks_for_that_date_only(instance: dg.DagsterInstance) -> None:
    instance.add_dynamic_partitions("business_year", ["2018-12-31", "2020-12-31"])
    work = small.ScriptedWork({"orders": lambda c: [small.batch(c, "2018-12-31"), small.batch(c, "2020-12-31")]})
    assert run(work, instance, "shop__staging__year", partition_key="2020-12-31").success
    assert instance.get_materialized_partitions(ORDERS) == {"2020-12-31"}
    # the row that Dagster plans for each check of the run is resolved by the evaluation of its partition
    assert evaluations(instance, "E2") == {"2020-12-31": "FAILED"}


def test_an_asset_run_reads_upstream_partitions_that_exist(instance: dg.DagsterInstance) -> None:
    work = small.ScriptedWork({"orders": published, "clean": published})
    assert run(work, instance, tags=only("orders")).success
    assert run(work, instance, "shop__standardization__year", partition_key="2018-12-31").success
    assert run(work, instance, tags=only("clean")).success  # the same without a partition, which needs the op job


def test_checks_alone_evaluate_what_is_published(instance: dg.DagsterInstance) -> None:
    quiet_inside_dagster()
    work = small.ScriptedWork(published=(CheckOutcome("E1", "error", False, 3),))
    job = build(SETTINGS, small.catalog(), work.open()).resolve_job_def("shop__staging__year")
    instance.add_dynamic_partitions("business_year", ["2018-12-31"])
    checks_alone = job.get_subset(asset_selection=set(), asset_check_selection={dg.AssetCheckKey(ORDERS, "E1")})
    result = checks_alone.execute_in_process(instance=instance, partition_key="2018-12-31", raise_on_error=False)
    assert result.success
    assert evaluations(instance, "E1") == {"2018-12-31": "FAILED"}
    assert instance.get_latest_materialization_event(ORDERS) is None
    assert [kind for *_, kind in work.asked] == ["checks"]


def test_the_job_of_all_checks_fails_on_a_failed_error_and_covers_every_grain(instance: dg.DagsterInstance) -> None:
    good = small.ScriptedWork(published=(CheckOutcome("E1", "warning", False, 3),))
    assert run(good, instance, names.ALL_CHECKS_JOB).success
    assert good.ran == ["orders", "clean", "report"]
    bad = small.ScriptedWork(published=(CheckOutcome("E1", "error", False, 3),))
    result = run(bad, instance, names.ALL_CHECKS_JOB, tags=only("orders"))
    assert failure(result) == "failed checks: shop/orders E1"
    assert bad.ran == ["orders"]


def test_tags_carry_reprocess_date_and_claim(instance: dg.DagsterInstance) -> None:
    work = small.ScriptedWork()
    tags = {names.REPROCESS_TAG: "true", names.BUSINESS_DATE_TAG: "2018-12-31", names.CLAIM_TAG: "c1"}
    run(work, instance, "shop__nightly", tags={**tags, names.CLAIM_PIPELINE_TAG: "orders"})
    assert [(p, str(d), r, c) for p, d, r, c in work.asked] == [
        ("orders", "2018-12-31", True, "c1"), ("clean", "2018-12-31", True, None), ("report", "2018-12-31", True, None),
    ]


def chained(on_failure: str, **more: Any) -> Catalog:
    """orders and report stand alone; clean depends on orders."""
    refs = (small.ref("orders", on_failure=on_failure, **more), small.ref("clean", "orders"), small.ref("report"))
    return small.catalog(jobs=(small.chain(*refs),))


@pytest.mark.parametrize(
    ("on_failure", "script", "success", "ran"),
    [
        ("halt", published, True, ["orders", "clean", "report"]),
        ("halt", held, False, ["orders"]),
        ("skip", held, False, ["orders", "report"]),
        ("continue", held, False, ["orders", "clean", "report"]),
        ("continue", published, True, ["orders", "clean", "report"]),
        ("halt", lambda _: [], True, ["orders", "clean", "report"]),  # nothing to do is success
    ],
)
def test_on_failure(
    instance: dg.DagsterInstance, on_failure: str, script: Script, success: bool, ran: list[str]
) -> None:
    work = small.ScriptedWork({"orders": script, "clean": published, "report": published})
    result = run(work, instance, "shop__nightly", chained(on_failure))
    assert result.success == success
    assert sorted(work.ran) == sorted(ran)


def test_retry_tries_a_failure_again_and_never_a_held_run(instance: dg.DagsterInstance) -> None:
    tries: list[int] = []

    def second_time(checked: CheckedPipeline) -> list[BatchOutcome]:
        tries.append(1)
        return published(checked) if len(tries) == 2 else failed(checked)

    work = small.ScriptedWork({"orders": second_time})
    assert run(work, instance, "shop__nightly", chained("retry", max_retries=2)).success
    assert len(tries) == 2
    held_work = small.ScriptedWork({"orders": held})
    assert not run(held_work, instance, "shop__nightly", chained("retry", max_retries=2)).success
    assert held_work.ran == ["orders"]


def test_a_missing_secret_is_told_and_never_tried_again(instance: dg.DagsterInstance) -> None:
    def without(checked: CheckedPipeline) -> list[BatchOutcome]:
        raise SecretMissing("secret 'KEY' is missing; looked at the environment variable KEY")

    work = small.ScriptedWork({"orders": without})
    result = run(work, instance, "shop__nightly", chained("retry", max_retries=2))
    assert not result.success
    assert work.ran == ["orders"]
    (failure,) = [event.step_failure_data.user_failure_data for event in result.get_step_failure_events()]
    assert failure is not None
    assert failure.description == "shop/orders: secret 'KEY' is missing; looked at the environment variable KEY"


@pytest.mark.parametrize(("error", "tries"), [(LedgerGone, 1), (NotWritable, 1), (LedgerLocked, 3), (DiskFull, 3)])
def test_only_what_may_pass_is_tried_again(
    instance: dg.DagsterInstance, error: type[Exception], tries: int
) -> None:
    def broken(checked: CheckedPipeline) -> list[BatchOutcome]:
        raise error("what to do stands here")

    work = small.ScriptedWork({"orders": broken})
    assert not run(work, instance, "shop__nightly", chained("retry", max_retries=2)).success
    assert work.ran.count("orders") == tries


def test_retry_also_tries_again_after_an_error_nobody_foresaw(instance: dg.DagsterInstance) -> None:
    """Seen once: the error halted the chain, its own second try then did nothing, and the run called that success."""
    tries: list[int] = []

    def second_time(checked: CheckedPipeline) -> list[BatchOutcome]:
        tries.append(1)
        if len(tries) == 1:
            raise RuntimeError("the engine went away")
        return published(checked)

    work = small.ScriptedWork({"orders": second_time, "clean": published, "report": published})
    assert run(work, instance, "shop__nightly", chained("retry", max_retries=2)).success
    assert sorted(work.ran) == ["clean", "orders", "orders", "report"]


def test_after_the_last_retry_the_job_halts(instance: dg.DagsterInstance) -> None:
    work = small.ScriptedWork({"orders": failed})
    assert not run(work, instance, "shop__nightly", chained("retry", max_retries=1)).success
    assert work.ran.count("orders") == 2
    assert "clean" not in work.ran


def test_a_fallback_runs_instead_and_dependents_follow_it(instance: dg.DagsterInstance) -> None:
    work = small.ScriptedWork({"orders": failed, "report": published})
    catalog = small.catalog(
        jobs=(small.chain(small.ref("orders", on_failure="fallback", fallback="report"), small.ref("clean", "orders")),)
    )
    assert run(work, instance, "shop__nightly", catalog).success
    assert work.ran == ["orders", "report", "clean"]
