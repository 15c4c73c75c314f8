"""The sensors of the way back over a real ledger: what they ask for, once, and what they tell."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from sqlalchemy import select, update

from datalake_assets import names
from datalake_assets.previews import quiet_inside_dagster
from datalake_assets.way_back import way_back_sensors
from pipeline_xml.checked import Catalog
from pipeline_xml.model import DefaultAssignment, EscalationLevel, Workflow
from publishing.decisions import APPROVED, CORRECT, DISCARD, Correction, QuarantinedBatch, Rerun
from publishing.ledger import Attempt, Batch, Ledger
from publishing.standing import asked_reruns
from resources.settings import Settings
from sensors.remediation import BREACHES_A_TICK, breaches_in
from sensors.replay import REQUESTS_A_TICK, TRIES
from stewardship.escalations import deadlines
from stewardship.stores import Assignment, Escalation
from tests import small_catalog as small
from tests.unit.test_dagster_way_back import QUARANTINE, WORKFLOW, with_workflow

NOW = datetime(2026, 11, 22, 12)


@pytest.fixture
def instance() -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.ephemeral() as found:
        yield found


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(config=Path("/config"), data=tmp_path)


@pytest.fixture
def ledger(settings: Settings) -> Iterator[Ledger]:
    found = Ledger.of(settings)
    yield found
    found.close()


def batch(ledger: Ledger, number: int = 1, *, status: str = "published", **more: Any) -> None:
    """Batch `b<number>`, ten of its records in quarantine, `age` hours ago."""
    given = {"open": 10, "age": 0.0, "rules": {"E1": 10}} | more
    day = date(2020, 12, 31)
    with ledger.write() as session:
        session.add(
            Batch(
                id=f"b{number}", key=f"2020-12-31_orders_{number:04d}", pipeline="shop/orders", business_date=day,
                origin="files", sender=None, arrival=number, window=None, status=status, reason=None, created_at=NOW,
            )
        )
        session.flush()
        session.add(
            QuarantinedBatch(
                batch_id=f"b{number}", pipeline="shop/orders", key=f"2020-12-31_orders_{number:04d}",
                business_date=day, records=10, open=given["open"], states={"open": given["open"]},
                rules=given["rules"], quarantined_at=NOW - timedelta(hours=given["age"]),
            )
        )


def correction(ledger: Ledger, name: str, number: int = 1, **more: Any) -> None:
    given = {"state": APPROVED, "kind": CORRECT, "replay_id": None} | more
    with ledger.write() as session:
        session.add(
            Correction(
                id=name, pipeline="shop/orders", batch_id=f"b{number}", records=2, actor="ana", role="steward",
                reason="typo", made_at=NOW, sealed=f"{name}.sealed", **given,
            )
        )


def tick(
    settings: Settings, instance: dg.DagsterInstance, what: str, cursor: str | None = None
) -> dg.SensorResult:
    quiet_inside_dagster()

    @dg.job(name=names.ready_job("shop"))
    def ready() -> None: ...

    sensors = {s.name: s for s in way_back_sensors(settings, with_workflow(), {ready.name: ready})}
    result = sensors[f"shop__{what}"](dg.build_sensor_context(instance=instance, cursor=cursor))
    assert isinstance(result, dg.SensorResult)
    return result


def requests(result: dg.SensorResult) -> list[dg.RunRequest]:
    return list(result.run_requests or ())


def add_run(instance: dg.DagsterInstance, request: dg.RunRequest, status: dg.DagsterRunStatus) -> None:
    number = len(instance.get_runs())
    instance.add_run(
        dg.DagsterRun(job_name=request.job_name or "", tags=dict(request.tags), run_id=f"run-{number}", status=status)
    )


def test_approved_corrections_are_one_run_a_batch(
    settings: Settings, instance: dg.DagsterInstance, ledger: Ledger
) -> None:
    batch(ledger, 1)
    batch(ledger, 2)
    correction(ledger, "c1")
    correction(ledger, "c2")
    correction(ledger, "c3", 2)
    first, second = requests(tick(settings, instance, "replay"))
    assert first.job_name == "shop__ready"
    shown = {key: value for key, value in first.tags.items() if key.startswith("datalake/")}
    assert shown.pop(names.REPLAY_SET_TAG) in str(first.run_key)
    assert shown == {
        names.PIPELINES_TAG: "shop/orders", names.REPLAY_TAG: "2020-12-31_orders_0001",
        names.ACTOR_TAG: "workflow orders_remediation", names.LOCK_TAG: "shop__orders",
    }
    assert second.tags[names.REPLAY_TAG] == "2020-12-31_orders_0002"
    assert first.run_key != second.run_key


def test_a_correction_whose_batch_gave_way_is_looked_for_in_all_of_the_pipeline(
    settings: Settings, instance: dg.DagsterInstance, ledger: Ledger
) -> None:
    """Where its records are stands in the tables, which a tick does not open."""
    batch(ledger, 1, status="superseded")
    correction(ledger, "c1")
    (asked,) = requests(tick(settings, instance, "replay"))
    assert asked.tags[names.REPLAY_TAG] == names.EVERY_BATCH
    with ledger.write() as session:
        session.get_one(Correction, "c1").fate = "superseded"
    assert requests(tick(settings, instance, "replay")) == [], "it has ended"


@pytest.mark.parametrize(
    "more", [{"state": "proposed"}, {"state": "rejected"}, {"kind": DISCARD}, {"replay_id": "b2"}],
    ids=["proposed", "rejected", "discard", "replayed"],
)  # fmt: skip
def test_what_is_not_to_be_replayed_asks_for_nothing(
    settings: Settings, instance: dg.DagsterInstance, ledger: Ledger, more: dict[str, Any]
) -> None:
    batch(ledger, 1)
    batch(ledger, 2)
    correction(ledger, "c1", **more)
    assert not requests(tick(settings, instance, "replay"))


def test_a_batch_that_is_not_published_yet_is_waited_for(
    settings: Settings, instance: dg.DagsterInstance, ledger: Ledger
) -> None:
    batch(ledger, 1, status="held")
    correction(ledger, "c1")
    assert not requests(tick(settings, instance, "replay"))
    with ledger.write() as session:
        session.execute(update(Batch).values(status="published"))
    assert len(requests(tick(settings, instance, "replay"))) == 1


def test_a_replay_that_was_killed_before_its_end_is_asked_for_again(
    settings: Settings, instance: dg.DagsterInstance, ledger: Ledger
) -> None:
    batch(ledger, 1)
    batch(ledger, 2, status="open")  # stands for the replay's own
    correction(ledger, "c1", replay_id="b2")
    assert len(requests(tick(settings, instance, "replay"))) == 1


def test_one_more_approved_correction_is_another_run_and_the_same_are_not(
    settings: Settings, instance: dg.DagsterInstance, ledger: Ledger
) -> None:
    batch(ledger, 1)
    correction(ledger, "c1")
    (first,) = requests(tick(settings, instance, "replay"))
    add_run(instance, first, dg.DagsterRunStatus.STARTED)
    assert not requests(tick(settings, instance, "replay"))
    correction(ledger, "c2")
    (second,) = requests(tick(settings, instance, "replay"))
    assert second.run_key != first.run_key


def test_corrections_whose_runs_fail_are_not_tried_for_ever(
    settings: Settings, instance: dg.DagsterInstance, ledger: Ledger
) -> None:
    batch(ledger, 1)
    correction(ledger, "c1")
    keys = []
    for _ in range(TRIES + 1):
        for request in requests(tick(settings, instance, "replay")):
            keys.append(request.run_key)
            add_run(instance, request, dg.DagsterRunStatus.FAILURE)
    assert len(keys) == len(set(keys)) == TRIES


def test_requests_of_a_tick_are_capped_and_the_rest_come_with_the_next(
    settings: Settings, instance: dg.DagsterInstance, ledger: Ledger
) -> None:
    for number in range(REQUESTS_A_TICK + 3):
        batch(ledger, number)
        correction(ledger, f"c{number}", number)
    first = requests(tick(settings, instance, "replay"))
    assert len(first) == REQUESTS_A_TICK
    for request in first:
        add_run(instance, request, dg.DagsterRunStatus.STARTED)
    assert len(requests(tick(settings, instance, "replay"))) == 3


def test_only_workflows_that_say_so_replay_on_their_own(settings: Settings) -> None:
    def found(catalog: Catalog) -> list[str]:
        job = dg.JobDefinition(graph_def=dg.GraphDefinition(name="shop__ready"))
        return [s.name for s in way_back_sensors(settings, catalog, {"shop__ready": job})]

    quiet_inside_dagster()
    assert found(with_workflow()) == ["shop__replay", "shop__remediation", "shop__rerun"]
    assert found(small.catalog()) == ["shop__remediation", "shop__rerun"]


# --- remediation


def breaches(settings: Settings, at: datetime, last: datetime | None = None) -> list[tuple[str, int, str]]:
    catalog = with_workflow(
        Workflow(
            where=WORKFLOW.where, app="shop", id="orders_remediation", pipelines=("orders",), sla="PT48H",
            owner="desk@example.com", assignments=(assigned("E9", "rare"),),
            escalations=(level("PT24H", "lead@example.com"), level("PT72H", "head@example.com")),
        )
    )
    due = deadlines(catalog.applications[0], catalog.applications[0].pipelines[:1])
    return [(b.key[-4:], b.level, b.told) for b in breaches_in(settings, due, lambda: at)(last)]


def level(after: str, to: str) -> EscalationLevel:
    return EscalationLevel(where=WORKFLOW.where, after=after, to=to)


def assigned(rule: str, to: str) -> DefaultAssignment:
    return DefaultAssignment(where=WORKFLOW.where, rule=rule, to=to)


def test_levels_are_raised_one_after_the_other_and_each_once(settings: Settings, ledger: Ledger) -> None:
    batch(ledger, 1)
    hour = timedelta(hours=1)
    assert breaches(settings, NOW + 47 * hour) == []
    assert breaches(settings, NOW + 48 * hour) == [("0001", 0, "desk@example.com")]
    assert breaches(settings, NOW + 71 * hour) == [("0001", 0, "desk@example.com")]  # nothing new: the same is told
    late = breaches(settings, NOW + 200 * hour)
    assert late[1:] == [("0001", 1, "lead@example.com"), ("0001", 2, "head@example.com")]
    assert breaches(settings, NOW + 900 * hour) == late
    with ledger.read() as session:
        assert len(session.scalars(select(Escalation)).all()) == 3


def test_a_batch_with_nothing_open_is_not_late(settings: Settings, ledger: Ledger) -> None:
    batch(ledger, 1, open=0)
    assert breaches(settings, NOW + timedelta(days=30)) == []


def test_a_held_batch_is_late_too(settings: Settings, ledger: Ledger) -> None:
    """With rejects in state `held`, and without any: one that a file holds has nothing in quarantine."""
    batch(ledger, 1, status="held", open=0)
    batch(ledger, 2, status="held", open=0)
    with ledger.write() as session:
        session.delete(session.get_one(QuarantinedBatch, "b2"))
        for number, status in ((1, "published"), (2, "held"), (3, "held")):
            opened = NOW + timedelta(hours=10 * number)
            pinned = {"definition_hash": "d", "rule_hash": "r", "references": {}, "run_id": "x"}
            outcome = {"status": status, "counts": {}}
            session.add(Attempt(batch_id="b2", number=number, opened_at=opened, outcome=outcome, **pinned))
    hour = timedelta(hours=1)
    assert breaches(settings, NOW + 47 * hour) == []
    assert breaches(settings, NOW + 49 * hour) == [("0001", 0, "desk@example.com")]
    both = breaches(settings, NOW + 69 * hour)
    assert both[1:] == [("0002", 0, "desk@example.com")], "held since the second attempt"
    with ledger.write() as session:
        for name in ("b1", "b2"):
            session.get_one(Batch, name).status = "withdrawn"
    assert breaches(settings, NOW + 900 * hour) == both


def test_what_was_raised_stands_in_the_journal(settings: Settings, ledger: Ledger) -> None:
    batch(ledger, 1)
    at = NOW + timedelta(hours=50)
    breaches(settings, at)
    path = settings.data / "journal" / "shop" / "orders" / "b1" / "escalation-00.json"
    entry = {"batch": "b1", "level": 0, "told": "desk@example.com", "raised_at": at.isoformat()}
    assert json.loads(path.read_text()) == entry
    path.unlink()  # a tick killed between the two
    breaches(settings, at)
    assert json.loads(path.read_text()) == entry


def test_the_breach_goes_to_who_looks_after_the_batch(settings: Settings, ledger: Ledger) -> None:
    batch(ledger, 1, rules={"E9": 1})
    batch(ledger, 2)
    with ledger.write() as session:
        for who, ended in (("gone", NOW), ("ann", None)):
            session.add(Assignment(batch_id="b2", assignee=who, actor="x", made_at=NOW, ended_at=ended))
    told = breaches(settings, NOW + timedelta(hours=50))
    assert told == [("0001", 0, "rare"), ("0002", 0, "ann")]


def test_what_was_told_is_not_told_again_even_with_the_clock_set_back(settings: Settings, ledger: Ledger) -> None:
    batch(ledger, 1)
    at = NOW + timedelta(hours=50)
    assert len(breaches(settings, at)) == 1
    assert breaches(settings, at, last=at) == []
    batch(ledger, 2, age=100)
    back = NOW + timedelta(hours=1)
    assert [key for key, *_ in breaches(settings, back, last=at)] == ["0002", "0002"]


def test_breaches_of_a_tick_are_capped(settings: Settings, ledger: Ledger) -> None:
    for number in range(BREACHES_A_TICK + 1):
        batch(ledger, number)
    at = NOW + timedelta(hours=50)
    assert len(breaches(settings, at)) == BREACHES_A_TICK
    assert len(breaches(settings, at)) == BREACHES_A_TICK + 1


def test_a_breach_is_an_observation_of_the_quarantines_partition(
    settings: Settings, instance: dg.DagsterInstance, ledger: Ledger
) -> None:
    batch(ledger, 1, age=24 * 365)
    result = tick(settings, instance, "remediation")
    (event,) = result.asset_events
    assert isinstance(event, dg.AssetObservation)
    assert (event.asset_key, event.partition) == (QUARANTINE, "2020-12-31_orders_0001")
    shown = {name: value.value for name, value in event.metadata.items()}
    assert shown.pop("age_hours") > 24 * 300
    assert shown == {
        "escalation_level": 0, "escalated_to": "desk@example.com", "due": "2025-11-24 12:00 UTC", "records_open": 10,
    }
    again = tick(settings, instance, "remediation", cursor=result.cursor)
    assert (again.asset_events, again.cursor) == ([], result.cursor)


# --- reruns


def rerun(ledger: Ledger, pipeline: str = "shop/clean") -> None:
    with ledger.write() as session:
        session.add(Rerun(pipeline=pipeline, business_date=date(2020, 12, 31), cause="replay", asked_at=NOW))


def test_a_pipeline_asked_to_run_again_runs_with_those_behind_it(
    settings: Settings, instance: dg.DagsterInstance, ledger: Ledger
) -> None:
    rerun(ledger)
    rerun(ledger)
    (request,) = requests(tick(settings, instance, "rerun"))
    assert (request.job_name, request.run_key) == ("shop__ready", "rerun-shop/clean-2")
    shown = {key: value for key, value in request.tags.items() if key.startswith("datalake/")}
    assert shown == {
        names.PIPELINES_TAG: "shop/clean,shop/report", names.LOCK_TAG: "shop__clean", names.RERUN_TAG: "2",
        names.RERUN_OF_TAG: "shop/clean",
    }


def test_a_rerun_is_done_once_its_run_stands_in_the_history(
    settings: Settings, instance: dg.DagsterInstance, ledger: Ledger
) -> None:
    rerun(ledger)
    (request,) = requests(tick(settings, instance, "rerun"))
    assert asked_reruns(ledger, ["shop/clean"]) == {"shop/clean": [1]}  # the daemon may have died before it asked
    assert [r.run_key for r in requests(tick(settings, instance, "rerun"))] == [request.run_key]
    add_run(instance, request, dg.DagsterRunStatus.STARTED)
    rerun(ledger)
    (second,) = requests(tick(settings, instance, "rerun"))
    assert second.run_key == "rerun-shop/clean-2"
    assert asked_reruns(ledger, ["shop/clean"]) == {"shop/clean": [2]}


def test_nothing_asked_is_skipped(settings: Settings, instance: dg.DagsterInstance, ledger: Ledger) -> None:
    rerun(ledger, "other/clean")
    result = tick(settings, instance, "rerun")
    assert result.skip_reason is not None
    assert result.skip_reason.skip_message == "no pipeline is asked to run again"


def test_a_quiet_tick_opens_no_table_and_takes_no_lock(settings: Settings, instance: dg.DagsterInstance) -> None:
    """Another process holds the ledger for writing: a tick that has nothing to do does not wait for it."""
    ledger = Ledger.of(settings)
    begun = datetime.now(UTC)
    with ledger.write():
        for what in ("replay", "remediation", "rerun"):
            tick(settings, instance, what)
    ledger.close()
    assert (datetime.now(UTC) - begun).total_seconds() < 10
    assert {p.name for p in settings.data.iterdir()} <= {"ledger.db", "ledger.db-wal", "ledger.db-shm"}
