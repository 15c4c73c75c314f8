"""What was agreed on the delivery of files: dates and numbers in names, late files. What breaks it is held alone."""

from __future__ import annotations

import re
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from sqlalchemy import select

from datalake_assets.events import batch_metadata
from publishing.expected import tell_missing
from publishing.lake import open_lake
from publishing.ledger import LandedFile
from publishing.rebuild_ledger import rebuild
from publishing.verify import verify
from resources.engine import Engine
from sensors.deliveries import deliveries_sensor, missing_in
from stewardship import batch_decisions
from tests.steward_feed import APPROVER, StewardFeed

NAMES = r"(?P&lt;sender&gt;[a-z]+)_(?P&lt;business_date&gt;[0-9]*)_(?P&lt;sequence&gt;[0-9a-z]*)\.csv"


@pytest.fixture
def feed(engine: Engine, tmp_path: Path) -> StewardFeed:
    return StewardFeed(tmp_path, engine)


def agree(feed: StewardFeed, delivery: str, **given: Any) -> None:
    feed.define(**{"pattern": NAMES, **given})
    path = feed.root / "config" / "applications" / "app" / "staging" / "pipelines" / "feed.xml"
    before = path.read_text()
    text = re.sub(r'(schemaRef="schemas/s.json"[^>]*?) */>', lambda found: f"{found[1]}>{delivery}</csv>", before)
    assert text != before
    path.write_text(text)


def came(feed: StewardFeed, *names: str) -> dict[str, str]:
    """What became of files that come together: name -> status, or the reason that holds it."""
    for name in names:
        feed.land(f"{name}.csv", "id,v", f"{name},1")
    found = {}
    for batch in feed.run():
        for file in batch.files:
            name = Path(file.uri).name.removesuffix(".csv")
            found[name] = (file.reason or "").partition(";")[0] if file.status == "held" else file.status
    return found


def test_a_file_without_its_date_is_held_and_the_others_go_on(feed: StewardFeed) -> None:
    feed.define(pattern=NAMES)
    found = came(feed, "north__1", "north_20240230_1", "north_2024_1", "north_20240101_1")
    assert found["north_20240101_1"] == "published"
    assert found["north__1"] == "business_date: neither its name nor its control record holds the date that it should"
    assert found["north_20240230_1"].startswith("business_date: the business date is not a day of the calendar")
    assert found["north_2024_1"].startswith("business_date: the business date is a year")
    assert feed.rows("staging.feed", "id") == ["north_20240101_1"]
    assert all(batch.status != "published" for batch in feed.run(reprocess=True) if "20240101" not in batch.key)


def late_files(feed: StewardFeed) -> dict[str, str | None]:
    with feed.open() as (lake, _), lake.ledger.read() as session:
        rows = session.scalars(select(LandedFile).order_by(LandedFile.arrival))
        return {row.name.removesuffix(".csv"): row.late for row in rows}


def late_rows(feed: StewardFeed) -> list[tuple[str, str | None]]:
    return [(str(day), sender) for day, sender in feed.rows("ops.deliveries", "business_date", "sender")]


def test_a_late_file_goes_into_its_own_business_date_and_is_marked(feed: StewardFeed) -> None:
    feed.define(pattern=NAMES)
    came(feed, "north_20240102_2", "north_20240103_3", "south_20240102_1")
    assert came(feed, "north_20240102_1", "south_20240103_1") == {
        "north_20240102_1": "published", "south_20240103_1": "published",
    }  # fmt: skip
    assert [str(day) for day in feed.rows("staging.feed", "_business_date")] == [
        "2024-01-02", "2024-01-02", "2024-01-02", "2024-01-03", "2024-01-03",
    ]  # fmt: skip
    assert late_files(feed) == {
        "north_20240102_2": None, "north_20240103_3": None, "south_20240102_1": None,
        "north_20240102_1": "late: a file for 2024-01-03 came before", "south_20240103_1": None,
    }  # fmt: skip
    assert late_rows(feed) == [("2024-01-02", "north")]
    catalog = feed.catalog()
    before = late_files(feed)
    with open_lake(feed.settings, catalog, feed.engine) as lake:
        assert list(verify(lake, catalog)) == []
        rebuild(lake, catalog)
    assert late_files(feed) == before
    feed.run(reprocess=True)
    assert late_rows(feed) == [("2024-01-02", "north")], "told once"


