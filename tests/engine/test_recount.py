"""Where a batch that comes again takes rows of the others in a merge target, they count what they have there now."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select

from publishing.ledger import Attempt, Batch
from resources.engine import Engine
from tests.engine.test_beside import killed_at
from tests.ledger_rows import made_again, rebuilt
from tests.promised_feed import DATED, MERGE, NUMBER, TEXT
from tests.steward_feed import StewardFeed

RANKED = '<derive source="s"><column name="rank" expression="cast({} as bigint)"/></derive>'
TARGET = MERGE.replace('orderBy="v"', 'orderBy="rank"')


@pytest.fixture
def feed(engine: Engine, tmp_path: Path) -> StewardFeed:
    return StewardFeed(tmp_path, engine)


def ranked(feed: StewardFeed, expression: str, targets: str = TARGET) -> None:
    steps = RANKED.format(expression)
    feed.define(targets, steps=steps, pattern=f"{DATED}.*.csv", id=TEXT, v=NUMBER, n=NUMBER)


def delivered(feed: StewardFeed, *days: dict[str, tuple[str, ...]]) -> None:
    """The files of a day, by name, are one batch."""
    for number, files in enumerate(days, start=1):
        for name, lines in files.items():
            feed.land(f"202401{number:02d}{name}.csv", "id,v,n", *lines)
        feed.run()


def counted(feed: StewardFeed) -> list[tuple[int, int]]:
    """(accepted, superseded) of each batch."""
    return [(each["accepted"], each["superseded"]) for each in feed.counts()]


def outcomes(feed: StewardFeed) -> list[dict[str, Any]]:
    """The newest of each batch."""
    with feed.open() as (lake, _), lake.ledger.read() as session:
        newest = (Batch.id == Attempt.batch_id) & (Batch.attempt == Attempt.number)
        found = session.scalars(select(Attempt.outcome).join(Batch, newest).order_by(Batch.arrival))
        return [outcome or {} for outcome in found]


def of_files(feed: StewardFeed) -> list[list[tuple[int, int]]]:
    """The same of each file, by batch; every equation closes."""
    lines = [[file["counts"] for file in outcome["files"]] for outcome in outcomes(feed)]
    for each in (*feed.counts(), *(line for of in lines for line in of)):
        assert each["in"] == sum(number for name, number in each.items() if name != "in")
    return [[(line["accepted"], line["superseded"]) for line in of] for of in lines]


def again(feed: StewardFeed) -> None:
    """All are computed again, and none asks for a rebuild."""
    assert {batch.status for batch in feed.run(reprocess=True)} == {"published"}


def test_a_row_that_a_later_batch_takes_back_is_not_counted_twice(feed: StewardFeed) -> None:
    """The first wins over the second as that stood, and then the second over it, as it stands now."""
    ranked(feed, "v")
    delivered(feed, {"": ("a,0,1",)}, {"": ("a,0,2",)})
    assert counted(feed) == [(1, 0), (1, 0)]  # a newer batch takes nothing from what was counted
    ranked(feed, "2 - v")
    again(feed)
    assert feed.rows("staging.feed", "id", "n") == [("a", 2)]
    assert counted(feed) == [(0, 1), (1, 0)]
    made_again(feed)
    assert counted(feed) == [(0, 1), (1, 0)]


def test_each_file_of_the_batch_that_gave_way_is_counted(feed: StewardFeed) -> None:
    """`a` and `b` had lost to the first batch, and win: each takes a row of another file."""
    ranked(feed, "v")
    delivered(feed, {"x": ("a,2,1", "c,2,2"), "y": ("b,2,3",)}, {"": ("a,1,4", "b,1,5", "d,1,6")})
    assert of_files(feed) == [[(2, 0), (1, 0)], [(1, 2)]]
    ranked(feed, "case when n > 3 then 9 else v end")
    again(feed)
    assert feed.rows("staging.feed", "id", "n") == [("a", 4), ("b", 5), ("c", 2), ("d", 6)]
    assert of_files(feed) == [[(1, 1), (0, 1)], [(3, 0)]]
    made_again(feed)


def test_where_a_lowered_row_asks_for_no_rebuild_another_may_be_taken_all_the_same(feed: StewardFeed) -> None:
    """Every row of the first stands, so none can win against `b`, which is lowered; but `a` wins over one of them."""
    ranked(feed, "v")
    delivered(feed, {"": ("a,5,1", "c,5,2")}, {"": ("a,3,3", "b,7,4")})
    assert counted(feed) == [(2, 0), (1, 1)]
    ranked(feed, "10 - v")
    again(feed)
    assert feed.rows("staging.feed", "id", "n") == [("a", 3), ("b", 4), ("c", 2)]
    assert counted(feed) == [(1, 1), (2, 0)]
    made_again(feed)


@pytest.mark.parametrize("lost", [False, True], ids=["kept", "lost"])
def test_a_crash_before_they_are_counted_changes_nothing(feed: StewardFeed, lost: bool) -> None:
    """The commit says that rows of others gave way, also to a retry whose ledger was made again."""
    ranked(feed, "v")
    delivered(feed, {"": ("a,0,1",)}, {"": ("a,0,2",)})
    ranked(feed, "2 - v")
    with killed_at("merge.committed", times=2):
        feed.run(reprocess=True)
    if lost:
        rebuilt(feed)
    assert {batch.status for batch in feed.run()} == {"published"}
    assert counted(feed) == [(0, 1), (1, 0)]
    made_again(feed)


def test_what_stands_in_another_target_is_still_accepted(feed: StewardFeed) -> None:
    """Of two merge targets, a record that gave way in one stands in the other; its rows there are counted."""
    both = TARGET + '<hive table="staging.other" mode="merge" keys="id" orderBy="v"/>'
    ranked(feed, "v", both)
    delivered(feed, {"": ("a,2,1", "b,2,2")}, {"": ("a,1,3",)})
    ranked(feed, "case when n = 3 then 9 else v end", both)
    again(feed)
    assert feed.rows("staging.feed", "id", "n") == [("a", 3), ("b", 2)]
    assert feed.rows("staging.other", "id", "n") == [("a", 1), ("b", 2)]
    assert counted(feed) == [(2, 0), (1, 0)]
    assert [[t["rows_written"] for t in outcome["targets"]] for outcome in outcomes(feed)] == [[1, 2], [1, 0]]
    made_again(feed)
