"""What stands beside the records is pinned by the attempt, starts no batch, and is the same after a crash."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from publishing import failpoints
from publishing.lake import open_lake
from publishing.outcome import BatchOutcome
from publishing.run import run_pipeline
from publishing.verify import verify
from resources.engine import Engine
from tests.delta_rows import delta_dataset
from tests.promised_feed import DATED, NUMBER, Feed, pipeline_xml

SIDE = '<csv id="x" path="side/*.csv" schemaRef="schemas/s.json"/>'
SIDE_TABLE = '<hive table="staging.side" mode="merge" keys="id" orderBy="v"/>'
SOURCES = """<hive id="t" table="staging.feed" read="partition"/>
  <hive id="side" table="staging.side" read="full"/>"""
JOIN = '<join left="t" right="side" type="left" rightPrefix="side_" condition="t.id = side.id"/>'
TOKENS = '<mask source="t" columns="id" strategy="tokenize" secretRef="VAULT_KEY"/>'
COPY = '<hive table="standardization.copy" mode="append"/>'


class Killed(BaseException):
    """The end of a process, as nothing in it may catch it."""


@contextmanager
def killed_at(point: str, times: int = 1) -> Iterator[None]:
    """When the point is passed for that time, everything stops there."""
    passed = 0

    def reached(name: str) -> None:
        nonlocal passed
        passed += name == point
        if name == point and passed == times:
            raise Killed(name)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(failpoints, "reached", reached)
        with pytest.raises(Killed):
            yield


@pytest.fixture
def feed(tmp_path: Path, engine: Engine) -> Feed:
    found = Feed(tmp_path, engine)
    found.define(pattern=f"{DATED}.*", v=NUMBER)
    found._write("staging", "pipelines", "side.xml", pipeline_xml("side", "staging", SIDE, "", SIDE_TABLE))
    reader = pipeline_xml("reader", "standardization", SOURCES, JOIN + TOKENS, COPY)
    found._write("standardization", "pipelines", "reader.xml", reader)
    (found.settings.data / "side").mkdir()
    (found.settings.data / "secrets").mkdir()
    (found.settings.data / "secrets" / "VAULT_KEY").write_text("a key of more than sixteen bytes")
    found.land("20240105.csv", "id,v", "a,1", "b,2")
    found.run()
    beside(found, "1.csv", "a,10", "c,30")
    return found


def beside(feed: Feed, name: str, *lines: str) -> None:
    (feed.settings.data / "side" / name).write_text("".join(f"{line}\n" for line in ("id,v", *lines)))
    run(feed, "side")


def run(feed: Feed, name: str = "reader", reprocess: bool = False) -> list[BatchOutcome]:
    catalog = feed.catalog()
    pipeline = catalog.pipeline("app", name)
    assert pipeline is not None
    with open_lake(feed.settings, catalog, feed.engine) as lake:
        return list(run_pipeline(lake, pipeline, run_id="test", reprocess=reprocess).batches)


def rows(feed: Feed, table: str = "standardization.copy", *columns: str) -> list[tuple[Any, ...]]:
    chosen = list(columns or ("v", "side_v"))
    found = delta_dataset(feed.folder(table)).to_table(columns=chosen).to_pylist()
    return sorted((tuple(row.values()) for row in found), key=str)


def in_order(feed: Feed) -> None:
    with open_lake(feed.settings, feed.catalog(), feed.engine) as lake:
        assert verify(lake, feed.catalog()) == []


@pytest.mark.parametrize("point", ["attempt.opened", "manifest.written", "target.linked", "target.committed"])
def test_killed_and_run_again(feed: Feed, point: str) -> None:
    with killed_at(point):
        run(feed)
    (outcome,) = run(feed)
    assert (outcome.status, outcome.attempt, outcome.counts.accepted) == ("published", 1, 2)
    assert rows(feed) == [(1, 10), (2, None)]
    tokens = rows(feed, "vault.tokens", "token")
    assert len(tokens) == len(set(tokens)) == 2
    in_order(feed)


@pytest.mark.parametrize("point", ["attempt.opened", "manifest.written", "target.linked", "target.committed"])
def test_what_is_joined_moved_meanwhile(feed: Feed, point: str) -> None:
    with killed_at(point):
        run(feed)
    beside(feed, "2.csv", "a,11")
    (outcome,) = run(feed)
    assert (outcome.status, outcome.attempt, outcome.counts.accepted) == ("published", 2, 2)
    assert rows(feed) == [(1, 11), (2, None)]
    assert len(rows(feed, "vault.tokens", "token")) == 2
    in_order(feed)


def test_new_rows_beside_start_no_batch_and_a_reprocess_sees_them(feed: Feed) -> None:
    run(feed)
    beside(feed, "2.csv", "b,20")
    assert run(feed) == []
    assert rows(feed) == [(1, 10), (2, None)]
    (outcome,) = run(feed, reprocess=True)
    assert outcome.attempt == 2
    assert rows(feed) == [(1, 10), (2, 20)]
    in_order(feed)


def test_what_was_never_published_is_named_and_the_batch_waits(feed: Feed) -> None:
    reader = pipeline_xml("reader", "standardization", SOURCES.replace("staging.side", "staging.other"), JOIN, COPY)
    feed._write("standardization", "pipelines", "reader.xml", reader)
    other = pipeline_xml("other", "staging", SIDE.replace("side/", "other/"), "", SIDE_TABLE.replace(".side", ".other"))
    feed._write("staging", "pipelines", "other.xml", other)
    (outcome,) = run(feed)
    assert outcome.status == "failed"
    assert "app.staging.other was never published; run what writes it first" in str(outcome.reason)
    (feed.settings.data / "other").mkdir()
    (feed.settings.data / "other" / "1.csv").write_text("id,v\nb,7\n")
    run(feed, "other")
    (outcome,) = run(feed)
    assert outcome.status == "published"
    assert rows(feed) == [(1, None), (2, 7)]
    in_order(feed)


UNITED = """<select source="t" columns="id,v"/><select source="side" columns="id,v"/>
  <union sources="t,side" as="all"/>"""


def test_new_rows_of_any_source_that_drives_start_a_batch(feed: Feed) -> None:
    sources = SOURCES.replace('read="full"', 'read="partition"')
    zone = f'<csv id="x" landing="zone" pattern="side_{DATED}.*" schemaRef="schemas/s.json"/>'
    other = '<hive table="staging.other" mode="append"/>'
    feed._write("staging", "pipelines", "side.xml", pipeline_xml("side", "staging", zone, "", other))
    reader = pipeline_xml("reader", "standardization", sources.replace("staging.side", "staging.other"), UNITED, COPY)
    feed._write("standardization", "pipelines", "reader.xml", reader)
    feed.land("side_20240105.csv", "id,v", "x,7")
    run(feed, "side")
    (outcome,) = run(feed)
    assert (outcome.counts.in_, outcome.counts.accepted) == (3, 3)
    feed.land("side_20240105_b.csv", "id,v", "y,8")
    run(feed, "side")
    (outcome,) = run(feed)
    assert (outcome.business_date, outcome.counts.in_) == ("2024-01-05", 4)
    feed.land("side_20240106.csv", "id,v", "z,9")
    run(feed, "side")
    (outcome,) = run(feed)
    assert (outcome.business_date, outcome.counts.in_) == ("2024-01-06", 1)
    assert rows(feed, "standardization.copy", "id", "v") == [("a", 1), ("b", 2), ("x", 7), ("y", 8), ("z", 9)]
    assert run(feed) == []
    in_order(feed)
