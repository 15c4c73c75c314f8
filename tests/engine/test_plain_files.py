"""Tables of Parquet or ORC files: a folder a business date, its manifest names what counts, another reader sees it."""

from __future__ import annotations

import json
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow.orc as orc
import pyarrow.parquet as pq
import pytest
from sqlalchemy import select

from publishing import failpoints
from publishing.lake import open_lake
from publishing.ledger import Batch
from publishing.verify import verify
from resources.engine import Engine
from stewardship import batch_decisions
from tests.promised_feed import DATED, NUMBER, Feed
from tests.steward_feed import APPROVER, StewardFeed

READERS = {"parquet": pq.read_table, "orc": orc.read_table}
PATTERN = f"{DATED}.*\\.csv"
MONEY = {"type": "number", "x-type": "decimal(10,2)"}


@pytest.fixture
def feed(tmp_path: Path, engine: Engine) -> Feed:
    return Feed(tmp_path, engine)


def target(form: str, mode: str) -> str:
    return f'<hive table="staging.feed" format="{form}" mode="{mode}" partitionBy="_business_date"/>'


def rows(feed: Feed, form: str, day: str) -> list[dict[str, Any]]:
    """What the parts that the manifest names hold; nothing else may lie there."""
    folder = feed.folder("staging.feed") / f"_business_date={day}"
    parts = json.loads((folder / "_manifest.json").read_text())["parts"]
    assert {p.name for p in folder.iterdir()} == {"_manifest.json", *(part["file"] for part in parts)}
    found = [READERS[form](folder / part["file"]) for part in parts]
    assert [str(t) for t in found[0].schema.types] == ["string", "int32", "decimal128(10, 2)"]
    return sorted((row for table in found for row in table.to_pylist()), key=str)


def row(name: str, v: int | None, m: str | None = None) -> dict[str, Any]:
    return {"id": name, "v": v, "m": Decimal(m) if m else None}


def differences(feed: Feed) -> list[Any]:
    with open_lake(feed.settings, feed.catalog(), feed.engine) as lake:
        return list(verify(lake, feed.catalog()))


@pytest.mark.parametrize("form", READERS)
def test_parts_are_added_and_replaced_by_their_batch(feed: Feed, form: str) -> None:
    feed.define(target(form, "append"), pattern=PATTERN, v=NUMBER, m=MONEY)
    feed.land("20240105_a.csv", "id,v,m", "a,1,1.10", "b,,2", "c,x,3")
    (outcome,) = feed.run()
    assert [(t.kind, t.name, t.rows_written) for t in outcome.targets] == [(form, "app/staging/feed", 2)]
    feed.land("20240105_b.csv", "id,v,m", "d,4,")
    feed.land("20240106_c.csv", "id,v,m", "e,5,")
    feed.run()
    assert rows(feed, form, "2024-01-05") == [row("a", 1, "1.10"), row("b", None, "2.00"), row("d", 4)]
    assert rows(feed, form, "2024-01-06") == [row("e", 5)]
    feed.run(reprocess=True)
    assert rows(feed, form, "2024-01-05") == [row("a", 1, "1.10"), row("b", None, "2.00"), row("d", 4)]
    assert differences(feed) == []


@pytest.mark.parametrize("form", READERS)
def test_an_overwrite_replaces_the_date_even_by_nothing(feed: Feed, form: str) -> None:
    feed.define(target(form, "overwrite"), pattern=PATTERN, snapshot=True, v=NUMBER, m=MONEY)
    feed.land("20240105_a.csv", "id,v,m", "a,1,", "b,2,")
    feed.run()
    feed.land("20240105_b.csv", "id,v,m", "z,26,")
    feed.run()
    assert rows(feed, form, "2024-01-05") == [row("z", 26)]
    feed.land("20240105_c.csv", "id,v,m")
    feed.run()
    assert rows(feed, form, "2024-01-05") == []
    assert differences(feed) == []


class Killed(BaseException):
    """As a crash: nothing catches it."""


@pytest.mark.parametrize("mode", ["append", "overwrite"])
@pytest.mark.parametrize("form", READERS)
def test_a_crash_around_an_export_ends_as_no_crash(
    engine: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, form: str, mode: str
) -> None:
    for point in ("manifest.written", "export.written", "export.published", "outcome.journaled", "ledger.ended"):
        feed = Feed(tmp_path / point, engine)
        feed.define(target(form, mode), pattern=PATTERN, snapshot=mode == "overwrite", v=NUMBER, m=MONEY)
        feed.land("20240105_a.csv", "id,v,m", "a,1,1.10", "b,x,2")
        feed.run()
        feed.land("20240105_b.csv", "id,v,m", "d,4,", "e,y,1")

        def dies(name: str, at: str = point) -> None:
            if name == at:
                raise Killed

        with monkeypatch.context() as patch, pytest.raises(Killed):
            patch.setattr(failpoints, "reached", dies)
            feed.run()
        feed.run()
        stands = [row("d", 4)] if mode == "overwrite" else [row("a", 1, "1.10"), row("d", 4)]
        assert rows(feed, form, "2024-01-05") == stands, point
        assert differences(feed) == [], point


def exported(feed: Feed) -> list[str]:
    """The ids in every part that a reader's target holds, sorted."""
    found = []
    for part in (feed.settings.application_data / "app").rglob("part-*"):
        if part.suffix == ".orc":
            found += orc.read_table(part)["id"].to_pylist()
        if part.suffix == ".csv":
            found += [line.split(",")[0].strip('"') for line in part.read_text().splitlines()[1:]]
    return sorted(found)


@pytest.mark.parametrize(
    "target", ['<csv path="out" mode="append"/>', '<hive table="standardization.copy" format="orc" mode="append"/>']
)
@pytest.mark.parametrize("read", ["partition", "full"])
def test_a_table_that_is_read_whole_again_is_exported_once(
    engine: Engine, tmp_path: Path, target: str, read: str
) -> None:
    """The part of the earlier reading gives way to the newer one, and comes back when that is taken back."""
    feed = StewardFeed(tmp_path, engine)
    feed.define(pattern=f".*_{DATED}.csv")
    feed.define_reader(read, target, '<filter source="t" condition="v &lt; 9"/>')
    for name, lines in (("a_20240101", ("a,1", "x,10")), ("b_20240102", ("b,1",)), ("c_20240101", ("c,1",))):
        feed.land(f"{name}.csv", "id,v", *lines)
        feed.run()
        feed.run("reader")
    assert exported(feed) == ["a", "b", "c"]
    feed.decide({"a_20240101.csv:2": {"v": "2"}}, name="reader")
    feed.replay("reader")
    assert exported(feed) == ["a", "b", "c", "x"]
    feed.run("reader", reprocess=True)
    assert exported(feed) == ["a", "b", "c", "x"]
    with feed.open("reader") as (lake, pipeline):
        assert verify(lake, feed.catalog()) == []
        with lake.ledger.read() as session:
            tables = select(Batch).where(Batch.origin == "table")
            newest = session.scalars(tables.order_by(Batch.arrival.desc())).first()
        assert newest is not None
        batch_decisions.unpublish(lake, pipeline, APPROVER, [newest.key], "wrong")
    feed.run("reader")
    left = exported(feed)
    assert {"a", "b", "c"} <= set(left) and len(left) == len(set(left))
