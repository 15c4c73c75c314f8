"""Corrected records that cannot be judged alone come back by the next attempt of their batch, which judges them."""

from __future__ import annotations

from pathlib import Path

import pytest
from sqlalchemy import select

from processing.transformations import registry
from publishing.corrections import changes_table
from publishing.ledger import Batch
from publishing.replay import persist_replays
from publishing.replay_trial import trial
from resources.engine import Engine
from stewardship import batch_decisions
from tests.promised_feed import APPEND, MERGE
from tests.steward_feed import APPROVER, StewardFeed

FIRST = '<deduplicate source="s" keys="id" keep="first"/>'
UNIQUE = '<unique id="once" columns="id" severity="error" description="one row an id"/>'


@pytest.fixture
def feed(engine: Engine, tmp_path: Path) -> StewardFeed:
    return StewardFeed(tmp_path, engine)


def test_every_transformation_says_whether_it_compares_records() -> None:
    assert {name for name, runner in registry().items() if runner.compares_records} >= {"deduplicate", "aggregate"}


def test_a_deduplicate_sees_the_corrected_record_beside_the_others(feed: StewardFeed) -> None:
    feed.define(APPEND, steps=FIRST)
    feed.land("a.csv", "id,v", "a,x", "a,2", "b,3")
    feed.run()
    assert feed.rows("staging.feed", "id", "v") == [("a", 2), ("b", 3)]
    feed.decide({"a.csv:1": {"v": "1"}})
    (done,) = feed.replay()
    assert (done.origin, done.attempt, done.counts.accepted, done.counts.deduplicated) == ("files", 2, 2, 1)
    assert feed.rows("staging.feed", "id", "v") == [("a", 1), ("b", 3)]
    assert feed.states() == {"a.csv:1": "resolved"}
    assert feed.replay() == []


def test_a_duplicate_is_no_second_row(feed: StewardFeed) -> None:
    feed.define(APPEND, steps=FIRST)
    feed.land("a.csv", "id,v", "a,1", "a,x", "b,y")
    feed.run()
    feed.decide({"a.csv:2": {"v": "2"}, "a.csv:3": {"v": "no number"}})
    feed.replay()
    assert feed.rows("staging.feed", "id", "v") == [("a", 1)]
    entries = feed.entries()
    assert {key: (row["state"], row["tries"]) for key, row in entries.items()} == {
        "a.csv:2": ("resolved", None), "a.csv:3": ("open", 1),
    }  # fmt: skip
    feed.run(reprocess=True)
    assert feed.entries()["a.csv:3"]["tries"] == 1  # nobody tried it once more


def test_a_replay_persisted_before_the_step_came_is_an_attempt(feed: StewardFeed) -> None:
    feed.define(APPEND)
    feed.land("a.csv", "id,v", "a,x", "a,2")
    feed.run()
    feed.decide({"a.csv:1": {"v": "1"}})
    with feed.open() as (lake, pipeline), lake.ledger.write() as session:
        assert len(persist_replays(lake, session, pipeline)) == 1
    feed.define(APPEND, steps=FIRST)
    (done,) = feed.run()
    assert (done.origin, done.attempt) == ("files", 2)
    assert feed.rows("staging.feed", "id", "v") == [("a", 1)]


@pytest.mark.parametrize("targets", [APPEND, MERGE], ids=["append", "merge"])
def test_a_blocking_rule_judges_the_whole_batch(feed: StewardFeed, targets: str) -> None:
    feed.define(targets, rules=UNIQUE)
    feed.land("a.csv", "id,v", "a,1", "a,x")
    feed.run()
    feed.decide({"a.csv:2": {"v": "2"}})
    (held,) = feed.replay()
    assert (held.status, held.origin, held.attempt) == ("held", "files", 2)
    assert "rule once failed" in (held.reason or "")
    assert feed.rows("staging.feed", "id", "v") == [("a", 1)]
    assert feed.states() == {"a.csv:2": "open"}
    with feed.open() as (lake, pipeline):
        batch_decisions.release(lake, pipeline, APPROVER, held.key, {"once": "known"}, "known")
    (done,) = feed.run()
    assert done.status == "published"
    assert feed.states() == {"a.csv:2": "resolved"}
    assert feed.replay() == []


def test_limits_on_errors_stay_with_a_replay_of_its_own(feed: StewardFeed) -> None:
    """Of records that somebody looked at, those that are wrong again are no sign of a broken feed."""
    feed.define(APPEND, policy='<errorPolicy onRecordError="quarantine" maxErrorRate="0.5"/>')
    feed.land("a.csv", "id,v", "a,1", "b,x")
    feed.run()
    feed.decide({"a.csv:2": {"v": "y"}})
    (done,) = feed.replay()
    assert (done.origin, done.status, done.counts.quarantined) == ("replay", "published", 1)


def test_a_trial_computes_the_whole_batch_and_tells_what_would_hold_it(feed: StewardFeed) -> None:
    feed.define(APPEND, rules=UNIQUE)
    feed.land("a.csv", "id,v", "a,1", "a,x", "b,y", "c,z")
    feed.run()
    found = feed.entries()
    wanted = {2: "2", 3: "3", 4: "no number"}
    changes = changes_table([(found[f"a.csv:{n}"]["record_id"], {"v": v}, {}) for n, v in wanted.items()])
    with feed.open() as (lake, pipeline):
        with lake.ledger.read() as session:
            (batch,) = session.scalars(select(Batch))
        told = trial(lake, pipeline, batch, changes)
    assert (told.records, told.would_pass, told.rules) == (3, 2, {"contract.v.type": 1})
    assert told.held == "rule once failed: 2 rows share id"
    assert feed.entries() == found
