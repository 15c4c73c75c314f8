"""The checks of the way back close over everything that may become of a record, and notice what is lost."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from deltalake import DeltaTable, write_deltalake

from publishing.decisions import DISCARD
from publishing.lake import open_lake
from publishing.outcome import CheckOutcome
from publishing.replay_checks import NOTHING_LOST, RECONCILED, replay_checks
from publishing.standing import Standing, standings
from resources.engine import Engine
from tests.promised_feed import APPEND, DATED, MERGE
from tests.steward_feed import StewardFeed


@pytest.fixture
def feed(engine: Engine, tmp_path: Path) -> StewardFeed:
    return StewardFeed(tmp_path, engine)


def checks(feed: StewardFeed, name: str = "feed") -> list[dict[str, CheckOutcome]]:
    """Of each quarantined batch, the oldest first."""
    catalog = feed.catalog()
    pipeline = catalog.pipeline("app", name)
    assert pipeline is not None
    with open_lake(feed.settings, catalog, feed.engine) as lake:
        keys = [s.key for s in standings(lake.ledger, pipeline.key)]
        return [{c.name: c for c in replay_checks(lake, pipeline, key)} for key in keys]


def standing(feed: StewardFeed) -> Standing:
    with open_lake(feed.settings, feed.catalog(), feed.engine) as lake:
        (found,) = standings(lake.ledger, "app/feed")
        return found


def passed(feed: StewardFeed, name: str = "feed") -> list[tuple[bool, bool]]:
    return [(found[RECONCILED].passed, found[NOTHING_LOST].passed) for found in checks(feed, name)]


def table(feed: StewardFeed, name: str = "feed", layer: str = "exceptions") -> DeltaTable:
    return DeltaTable(str(feed.settings.application_data / "app" / layer / name))


def test_they_close_after_every_step_of_the_way_back(feed: StewardFeed) -> None:
    feed.define(APPEND)
    feed.land("a.csv", "id,v", "a,1", "b,x", "c,y", ",z", "e,5")
    feed.land("b.csv", "id,v", "f,x")
    feed.run()
    assert passed(feed) == [(True, True)]
    feed.decide({"a.csv:2": {"v": "2"}, "a.csv:4": {"v": "4"}})
    feed.replay()
    assert passed(feed) == [(True, True)]
    (found,) = checks(feed)
    assert found[RECONCILED].description == (
        "quarantined 4 = 3 open + 1 replayed; the last attempt counted 4, its entries are 4"
    )
    feed.decide({"a.csv:3": {}}, DISCARD)
    feed.run(reprocess=True)
    assert passed(feed) == [(True, True)]
    after = standing(feed)
    assert (after.states, after.open, after.tries) == ({"open": 2, "replayed": 1, "discarded": 1}, 2, 1)


def test_a_replayed_row_may_have_been_replaced_in_a_merge_target(feed: StewardFeed) -> None:
    feed.define(MERGE)
    feed.land("a.csv", "id,v", "a,1", "b,x")
    feed.run()
    feed.decide({"a.csv:2": {"v": "2"}})
    feed.replay()
    feed.land("b.csv", "id,v", "b,9")
    feed.run()
    assert feed.rows("staging.feed", "id", "v") == [("a", 1), ("b", 9)]
    (found,) = checks(feed)
    said = "1 records, each with one entry; of the replayed ones 1 were replaced since"
    assert found[NOTHING_LOST] == CheckOutcome(NOTHING_LOST, "error", True, 0, said)


def test_entries_that_another_batch_took_over_are_not_missed(feed: StewardFeed) -> None:
    feed.define(APPEND)
    feed.define_reader("full", steps='<filter source="t" condition="v &lt; 5"/>')
    feed.land("a.csv", "id,v", "a,1", "b,7")
    feed.run()
    feed.run("reader")
    feed.land("b.csv", "id,v", "c,8")
    feed.run()
    feed.run("reader")
    assert all(each == (True, True) for each in passed(feed, "reader"))


def test_they_close_over_what_is_taken_back_and_loaded_again(feed: StewardFeed) -> None:
    feed.define(APPEND)
    feed.land("a.csv", "id,v", "a,1", "b,x", "c,y")
    feed.run()
    feed.decide({"a.csv:2": {"v": "2"}})
    feed.replay()
    feed.unpublish("a.csv")
    feed.run()
    assert set(feed.states().values()) == {"withdrawn"}
    assert passed(feed) == [(True, True)]
    feed.land("again.csv", "id,v", "a,1", "b,x", "c,y")
    feed.run()
    assert set(passed(feed)) == {(True, True)}


def test_they_close_over_a_snapshot_that_a_newer_one_replaced(feed: StewardFeed) -> None:
    feed.define('<hive table="staging.feed" mode="overwrite"/>', pattern=f"{DATED}_[0-9].csv", snapshot=True)
    feed.land("20240131_1.csv", "id,v", "a,1", "b,x")
    feed.run()
    feed.decide({"20240131_1.csv:2": {"v": "2"}})
    feed.replay()
    assert passed(feed) == [(True, True)]
    feed.land("20240131_2.csv", "id,v", "a,1", "c,x")
    feed.run()
    assert set(passed(feed)) == {(True, True)}


@pytest.mark.parametrize("predicate", ["source_record = 2", "source_record = 3"])
def test_an_entry_that_vanished_is_noticed(feed: StewardFeed, predicate: str) -> None:
    feed.define(APPEND)
    feed.land("a.csv", "id,v", "a,1", "b,x", "c,y")
    feed.run()
    feed.decide({"a.csv:2": {"v": "2"}})
    feed.replay()
    table(feed).delete(predicate)
    (found,) = checks(feed)
    assert (found[RECONCILED].passed, found[RECONCILED].failed_rows) == (False, 1)


def test_an_entry_that_is_there_twice_is_noticed(feed: StewardFeed) -> None:
    feed.define(APPEND)
    feed.land("a.csv", "id,v", "a,1", "b,x", "c,y")
    feed.run()
    rows: Any = table(feed).to_pyarrow_table().slice(0, 1)
    write_deltalake(str(feed.settings.application_data / "app" / "exceptions" / "feed"), rows, mode="append")
    (found,) = checks(feed)
    assert (found[NOTHING_LOST].passed, found[NOTHING_LOST].failed_rows) == (False, 1)
    assert not found[RECONCILED].passed


def test_a_replayed_record_that_left_the_target_is_noticed(feed: StewardFeed) -> None:
    feed.define(APPEND)
    feed.land("a.csv", "id,v", "a,1", "b,x")
    feed.run()
    feed.decide({"a.csv:2": {"v": "2"}})
    feed.replay()
    table(feed, layer="staging").delete("id = 'b'")
    (found,) = checks(feed)
    assert found[NOTHING_LOST] == CheckOutcome(
        NOTHING_LOST, "error", False, 1, "0 entries too many, 1 replayed records are in no target"
    )


def test_a_state_that_there_is_not_is_noticed(feed: StewardFeed) -> None:
    feed.define(APPEND)
    feed.land("a.csv", "id,v", "a,1", "b,x")
    feed.run()
    table(feed).update(updates={"state": "'misplaced'"})
    (found,) = checks(feed)
    assert found[RECONCILED].failed_rows == 1
    assert found[RECONCILED].description.endswith("1 are in no state that there is")


def test_a_batch_that_rejected_nothing_has_no_checks(feed: StewardFeed) -> None:
    feed.define(APPEND)
    feed.land("a.csv", "id,v", "a,1")
    (done,) = feed.run()
    catalog = feed.catalog()
    pipeline = catalog.pipeline("app", "feed")
    assert pipeline is not None
    with open_lake(feed.settings, catalog, feed.engine) as lake:
        assert replay_checks(lake, pipeline, done.key) == ()
        assert standings(lake.ledger, "app/feed") == ()
