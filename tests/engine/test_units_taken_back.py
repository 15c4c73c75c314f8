"""Snapshots, exports and whole tables taken back or restored: what had stood there before comes back."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from datetime import date
from pathlib import Path

import pytest
from sqlalchemy import select
from sqlalchemy.orm import Session

from publishing import failpoints
from publishing.journal_entries import journal_reopened
from publishing.lake import Lake
from publishing.ledger import Batch
from publishing.run import _open_batches, run_batches, run_pipeline
from publishing.verify import verify
from resources.engine import Engine
from stewardship import batch_decisions
from tests.ledger_rows import made_again
from tests.promised_feed import APPEND, DATED, MERGE
from tests.steward_feed import APPROVER, StewardFeed


@pytest.fixture
def feed(engine: Engine, tmp_path: Path) -> StewardFeed:
    return StewardFeed(tmp_path, engine)


WHOLE = '<hive table="staging.feed" mode="overwrite"/>'
SNAPSHOTS = f".*_{DATED}.csv"


def test_a_restored_snapshot_is_the_one_that_was_asked_for(feed: StewardFeed) -> None:
    """Not one between, that a later one had replaced; nor one that came too late for its unit and never was there."""
    feed.define(WHOLE, pattern=SNAPSHOTS, snapshot=True, policy='<errorPolicy maxErrors="0"/>')
    feed.land("aaa_20240101.csv", "id,v", "aaa,1")
    feed.run()
    feed.land("bbb_20240101.csv", "id,v", "bbb,x")
    (held,) = feed.run()
    for name in ("ccc", "ddd"):
        feed.land(f"{name}_20240101.csv", "id,v", f"{name},1")
        feed.run()
    feed.define(WHOLE, pattern=SNAPSHOTS, snapshot=True)
    with feed.open() as (lake, pipeline):
        batch_decisions.release(lake, pipeline, APPROVER, held.key, {"maxErrors": "known"}, "known")
    assert [b.status for b in feed.run()] == ["nothing_to_do"]
    with feed.open() as (lake, pipeline):
        plan = batch_decisions.plan_restore(lake, pipeline, 0, feed.batch_of("aaa_20240101.csv"))
        assert [key.split("_")[1] for key in plan.batches] == ["ddd", "ccc", "bbb"]
        batch_decisions.restore(lake, pipeline, 0, feed.batch_of("aaa_20240101.csv"), APPROVER, "wrong")
    feed.run()
    assert feed.rows("staging.feed", "id") == ["aaa"]
    feed.land("again_20240101.csv", "id,v", "ccc,1")
    feed.run()
    assert feed.rows("staging.feed", "id") == ["ccc"]


@pytest.mark.parametrize("held", [True, False])
def test_a_restore_takes_what_stands_of_batches_whose_newer_attempt_is_held_or_open(
    feed: StewardFeed, monkeypatch: pytest.MonkeyPatch, held: bool
) -> None:
    feed.define(APPEND)
    for name in ("aaa", "bbb"):
        feed.land(f"{name}.csv", "id,v", f"{name},1", f"{name}2,{'2' if name == 'aaa' else 'x'}")
        feed.run()
    feed.define(APPEND, policy='<errorPolicy maxErrors="0"/>' if held else "")

    class Crash(BaseException):
        pass

    def dies(name: str) -> None:
        if name == "batches.reopened" and not held:
            raise Crash

    with monkeypatch.context() as patch:
        patch.setattr(failpoints, "reached", dies)
        with contextlib.suppress(Crash):
            feed.run(reprocess=True)
    assert feed.statuses_of("bbb") == ["held" if held else "open"]
    with feed.open() as (lake, pipeline):
        batch_decisions.restore(lake, pipeline, 0, "1", APPROVER, "wrong")
    assert feed.rows("staging.feed", "id") == ["aaa", "aaa2"]
    assert feed.statuses_of("bbb") == ["unpublished"]
    feed.run()
    feed.define(APPEND)
    feed.land("again.csv", "id,v", "bbb,1", "bbb2,x")
    feed.run()
    assert feed.rows("staging.feed", "id") == ["aaa", "aaa2", "bbb"]


@pytest.mark.parametrize("before", ["", APPEND, MERGE])
def test_an_export_that_was_replaced_comes_back_when_its_successor_is_taken_back(
    feed: StewardFeed, before: str
) -> None:
    export = f'{before}<csv path="exports/feed" mode="overwrite" header="true"/>'
    policy = "" if before else '<errorPolicy onRecordError="skip"/>'
    feed.define(export, snapshot=True, policy=policy)
    for name in ("aaa", "bbb", "ccc"):
        feed.land(f"{name}.csv", "id,v", f"{name},1")
        feed.run()

    def exported() -> list[str]:
        parts = sorted((feed.settings.application_data / "app" / "exports" / "feed").glob("part-*"))
        return [part.read_text().splitlines()[1].partition(",")[0].strip('"') for part in parts]

    assert exported() == ["ccc"]
    feed.unpublish("bbb.csv")  # its export was replaced: nothing comes back
    assert feed.run() == []
    assert exported() == ["ccc"]
    feed.unpublish("ccc.csv")
    assert exported() == []
    (done,) = feed.run()
    assert (done.status, done.attempt, exported()) == ("published", 2, ["aaa"])
    if before:
        assert feed.rows("staging.feed", "id") == ["aaa"]
    with feed.open() as (lake, _):
        assert verify(lake, feed.catalog()) == []


def test_the_first_export_of_several_gives_way_to_the_next(feed: StewardFeed) -> None:
    feed.define(f'{APPEND}<csv path="exports/feed" mode="ignore" header="true"/>')
    for name in ("aaa", "bbb", "ccc"):
        feed.land(f"{name}.csv", "id,v", f"{name},1")
        feed.run()
    feed.unpublish("aaa.csv")
    feed.run()
    (part,) = (feed.settings.application_data / "app" / "exports" / "feed").glob("part-*")
    assert part.read_text().splitlines()[1:] == ['"bbb",1']
    with feed.open() as (lake, _):
        assert verify(lake, feed.catalog()) == []


def test_a_withdrawn_held_snapshot_whose_earlier_attempt_stood_gives_its_unit_back(feed: StewardFeed) -> None:
    feed.define(WHOLE, pattern=SNAPSHOTS, snapshot=True)
    for name in ("aaa", "bbb"):
        feed.land(f"{name}_20240101.csv", "id,v", f"{name},1", f"{name}2,{'2' if name == 'aaa' else 'x'}")
        feed.run()
    feed.define(WHOLE, pattern=SNAPSHOTS, snapshot=True, policy='<errorPolicy maxErrors="0"/>')
    (held,) = feed.run(reprocess=True)
    with feed.open() as (lake, pipeline):
        batch_decisions.withdraw(lake, pipeline, APPROVER, held.key, "wrong")
    feed.run()
    assert feed.rows("staging.feed", "id") == ["aaa", "aaa2"]


@pytest.mark.parametrize("late", [True, False])
def test_a_held_snapshot_whose_earlier_attempt_stood_is_superseded_by_a_newer_one(
    feed: StewardFeed, monkeypatch: pytest.MonkeyPatch, late: bool
) -> None:
    """Also where its attempt is held when the newer one stands there already."""
    feed.define(WHOLE, pattern=SNAPSHOTS, snapshot=True)
    feed.land("aaa_20240101.csv", "id,v", "aaa,1", "x,x")
    feed.run()
    feed.define(WHOLE, pattern=SNAPSHOTS, snapshot=True, policy='<errorPolicy maxErrors="0"/>')
    if late:
        with feed.open() as (lake, _), lake.ledger.write() as session:
            _reopened(lake, session)
        feed.land("bbb_20240101.csv", "id,v", "bbb,1")
        with monkeypatch.context() as patch:
            patch.setattr("publishing.run._open_batches", lambda *given: _newest_first(_open_batches(*given)))
            feed.run()
    else:
        assert [b.status for b in feed.run(reprocess=True)] == ["held"]
        feed.land("bbb_20240101.csv", "id,v", "bbb,1")
        feed.run()
    assert (feed.statuses_of("aaa"), feed.statuses_of("bbb")) == (["superseded"], ["published"])
    assert (feed.statuses(), feed.states()) == (["superseded", "published"], {"aaa_20240101.csv:2": "superseded"})
    with feed.open() as (lake, _):
        assert verify(lake, feed.catalog()) == []


def _newest_first(batches: Sequence[Batch]) -> Sequence[Batch]:
    return list(reversed(batches))


def _reopened(lake: Lake, session: Session) -> None:
    (batch,) = session.scalars(select(Batch)).all()
    batch.status, batch.attempt = "open", 2
    journal_reopened(lake, batch.pipeline, {batch.id: 2})


def test_what_comes_back_and_is_held_has_no_row_there_and_hands_its_unit_on(feed: StewardFeed) -> None:
    given = {"pattern": SNAPSHOTS, "snapshot": True}
    feed.define(WHOLE, **given)
    for name, v in (("aaa", "1"), ("bbb", "x"), ("ccc", "1")):
        feed.land(f"{name}_20240101.csv", "id,v", f"{name},1", f"{name}2,{v}")
        feed.run()
    feed.define(WHOLE, policy='<errorPolicy maxErrors="0"/>', **given)
    feed.unpublish("ccc_20240101.csv")
    (held,) = feed.run()
    assert (held.status, feed.rows("staging.feed", "id")) == ("held", [])
    with feed.open() as (lake, pipeline):
        assert verify(lake, feed.catalog()) == []
        batch_decisions.withdraw(lake, pipeline, APPROVER, held.key, "wrong")
    (done,) = feed.run()
    assert (done.status, feed.rows("staging.feed", "id")) == ("published", ["aaa", "aaa2"])
    with feed.open() as (lake, _):
        assert verify(lake, feed.catalog()) == []


def test_a_table_read_in_full_is_one_unit_whatever_the_day(feed: StewardFeed) -> None:
    """The reading of one day replaces that of the day before, and gives the table back to it."""
    feed.define(APPEND)
    feed.define_reader("full", targets='<hive table="standardization.copy" mode="overwrite"/>')

    def read(day: int) -> str:
        with feed.open("reader") as (lake, pipeline):
            (done,) = run_pipeline(lake, pipeline, run_id="test", business_date=date(2024, 1, day)).batches
        return done.key

    keys = []
    for day, name in enumerate(("aaa", "bbb"), 1):
        feed.land(f"{name}.csv", "id,v", f"{name},1")
        feed.run()
        keys.append(read(day))
    assert feed.batches("reader") == [("table", "superseded", 1), ("table", "published", 1)]
    made_again(feed)
    feed.unpublish_keys(keys[1:], "reader")
    made_again(feed)
    with feed.open("reader") as (lake, pipeline):
        back = run_batches(lake, pipeline, _open_ids(lake), run_id="test").batches
    assert [(done.key, done.attempt) for done in back] == [(keys[0], 2)]
    assert feed.rows("standardization.copy", "id") == ["aaa"]
    made_again(feed)


def _open_ids(lake: Lake) -> list[str]:
    with lake.ledger.read() as session:
        return list(session.scalars(select(Batch.id).where(Batch.status == "open")))
