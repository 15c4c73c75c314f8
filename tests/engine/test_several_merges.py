"""Several merge targets in one pipeline: a record is superseded where it lost in each, a crash in between is none."""

from __future__ import annotations

from pathlib import Path

import pytest
from sqlalchemy import select

from publishing.ledger import Attempt
from publishing.outcome import BatchOutcome
from publishing.rebuild_ledger import rebuild
from publishing.replay_checks import replay_checks
from publishing.verify import verify
from resources.engine import Engine
from tests.engine.test_beside import killed_at
from tests.promised_feed import DATED, NUMBER, TEXT
from tests.steward_feed import StewardFeed

BY_ID = '<hive table="staging.by_id" mode="merge" keys="id" orderBy="v"/>'
BY_SHOP = '<hive table="staging.by_shop" mode="merge" keys="shop" orderBy="v"/>'
EXPORT = '<csv path="staging/out" mode="append"/>'


@pytest.fixture
def feed(tmp_path: Path, engine: Engine) -> StewardFeed:
    found = StewardFeed(tmp_path, engine)
    found.define(BY_ID + BY_SHOP, pattern=f"{DATED}.*", shop=TEXT, v=NUMBER)
    # a: best by id, x's best is b. b: loses by id to c, x's best. c: best by id, lost in y to d. d: best in y.
    found.land("20240105.csv", "id,shop,v", "a,x,1", "b,x,2", "b,y,3", "d,y,4", "a,y,0")
    return found


def told(outcome: BatchOutcome) -> tuple[str, int, int, list[int]]:
    return outcome.status, outcome.counts.accepted, outcome.counts.superseded, [t.rows_written for t in outcome.targets]


def by_id(feed: StewardFeed) -> list[tuple[str, str, int]]:
    return feed.rows("staging.by_id", "id", "shop", "v")


def by_shop(feed: StewardFeed) -> list[tuple[str, str, int]]:
    return feed.rows("staging.by_shop", "shop", "id", "v")


FIRST = ("published", 4, 1, [3, 2])  # only the second record of a lost in both


def test_a_record_is_superseded_where_it_lost_in_each(feed: StewardFeed) -> None:
    (first,) = feed.run()
    assert told(first) == FIRST
    assert by_id(feed) == [("a", "x", 1), ("b", "y", 3), ("d", "y", 4)]
    assert by_shop(feed) == [("x", "b", 2), ("y", "d", 4)]
    feed.land("20240106.csv", "id,shop,v", "a,x,1", "e,y,3", "b,x,1")  # e is new by id; b lost in both
    (second,) = feed.run()
    assert told(second) == ("published", 2, 1, [2, 0])  # of two alike the later one wins: a by id
    with feed.open() as (lake, _):
        assert verify(lake, lake.catalog) == []


@pytest.mark.parametrize(
    ("point", "times"),
    [("merge.contested", 1), ("merge.committed", 1), ("merge.contested", 2), ("merge.committed", 2),
     ("outcome.journaled", 1), ("ledger.ended", 1)],
)  # fmt: skip
def test_a_crash_between_them_changes_nothing(feed: StewardFeed, point: str, times: int) -> None:
    with killed_at(point, times):
        feed.run()
    found = [told(batch) for batch in feed.run()]
    assert found == ([FIRST] if point != "ledger.ended" else [])
    assert len(by_id(feed)) == 3 and len(by_shop(feed)) == 2
    with feed.open() as (lake, _):
        assert verify(lake, lake.catalog) == []


def test_taken_back_from_both_and_counted_anew(feed: StewardFeed) -> None:
    (first,) = feed.run()
    feed.land("20240106.csv", "id,shop,v", "a,x,9")
    (second,) = feed.run()
    feed.land("20240107.csv", "id,shop,v", "a,x,8", "f,x,1")
    (third,) = feed.run()
    assert told(third) == ("published", 1, 1, [1, 0])
    feed.unpublish_keys([second.key])
    assert by_id(feed) == [("a", "x", 8), ("b", "y", 3), ("d", "y", 4), ("f", "x", 1)]
    assert by_shop(feed) == [("x", "a", 8), ("y", "d", 4)]
    counted = outcomes(feed)
    assert counted[third.batch] == (2, 0)  # the record that had lost in both has won in both
    assert counted[first.batch] == (2, 3)  # b in y and d stand; of a and of b in x nothing does
    with feed.open() as (lake, _):
        assert verify(lake, lake.catalog) == []
        rebuild(lake, lake.catalog)
    assert outcomes(feed) == counted


def outcomes(feed: StewardFeed) -> dict[str, tuple[int, int]]:
    """(accepted, superseded) of each batch, as its newest attempt counts now."""
    with feed.open() as (lake, _), lake.ledger.read() as session:
        found = {a.batch_id: a.outcome for a in session.scalars(select(Attempt).order_by(Attempt.number)) if a.outcome}
    return {batch: (o["counts"]["accepted"], o["counts"]["superseded"]) for batch, o in found.items()}


def test_a_replayed_record_may_have_lost_in_one(feed: StewardFeed) -> None:
    feed.define(BY_ID + BY_SHOP, pattern=f"{DATED}.*", shop=TEXT, v=NUMBER,
                steps='<filter source="s" condition="v &lt; 100" onReject="quarantine"/>')  # fmt: skip
    feed.land("20240106.csv", "id,shop,v", "n,x,500", "a,y,900", "o,z,1")
    _, second = feed.run()
    assert told(second) == ("published", 1, 0, [1, 1])
    feed.decide({"20240106.csv:1": {"v": "0"}, "20240106.csv:2": {"v": "-5"}})
    (replay,) = feed.replay()
    assert told(replay) == ("published", 1, 1, [1, 0])  # n is new by id and lost in x; a lost in both
    assert feed.states() == {"20240106.csv:1": "replayed", "20240106.csv:2": "superseded"}
    with feed.open() as (lake, pipeline):
        assert [c.passed for c in replay_checks(lake, pipeline, second.key)] == [True, True]
        assert verify(lake, lake.catalog) == []


def test_an_export_behind_a_merge_takes_no_record_by_itself(feed: StewardFeed) -> None:
    feed.define(BY_ID + EXPORT, pattern=f"{DATED}.*", shop=TEXT, v=NUMBER)
    (first,) = feed.run()
    assert told(first) == ("published", 3, 2, [3, 3])
