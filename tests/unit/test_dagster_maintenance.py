"""The maintenance asset in Dagster: it sweeps, says how much by kind, and its check warns of what is left."""

from __future__ import annotations

import os
from pathlib import Path

import dagster as dg
import pytest

from datalake_assets import maintenance
from pipeline_xml.checked import Catalog
from resources.settings import Settings


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """A lake root with two leftovers, one of them young."""
    found = Settings(config=tmp_path / "config", data=tmp_path / "data")
    for name, seconds in (("old", 0.0), ("young", None)):
        path = found.data / "raw" / "app" / "feed" / f".copy-{name}"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"four")
        if seconds is not None:
            os.utime(path, (seconds, seconds))
    return found


def test_a_materialisation_sweeps_and_says_what(settings: Settings) -> None:
    asset = maintenance.leftovers_asset(settings, Catalog(settings.config, ()))
    done = dg.materialize([asset])
    (event,) = done.asset_materializations_for_node(asset.node_def.name)
    assert {key: value.value for key, value in event.metadata.items()} == {
        "found": 1, "removed": 1, "bytes": 4, "found_raw_copy": 1, "counted_again": 0, "messages_forgotten": 0,
        "killed_runs_told": 0,
    }  # fmt: skip
    (check,) = done.get_asset_check_evaluations()
    assert (check.check_name, check.passed) == ("nothing_left", True)
    assert [p.name for p in (settings.data / "raw" / "app" / "feed").iterdir()] == [".copy-young"]


def test_the_check_alone_removes_nothing_and_warns(settings: Settings) -> None:
    asset = maintenance.leftovers_asset(settings, Catalog(settings.config, ()))
    with dg.DagsterInstance.ephemeral() as instance:
        only = dg.AssetSelection.checks(dg.AssetCheckKey(maintenance.KEY, maintenance.CHECK))
        done = dg.materialize([asset], selection=only, instance=instance)
    (check,) = done.get_asset_check_evaluations()
    assert (check.passed, check.severity) == (False, dg.AssetCheckSeverity.WARN)
    assert check.metadata["first"].value == ["raw/app/feed/.copy-old"]
    assert len(list((settings.data / "raw" / "app" / "feed").iterdir())) == 2


def test_it_runs_once_a_day() -> None:
    schedule = maintenance.leftovers_schedule()
    assert (schedule.job_name, schedule.cron_schedule, schedule.default_status) == (
        "ops__leftovers", "30 3 * * *", dg.DefaultScheduleStatus.RUNNING,
    )  # fmt: skip
