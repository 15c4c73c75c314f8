"""A row of a merge target that comes back lower asks for a rebuild only where another row may have lost to it."""

from __future__ import annotations

from pathlib import Path

import pytest

from resources.engine import Engine
from stewardship import batch_decisions
from tests.promised_feed import MERGE
from tests.steward_feed import APPROVER, StewardFeed

RANKED = '<derive source="s"><column name="rank" expression="cast({} as bigint)"/></derive>'
TARGET = MERGE.replace('orderBy="v"', 'orderBy="rank"')
INTEGERS = {name: {"type": "integer"} for name in ("v", "at")}


@pytest.fixture
def feed(engine: Engine, tmp_path: Path) -> StewardFeed:
    return StewardFeed(tmp_path, engine)


def ranked(feed: StewardFeed, expression: str, **more: str) -> None:
    feed.define(TARGET, steps=RANKED.format(expression), **more, **INTEGERS)


def delivered(feed: StewardFeed, *files: tuple[str, ...]) -> None:
    for number, lines in enumerate(files):
        feed.land(f"f{number}.csv", "id,v,at", *lines)
        feed.run()


def asks(feed: StewardFeed) -> list[bool]:
    """Whether each batch asks for a rebuild, when all are computed again."""
    return [(b.reason or "").startswith("rebuild_needed") for b in feed.run(reprocess=True)]


def test_where_every_row_stands_none_can_win(feed: StewardFeed) -> None:
    """Each key came once, over three batches: a new order changes who would win over nobody."""
    ranked(feed, "at")
    delivered(feed, ("a,1,5", "b,1,9"), ("c,1,7",), ("d,1,2", "e,1,4"))
    ranked(feed, "0 - at")
    assert asks(feed) == [False, False, False]
    assert feed.rows("staging.feed", "id", "rank") == [("a", -5), ("b", -9), ("c", -7), ("d", -2), ("e", -4)]


def test_where_one_row_lost_somewhere_a_person_decides(feed: StewardFeed) -> None:
    """`a` of the first lost to that of the third, and wins now. The first knows its own loser; the second cannot tell
    that it was none of its keys.
    """
    ranked(feed, "at")
    delivered(feed, ("a,1,5", "b,1,9"), ("c,1,7",), ("a,2,6",))
    ranked(feed, "0 - at")
    assert asks(feed) == [False, True, True]
    assert feed.rows("staging.feed", "id", "v") == [("a", 2), ("b", 1), ("c", 1)]


def test_a_loser_of_the_batch_itself_is_judged_with_it(feed: StewardFeed) -> None:
    ranked(feed, "at")
    delivered(feed, ("a,1,5", "a,2,6"), ("c,1,7",))
    ranked(feed, "0 - at")
    assert asks(feed) == [False, True]
    assert feed.rows("staging.feed", "id", "v") == [("a", 1), ("c", 1)]


def test_a_replayed_record_stands_by_its_replay(feed: StewardFeed) -> None:
    ranked(feed, "at")
    delivered(feed, ("a,1,5", "b,x,9"), ("c,1,7",))
    feed.decide({"f0.csv:2": {"v": "2"}})
    feed.replay()
    ranked(feed, "0 - at")
    assert asks(feed) == [False, False]
    assert feed.rows("staging.feed", "id", "v") == [("a", 1), ("b", 2), ("c", 1)]


@pytest.mark.parametrize("how", ["taken back", "released", "made again"])
def test_of_a_table_that_was_rebuilt_nothing_is_known(feed: StewardFeed, how: str) -> None:
    ranked(feed, "at")
    delivered(feed, ("a,1,5",), ("b,1,9",), ("c,1,7", "a,2,6"))
    if how == "taken back":
        feed.unpublish("f2.csv")
    elif how == "released":
        ranked(feed, "case when v = 2 then 1 else at end")
        (held,) = [b for b in feed.run(reprocess=True) if b.status == "held"]
        with feed.open() as (lake, pipeline):
            batch_decisions.release(lake, pipeline, APPROVER, held.key, {"rebuild_needed": "known"}, "new order")
        feed.run()
    else:
        from publishing.rebuild_table import rebuild_table

        with feed.open() as (lake, pipeline), lake.alone(pipeline.key):
            rebuild_table(lake, pipeline, 0)
    ranked(feed, "0 - at")
    assert any(asks(feed))
