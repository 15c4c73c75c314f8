"""What the command line does: runs in this process that stand in the history of the instance on disk."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date
from pathlib import Path

import dagster as dg
import pytest

from datalake_assets.execute import UnknownName, execute, execute_checks
from datalake_assets.instance import home, open_instance
from pipeline_xml.checked import CheckedPipeline
from publishing.outcome import BatchOutcome, CheckOutcome
from resources.settings import Settings
from tests import small_catalog as small


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    monkeypatch.delenv("DAGSTER_HOME", raising=False)
    return Settings(config=Path("/config"), data=tmp_path)


@pytest.fixture
def instance(settings: Settings) -> Iterator[dg.DagsterInstance]:
    with open_instance(settings) as found:
        yield found


def test_a_pipelines_run_stands_in_the_history_of_the_code_location(
    settings: Settings, instance: dg.DagsterInstance
) -> None:
    work = small.ScriptedWork({"orders": lambda c: [small.batch(c)]})
    outcome = execute(settings, "shop", "orders", catalog=small.catalog(), open_work=work.open())
    assert (outcome.status, outcome.error, [p.pipeline for p in outcome.pipelines]) == (
        "published", None, ["shop/orders"],
    )
    record = instance.get_run_by_id(outcome.run)
    assert record is not None
    assert record.status == dg.DagsterRunStatus.SUCCESS
    of_the_location = dg.RunsFilter(tags={".dagster/repository": "__repository__@datalake"})  # what the UI asks for
    assert [found.run_id for found in instance.get_runs(of_the_location)] == [outcome.run]
    key = dg.AssetKey(["shop", "staging", "orders"])
    assert instance.get_materialized_partitions(key) == {"2018-12-31"}


def test_a_job_that_holds_ends_held_with_every_outcome(settings: Settings) -> None:
    def held(checked: CheckedPipeline) -> list[BatchOutcome]:
        return [small.batch(checked, status="held", reason="declared 10, counted 9")]

    work = small.ScriptedWork({"orders": held})
    outcome = execute(settings, "shop", "nightly", catalog=small.catalog(), open_work=work.open())
    assert (outcome.status, outcome.error) == ("held", None)
    assert [(p.pipeline, p.status) for p in outcome.pipelines] == [("shop/orders", "held")]
    assert outcome.pipelines[0].batches[0].reason == "declared 10, counted 9"


def test_a_failure_names_itself_and_keeps_what_was_published(settings: Settings) -> None:
    class Breaking(small.ScriptedWork):
        def run(self, checked: CheckedPipeline, **asked: object) -> object:  # type: ignore[override]  # breaks
            super().run(checked, **asked)  # type: ignore[arg-type]  # passed on as they are
            raise OSError("disk full")

    work = Breaking({"orders": lambda c: [small.batch(c)]})
    outcome = execute(settings, "shop", "orders", catalog=small.catalog(), open_work=work.open())
    assert (outcome.status, outcome.error) == ("failed", "OSError: disk full")
    assert outcome.pipelines[0].error == "OSError: disk full"
    assert [b.status for b in outcome.pipelines[0].batches] == ["published"]


def test_date_and_reprocess_reach_the_work_and_batches_are_watched(settings: Settings) -> None:
    seen: list[tuple[str, str]] = []
    work = small.ScriptedWork({"orders": lambda c: [small.batch(c, "2018-12-31"), small.batch(c, "2020-12-31")]})
    execute(
        settings, "shop", "orders", date(2020, 12, 31), True, catalog=small.catalog(), open_work=work.open(),
        watch=lambda pipeline, batch: seen.append((pipeline, batch.business_date)),
    )
    assert work.asked == [("orders", date(2020, 12, 31), True, None)]
    assert seen == [("shop/orders", "2020-12-31")]


def test_nothing_is_printed_on_standard_output(settings: Settings, capfd: pytest.CaptureFixture[str]) -> None:
    work = small.ScriptedWork({"orders": lambda c: [small.batch(c)]})
    execute(settings, "shop", "orders", catalog=small.catalog(), open_work=work.open())
    assert capfd.readouterr().out == ""


def test_checks_of_one_pipeline_and_of_all(settings: Settings) -> None:
    work = small.ScriptedWork(published=(CheckOutcome("E1", "error", False, 3),))
    one = execute_checks(settings, "shop", "orders", catalog=small.catalog(), open_work=work.open())
    assert (list(one.checks), one.passed, one.error) == (["shop/orders"], False, None)
    good = small.ScriptedWork(published=(CheckOutcome("E1", "warning", False, 3),))
    every = execute_checks(settings, "shop", catalog=small.catalog(), open_work=good.open())
    assert (list(every.checks), every.passed) == (["shop/orders", "shop/clean", "shop/report"], True)


def test_unknown_names_say_what_there_is(settings: Settings) -> None:
    with pytest.raises(UnknownName, match="no pipeline or job 'order'; valid: orders, clean, report, nightly"):
        execute(settings, "shop", "order", catalog=small.catalog(), open_work=small.ScriptedWork().open())
    with pytest.raises(UnknownName, match="no application 'shp' in /config; valid: shop"):
        execute(settings, "shp", "orders", catalog=small.catalog(), open_work=small.ScriptedWork().open())


def test_an_instance_file_that_is_there_is_left_as_it_is(settings: Settings, tmp_path: Path) -> None:
    elsewhere = tmp_path / "home"
    elsewhere.mkdir()
    (elsewhere / "dagster.yaml").write_text("telemetry:\n  enabled: false\n")
    assert home(settings, {"DAGSTER_HOME": str(elsewhere)}) == elsewhere
    assert (elsewhere / "dagster.yaml").read_text() == "telemetry:\n  enabled: false\n"
    assert "QueuedRunCoordinator" in (home(settings, {}) / "dagster.yaml").read_text()
