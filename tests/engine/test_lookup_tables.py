"""Lookups in lake tables: the version is pinned, a key that is there twice is an error, what was missing comes back."""

from __future__ import annotations

from pathlib import Path

import pytest
from sqlalchemy import select

from pipeline_xml.load import check_path
from processing.transformations import registry
from publishing.ledger import Attempt, Batch
from publishing.verify import verify
from resources.engine import Engine
from tests.promised_feed import DATED, NUMBER, TEXT, pipeline_xml
from tests.steward_feed import StewardFeed

SIDE = '<csv id="x" path="side/*.csv" schemaRef="schemas/side.json"/>'
MERGED = '<hive table="staging.side" mode="merge" keys="code" orderBy="name"/>'
APPENDED = '<hive table="staging.side" mode="append"/>'
LOOKUP = '<lookup source="s" reference="staging.side" on="id=code" outputFields="name" {}/>'


@pytest.fixture
def feed(tmp_path: Path, engine: Engine) -> StewardFeed:
    found = StewardFeed(tmp_path, engine)
    define(found, MERGED, 'onMissing="quarantine"')
    (found.settings.data / "side").mkdir()
    return found


def define(feed: StewardFeed, side: str, missing: str) -> None:
    feed.define(steps=LOOKUP.format(missing), pattern=f"{DATED}.*", v=NUMBER)
    feed._write("staging", "schemas", "side.json", '{"type": "object", "properties": {"code": {"type": ["string", '
                '"null"]}, "name": {"type": "string"}}}')  # fmt: skip
    feed._write("staging", "pipelines", "side.xml", pipeline_xml("side", "staging", SIDE, "", side))


def beside(feed: StewardFeed, name: str, *lines: str) -> None:
    (feed.settings.data / "side" / name).write_text("".join(f"{line}\n" for line in ("code,name", *lines)))
    assert {b.status for b in feed.run("side")} == {"published"}


def counts(outcome: object) -> dict[str, int]:
    return {k: v for k, v in outcome.counts.as_dict().items() if v}  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("missing", "told", "found"),
    [
        ('onMissing="quarantine"', {"in": 3, "accepted": 2, "quarantined": 1}, [("a", "A"), ("b", "B")]),
        ('joinType="inner"', {"in": 3, "accepted": 2, "filtered": 1}, [("a", "A"), ("b", "B")]),
        ("", {"in": 3, "accepted": 3}, [("a", "A"), ("b", "B"), ("z", None)]),
    ],
)
def test_what_is_not_in_the_table_is_told(
    feed: StewardFeed, missing: str, told: dict[str, int], found: list[tuple[str, str | None]]
) -> None:
    define(feed, MERGED, missing)
    beside(feed, "1.csv", "a,A", "b,B", "c,C")
    feed.land("20240105.csv", "id,v", "a,1", "b,2", "z,3")
    (batch,) = feed.run()
    assert counts(batch) == told
    assert feed.rows("staging.feed", "id", "name") == found
    assert feed.run() == []


def test_the_version_is_pinned_and_the_next_attempt_reads_the_next(feed: StewardFeed) -> None:
    beside(feed, "1.csv", "a,A")
    feed.land("20240105.csv", "id,v", "a,1", "z,3")
    feed.run()
    assert {k: v["errors"][0]["rule"] for k, v in feed.entries().items()} == {"20240105.csv:2": "lookup.staging.side"}
    beside(feed, "2.csv", "a,AA", "z,Z")
    assert feed.run() == []  # new rows beside start no batch
    assert feed.rows("staging.feed", "id", "name") == [("a", "A")]
    (batch,) = feed.run(reprocess=True)
    assert counts(batch) == {"in": 2, "accepted": 2}
    assert feed.rows("staging.feed", "id", "name") == [("a", "AA"), ("z", "Z")]
    assert feed.states() == {"20240105.csv:2": "resolved"}
    with feed.open() as (lake, _), lake.ledger.read() as session:
        own = select(Attempt.references).join(Batch).where(Batch.pipeline == "app/feed").order_by(Attempt.number)
        pins = [each["table:app.staging.side"] for each in session.scalars(own)]
        assert len(set(pins)) == 2
        assert verify(lake, lake.catalog) == []


def test_a_corrected_key_is_looked_up_again(feed: StewardFeed) -> None:
    beside(feed, "1.csv", "a,A", "b,B")
    feed.land("20240105.csv", "id,v", "a,1", "z,3")
    feed.run()
    feed.decide({"20240105.csv:2": {"id": "b"}})
    feed.replay()
    assert feed.rows("staging.feed", "id", "name") == [("a", "A"), ("b", "B")]
    assert feed.states() == {"20240105.csv:2": "replayed"}


def test_a_key_that_is_there_twice_is_an_error_and_no_key_is_none(feed: StewardFeed) -> None:
    define(feed, APPENDED, "")
    beside(feed, "1.csv", "a,A", ",N", ",M")
    feed.land("20240105.csv", "id,v", "a,1")
    assert [b.status for b in feed.run()] == ["published"]
    beside(feed, "2.csv", "a,AA")
    feed.land("20240106.csv", "id,v", "a,2")
    (batch,) = feed.run()
    assert batch.status == "failed"
    assert batch.reason is not None
    assert "app.staging.side is looked up by (code), and 1 of these keys occur more than once" in batch.reason
    assert feed.rows("staging.feed", "v") == [1]
    define(feed, MERGED.replace("staging.side", "staging.sole"), "")
    feed.define(steps=LOOKUP.format("").replace("staging.side", "staging.sole"), pattern=f"{DATED}.*", v=NUMBER)
    assert {b.status for b in feed.run("side", reprocess=True)} == {"published"}  # no code is no merge key
    assert [b.status for b in feed.run()] == ["published"]
    assert feed.rows("staging.feed", "v", "name") == [(1, "A"), (2, "AA")]


def test_a_table_that_was_never_published_cannot_be_looked_up_in(feed: StewardFeed) -> None:
    feed.land("20240105.csv", "id,v", "a,1")
    (batch,) = feed.run()
    assert batch.status == "failed"
    assert batch.reason is not None and "app.staging.side, which was never published" in batch.reason


def test_what_the_check_says(feed: StewardFeed) -> None:
    def codes() -> list[str]:
        return sorted(each.code for each in check_path(feed.settings.config, registry()) if each.severity == "error")

    assert codes() == []
    feed.define(steps=LOOKUP.format("").replace("staging.side", "staging.nowhere"), v=NUMBER)
    assert codes() == ["LK112"]
    feed.define(steps=LOOKUP.format("").replace("=code", "=kode"), v=NUMBER)
    assert codes() == ["LK204"]
    feed.define(steps=LOOKUP.format("").replace("staging.side", "side.side"), v=NUMBER)
    assert codes() == ["LK110"]
    feed.define(steps=LOOKUP.format("").replace("staging.side", "staging.feed"), code=TEXT, name=TEXT)
    assert "LK111" in codes()
    service = pipeline_xml("top", "service", '<hive id="x" table="staging.side"/>', "",
                           '<hive table="service.top" mode="merge" keys="code"/>')  # fmt: skip
    feed._write("service", "pipelines", "top.xml", service)
    feed.define(steps=LOOKUP.format("").replace("staging.side", "service.top"), v=NUMBER)
    assert codes() == ["LK106"]