def test_a_file_is_late_after_it_was_due_and_says_so_to_dagster(feed: StewardFeed) -> None:
    agree(feed, '<delivery calendar="daily" due="P1DT6H"/>', pattern=DAILY)
    today = datetime.now(UTC).strftime("%Y%m%d")
    feed.land("north_20240102.csv", "id,v", "a,1")
    feed.land(f"north_{today}.csv", "id,v", "b,1")
    batches = {batch.business_date: batch for batch in feed.run()}
    assert late_files(feed) == {
        "north_20240102": "late: it was due 2024-01-03 06:00 UTC", f"north_{today}": None,
    }  # fmt: skip
    marked = {day: batch_metadata(batch).get("files_late") for day, batch in batches.items()}
    assert marked == {"2024-01-02": 1, datetime.now(UTC).date().isoformat(): None}
    assert feed.rows("ops.deliveries", "event", "due") == [("late", moment("2024-01-03T06:00"))]


def test_no_file_is_expected_on_a_holiday_of_the_calendar(feed: StewardFeed) -> None:
    agree(feed, '<delivery calendar="weekdays" due="P1DT6H"/>', pattern=DAILY)
    layer = feed.root / "config" / "applications" / "app" / "staging"
    path = layer / "pipelines" / "feed.xml"
    path.write_text(path.read_text().replace("</appName>", "</appName><calendar>bank</calendar>"))
    holidays = '<holiday date="2024-01-01" name="New Year"/><holiday date="2024-01-03"/>'
    calendar = f'<resources><calendar id="bank">{holidays}</calendar></resources>'
    (layer / "resources" / "calendar.xml").write_text(calendar)
    assert [day for day, *_ in told(feed, "2023-12-31T00:00", "2024-01-05T07:00")] == ["2024-01-02", "2024-01-04"]
    (layer / "resources" / "calendar.xml").write_text(calendar.replace("2024-01-03", "2024-01-05"))
    assert [day for day, *_ in told(feed, "2023-12-31T00:00", "2024-01-05T07:00")] == ["2024-01-03"]


GAP = "sequence_gap: {} did not come before {}"


def test_a_number_after_a_gap_is_held_until_what_is_missing_has_come(feed: StewardFeed) -> None:
    agree(feed, '<delivery sequence="running"/>')
    assert came(feed, "north_20240101_5", "north_20240102_6", "south_20240101_1") == {
        "north_20240101_5": "published", "north_20240102_6": "published", "south_20240101_1": "published",
    }  # fmt: skip
    assert came(feed, "north_20240103_9", "north_20240103_10", "south_20240102_3") == {
        "north_20240103_9": GAP.format("7 to 8", 9), "north_20240103_10": "published",
        "south_20240102_3": GAP.format("2", 3),
    }  # fmt: skip
    assert came(feed, "north_20240103_8") == {"north_20240103_8": GAP.format("7", 8), "north_20240103_9": "published"}
    assert came(feed, "north_20240103_7") == {"north_20240103_7": "published", "north_20240103_8": "published"}
    catalog = feed.catalog()
    with open_lake(feed.settings, catalog, feed.engine) as lake:
        assert list(verify(lake, catalog)) == []
        rebuild(lake, catalog)
    assert came(feed, "south_20240102_2") == {"south_20240102_2": "published", "south_20240102_3": "published"}


def test_numbers_within_a_date_begin_at_one(feed: StewardFeed) -> None:
    agree(feed, '<delivery sequence="perDate"/>')
    assert came(feed, "a_20240101_1", "a_20240102_2", "b_20240101_3", "b_20240101_1", "b_20240101_2") == {
        "a_20240101_1": "published", "a_20240102_2": GAP.format("1", 2), "b_20240101_1": "published",
        "b_20240101_2": "published", "b_20240101_3": "published",
    }  # fmt: skip


def test_a_number_that_came_before_with_other_content_is_held(feed: StewardFeed) -> None:
    agree(feed, '<delivery sequence="running"/>')
    came(feed, "a_20240101_1")
    found = came(feed, "a_20240102_1", "a_20240102_2")
    assert found == {
        "a_20240102_1": "sequence_repeated: number 1 came before (arrival 1) with other content",
        "a_20240102_2": "published",
    }
    feed.land("a_20240101_1_again.csv", "id,v", "a_20240101_1,1")
    feed.land("a_20240101_01.csv", "id,v", "a_20240101_1,1")
    assert [b.files[0].status for b in feed.run()] == ["duplicate"]


