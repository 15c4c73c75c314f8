"""Two runs of one pipeline at once, a retry beside the first, a definition changed between a crash and the retry.

The docstring of each test is a line of docs/reliability.md: what happens, an empty line, what comes of it.
"""

from __future__ import annotations

import signal
import time
from pathlib import Path

import pytest
from sqlalchemy import select

from publishing.lake import open_lake
from publishing.ledger import Batch
from tests.faults.children import NO_ENGINE, Child, feed_at, run, some, start
from tests.promised_feed import APPEND, MERGE, NUMBER, Feed

LIMIT = {**NUMBER, "minimum": 2}


def lines(feed: Feed, name: str, *ids: str) -> None:
    feed.land(name, "id,v", *(f"{i},{position}" for position, i in enumerate(ids, 1)))


def waits(child: Child, seconds: float = 0.5) -> None:
    """It neither ends nor computes: it is asleep before the first look."""
    time.sleep(seconds)
    assert child.process.is_alive()
    assert child.state == "S"


def batches(feed: Feed) -> list[tuple[str, int]]:
    with open_lake(feed.settings, feed.catalog(), NO_ENGINE) as lake, lake.ledger.read() as session:
        found = session.execute(select(Batch.status, Batch.attempt).order_by(Batch.arrival)).all()
        return [(status, attempt) for status, attempt in found]


@pytest.mark.parametrize("target", [APPEND, MERGE])
def test_same_files(tmp_path: Path, target: str) -> None:
    """Two runs of one pipeline start at once over the same files

    one takes the files, the other waits for it and finds nothing to do; each record is in the target once
    """
    feed = feed_at(tmp_path)
    feed.define(target)
    lines(feed, "a.csv", "a", "b")
    lines(feed, "b.csv", "c")
    both = [start(feed), start(feed)]
    found = sorted(len(child.ended()) for child in both)
    assert found == [0, 1]
    assert feed.rows("staging.feed", "id") == ["a", "b", "c"]
    assert batches(feed) == [("published", 1)]


def test_overlapping_sets(tmp_path: Path) -> None:
    """The second run starts while the first is between its claim and its commit, and another file has come meanwhile

    the second waits, then takes the new file only; each record is in the target once
    """
    feed = feed_at(tmp_path)
    feed.define()
    lines(feed, "a.csv", "a", "b")
    first = start(feed, at="claim.persisted", by=signal.SIGSTOP)
    first.held()
    lines(feed, "b.csv", "c")
    second = start(feed)
    waits(second)
    first.go_on()
    assert [b["counts"]["accepted"] for b in first.ended()] == [2]
    assert [b["counts"]["accepted"] for b in second.ended()] == [1]
    assert feed.rows("staging.feed", "id") == ["a", "b", "c"]


def test_other_files(tmp_path: Path) -> None:
    """Two runs at once, one of them with a file that came after the other had looked

    both publish what they claimed, in two batches; each record is in the target once
    """
    feed = feed_at(tmp_path)
    feed.define(MERGE)
    lines(feed, "a.csv", "a", "b")
    first = start(feed, at="merge.contested", by=signal.SIGSTOP)
    first.held()
    lines(feed, "b.csv", "b", "a")
    second = start(feed)
    waits(second)
    first.go_on()
    first.ended()
    second.ended()
    assert feed.rows("staging.feed", "id", "v") == [("a", 2), ("b", 2)]
    assert batches(feed) == [("published", 1), ("published", 1)]


@pytest.mark.parametrize("point", ["manifest.written", "quarantine.committed", "target.committed", "outcome.journaled"])
def test_retry_while_the_first_still_runs(tmp_path: Path, point: str) -> None:
    """A retry starts while the run that it repeats is still in the middle of its commits

    it waits until the first lets go, also when that one is killed there; then it ends the same attempt once
    """
    for killed in (False, True):
        feed = feed_at(tmp_path / str(killed))
        feed.define(APPEND, v=LIMIT)
        lines(feed, "a.csv", "a", "b", "c")
        first = start(feed, at=point, by=signal.SIGSTOP)
        first.held()
        retry = start(feed)
        waits(retry, 0.2)
        if killed:
            first.kill()
            assert [b["counts"]["accepted"] for b in retry.ended()] == [2]
        else:
            first.go_on()
            assert [b["counts"]["accepted"] for b in first.ended()] == [2]
            assert retry.ended() == []
        assert feed.rows("staging.feed", "id") == ["b", "c"]
        assert feed.rows("exceptions.feed", "source_record", "state") == [(1, "open")]
        assert batches(feed) == [("published", 1)]


def test_definition_changed_between_crash_and_retry(tmp_path: Path) -> None:
    """The definition changes between a crash, at each failpoint in turn, and the retry

    the retry is a new attempt under the new definition, and its rows replace those of the old; only what the ledger
    had called ended stays as it was
    """

    def defined(folder: str, least: int) -> Feed:
        feed = feed_at(tmp_path / folder)
        feed.define(APPEND, v={**NUMBER, "minimum": least})
        return feed

    feed = defined("undisturbed", 2)
    lines(feed, "a.csv", "a", "b", "c")
    points = start(feed).passed()
    for point in some(points):
        feed = defined(point, 2)
        lines(feed, "a.csv", "a", "b", "c")
        assert start(feed, at=point).code() == -signal.SIGKILL, point
        defined(point, 3)
        again = run(feed)
        ended = points.index(point) >= points.index("ledger.ended")
        # Nothing of an attempt is there before it is opened: then it is the first under the new definition.
        opened = points.index(point) >= points.index("attempt.opened")
        assert [(b["status"], b["counts"]["accepted"]) for b in again] == ([] if ended else [("published", 1)]), point
        assert batches(feed) == [("published", 2 if opened and not ended else 1)], point
        assert feed.rows("staging.feed", "id") == (["b", "c"] if ended else ["c"]), point
        rejected = feed.rows("exceptions.feed", "source_record", "state")
        assert rejected == ([(1, "open")] if ended else [(1, "open"), (2, "open")]), point


@pytest.mark.parametrize("point", ["merge.contested", "merge.committed", "export.written", "export.published"])
def test_step_changed_between_crash_and_retry(tmp_path: Path, point: str) -> None:
    """A step of the definition changes between a crash in a merge or in an export and the retry

    table and export both have the rows of the new definition, and no part of the old export is left
    """
    feed = feed_at(tmp_path)

    def derived(more: int) -> None:
        steps = f'<derive source="s"><column name="w" expression="v + {more}"/></derive>'
        feed.define(MERGE + '<csv path="exports/feed" mode="append"/>', steps)

    derived(1)
    lines(feed, "a.csv", "a", "b")
    assert start(feed, at=point).code() == -signal.SIGKILL
    derived(10)
    (batch,) = run(feed)
    assert (batch["status"], batch["attempt"], batch["counts"]["accepted"]) == ("published", 2, 2)
    assert feed.rows("staging.feed", "id", "w") == [("a", 11), ("b", 12)]
    (part,) = feed.folder("exports").joinpath("feed").glob("part-*")
    assert sorted(part.read_text().splitlines()[1:]) == ['"a",1,11', '"b",2,12']
