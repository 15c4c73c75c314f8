"""`lake ledger rebuild`: the ledger made from journal and tables is the ledger, row by row."""

from __future__ import annotations

import fcntl
import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from sqlalchemy import func, select

from publishing.lake import open_lake
from publishing.ledger import Batch
from publishing.ledger_errors import LedgerGone
from publishing.rebuild_ledger import PipelineRuns
from publishing.verify import verify
from resources.engine import Engine
from tests.ledger_rows import ledger_rows, rebuilt
from tests.promised_feed import APPEND, DATED, MERGE, Feed


@pytest.fixture
def feed(engine: Engine, tmp_path: Path) -> Feed:
    return Feed(tmp_path, engine)


def test_the_ledger_of_everything_that_can_become_of_files(feed: Feed) -> None:
    """Published, reprocessed, held, a copy, a broken file, superseded snapshots, a reader, a failed batch."""
    feed.define(f'{MERGE}<csv path="exports/feed" mode="append"/>', pattern=f"feed_{DATED}.*")
    feed.define_reader("partition", '<hive table="standardization.copy" mode="overwrite"/>')
    feed.land("feed_20240105.csv", "id,v", "a,1", "b,x")
    feed.land("feed_20240106.csv", "id,w", "d,x")
    feed.run()
    feed.run("reader")
    feed.land("feed_20240105_copy.csv", "id,v", "a,1", "b,x")
    feed.land("feed_20240105_more.csv", "id,v", "c,7")
    feed.run()
    feed.run("reader")
    feed.run(reprocess=True)
    before = ledger_rows(feed)
    statuses = {json.loads(row)["status"] for row in before["batch"] + before["landed_file"]}
    assert statuses == {"published", "held", "duplicate", "superseded"}
    found = rebuilt(feed)
    assert ledger_rows(feed) == before
    assert (found.files, found.open) == (4, 0)
    assert Path(str(found.kept)).exists()


@pytest.mark.parametrize("removed", [True, False])
def test_what_was_taken_is_not_taken_again_and_arrivals_go_on(feed: Feed, removed: bool) -> None:
    feed.define()
    feed.land("a.csv", "id,v", "a,1")
    feed.land("b.csv", "id,v", "a,1")  # the same content: a duplicate
    feed.run()
    if removed:
        for path in feed.settings.data.glob("ledger.db*"):
            path.unlink()
    found = rebuilt(feed)
    assert (found.kept is None) == removed
    assert feed.run() == [], "both files still lie in the zone, and both are known"
    feed.land("c.csv", "id,v", "c,3")
    feed.run()
    assert feed.statuses() == ["duplicate", "published", "published"]
    assert feed.rows("staging.feed", "id", "_arrival") == [("a", 2), ("c", 3)]


def test_it_refuses_while_a_pipeline_runs_and_leaves_the_ledger_alone(feed: Feed) -> None:
    feed.define()
    feed.land("a.csv", "id,v", "a,1")
    feed.run()
    before = ledger_rows(feed)
    with (feed.settings.data / "locks" / "app" / "feed").open("a") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        with pytest.raises(PipelineRuns, match="app/feed runs now"):
            rebuilt(feed)
    assert ledger_rows(feed) == before
    assert not list(feed.settings.data.glob("ledger.db.*"))


def test_a_ledger_that_is_no_database_any_more_is_replaced_and_kept(feed: Feed) -> None:
    feed.define()
    feed.land("a.csv", "id,v", "a,1")
    feed.run()
    before = ledger_rows(feed)
    path = feed.settings.data / "ledger.db"
    path.write_bytes(b"no database")
    path.with_name("ledger.db-wal").write_bytes(b"the log of another")
    found = rebuilt(feed)
    assert ledger_rows(feed) == before
    assert Path(str(found.kept)).read_bytes() == b"no database"


def test_a_lake_whose_journal_knew_no_claims_yet(feed: Feed) -> None:
    """Its files are taken for new ones once more, and told by their content: nothing is doubled."""
    feed.define()
    feed.land("a.csv", "id,v", "a,1")
    feed.run()
    shutil.rmtree(feed.settings.data / "journal" / "claims")
    rebuilt(feed)
    feed.run()
    assert feed.statuses() == ["published", "duplicate"]
    assert feed.rows("staging.feed", "id") == ["a"]


@pytest.mark.parametrize("entry", ["*.copied.json", "*[0-9a-f].json"])
def test_a_run_does_not_take_files_again_that_only_the_journal_knows(feed: Feed, entry: str) -> None:
    """As a crash left it, before the ledger was lost: the claim is in the journal, and no batch of it is."""
    feed.define()
    feed.land("a.csv", "id,v", "a,1")
    feed.run()
    shutil.rmtree(feed.settings.data / "journal" / "app")
    shutil.rmtree(feed.settings.data / "applications")
    for path in [*feed.settings.data.glob("ledger.db*"), *(feed.settings.data / "journal" / "claims").rglob("*.json")]:
        if path.name.startswith("ledger") or not path.match(entry):
            path.unlink()
    with pytest.raises(LedgerGone, match="lacks 1 claims of app/feed"):
        feed.run()
    assert rebuilt(feed).claims == 1
    feed.run()
    assert (feed.statuses(), feed.rows("staging.feed", "id")) == (["published"], ["a"])


STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("land"), st.integers(0, 3), st.integers(0, 4)),
        st.tuples(st.sampled_from(["run", "reprocess", "read", "rebuild"]), st.just(0), st.just(0)),
    ),
    min_size=3,
    max_size=9,
)


LIMITS = st.sampled_from(["", '<errorPolicy maxErrors="1"/>'])


@settings(max_examples=8, deadline=None, phases=[Phase.generate], suppress_health_check=list(HealthCheck))
@given(steps=STEPS, target=st.sampled_from([APPEND, MERGE]), limit=LIMITS)
def test_the_ledger_made_again_is_the_ledger(
    engine: Engine, tmp_path_factory: pytest.TempPathFactory, steps: list[Any], target: str, limit: str
) -> None:
    """Whatever was landed, run, reprocessed and read, and however often the ledger was made again on the way."""
    feed = Feed(tmp_path_factory.mktemp("steps"), engine)
    feed.define(target, pattern=f"feed_{DATED}.*", policy=limit)
    feed.define_reader("partition", '<hive table="standardization.copy" mode="overwrite"/>')
    for number, (what, day, content) in enumerate(steps):
        if what == "land":
            lines = [f"k{each},{'x' if (each + content) % 3 == 0 else content}" for each in range(content)]
            feed.land(f"feed_2024010{day + 1}_{number}.csv", "id,v", *lines)
        elif what == "rebuild":
            rebuilt(feed)
        elif what == "read":
            feed.run("reader")
        else:
            feed.run(reprocess=what == "reprocess")
    feed.run()
    before = ledger_rows(feed)
    rebuilt(feed)
    assert ledger_rows(feed) == before
    with open_lake(feed.settings, feed.catalog(), feed.engine) as lake:
        assert verify(lake, feed.catalog()) == []
        with lake.ledger.read() as session:
            assert session.scalar(select(func.count()).select_from(Batch).where(Batch.status == "open")) == 0
