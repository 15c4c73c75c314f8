"""Rejected records of tables that come together are corrected and come back, whichever table they came from."""

from __future__ import annotations

from pathlib import Path

import pytest

from resources.engine import Engine
from tests.promised_feed import DATED, NUMBER, pipeline_xml
from tests.steward_feed import StewardFeed

OTHER = f'<csv id="x" landing="zone" pattern="other_{DATED}.*" schemaRef="schemas/s.json"/>'
SOURCES = """<hive id="t" table="staging.feed" read="partition"/>
  <hive id="o" table="staging.other" read="partition"/>"""
POSITIVE = '<filter source="all" condition="v &gt; 0"/>'
COPY = '<hive table="standardization.copy" mode="append"/>'
RENAMED = '<rename source="t" columns="id=key"/><rename source="o" columns="id=key"/>'
UNION = f'{RENAMED}<union sources="t,o" as="all"/>{POSITIVE}'
MERGE = f'<merge sources="t,o" keys="id" as="all"/>{POSITIVE}'


@pytest.fixture
def feed(engine: Engine, tmp_path: Path) -> StewardFeed:
    found = StewardFeed(tmp_path, engine)
    found.define(pattern=f"feed_{DATED}.*", v=NUMBER)
    table = '<hive table="staging.other" mode="append"/>'
    found._write("staging", "pipelines", "other.xml", pipeline_xml("other", "staging", OTHER, "", table))
    found.land("feed_20240105.csv", "id,v", "a,1", "b,-2")
    found.land("other_20240105.csv", "id,v", "x,7", "y,-8", "b,5")
    return found


def united(feed: StewardFeed, steps: str) -> None:
    feed._write("standardization", "pipelines", "reader.xml",
                pipeline_xml("reader", "standardization", SOURCES, steps, COPY))  # fmt: skip
    for name in ("feed", "other", "reader"):
        feed.run(name)


def test_a_corrected_record_of_either_source_comes_back(feed: StewardFeed) -> None:
    united(feed, UNION)
    assert feed.rows("standardization.copy", "key", "v") == [("a", 1), ("b", 5), ("x", 7)]
    assert feed.states("reader") == {"feed_20240105.csv:2": "open", "other_20240105.csv:2": "open"}
    feed.decide({"other_20240105.csv:2": {"v": "8"}}, name="reader")
    (done,) = feed.replay("reader")
    assert (done.attempt, done.counts.in_, done.counts.accepted, done.counts.quarantined) == (2, 5, 4, 1)
    assert feed.rows("standardization.copy", "key", "v") == [("a", 1), ("b", 5), ("x", 7), ("y", 8)]
    assert feed.states("reader") == {"feed_20240105.csv:2": "open", "other_20240105.csv:2": "resolved"}
    feed.decide({"feed_20240105.csv:2": {"v": "2"}}, name="reader")
    feed.replay("reader")
    assert feed.rows("standardization.copy", "key", "v") == [("a", 1), ("b", 2), ("b", 5), ("x", 7), ("y", 8)]
    assert set(feed.states("reader").values()) == {"resolved"}


def test_a_correction_lets_another_record_win(feed: StewardFeed) -> None:
    """The first source's -2 wins over 5 and is rejected; corrected, it is accepted and the other still lost."""
    united(feed, MERGE)
    assert feed.rows("standardization.copy", "id", "v") == [("a", 1), ("x", 7)]
    assert feed.counts("reader")[0]["deduplicated"] == 1
    feed.decide({"feed_20240105.csv:2": {"v": "2"}}, name="reader")
    (done,) = feed.replay("reader")
    assert (done.attempt, done.counts.accepted, done.counts.deduplicated, done.counts.quarantined) == (2, 3, 1, 1)
    assert feed.rows("standardization.copy", "id", "v") == [("a", 1), ("b", 2), ("x", 7)]
