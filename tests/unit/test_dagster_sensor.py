"""A tick looks, claims and asks for runs; it says what it looked at, and its cursor and requests are bounded."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import dagster as dg
import pytest

from datalake_assets import names
from datalake_assets.build import build, launch
from datalake_assets.previews import previews_accepted
from pipeline_xml.checked import Catalog
from publishing.claim import ReadyClaim
from publishing.landing import Observation, Tick
from resources.settings import Settings
from sensors.landing import REQUESTS_A_TICK, SOME, TRIES, landing_sensor
from sensors.schedules import pipeline_schedule
from tests import small_catalog as small

SETTINGS = Settings(config=Path("/config"), data=Path("/nowhere"))
ZONE_ASSET = dg.AssetKey(["shop", "landing", "inbox"])


@pytest.fixture
def instance() -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.ephemeral() as found:
        yield found


class Zone:
    """Plays looks, and remembers the pauses. A look that is a text is a reason why there was none."""

    def __init__(self, *looks: Sequence[ReadyClaim] | str) -> None:
        self.looks = list(looks)
        self.pauses: list[float] = []

    def look(self) -> Tick:
        claims = self.looks.pop(0) if self.looks else ()
        if isinstance(claims, str):
            return Tick((), Observation(0, 0, 0.0), claims)
        return Tick(tuple(claims), Observation(len(claims), 10 * len(claims), 1.5))

    def tick(
        self,
        instance: dg.DagsterInstance,
        cursor: str | None = None,
        catalog: Catalog | None = None,
        poll: str = "PT30S",
    ) -> dg.SensorResult:
        catalog = catalog or small.catalog()
        application = catalog.applications[0]
        jobs = _jobs(catalog)
        with previews_accepted():
            sensor = landing_sensor(
                "inbox", replace(small.ZONE, poll=poll), ZONE_ASSET, self.look,
                {p.pipeline.id: launch(application, p, jobs) for p in application.pipelines}, self.pauses.append,
            )
        context = dg.build_sensor_context(instance=instance, cursor=cursor)
        result = sensor(context)
        assert isinstance(result, dg.SensorResult)
        return result


def _jobs(catalog: Catalog) -> dict[str, dg.JobDefinition]:
    with previews_accepted():
        defs = build(SETTINGS, catalog, small.ScriptedWork().open())
    return {job.name: job for job in defs.jobs or () if isinstance(job, dg.JobDefinition)}


def claims(count: int, pipeline: str = "orders") -> list[ReadyClaim]:
    return [ReadyClaim(f"claim{number}", pipeline, 2) for number in range(count)]


def test_a_claim_asks_for_the_job_pipeline_that_begins_with_its_pipeline(instance: dg.DagsterInstance) -> None:
    result = Zone(claims(1)).tick(instance)
    (request,) = result.run_requests or ()
    assert request.run_key == "claim0"
    assert request.job_name == "shop__nightly"
    shown = {key: value for key, value in request.tags.items() if key.startswith("datalake/")}
    assert shown == {
        names.CLAIM_TAG: "claim0", names.CLAIM_PIPELINE_TAG: "orders", names.LOCK_TAG: "shop__nightly",
        "datalake/files": "2",
    }


def test_without_such_a_job_it_asks_for_the_pipeline_alone(instance: dg.DagsterInstance) -> None:
    result = Zone(claims(1)).tick(instance, catalog=small.catalog(jobs=()))
    (request,) = result.run_requests or ()
    assert request.job_name == "shop__ready"
    assert request.tags[names.PIPELINES_TAG] == "shop/orders"
    assert request.tags[names.LOCK_TAG] == "shop__orders"


def test_nothing_new_is_skipped_with_what_was_looked_at(instance: dg.DagsterInstance) -> None:
    result = Zone().tick(instance)
    assert not result.run_requests
    assert result.skip_reason is not None
    assert result.skip_reason.skip_message == (
        "looked into zone inbox (inbox): 0 files wait, 0 bytes, nothing new to claim"
    )


def test_a_zone_is_observed_only_when_it_changed(instance: dg.DagsterInstance) -> None:
    first = Zone(claims(1)).tick(instance)
    (event,) = first.asset_events
    assert event.asset_key == ZONE_ASSET
    shown = {name: value.value for name, value in event.metadata.items()}
    assert shown == {"files_waiting": 1, "bytes_waiting": 10, "oldest_seconds": 1.5, "files_claimed": 2}
    quiet = Zone().tick(instance, cursor=json.dumps({"look": None, "waiting": [0, 0]}))
    assert quiet.asset_events == []


def test_a_zone_that_was_left_alone_is_skipped_with_its_reason(instance: dg.DagsterInstance) -> None:
    zone = Zone("sftp://bank:22: the server does not answer", claims(1))
    result = zone.tick(instance, poll="PT2S")
    assert not result.run_requests
    assert result.skip_reason is not None
    assert result.skip_reason.skip_message == "zone inbox: sftp://bank:22: the server does not answer"
    assert zone.pauses == [], "a zone that fails is not asked again within the tick"


def test_the_cursor_is_two_numbers_whatever_lies_in_the_zone(instance: dg.DagsterInstance) -> None:
    result = Zone(claims(REQUESTS_A_TICK)).tick(instance)
    assert json.loads(result.cursor or "") == {"waiting": [REQUESTS_A_TICK, 10 * REQUESTS_A_TICK]}


def test_a_zone_polled_faster_than_the_daemon_is_looked_at_again_within_the_tick(instance: dg.DagsterInstance) -> None:
    zone = Zone((), claims(1))
    assert len(zone.tick(instance, poll="PT2S").run_requests or ()) == 1
    assert zone.pauses == [2.0]


def test_requests_of_a_tick_are_capped(instance: dg.DagsterInstance) -> None:
    result = Zone(claims(REQUESTS_A_TICK + 7)).tick(instance)
    assert len(result.run_requests or ()) == REQUESTS_A_TICK


def test_a_claim_that_has_a_run_does_not_keep_others_out(instance: dg.DagsterInstance) -> None:
    for claim in claims(REQUESTS_A_TICK):
        instance.add_run(
            dg.DagsterRun(job_name="shop__nightly", tags={names.CLAIM_TAG: claim.id}, run_id=f"run-{claim.id}")
        )
    result = Zone(claims(REQUESTS_A_TICK + 1)).tick(instance)
    assert [request.run_key for request in result.run_requests or ()] == [f"claim{REQUESTS_A_TICK}"]


def test_however_many_claims_wait_for_their_runs_those_behind_them_are_asked_for(instance: dg.DagsterInstance) -> None:
    busy = claims(SOME + 20)
    for claim in busy:
        tags = {names.CLAIM_TAG: claim.id}
        instance.add_run(dg.DagsterRun(job_name="j", tags=tags, status=dg.DagsterRunStatus.STARTED))
    asked = instance.get_run_records
    looked: list[object] = []
    with pytest.MonkeyPatch.context() as counting:
        counting.setattr(instance, "get_run_records", lambda *args, **more: looked.append(1) or asked(*args, **more))
        result = Zone(claims(SOME + 100)).tick(instance)
    assert [r.run_key for r in result.run_requests or ()] == [
        claim.id for claim in claims(SOME + 100)[SOME + 20 :][:REQUESTS_A_TICK]
    ]
    assert len(looked) <= REQUESTS_A_TICK + 2, "and the others are told apart some at a time"


def test_a_claim_whose_run_was_killed_is_asked_for_again_and_not_for_ever(instance: dg.DagsterInstance) -> None:
    asked = []
    for number in range(TRIES + 1):
        result = Zone(claims(1)).tick(instance)
        asked += [request.run_key for request in result.run_requests or ()]
        instance.add_run(
            dg.DagsterRun(
                job_name="shop__nightly",
                tags={names.CLAIM_TAG: "claim0"},
                run_id=f"run-{number}",
                status=dg.DagsterRunStatus.FAILURE,
            )
        )
    assert asked == ["claim0", "claim0-2", "claim0-3"]


def test_a_schedule_asks_for_one_run_a_tick_with_its_logical_date(instance: dg.DagsterInstance) -> None:
    job = _jobs(small.catalog())["shop__nightly"]
    schedule = pipeline_schedule("nightly", "0 6 * * *", "Europe/Madrid", job, {"a": "b"})
    at = dg.build_schedule_context(instance=instance, scheduled_execution_time=datetime(2026, 11, 21, 6, tzinfo=UTC))
    (request,) = schedule.evaluate_tick(at).run_requests or ()
    assert request.run_key == "nightly:2026-11-21T06:00:00+00:00"
    assert (request.tags["a"], request.tags["datalake/run_date"]) == ("b", "2026-11-21")
