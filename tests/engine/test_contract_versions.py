"""Columns that leave a contract: held until its version is raised, then they stay in the table, null in new rows."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from deltalake import DeltaTable

from publishing.lake import open_lake
from publishing.rebuild_merge import CannotRebuild
from publishing.rebuild_table import rebuild_table
from resources.engine import Engine
from tests.promised_feed import MERGE, NUMBER, TEXT, Feed

GROWS = '<hive table="staging.feed" mode="append" schemaEvolution="addColumns"/>'
MERGES = MERGE.replace("/>", ' schemaEvolution="addColumns"/>')


class VersionedFeed(Feed):
    """A feed whose contract has an x-version."""

    def define_as(self, version: str | None, target: str = GROWS, steps: str = "", **columns: Any) -> None:
        self.define(target, steps, **columns)
        path = self.root / "config/applications/app/staging/schemas/s.json"
        contract = json.loads(path.read_text())
        path.write_text(json.dumps(contract if version is None else {**contract, "x-version": version}))

    def gives(self, name: str, *lines: str) -> tuple[str, str]:
        """(status, reason) of the file's batch."""
        self.land(name, *lines)
        (batch,) = self.run()
        return batch.status, str(batch.reason)

    def table(self) -> DeltaTable:
        return DeltaTable(str(self.folder("staging.feed")))

    def remembers(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.table().metadata().configuration["datalake.contract"])
        return found

    def rebuild(self) -> None:
        with open_lake(self.settings, self.catalog(), self.engine) as lake:
            rebuild_table(lake, self.pipeline(), 0)


@pytest.fixture
def feed(engine: Engine, tmp_path: Path) -> VersionedFeed:
    return VersionedFeed(tmp_path, engine)


def test_a_column_may_go_once_the_version_is_raised_and_the_held_batch_comes_in(feed: VersionedFeed) -> None:
    feed.define_as("1", v=NUMBER, w=NUMBER)
    assert feed.gives("a.csv", "id,v,w", "a,1,2")[0] == "published"
    feed.define_as("1", v=NUMBER)
    status, reason = feed.gives("b.csv", "id,v", "b,3")
    assert status == "held"
    assert "w of the table are gone: raise the x-version of " in reason
    assert "s.json, 1 now, above 1" in reason
    assert feed.rows("staging.feed", "id", "w") == [("a", 2)]
    feed.define_as("2", v=NUMBER)
    assert "published" in [b.status for b in feed.run(reprocess=True)]
    assert feed.gives("c.csv", "id,v", "c,4")[0] == "published", "also the second batch of the version"
    assert feed.rows("staging.feed", "id", "v", "w") == [("a", 1, 2), ("b", 3, None), ("c", 4, None)]
    assert feed.remembers() == {"version": "2", "gone": ["w"], "keys": []}


def test_what_a_version_let_go_lets_nothing_else_go(feed: VersionedFeed) -> None:
    feed.define_as("1.9", v=NUMBER, w=NUMBER, x=NUMBER)
    feed.gives("a.csv", "id,v,w,x", "a,1,2,3")
    feed.define_as("1.10", v=NUMBER, w=NUMBER)
    assert feed.gives("b.csv", "id,v,w", "b,1,2")[0] == "published", "1.10 comes after 1.9"
    feed.define_as("1.10", v=NUMBER)
    status, reason = feed.gives("c.csv", "id,v", "c,1")
    assert (status, "schema_drift: app/staging/feed: w of the table are gone: raise" in reason) == ("held", True)
    feed.define_as("1.10", v=NUMBER, w=NUMBER, x=NUMBER)
    assert feed.gives("d.csv", "id,v,w,x", "d,1,2,4")[0] == "published", "a column comes back"
    feed.define_as("1.10", v=NUMBER, w=NUMBER)
    assert feed.gives("e.csv", "id,v,w", "e,1,2")[0] == "held", "and goes again by another version alone"
    assert feed.rows("staging.feed", "id", "x") == [("a", 3), ("b", None), ("d", 4)]


def test_a_renamed_column_is_one_that_goes_and_a_new_one(feed: VersionedFeed) -> None:
    feed.define_as(None, v=NUMBER)
    feed.gives("a.csv", "id,v", "a,1")
    before = feed.table().version()
    feed.define_as("2", GROWS.replace("addColumns", "none"), w=NUMBER)
    status, reason = feed.gives("b.csv", "id,w", "b,2")
    assert (status, "schemaEvolution" in reason, "of the table are gone" in reason) == ("held", True, False)
    feed.define_as("2", w=NUMBER)
    feed.run(reprocess=True)
    feed.gives("c.csv", "id,w", "c,3")
    assert feed.rows("staging.feed", "id", "v", "w") == [("a", 1, None), ("b", None, 2), ("c", None, 3)]
    history = {entry["version"]: entry.get("datalake.batch") for entry in feed.table().history()}
    assert history[before + 1] is history[before + 2] is None, "metadata first, in commits of their own"


