"""Replays as people ask for them: `lake replay`, the button of the UI, a sensor's run; all in one history."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from sqlalchemy import select

from datalake_assets import names
from datalake_assets.build import build
from datalake_assets.execute import execute, execute_replay
from datalake_assets.instance import open_instance
from datalake_assets.previews import quiet_inside_dagster
from datalake_assets.work import lake_work
from publishing.decisions import Rerun
from publishing.ledger import Ledger
from publishing.standing import standings
from resources.engine import Engine, open_engine
from resources.settings import Settings
from stewardship.actors import Actor, operating_system_user
from stewardship.stores import Audit, Replay
from tests.steward_feed import StewardFeed

LAKE = Path(sys.executable).parent / "lake"
REPLAY = dg.AssetKey(["app", "exceptions", "feed_replay"])
QUARANTINE = dg.AssetKey(["app", "exceptions", "feed"])
FEED = dg.AssetKey(["app", "staging", "feed"])
WORKFLOW = '<workflow id="back" pipelines="feed"><replay mode="onApproval"/><sla>PT48H</sla></workflow>'


@pytest.fixture(scope="module")
def engine() -> Iterator[Engine]:
    with open_engine("sail", None) as opened:
        yield opened


@pytest.fixture
def feed(engine: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> StewardFeed:
    """Two rejected records of a published batch."""
    monkeypatch.delenv("DAGSTER_HOME", raising=False)
    found = StewardFeed(tmp_path, engine)
    found.define()
    found.land("a.csv", "id,v", "a,1", "b,x", "c,y")
    found._write("exceptions", "workflows", "back.xml", WORKFLOW)
    assert execute(found.settings, "app", "feed").status == "published"
    return found


@pytest.fixture
def instance(feed: StewardFeed) -> Iterator[dg.DagsterInstance]:
    with open_instance(feed.settings) as found:
        yield found


def lake(settings: Settings, *arguments: str) -> subprocess.CompletedProcess[str]:
    env = {**os.environ, "DATALAKE_CONFIG": str(settings.config), "DATALAKE_DATA": str(settings.data)}
    return subprocess.run([str(LAKE), *arguments], env=env, capture_output=True, text=True, check=False)


def key_of(feed: StewardFeed) -> str:
    ledger = Ledger.of(feed.settings)
    (found,) = standings(ledger, "app/feed")
    ledger.close()
    return found.key


def latest(instance: dg.DagsterInstance, key: dg.AssetKey) -> dict[str, Any]:
    event = instance.get_latest_materialization_event(key)
    assert event is not None and event.asset_materialization is not None
    return {name: value.value for name, value in event.asset_materialization.metadata.items()}


def verdicts(instance: dg.DagsterInstance) -> dict[str, str]:
    """Of the newest evaluation of each check of the replay."""
    found = {}
    for check in ("reconciled", "nothing_lost"):
        key = dg.AssetCheckKey(REPLAY, check)
        (record,) = instance.event_log_storage.get_asset_check_execution_history(key, limit=1)
        found[check] = record.status.value
    return found


def test_lake_replay_brings_back_what_was_approved_once(feed: StewardFeed, instance: dg.DagsterInstance) -> None:
    feed.decide({"a.csv:2": {"v": "2"}})
    key = key_of(feed)
    done = lake(feed.settings, "replay", "app/feed", "--batch", key[:14], "--json")
    assert done.returncode == 0, done.stderr
    document = json.loads(done.stdout)
    ((batch,),) = [p["batches"] for p in document["pipelines"]]
    assert (document["status"], batch["origin"], batch["counts"]["accepted"]) == ("published", "replay", 1)
    assert feed.rows("staging.feed", "id", "v") == [("a", 1), ("b", 2)]
    run = instance.get_run_by_id(document["run"])
    assert run is not None and run.status == dg.DagsterRunStatus.SUCCESS
    assert run.tags[names.REPLAY_TAG] == key
    shown = latest(instance, REPLAY)
    assert (shown["records_replayed"], shown["records_still_open"], shown["state_replayed"]) == (1, 1, 1)
    assert latest(instance, QUARANTINE)["state_open"] == 1
    assert latest(instance, FEED)["dagster/row_count"] == 1
    assert verdicts(instance) == {"reconciled": "SUCCEEDED", "nothing_lost": "SUCCEEDED"}
    again = lake(feed.settings, "replay", "app/feed")
    assert again.returncode == 0, again.stderr
    assert "nothing to do" in again.stdout
    assert feed.rows("staging.feed", "id") == ["a", "b"]


def test_who_asked_is_kept(feed: StewardFeed) -> None:
    feed.decide({"a.csv:2": {"v": "2"}})
    assert lake(feed.settings, "replay", "app/feed").returncode == 0
    ledger = Ledger.of(feed.settings)
    with ledger.read() as session:
        assert [r.actor for r in session.scalars(select(Replay))] == [operating_system_user()]
        assert [(a.action, a.actor) for a in session.scalars(select(Audit))] == [("replay", operating_system_user())]
    ledger.close()


def test_wrong_use_is_told(feed: StewardFeed, tmp_path: Path) -> None:
    none = f"no quarantined batch of app/feed is 'nowhere'; there are 1: {key_of(feed)}"
    cases = {
        ("app/fed",): "no pipeline or job 'fed' in app. Did you mean feed?; there are: feed",
        ("app/feed", "--batch", "nowhere"): f"--batch: {none}",
        ("app/feed", "--token", str(tmp_path / "none")): "which cannot be read (FileNotFoundError); name a file",
    }
    for arguments, message in cases.items():
        done = lake(feed.settings, "replay", *arguments)
        assert done.returncode == 2, done.stdout
        assert message in " ".join(done.stderr.split())
        assert done.stdout == ""


def test_the_button_of_the_ui_replays_a_partition(feed: StewardFeed, instance: dg.DagsterInstance) -> None:
    feed.decide({"a.csv:2": {"v": "2"}, "a.csv:3": {"v": "no number"}})
    quiet_inside_dagster()
    catalog = feed.catalog()
    definitions = build(feed.settings, catalog, lake_work(feed.settings, catalog))
    job = definitions.get_repository_def().get_job("__ASSET_JOB")
    result = job.execute_in_process(instance=instance, asset_selection=[REPLAY], partition_key=key_of(feed))
    assert result.success
    shown = latest(instance, REPLAY)
    assert (shown["records_replayed"], shown["records_rejected_again"], shown["tries"]) == (1, 1, 1)
    assert verdicts(instance) == {"reconciled": "SUCCEEDED", "nothing_lost": "SUCCEEDED"}
    assert feed.rows("staging.feed", "id") == ["a", "b"]
    assert instance.get_dynamic_partitions("app__feed__quarantine") == [key_of(feed)]


def test_the_sensors_run_replays_and_then_there_is_nothing_to_ask(
    feed: StewardFeed, instance: dg.DagsterInstance
) -> None:
    feed.decide({"a.csv:2": {"v": "2"}})
    quiet_inside_dagster()
    catalog = feed.catalog()
    repository = build(feed.settings, catalog, lake_work(feed.settings, catalog)).get_repository_def()
    sensor = repository.get_sensor_def("app__replay")

    def asked() -> list[dg.RunRequest]:
        return list(sensor.evaluate_tick(dg.build_sensor_context(instance=instance)).run_requests or ())

    (request,) = asked()
    job = repository.get_job(request.job_name or "")
    assert job.execute_in_process(instance=instance, tags=dict(request.tags)).success
    assert feed.rows("staging.feed", "id") == ["a", "b"]
    assert asked() == []


def test_a_replay_of_everything_runs_what_reads_the_table_again(
    feed: StewardFeed, instance: dg.DagsterInstance
) -> None:
    feed.define_reader("changes")
    assert execute(feed.settings, "app", "reader").status == "published"
    feed.decide({"a.csv:2": {"v": "2"}})
    assert execute_replay(feed.settings, "app", "feed", None, Actor("ann", "steward")).status == "published"
    ledger = Ledger.of(feed.settings)
    with ledger.read() as session:
        assert [r.pipeline for r in session.scalars(select(Rerun))] == ["app/reader"]
    ledger.close()
    quiet_inside_dagster()
    catalog = feed.catalog()
    repository = build(feed.settings, catalog, lake_work(feed.settings, catalog)).get_repository_def()
    tick = repository.get_sensor_def("app__rerun").evaluate_tick(dg.build_sensor_context(instance=instance))
    (request,) = tick.run_requests or ()
    job = repository.get_job(request.job_name or "")
    assert job.execute_in_process(instance=instance, tags=dict(request.tags)).success
    assert feed.rows("standardization.copy", "id") == ["a", "b"]