def test_of_two_files_that_come_together_under_one_number_the_second_is_held(feed: StewardFeed) -> None:
    agree(feed, '<delivery sequence="running"/>')
    found = came(feed, "a_20240101_1", "a_20240102_01", "a_20240102_2", "b_20240102_1")
    assert found == {
        "a_20240101_1": "published",
        "a_20240102_01": "sequence_repeated: number 1 came as a_20240101_1.csv too, with other content",
        "a_20240102_2": "published", "b_20240102_1": "published",
    }  # fmt: skip
    assert feed.rows("staging.feed", "id") == ["a_20240101_1", "a_20240102_2", "b_20240102_1"]
    again = {file.reason for batch in feed.run(reprocess=True) for file in batch.files if file.status == "held"}
    assert [(reason or "").partition(" (")[0] for reason in again] == ["sequence_repeated: number 1 came before"]


def test_a_gap_is_released_or_withdrawn_by_decision(feed: StewardFeed) -> None:
    agree(feed, '<delivery sequence="running"/>')
    came(feed, "a_20240101_1", "a_20240101_3")
    with feed.open() as (lake, pipeline):
        (held,) = [line for line in batch_decisions.list_batches(lake, None, "held", 9)]
        assert held.holding == {"sequence_gap": 1.0}
        why = {"sequence_gap": "number 2 was never made"}
        batch_decisions.release(lake, pipeline, APPROVER, held.key, why, "the bank says so")
    assert came(feed) == {"a_20240101_3": "published"}
    assert came(feed, "a_20240101_6") == {"a_20240101_6": GAP.format("4 to 5", 6)}
    with feed.open() as (lake, pipeline):
        batch_decisions.withdraw(lake, pipeline, APPROVER, "2024-01-01_a_20240101_6", "not ours")
    assert came(feed, "a_20240101_4", "a_20240101_5", "a_20240101_x") == {
        "a_20240101_4": "published", "a_20240101_5": "published",
        "a_20240101_x": "sequence: its name holds no number where one was agreed",
    }  # fmt: skip


DAILY = r"(?P&lt;sender&gt;[a-z]+)_(?P&lt;business_date&gt;[0-9]{8})\.csv"


