"""The ledger's row of a batch in quarantine says what its table says."""

from __future__ import annotations

from pathlib import Path

import pytest
from sqlalchemy import select

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