@pytest.mark.parametrize(
    ("target", "before", "after", "why"),
    [
        (GROWS, {"v": NUMBER}, {"v": TEXT}, "the type of v changed, which no version lets it"),
        (GROWS.replace("/>", ' partitionBy="v"/>'), {"v": NUMBER, "w": TEXT}, {"w": TEXT}, "v cannot leave it"),
        (MERGES.replace('"id"', '"id,k"'), {"v": NUMBER, "k": TEXT}, {"v": NUMBER}, "k cannot leave it"),
    ],
)
def test_what_no_version_lets_go(
    feed: VersionedFeed, target: str, before: dict[str, Any], after: dict[str, Any], why: str
) -> None:
    feed.define_as("1", target, **before)
    assert feed.gives("a.csv", f"id,{','.join(before)}", f"a,{','.join('1' * len(before))}")[0] == "published"
    feed.define_as("2", target.replace(' partitionBy="v"', "").replace('"id,k"', '"id"'), **after)
    status, reason = feed.gives("b.csv", f"id,{','.join(after)}", f"b,{','.join('2' * len(after))}")
    assert (status, why in reason) == ("held", True), reason


@pytest.mark.parametrize("version", ["1", "0.9", "1.0", "next"])
def test_a_version_that_is_not_greater_lets_nothing_go(feed: VersionedFeed, version: str) -> None:
    feed.define_as("1", v=NUMBER, w=NUMBER)
    feed.gives("a.csv", "id,v,w", "a,1,2")
    feed.define_as(version, v=NUMBER)
    status, reason = feed.gives("b.csv", "id,v", "b,3")
    assert (status, version in reason) == ("held", True)


def test_a_table_of_before_remembers_with_its_next_batch(feed: VersionedFeed) -> None:
    feed.define_as("1", v=NUMBER, w=NUMBER)
    feed.gives("a.csv", "id,v,w", "a,1,2")
    feed.table().alter.set_table_properties({"datalake.contract": ""}, raise_if_not_exists=False)
    feed.define_as("2", v=NUMBER)
    status, reason = feed.gives("b.csv", "id,v", "b,3")
    assert (status, "does not say which version" in reason) == ("held", True)
    feed.define_as("1", v=NUMBER, w=NUMBER)
    feed.gives("c.csv", "id,v,w", "c,1,2")
    feed.define_as("2", v=NUMBER)
    assert feed.gives("d.csv", "id,v", "d,3")[0] == "published"


def test_a_merge_nulls_what_left_and_is_not_rebuilt_without_it(feed: VersionedFeed) -> None:
    feed.define_as("1", MERGES, v=NUMBER, w=NUMBER)
    feed.gives("a.csv", "id,v,w", "a,1,7", "b,1,8")
    feed.define_as("2", MERGES, v=NUMBER)
    assert feed.gives("b.csv", "id,v", "b,2", "c,2")[0] == "published"
    assert feed.rows("staging.feed", "id", "v", "w") == [("a", 1, 7), ("b", 2, None), ("c", 2, None)]
    with pytest.raises(CannotRebuild, match="w of the table are gone: made again without them"):
        feed.rebuild()
    feed.define_as("2", MERGES, '<filter source="s" condition="v &lt; 2"/>', v=NUMBER)
    again = feed.run(reprocess=True)
    assert "has to be rebuilt" in str(again[-1].reason)
    assert len(feed.rows("staging.feed", "id")) == 3


def test_a_table_that_takes_no_change_is_made_again_where_its_folder_is_moved_away(feed: VersionedFeed) -> None:
    feed.define_as("1", v=NUMBER)
    feed.gives("a.csv", "id,v", "a,1")
    feed.define_as("2", v=TEXT)
    with pytest.raises(CannotRebuild, match="type of v"):
        feed.rebuild()
    assert feed.rows("staging.feed", "v") == [1]
    shutil.move(feed.folder("staging.feed"), feed.root / "moved")
    feed.rebuild()
    feed.gives("b.csv", "id,v", "b,x")
    assert feed.rows("staging.feed", "id", "v") == [("a", "1"), ("b", "x")]
    assert feed.remembers()["version"] == "2"


def test_a_reader_of_tables_lets_columns_go_by_its_own_version(feed: VersionedFeed) -> None:
    feed.define_as("1", v=NUMBER, w=NUMBER)
    feed.define_reader("changes")
    feed.gives("a.csv", "id,v,w", "a,1,2")
    assert [b.status for b in feed.run("reader")] == ["published"]
    feed.define_as("2", v=NUMBER)
    assert feed.gives("b.csv", "id,v", "b,3")[0] == "published"
    (held,) = feed.run("reader")
    assert "raise the version of the pipeline app/reader, 1.0 now" in str(held.reason)
    path = feed.root / "config/applications/app/standardization/pipelines/reader.xml"
    path.write_text(path.read_text().replace('version="1.0"', 'version="1.1"'))
    assert "published" in [b.status for b in feed.run("reader", reprocess=True)]
    assert ("b", 3, None) in feed.rows("standardization.copy", "id", "v", "w")
