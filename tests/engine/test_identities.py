"""What names a file, a delivery, a batch, an attempt and a record, and what survives whatever is done to them."""

from __future__ import annotations

import hashlib
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select
from sqlalchemy.exc import IntegrityError

from publishing import failpoints
from publishing.lake import open_lake
from publishing.ledger import Attempt, Batch, Claim, Delivery, LandedFile, Ledger, now
from publishing.mask_keys import MaskKeyChanged
from resources.engine import Engine
from resources.lake_table import LakeTable
from stewardship import batch_decisions
from tests.promised_feed import APPEND, DATED, MERGE, Feed
from tests.steward_feed import APPROVER, StewardFeed

WHERE_FROM = (
    "_record_id", "_batch_id", "_business_date", "_sender", "_arrival", "_source_file", "_source_record",
    "_ingested_at", "ingest_date",
)  # fmt: skip
SENT = f"(?P&lt;sender&gt;[a-z]+)_{DATED}.*"


@pytest.fixture
def feed(engine: Engine, tmp_path: Path) -> StewardFeed:
    return StewardFeed(tmp_path, engine)


def kept(feed: Feed, what: type[Any]) -> list[Any]:
    with open_lake(feed.settings, feed.catalog(), feed.engine) as lake, lake.ledger.read() as session:
        return list(session.scalars(select(what)))


def passing(monkeypatch: pytest.MonkeyPatch, look: dict[str, Any]) -> None:
    """Calls `look[point]()` whenever a run comes by that point."""
    monkeypatch.setattr(failpoints, "reached", lambda point: look[point]() if point in look else None)


def test_a_file_is_named_by_its_bytes_and_read_from_raw_from_then_on(
    feed: StewardFeed, monkeypatch: pytest.MonkeyPatch
) -> None:
    feed.define()
    feed.land("a.csv", "id,v", "a,1")
    sent = feed.settings.data / "landing" / "a.csv"
    named = hashlib.sha256(sent.read_bytes()).hexdigest()
    passing(monkeypatch, {"claim.copied": lambda: sent.write_text("id,v\nb,22\n")})
    feed.run()
    assert feed.rows("staging.feed", "id") == ["a"]
    (landed,) = kept(feed, LandedFile)
    assert landed.content_id == named
    raw = feed.settings.data / "raw" / "app" / "feed" / named
    assert hashlib.sha256(raw.read_bytes()).hexdigest() == named
    feed.run(reprocess=True)
    assert feed.rows("staging.feed", "id") == ["a", "b"], "the new content is a delivery of its own"


def test_batches_are_persisted_before_anything_changes_in_the_lake(
    feed: StewardFeed, monkeypatch: pytest.MonkeyPatch
) -> None:
    feed.define()
    feed.land("a.csv", "id,v", "a,1", "b,x")
    lake, seen = feed.settings.application_data, []

    def persisted() -> None:
        ledger = Ledger.at(feed.settings.data)
        with ledger.read() as session:
            seen.append((lake.exists(), len(session.scalars(select(Batch)).all()), bool(session.get(Claim, "x"))))
        ledger.close()

    passing(monkeypatch, {"claim.copied": persisted, "intake.persisted": persisted})
    feed.run()
    assert seen == [(False, 0, False), (False, 1, False)]


def test_a_delivery_is_told_by_sender_date_and_content(feed: StewardFeed) -> None:
    feed.define(pattern=SENT)
    for name in ("north_20240101", "south_20240101", "north_20240102", "north_20240101_again"):
        feed.land(f"{name}.csv", "id,v", "a,1")
    batches = feed.run()
    assert sorted(feed.statuses()) == ["duplicate", "published", "published", "published"]
    assert sum(b.counts.in_ for b in batches) == 3, "a copy is in no count"
    copies = [landed for landed in kept(feed, LandedFile) if landed.status == "duplicate"]
    assert [(c.name, c.batch_id) for c in copies] == [("north_20240101_again.csv", None)]
    assert len(feed.rows("staging.feed", "id")) == 3


def test_a_delivery_belongs_to_one_batch_whoever_persists_it(tmp_path: Path) -> None:
    ledger = Ledger.at(tmp_path)
    with ledger.write() as session:
        for each in "ab":
            session.add(
                Batch(
                    id=each, key=each, pipeline="app/feed", business_date=date(2024, 1, 1), origin="files", sender=None,
                    arrival=1, window=None, status="open", reason=None, attempt=1, created_at=now(),
                )
            )  # fmt: skip
        session.flush()
        session.add(Delivery(key="k", batch_id="a"))
    with pytest.raises(IntegrityError), ledger.write() as session:
        session.add(Delivery(key="k", batch_id="b"))
    ledger.close()


def test_the_id_of_a_batch_is_that_of_its_members(engine: Engine, tmp_path: Path) -> None:
    ids = []
    for number, names in enumerate((("a", "b"), ("b", "a"), ("a", "c"))):
        feed = Feed(tmp_path / str(number), engine)
        feed.define(pattern=f".*_{DATED}.csv")
        for name in names:
            feed.land(f"x{names.index(name)}_20240101.csv", "id,v", f"{name},1")
        (batch,) = feed.run()
        ids.append(batch.batch)
    assert ids[0] == ids[1] != ids[2]


