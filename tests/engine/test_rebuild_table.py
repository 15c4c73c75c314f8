"""`lake rebuild`: a table made again from raw and journal equals what was published in it, lost, damaged or whole."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
from deltalake import DeltaTable

from publishing import failpoints
from publishing.verify import verify
from resources.engine import Engine
from stewardship import audit
from stewardship.rebuild import plan, rebuild
from stewardship.refused import NotAllowed, Refused
from tests.delta_rows import delta_dataset
from tests.promised_feed import APPEND, DATED, NUMBER
from tests.steward_feed import APPROVER, STEWARD, StewardFeed

OVERWRITE = '<hive table="staging.feed" mode="overwrite" partitionBy="part"/>'
MERGE = '<hive table="staging.feed" mode="merge" keys="id" orderBy="at"/>'
PARTED = '<hive table="staging.feed" mode="append" partitionBy="part"/>'
TARGETS = {"append": PARTED, "plain": APPEND, "overwrite": OVERWRITE, "merge": MERGE}


@pytest.fixture
def feed(engine: Engine, tmp_path: Path) -> StewardFeed:
    return StewardFeed(tmp_path, engine)


def lived(feed: StewardFeed, mode: str) -> None:
    """A table with replayed, taken back, replaced, held and reprocessed batches."""
    feed.define(
        TARGETS[mode], pattern=f".*_{DATED}.csv", snapshot=mode == "overwrite",
        policy='<errorPolicy onRecordError="quarantine" maxErrors="2"/>',
        v=NUMBER, at=NUMBER, part={"type": ["string", "null"]},
    )  # fmt: skip
    feed.land("a_20240101.csv", "id,v,at,part", "a,1,1,x", "b,x,1,y", "c,3,1,")
    feed.run()
    feed.decide({"a_20240101.csv:2": {"v": "2"}})
    feed.replay()
    feed.land("b_20240102.csv", "id,v,at,part", "a,5,5,x", "d,4,1,y/z")
    feed.run()
    feed.land("c_20240103.csv", "id,v,at,part", "gone,9,9,x")
    feed.run()
    feed.unpublish("c_20240103.csv")
    feed.land("d_20240102.csv", "id,v,at,part", "e,6,1,", "a,4,4,y")
    feed.run()
    feed.land("bad_20240104.csv", "id,v,at,part", "u,x,1,", "v,x,1,", "w,x,1,")
    feed.run()
    feed.run(reprocess=True)


def table_of(feed: StewardFeed) -> list[Any]:
    rows = delta_dataset(feed.folder("staging.feed")).to_table().to_pylist()
    return sorted((sorted(row.items()) for row in rows), key=str)


def made_again(feed: StewardFeed) -> Any:
    with feed.open() as (lake, pipeline):
        return rebuild(lake, pipeline, 0, APPROVER, "the disk died")


def agrees(feed: StewardFeed) -> list[Any]:
    with feed.open() as (lake, _):
        return list(verify(lake, feed.catalog()))


@pytest.mark.parametrize("mode", TARGETS)
@pytest.mark.parametrize("harm", ["none", "rows", "folder"])
def test_a_table_is_made_again_equal_to_what_it_was(feed: StewardFeed, mode: str, harm: str) -> None:
    lived(feed, mode)
    before = table_of(feed)
    assert before
    folder = feed.folder("staging.feed")
    if harm == "folder":
        shutil.rmtree(folder)
    elif harm == "rows":
        for path in list(folder.rglob("*.parquet")):
            path.write_bytes(b"rotten" + path.read_bytes()[6:])
    made = made_again(feed)
    assert table_of(feed) == before
    assert (made.rows, made.before is None) == (len(before), harm == "folder")
    assert feed.run() == []
    assert agrees(feed) == []
    feed.land("again_20240101.csv", "id,v,at,part", "a,1,1,x", "b,x,1,y", "c,3,1,")
    assert [b.files[0].status for b in feed.run()] == ["duplicate"]
    assert table_of(feed) == before
    made_again(feed)
    assert table_of(feed) == before


@pytest.mark.parametrize("mode", ["append", "merge"])
def test_what_comes_after_a_lost_table_was_made_again_goes_on_as_ever(feed: StewardFeed, mode: str) -> None:
    lived(feed, mode)
    shutil.rmtree(feed.folder("staging.feed"))
    made_again(feed)
    feed.land("e_20240105.csv", "id,v,at,part", "f,7,1,x")
    assert [b.status for b in feed.run()] == ["published"]
    feed.unpublish("b_20240102.csv")
    assert {row for row in feed.rows("staging.feed", "id")} >= {"a", "b", "c", "e", "f"}
    assert "d" not in feed.rows("staging.feed", "id")
    assert agrees(feed) == []


@pytest.mark.parametrize("harm", ["none", "folder"])
def test_killed_in_the_middle_what_stood_stands_and_the_next_one_does_it(
    feed: StewardFeed, harm: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    lived(feed, "append")
    before = table_of(feed)
    if harm == "folder":
        shutil.rmtree(feed.folder("staging.feed"))

    def dies(name: str) -> None:
        if name == "rebuild.linked":
            raise KeyboardInterrupt

    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
        patched.setattr(failpoints, "reached", dies)
        made_again(feed)
    assert feed.folder("staging.feed").exists() == (harm == "none")
    if harm == "none":
        assert table_of(feed) == before
    made_again(feed)
    assert table_of(feed) == before


def test_it_is_said_before_with_its_cost_and_audited(feed: StewardFeed) -> None:
    lived(feed, "append")
    with feed.open() as (lake, pipeline):
        wanted = plan(lake, pipeline, 0)
        assert (wanted.lost, wanted.cost.batches, wanted.cost.files, wanted.otherwise) == (False, 3, 3, ())
        with pytest.raises(NotAllowed):
            rebuild(lake, pipeline, 0, STEWARD, "why not")
        rebuild(lake, pipeline, 0, APPROVER, "to be sure")
        (entry,) = [each for each in audit.entries(lake) if each.action == "rebuild"]
        assert entry.details["reason"] == "to be sure" and entry.details["batches"] == 3


def test_another_definition_gives_other_rows_and_is_refused(feed: StewardFeed) -> None:
    lived(feed, "plain")
    before = table_of(feed)
    feed.define(
        APPEND, pattern=f".*_{DATED}.csv", steps='<filter source="s" condition="v &gt; 3" onReject="drop"/>',
        v=NUMBER, at=NUMBER, part={"type": ["string", "null"]},
    )  # fmt: skip
    with feed.open() as (lake, pipeline):
        assert len(plan(lake, pipeline, 0).otherwise) == 3
    with pytest.raises(Refused, match=r"gives \d rows now and \d were published.*nothing was changed"):
        made_again(feed)
    assert table_of(feed) == before


def test_a_raw_file_that_is_gone_is_named_before_anything_is_done(feed: StewardFeed) -> None:
    lived(feed, "plain")
    for path in (feed.settings.data / "raw" / "app" / "feed").iterdir():
        path.unlink()
    with pytest.raises(Refused, match=r"is gone, and [a-z]_\d+\.csv with it"):
        made_again(feed)


def test_a_table_that_lost_its_log_alone_is_made_again_once_its_folder_is_out_of_the_way(feed: StewardFeed) -> None:
    feed.define(APPEND)
    feed.land("a.csv", "id,v", "a,1", "b,2")
    feed.run()
    before = table_of(feed)
    shutil.rmtree(feed.folder("staging.feed") / "_delta_log")
    with feed.open() as (lake, pipeline), pytest.raises(Refused, match=r"has no log, .* move the folder away, then"):
        plan(lake, pipeline, 0)
    with pytest.raises(Refused, match="move the folder away"):
        made_again(feed)
    feed.folder("staging.feed").rename(feed.root / "aside")
    made_again(feed)
    assert table_of(feed) == before
    assert agrees(feed) == []


def test_a_commit_that_comes_while_it_is_computed_is_not_taken_away(
    feed: StewardFeed, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By another machine, whose locks are its own."""
    lived(feed, "append")

    def commits(name: str) -> None:
        if name == "rebuild.linked":
            DeltaTable(str(feed.folder("staging.feed"))).optimize.compact()

    with monkeypatch.context() as patched:
        patched.setattr(failpoints, "reached", commits)
        before = table_of(feed)
        with pytest.raises(Refused, match="got a commit while it was computed"):
            made_again(feed)
    assert table_of(feed) == before
    made_again(feed)
    assert table_of(feed) == before
