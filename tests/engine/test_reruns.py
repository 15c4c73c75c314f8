"""A rerun that was seen to is asked for once, also by a ledger that was made again meanwhile."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from resources.engine import Engine
from sensors.rerun import reruns_in
from tests.ledger_rows import made_again, rebuilt
from tests.promised_feed import APPEND
from tests.steward_feed import StewardFeed

READER = "app/reader"


def test_a_ledger_made_again_knows_what_was_seen_to_and_counts_on(engine: Engine, tmp_path: Path) -> None:
    feed = StewardFeed(tmp_path, engine)
    feed.define(APPEND)
    feed.define_reader("partition")
    reruns = reruns_in(feed.settings, [READER])

    def asked() -> Mapping[str, Sequence[int]]:
        rebuilt(feed)
        return reruns.asked()

    feed.land("a.csv", "id,v", "a,1")
    feed.run()
    feed.run("reader")
    feed.run(reprocess=True)
    assert reruns.asked() == {READER: [1]}
    assert asked() == {READER: [1]}
    reruns.done({READER: 1})  # its run was asked for, and never began
    assert asked() == asked() == {}
    feed.run(reprocess=True)
    # Dagster's history has the run of number 1: a second number 1 would count as seen to.
    assert reruns.asked() == {READER: [2]}
    assert asked() == {READER: [2]}
    reruns.done({READER: 2})
    assert asked() == {}
    feed.unpublish("a.csv")
    assert list(reruns.asked()[READER]) == [3]
    feed.run("reader")
    made_again(feed)
