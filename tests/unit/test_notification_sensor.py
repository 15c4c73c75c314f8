"""What the sensor of notifications finds: ends of runs that could not tell them, SLAs that passed."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import dagster as dg
import pytest

from datalake_assets.build import build
from datalake_assets.previews import quiet_inside_dagster
from datalake_assets.telling import telling_sensor
from pipeline_xml.checked import Catalog
from pipeline_xml.location import Location
from pipeline_xml.model import Notification
from publishing.journal import Journal
from publishing.ledger import Batch, Ledger
from publishing.outbox import OutboxMessage
from publishing.run_entries import open_run, run_entry
from publishing.sla_misses import misses
from resources.settings import Settings
from sensors import notifications
from tests import small_catalog as small

WHERE = Location("applications/shop/service/jobs/nightly.xml", 9, 5)
NOON = datetime(2024, 3, 5, 12, 0, tzinfo=UTC)
MIDNIGHT = NOON - timedelta(hours=12)
SIX = "0 6 * * *"


def told(*events: str, schedule: str | None = None) -> Catalog:
    notes = tuple(
        Notification(kind="email", on=on, address=f"{on}@example.com", where=WHERE, places={"to": WHERE})
        for on in events
    )
    refs = (small.ref("orders"), small.ref("clean", "orders"))
    return small.catalog(jobs=(replace(small.chain(*refs, schedule=schedule), notifications=notes),))


@pytest.fixture
def instance() -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.ephemeral() as found:
        yield found


def box(settings: Settings) -> dict[str, OutboxMessage]:
    ledger = Ledger.of(settings)
    with ledger.read() as session:
        found = {m.address.partition("@")[0]: m for m in session.query(OutboxMessage)}
    ledger.close()
    return found


def test_a_run_whose_process_died_is_told_once(
    instance: dg.DagsterInstance, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    quiet_inside_dagster()
    monkeypatch.setattr(notifications, "GRACE", timedelta(seconds=-60))
    settings, catalog = Settings(Path("/config"), tmp_path), told("failure", "success")
    definitions = build(settings, catalog, small.ScriptedWork().open())
    run = instance.create_run_for_job(definitions.resolve_job_def("shop__nightly"))
    instance.report_run_failed(run)
    sensor = telling_sensor(settings, catalog.applications[0])
    assert sensor is not None
    cursor = None
    for _ in range(2):
        context = dg.build_sensor_context(instance, cursor=cursor)
        cursor = sensor.evaluate_tick(context).cursor
    (message,) = box(settings).values()
    assert message.address == "failure@example.com"
    assert message.body["pipelines"] == [
        {"pipeline": "orders", "status": "failed", "reason": "the run's process ended, or the run was cancelled"},
        {"pipeline": "clean", "status": "did_not_run", "reason": ""},
    ]
    assert message.body["run"] == run.run_id


def test_the_run_and_the_sensor_tell_the_same_end_once(
    instance: dg.DagsterInstance, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    quiet_inside_dagster()
    monkeypatch.setattr(notifications, "GRACE", timedelta(seconds=-60))
    settings, catalog = Settings(Path("/config"), tmp_path), told("held")
    work = small.ScriptedWork({"orders": lambda c: [small.batch(c, status="held", reason="declared 10")]})
    job = build(settings, catalog, work.open()).resolve_job_def("shop__nightly")
    assert not job.execute_in_process(instance=instance, raise_on_error=False).success
    before = box(settings)["held"].body
    sensor = telling_sensor(settings, catalog.applications[0])
    assert sensor is not None
    sensor.evaluate_tick(dg.build_sensor_context(instance))
    assert [m.body for m in box(settings).values()] == [before]
    assert before["pipelines"][0] == {
        "pipeline": "orders", "status": "held", "reason": "shop/orders is held: 2018-12-31_orders_9f3a: declared 10",
    }  # fmt: skip


def test_an_application_that_tells_nobody_has_no_such_sensor(tmp_path: Path) -> None:
    assert telling_sensor(Settings(Path("/config"), tmp_path), small.catalog().applications[0]) is None


def ran(journal: Journal, begun: datetime, minutes: int, status: str) -> None:
    number = open_run(journal, "shop/orders", {"started_at": begun.isoformat()})
    ended = {"status": status, "ended_at": (begun + timedelta(minutes=minutes)).isoformat()}
    journal.write(run_entry("shop/orders", number, "ended"), ended)


@pytest.mark.parametrize(
    ("begun", "minutes", "status", "missed"),
    [
        (6, 90, "published", False),
        (6, 30, "nothing_to_do", True),  # the last publication is that of the tick before
        (6, 150, "published", True),  # too late
        (6, 30, "held", True),
        (6, 30, "failed", True),
        (5, 30, "published", True),  # before the tick
    ],
)
def test_a_tick_is_kept_by_a_run_that_publishes_in_time(
    tmp_path: Path, begun: int, minutes: int, status: str, missed: bool
) -> None:
    journal, ledger = Journal(tmp_path / "journal"), Ledger.at(tmp_path)
    for day in (3, 4):
        ran(journal, datetime(2024, 3, day, 6, tzinfo=UTC), 10, "published")
    ran(journal, datetime(2024, 3, 5, begun, tzinfo=UTC), minutes, status)
    found = list(misses(ledger, journal, small.orders(), SIX, "UTC", MIDNIGHT, NOON))
    assert [miss.since for miss in found] == (["tick 2024-03-05T06:00:00+00:00"] if missed else [])
    early = datetime(2024, 3, 5, 7, 59, tzinfo=UTC)
    assert list(misses(ledger, journal, small.orders(), SIX, "UTC", MIDNIGHT, early)) == []
    assert list(misses(ledger, journal, small.orders(), SIX, "UTC", NOON, NOON + timedelta(hours=1))) == []
    ledger.close()


@pytest.mark.parametrize(
    ("tick", "in_time", "late"),
    [("2024-03-31T00:00:00", 95, 125), ("2024-10-26T23:00:00", 115, 150)],
)
def test_an_sla_is_hours_that_pass_when_the_clock_is_changed(
    tmp_path: Path, tick: str, in_time: int, late: int
) -> None:
    """At one in Berlin, two hours; at two or three of that night the clock goes forward or back."""
    begun = datetime.fromisoformat(tick).replace(tzinfo=UTC)
    at_one = ("0 1 * * *", "Europe/Berlin", begun - timedelta(hours=1), begun + timedelta(hours=9))
    for name, minutes, due in (("kept", in_time, []), ("missed", late, [begun + timedelta(hours=2)])):
        journal, ledger = Journal(tmp_path / name / "journal"), Ledger.at(tmp_path / name)
        ran(journal, begun - timedelta(days=1), 10, "published")
        ran(journal, begun, minutes, "published")
        assert [miss.due for miss in misses(ledger, journal, small.orders(), *at_one)] == due
        ledger.close()


def test_a_tick_whose_file_came_early_is_kept_by_a_run_with_nothing_to_do(tmp_path: Path) -> None:
    journal, ledger = Journal(tmp_path / "journal"), Ledger.at(tmp_path)
    for day, hour, status in (
        (4, 6, "published"), (5, 4, "published"), (5, 6, "nothing_to_do"), (6, 6, "nothing_to_do")
    ):  # fmt: skip
        ran(journal, datetime(2024, 3, day, hour, tzinfo=UTC), 10, status)
    found = misses(ledger, journal, small.orders(), SIX, "UTC", MIDNIGHT, NOON + timedelta(days=1))
    assert [miss.since for miss in found] == ["tick 2024-03-06T06:00:00+00:00"]
    ledger.close()


def test_a_batch_that_is_not_published_in_time_is_late(tmp_path: Path) -> None:
    ledger = Ledger.at(tmp_path)
    with ledger.write() as session:
        for name, status, hour in (("a", "held", 6), ("b", "published", 6), ("c", "open", 11)):
            session.add(
                Batch(
                    id=name, key=name, pipeline="shop/orders", business_date=NOON.date(), origin="files", sender=None,
                    arrival=1, window=None, status=status, reason=None, attempt=1,
                    created_at=datetime(2024, 3, 5, hour),
                )
            )  # fmt: skip
    found = list(misses(ledger, Journal(tmp_path / "journal"), small.orders(), None, "UTC", MIDNIGHT, NOON))
    assert [(miss.since, miss.due) for miss in found] == [("batch a", datetime(2024, 3, 5, 8, tzinfo=UTC))]
    ledger.close()


def test_a_missed_sla_is_told_once(instance: dg.DagsterInstance, tmp_path: Path) -> None:
    """Nothing runs a job that ticks every minute: each minute of a look is missed by both of its pipelines."""
    settings, catalog = Settings(Path("/config"), tmp_path), told("slaMiss", "failure", schedule="* * * * *")
    sensor = telling_sensor(settings, catalog.applications[0])
    assert sensor is not None
    since = (datetime.now(UTC) - timedelta(minutes=5)).isoformat()
    for _ in range(2):
        sensor.evaluate_tick(dg.build_sensor_context(instance, cursor=since))
    ledger = Ledger.of(settings)
    with ledger.read() as session:
        found = list(session.query(OutboxMessage))
    ledger.close()
    assert len(found) in (8, 10, 12)  # of minutes that may begin while the test runs
    assert {m.address for m in found} == {"slaMiss@example.com"}
    assert {m.body["pipeline"] for m in found} == {"shop/orders", "shop/clean"}
    assert "should have published by" in found[0].body["text"]
