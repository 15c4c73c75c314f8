"""The same records, split over files and batches in whatever way, with copies sent again, give the same table.

A record is (id, v, n): `id` the key, `v` what orders, `n` its own number, so that no two files are alike by chance.
A delivery is a file with the records in it; deliveries are grouped into runs, and a run's files of one business date
are one batch. What must come of them is worked out beside, in a few lines without the product.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from publishing.outcome import BatchOutcome
from publishing.verify import verify
from resources.engine import Engine
from stewardship import batch_decisions
from tests.promised_feed import APPEND, DATED, NUMBER, TEXT, Feed
from tests.steward_feed import APPROVER, StewardFeed

Record = tuple[str, int, int]
Runs = list[list[list[Record]]]  # runs of files of records
OVERWRITE = '<hive table="staging.feed" mode="overwrite"/>'
MERGE = '<hive table="staging.feed" mode="merge" keys="id" orderBy="v"/>'
few = settings(
    max_examples=6,
    deadline=None,
    derandomize="CI" in os.environ,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],  # each example has its own lake
)
on_sail = pytest.mark.parametrize("engine", ["sail"], indirect=True)


@st.composite
def record_lists(draw: st.DrawFn, unique_order: bool) -> list[Record]:
    """Up to ten records of three keys; `v` unique within a key, or with many ties."""
    pairs = st.tuples(st.sampled_from("abc"), st.integers(0, 9 if unique_order else 2))
    drawn = draw(st.lists(pairs, min_size=2, max_size=10, unique=unique_order))
    return [(key, order, number) for number, (key, order) in enumerate(drawn)]


@st.composite
def splits(draw: st.DrawFn, records: Sequence[Record]) -> Runs:
    """The records in their order, cut into files, the files cut into runs."""
    files: list[list[Record]] = [[]]
    for record in records:
        if files[-1] and draw(st.booleans()):
            files.append([])
        files[-1].append(record)
    runs: Runs = [[]]
    for file in files:
        if runs[-1] and draw(st.booleans()):
            runs.append([])
        runs[-1].append(file)
    return runs


def delivered(feed: Feed, runs: Runs, copies: Sequence[bool], backwards: bool = False) -> list[BatchOutcome]:
    """Lands and runs; after some files a copy lands too: under a name of its own, or sent again in the next run.

    With `backwards` the names of a run's files are in the other order, and so are their arrivals.
    """
    outcomes, number = [], 0
    for position, files in enumerate(runs):
        for place, file in enumerate(files):
            named = len(files) - place if backwards else place
            lines = [f"{key},{order},{own}" for key, order, own in file]
            feed.land(f"f{position:02d}{named:02d}_20240101.csv", "id,v,n", *lines)
            if copies[number % len(copies)]:
                feed.land(f"z{position:02d}{named:02d}_20240101.csv", "id,v,n", *lines)
            number += 1
        outcomes += feed.run()
    if any(copies):
        feed.land("again_20240101.csv", "id,v,n", *[f"{k},{v},{n}" for k, v, n in runs[0][0]])
        again = feed.run()
        assert [f.status for b in again for f in b.files] == ["duplicate"]
    return outcomes


def closes(outcomes: Sequence[BatchOutcome], records: int) -> None:
    """Every equation, of batches and files; and each record was in one of them."""
    batches = [b for b in outcomes if b.batch]
    for batch in batches:
        assert batch.status == "published"
        assert batch.counts.closes
        assert all(file.counts.closes for file in batch.files)
        assert sum(file.counts.in_ for file in batch.files) == batch.counts.in_
    assert sum(batch.counts.in_ for batch in batches) == records


def merged(runs: Runs) -> tuple[list[Record], list[tuple[int, int]]]:
    """(the rows of a merge target, (accepted, superseded) of each batch) by the rule: v, then arrival, then number."""
    stands: dict[str, tuple[int, int, int, Record]] = {}
    counts, arrival = [], 0
    for files in runs:
        fresh = []
        for file in files:
            arrival += 1
            fresh += [(r[1], arrival, place, r) for place, r in enumerate(file)]
        before = dict(stands)
        for each in fresh:
            stands[each[3][0]] = max(each, stands.get(each[3][0], each))
        accepted = sum(1 for key, each in stands.items() if before.get(key) != each)
        counts.append((accepted, len(fresh) - accepted))
    return sorted(each[3] for each in stands.values()), counts


class Roots:
    """A lake of its own for each example."""

    def __init__(self, folder: Path, engine: Engine) -> None:
        self.folder, self.engine, self.made = folder, engine, 0

    def feed(self, targets: str, **more: Any) -> StewardFeed:
        self.made += 1
        feed = StewardFeed(self.folder / str(self.made), self.engine)
        self.define(feed, targets, **more)
        return feed

    def define(self, feed: Feed, targets: str, **more: Any) -> None:
        feed.define(targets, pattern=f".*_{DATED}.csv", id=TEXT, v=NUMBER, n=NUMBER, **more)


@pytest.fixture
def roots(engine: Engine, tmp_path_factory: pytest.TempPathFactory) -> Roots:
    return Roots(tmp_path_factory.mktemp("splits"), engine)


any_copies = st.lists(st.booleans(), min_size=1, max_size=4)


@on_sail
@few
@given(data=st.data(), copies=any_copies)
def test_merge_in_the_order_of_arrival(roots: Roots, data: st.DataObject, copies: list[bool]) -> None:
    """With many ties in orderBy: any split of the records in their order is the same table."""
    records = data.draw(record_lists(unique_order=False))
    runs = data.draw(splits(records))
    feed = roots.feed(MERGE)
    outcomes = delivered(feed, runs, copies)
    closes(outcomes, len(records))
    rows, counts = merged(runs)
    assert feed.rows("staging.feed", "id", "v", "n") == rows == merged([[records]])[0]
    assert [(b.counts.accepted, b.counts.superseded) for b in outcomes if b.batch] == counts


@on_sail
@few
@given(data=st.data(), copies=any_copies, backwards=st.booleans())
def test_merge_in_any_order(roots: Roots, data: st.DataObject, copies: list[bool], backwards: bool) -> None:
    """With orderBy unique within a key: any order of the records and of the files is the same table."""
    records = data.draw(record_lists(unique_order=True))
    runs = data.draw(st.permutations(records).flatmap(lambda order: splits(order)))
    feed = roots.feed(MERGE)
    closes(delivered(feed, runs, copies, backwards), len(records))
    assert feed.rows("staging.feed", "id", "v", "n") == merged([[records]])[0]


@on_sail
@few
@given(data=st.data(), copies=any_copies, backwards=st.booleans(), again=st.booleans())
def test_append(roots: Roots, data: st.DataObject, copies: list[bool], backwards: bool, again: bool) -> None:
    """Each record once, however it was split, and also after everything is reprocessed."""
    records = data.draw(record_lists(unique_order=False))
    feed = roots.feed(APPEND)
    outcomes = delivered(feed, data.draw(splits(records)), copies, backwards)
    closes(outcomes, len(records))
    if again:
        closes(feed.run(reprocess=True), len(records))
    assert feed.rows("staging.feed", "id", "v", "n") == sorted(records)


@on_sail
@few
@given(data=st.data())
def test_merge_reprocessed_in_another_order(roots: Roots, data: st.DataObject) -> None:
    """The order turned round by a new definition: what had lost may win, whichever batch it is of."""
    records = data.draw(record_lists(unique_order=False))
    runs = data.draw(splits(records))
    steps = '<derive source="s"><column name="rank" expression="cast({} as bigint)"/></derive>'
    ranked = MERGE.replace('orderBy="v"', 'orderBy="rank"')
    feed = roots.feed(ranked, steps=steps.format("v"))
    delivered(feed, runs, [False])
    roots.define(feed, ranked, steps=steps.format("2 - v"))
    outcomes = feed.run(reprocess=True)
    with feed.open() as (lake, pipeline):
        for held in [b for b in outcomes if b.status == "held"]:
            waived = {"rebuild_needed": "known"}
            batch_decisions.release(lake, pipeline, APPROVER, held.key, waived, "another order")
    assert {b.status for b in feed.run()} <= {"published"}
    turned = [[[(key, 2 - v, n) for key, v, n in file] for file in files] for files in runs]
    expected = [(key, 2 - v, n) for key, v, n in merged(turned)[0]]
    assert feed.rows("staging.feed", "id", "v", "n") == sorted(expected)
    counts = feed.counts()
    assert sum(c["accepted"] for c in counts) == len(expected)
    assert sum(c["accepted"] + c["superseded"] for c in counts) == len(records)
    with feed.open() as (lake, _):
        assert verify(lake, feed.catalog()) == []


@on_sail
@few
@given(data=st.data(), copies=any_copies, again=st.booleans())
def test_overwrite(roots: Roots, data: st.DataObject, copies: list[bool], again: bool) -> None:
    """The snapshot that arrived last stands alone, whatever came before it, in however many runs, and after copies."""
    records = data.draw(record_lists(unique_order=False))
    runs = data.draw(splits(records))
    feed = roots.feed(OVERWRITE, snapshot=True)
    outcomes = delivered(feed, runs, copies)
    closes(outcomes, len(records))
    if again:
        assert {b.status for b in feed.run(reprocess=True)} <= {"published"}
    assert feed.rows("staging.feed", "id", "v", "n") == sorted(runs[-1][-1])
