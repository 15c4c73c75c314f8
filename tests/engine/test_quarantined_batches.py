"""The ledger's row of a batch in quarantine says what its table says."""

from __future__ import annotations

from pathlib import Path

import pytest
from sqlalchemy import select

from publishing import failpoints
from publishing.decisions import QuarantinedBatch
from publishing.lake import open_lake
from publishing.quarantined import refresh, refresh_all
from resources.engine import Engine
from tests.promised_feed import Feed


@pytest.fixture
def feed(tmp_path: Path, engine: Engine) -> Feed:
    made = Feed(tmp_path, engine)
    made.define(v={"type": "integer", "minimum": 10}, w={"type": "integer"})
    return made


def rows(feed: Feed) -> list[QuarantinedBatch]:
    with open_lake(feed.settings, feed.catalog(), feed.engine) as lake:
        refresh_all(lake, "app/feed")
        with lake.ledger.read() as session:
            return list(session.scalars(select(QuarantinedBatch).order_by(QuarantinedBatch.key)))


def test_counts_by_state_and_by_rule(feed: Feed) -> None:
    feed.land("one.csv", "id,v,w", "a,10,1", "b,1,1", "c,1,y", ",10,1")
    (outcome,) = feed.run()
    (row,) = rows(feed)
    assert (row.batch_id, row.key, row.records, row.open) == (outcome.batch, outcome.key, 3, 3)
    assert row.states == {"open": 3}
    assert row.rules == {"contract.v.minimum": 2, "contract.w.type": 1, "contract.id.required": 1}
    first = row.quarantined_at

    feed.define(v={"type": "integer"}, w={"type": "integer"})
    feed.run(reprocess=True)
    (row,) = rows(feed)
    assert row.states == {"open": 2, "resolved": 1}
    assert (row.open, row.rules) == (2, {"contract.w.type": 1, "contract.id.required": 1})
    assert row.quarantined_at == first, "a reprocess starts no new deadline"


def test_a_batch_without_entries_has_no_row(feed: Feed) -> None:
    feed.land("one.csv", "id,v,w", "a,10,1")
    (outcome,) = feed.run()
    with open_lake(feed.settings, feed.catalog(), feed.engine) as lake:
        refresh(lake, "app/feed", outcome.batch)
    assert rows(feed) == []


@pytest.mark.parametrize("killed", [True, False])
def test_what_a_run_left_uncounted_is_counted_by_the_next(
    feed: Feed, monkeypatch: pytest.MonkeyPatch, killed: bool
) -> None:
    class Crash(BaseException):
        pass

    def dies(name: str) -> None:
        if name == "ledger.ended":
            raise Crash

    def stored() -> list[dict[str, int]]:
        with open_lake(feed.settings, feed.catalog(), feed.engine) as lake, lake.ledger.read() as session:
            return list(session.scalars(select(QuarantinedBatch.states)))

    feed.land("one.csv", "id,v,w", "a,10,1", "b,1,1")
    with monkeypatch.context() as patch:
        patch.setattr(failpoints, "reached", dies)
        if killed:  # nothing of the run's end is written
            patch.setattr("publishing.ops._end", lambda *given: None)
        with pytest.raises(Crash):
            feed.run()
    assert stored() == []
    assert feed.run() == []
    assert stored() == [{"open": 1}]


def test_only_what_differs_is_counted_again(feed: Feed) -> None:
    for name in ("one", "two"):
        feed.land(f"{name}.csv", "id,v,w", f"{name},10,1", "b,1,1")
    done = feed.run()
    with open_lake(feed.settings, feed.catalog(), feed.engine) as lake:
        with lake.ledger.write() as session:
            session.get_one(QuarantinedBatch, done[0].batch).states = {"open": 7}
        assert refresh_all(lake, "app/feed") == [done[0].batch]
        assert refresh_all(lake, "app/feed") == []