@pytest.mark.parametrize("target", [APPEND, MERGE])
def test_every_row_says_where_it_is_from_and_when_its_attempt_was_opened(feed: StewardFeed, target: str) -> None:
    feed.define(target, pattern=SENT)
    feed.define_reader("partition", '<hive table="standardization.copy" mode="append"/>')
    feed.land("north_20240131.csv", "id,v", "a,1", "b,x", "c,3")
    (batch,) = feed.run()
    (landed,), (attempt,) = kept(feed, LandedFile), kept(feed, Attempt)
    rows = feed.rows("staging.feed", *WHERE_FROM)
    opened = attempt.opened_at.replace(tzinfo=UTC)
    assert rows == [
        (
            f"{landed.delivery_key[:24]}-{number:010d}", batch.batch, date(2024, 1, 31), "north", landed.arrival,
            "north_20240131.csv", number, opened, opened.date(),
        )
        for number in (1, 3)
    ]  # fmt: skip
    (read,) = feed.run("reader")
    below = feed.rows("standardization.copy", *WHERE_FROM)
    inherited = [0, *range(2, 7)]
    assert [[row[i] for i in inherited] for row in below] == [[row[i] for i in inherited] for row in rows]
    assert {row[1] for row in below} == {read.batch}
    assert all(row[7] >= opened and row[8] == row[7].date() for row in below)


def test_a_record_keeps_its_name_through_attempts_replays_and_rebuilds(feed: StewardFeed) -> None:
    feed.define(MERGE)
    feed.land("a.csv", "id,v", "a,1", "b,x")
    feed.run()
    feed.land("b.csv", "id,v", "c,1")
    feed.run()
    entry = feed.entries()["a.csv:2"]["record_id"]
    names = dict(feed.rows("staging.feed", "id", "_record_id")) | {"b": entry}
    feed.decide({"a.csv:2": {"v": "2"}})
    feed.replay()
    assert dict(feed.rows("staging.feed", "id", "_record_id")) == names
    feed.run(reprocess=True)
    assert dict(feed.rows("staging.feed", "id", "_record_id")) == names
    feed.unpublish("b.csv")  # rebuilds the table
    del names["c"]
    assert dict(feed.rows("staging.feed", "id", "_record_id")) == names


def test_a_business_date_that_nobody_states_is_the_day_of_the_claim_and_stays_so(feed: StewardFeed) -> None:
    feed.define()
    feed.land("a.csv", "id,v", "a,1")
    catalog = feed.catalog()
    from publishing.landing import tick
    from resources.zone_local import LocalZone

    application = catalog.application("app")
    assert application is not None
    tick(feed.settings, application, application.zones[0], lambda: LocalZone(feed.settings.data / "landing"))
    with open_lake(feed.settings, catalog, feed.engine) as lake, lake.ledger.write() as session:
        session.scalars(select(Claim)).one().claimed_at = datetime(2024, 1, 31, 23, 59)
    (batch,) = feed.run()
    assert batch.business_date == "2024-01-31"
    (again,) = feed.run(reprocess=True)
    assert again.business_date == "2024-01-31"
    assert feed.rows("staging.feed", "_business_date") == [date(2024, 1, 31)]


def test_the_transactions_of_batches_and_deliveries_count_up_and_never_back(feed: StewardFeed) -> None:
    feed.define()
    feed.land("a.csv", "id,v", "a,1")
    (first,) = feed.run()
    (landed,) = kept(feed, LandedFile)

    def versions(*batches: str) -> list[int]:
        snapshot = LakeTable(feed.folder("staging.feed")).snapshot()
        return [snapshot.transaction(name) for name in (f"f:{landed.delivery_key}", *(f"b:{b}" for b in batches))]

    assert versions(first.batch) == [1, 1]
    feed.run(reprocess=True)
    assert versions(first.batch) == [3, 3]
    feed.unpublish("a.csv")
    assert versions(first.batch) == [4, 4]
    feed.land("again.csv", "id,v", "a,1")
    (second,) = feed.run()
    assert versions(first.batch, second.batch) == [5, 4, 1]
    assert feed.rows("staging.feed", "id") == ["a"]


def test_a_mask_key_that_changed_under_its_name_is_found_before_anything_is_computed(
    feed: StewardFeed,
) -> None:
    def key(name: str, letter: str) -> None:
        folder = feed.settings.data / "secrets"  # files: the workers of an engine may know another environment
        folder.mkdir(exist_ok=True)
        (folder / name).write_text(letter * 32)

    def masked(secret: str) -> None:
        declared = f'<resources><maskKey id="default" secretRef="{secret}"/></resources>'
        feed._write("staging", "resources", "keys.xml", declared)
        feed.define(MERGE, '<mask source="s" columns="id" strategy="hash"/>')

    key("MASK", "m")
    key("MASK_2", "n")
    masked("MASK")
    feed.land("a.csv", "id,v", "a,1")
    feed.run()
    key("MASK", "o")
    feed.land("b.csv", "id,v", "a,2")
    with pytest.raises(MaskKeyChanged, match="MASK is another key") as told:
        feed.run()
    assert "ooo" not in str(told.value)
    assert feed.rows("staging.feed", "v") == [1]
    key("MASK", "m")
    assert [b.status for b in feed.run()] == ["published"]
    assert feed.rows("staging.feed", "v") == [2], "one row of one person"
    masked("MASK_2")  # a new name is a decision; the merge says what it costs
    held = feed.run(reprocess=True)[-1]
    assert (held.status, str(held.reason).partition(":")[0]) == ("held", "rebuild_needed")
    with feed.open() as (lake, pipeline):
        batch_decisions.release(lake, pipeline, APPROVER, held.key, {"rebuild_needed": "new key"}, "new key")
    assert [b.status for b in feed.run()] == ["published"]
    assert feed.rows("staging.feed", "v") == [2]