def moment(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def told(feed: StewardFeed, since: str, until: str) -> list[tuple[str, str | None, int, str]]:
    with feed.open() as (lake, pipeline):
        found = tell_missing(lake, [pipeline], moment(since), moment(until))
    return [(str(m.business_date), m.sender, m.arrived, m.due.isoformat()) for m in found]


def test_what_a_calendar_expects_and_has_not_come_is_told_once(feed: StewardFeed) -> None:
    agree(feed, '<delivery calendar="weekdays" due="P1DT6H" senders="north,south"/>', pattern=DAILY)
    came(feed, "north_20240105", "south_20240105", "north_20240109")
    friday_to_wednesday = ("2024-01-05T12:00", "2024-01-10T07:00")
    found = told(feed, *friday_to_wednesday)
    assert found == [
        ("2024-01-08", "north", 0, "2024-01-09T06:00:00+00:00"),
        ("2024-01-08", "south", 0, "2024-01-09T06:00:00+00:00"),
        ("2024-01-09", "south", 0, "2024-01-10T06:00:00+00:00"),
    ]  # fmt: skip
    assert told(feed, *friday_to_wednesday) == []
    came(feed, "south_20240110")
    assert told(feed, "2024-01-10T07:00", "2024-01-11T05:59") == []
    assert [line[:2] for line in told(feed, "2024-01-10T07:00", "2024-01-11T06:00")] == [("2024-01-10", "north")]
    rows = feed.rows("ops.deliveries", "event", "business_date", "sender", "files_expected", "files_arrived")
    assert len([event for event, *_ in rows if event == "missing"]) == 4  # what came here, came late
    assert ("missing", date(2024, 1, 8), "north", 1, 0) in rows


def test_due_times_go_by_the_clock_of_the_pipeline_and_held_files_have_come(feed: StewardFeed) -> None:
    agree(feed, '<delivery calendar="monthEnd" due="PT18H" files="2"/>', pattern=DAILY)
    path = feed.root / "config" / "applications" / "app" / "staging" / "pipelines" / "feed.xml"
    path.write_text(path.read_text().replace("</appName>", "</appName><timeZone>Europe/Berlin</timeZone>"))
    feed.land("a_20240331.csv", "id,v", "a,1")
    feed.land("bad_20240331.csv", "id,w", "a,1")
    feed.land("a_20240430.csv", "id,v", "b,1")
    feed.run()
    assert told(feed, "2024-03-29T00:00", "2024-04-02T00:00") == []  # one is held, and has come
    assert told(feed, "2024-04-29T00:00", "2024-05-01T00:00") == [
        ("2024-04-30", None, 1, "2024-04-30T16:00:00+00:00")  # summer time since the end of March
    ]
    with feed.open() as (lake, pipeline):
        batch_decisions.withdraw(lake, pipeline, APPROVER, "2024-03-31_bad_20240331", "broken")
    assert told(feed, "2024-03-29T00:00", "2024-04-02T00:00") == [
        ("2024-03-31", None, 1, "2024-03-31T16:00:00+00:00")  # eighteen o'clock on the day that has 23 hours
    ]


def test_the_sensor_tells_from_when_it_first_looked(feed: StewardFeed) -> None:
    agree(feed, '<delivery calendar="daily" due="PT18H"/>', pattern=DAILY)
    clock = iter([moment("2024-01-05T12:00"), moment("2024-01-06T12:00"), moment("2024-01-06T12:01")])
    catalog = feed.catalog()
    pipeline = catalog.pipeline("app", "feed")
    assert pipeline is not None
    sensor = deliveries_sensor("deliveries", missing_in(feed.settings, catalog, [pipeline]), lambda: next(clock))
    cursor, said = None, []
    with dg.DagsterInstance.ephemeral() as instance:
        for _ in range(3):
            tick = sensor.evaluate_tick(dg.build_sensor_context(instance, cursor=cursor))
            cursor = tick.cursor
            said.append(tick.skip_message)
    assert said == ["nothing that is due is missing", "1 deliveries are missing", "nothing that is due is missing"]
    assert feed.rows("ops.deliveries", "business_date") == [date(2024, 1, 5)]


def test_the_records_of_an_earlier_file_are_held_in_whatever_form(feed: StewardFeed) -> None:
    agree(feed, '<delivery sameRecords="hold"/>', pattern=DAILY)
    feed.land("a_20240101.csv", "id,v", "x,1", "y,2", "y,2")
    feed.land("b_20240101.csv", "id,v", "x,1", "y,2", "y,2")  # another sender
    feed.run()
    landing = feed.settings.data / "landing"
    (landing / "a_20240102.csv").write_text("v,id\r\n2,y\r\n2,y\r\n1,\"x\"\r\n")
    feed.land("a_20240103.csv", "id,v", "x,1", "y,2")
    feed.land("a_20240104.csv", "id,v", "x,1", "y,no")
    feed.land("a_20240105.csv", "id,v", "x,1", "y,no")
    feed.land("a_20240106.csv", "id,v")
    feed.land("a_20240107.csv", "id,v", "n,1")
    feed.land("a_20240108.csv", "id,v", "n,1")
    found = {b.business_date: (b.status, str(b.reason).partition(";")[0]) for b in feed.run()}
    assert found.pop("2024-01-02") == (
        "held", "same_records: its records are those of a_20240101.csv for 2024-01-01 (arrival 1)"
    )  # fmt: skip
    assert found.pop("2024-01-08") == ("held", "same_records: its records are those of a_20240107.csv of this delivery")
    assert {status for status, _ in found.values()} == {"published"} and len(found) == 5
    (again,) = [b for b in feed.run(reprocess=True) if b.business_date == "2024-01-02"]
    assert (again.status, str(again.reason).partition(":")[0]) == ("held", "same_records")
    catalog = feed.catalog()
    with open_lake(feed.settings, catalog, feed.engine) as lake:
        assert list(verify(lake, catalog)) == []
        rebuild(lake, catalog)
    with feed.open() as (lake, pipeline):
        why = {"same_records": "nothing happened that day"}
        batch_decisions.release(lake, pipeline, APPROVER, again.key, why, "confirmed")
    assert [(b.status, b.counts.accepted) for b in feed.run()] == [("published", 3)]
