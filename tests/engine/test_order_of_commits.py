"""In which order a batch goes out and comes back, what of it can be seen on the way, and what its targets refuse."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from deltalake import DeltaTable

from publishing import failpoints, taking_back
from resources.engine import Engine
from stewardship import batch_decisions
from stewardship.correct import correct_values
from stewardship.new_values import Named
from stewardship.refused import Refused
from stewardship.selection import Scope
from tests.promised_feed import APPEND, DATED, MERGE, NUMBER, TEXT
from tests.steward_feed import APPROVER, STEWARD, StewardFeed

EXPORT = '<csv path="out" mode="append"/>'
OVERWRITE = '<hive table="staging.feed" mode="overwrite"/>'


class Killed(BaseException):
    """Stands for the end of the process: nothing catches it."""


@pytest.fixture
def feed(engine: Engine, tmp_path: Path) -> StewardFeed:
    return StewardFeed(tmp_path, engine)


def passed(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The failpoints, as they are passed from now on."""
    found: list[str] = []
    monkeypatch.setattr(failpoints, "reached", found.append)
    return found


def exported(feed: StewardFeed) -> list[str]:
    parts = sorted((feed.settings.application_data / "app" / "out").glob("part-*"))
    return sorted(line for part in parts for line in part.read_text().splitlines()[1:])


@pytest.mark.parametrize("targets", [MERGE + EXPORT, EXPORT + MERGE])
def test_rejects_go_before_rows_and_exports_hold_what_stands_wherever_they_are_written(
    feed: StewardFeed, monkeypatch: pytest.MonkeyPatch, targets: str
) -> None:
    feed.define(targets + '<hive table="staging.history" mode="append"/>')
    feed.land("a.csv", "id,v", "a,1", "a,3", "b,1", "c,x")
    points = passed(monkeypatch)
    (batch,) = feed.run()
    order = [
        "attempt.opened", "manifest.written", "quarantine.committed", "merge.committed", "target.committed",
        "export.published", "outcome.journaled", "ledger.ended", "run.recorded",
    ]  # fmt: skip
    assert [point for point in points if point in order] == order
    assert exported(feed) == ['"a",3', '"b",1']
    names = ["app/staging/feed", "app/staging/history"]
    assert [t.name for t in batch.targets if t.kind == "delta"] == names, "told in the order of the document"
    feed.land("b.csv", "id,v", "a,2", "d,1")
    feed.run()
    assert exported(feed) == ['"a",3', '"b",1', '"d",1']


def test_a_second_export_that_may_not_be_is_known_before_a_table_takes_rows(feed: StewardFeed) -> None:
    feed.define(APPEND + EXPORT.replace("append", "error"))
    feed.land("a.csv", "id,v", "a,1")
    assert [b.status for b in feed.run()] == ["published"]
    feed.land("b.csv", "id,v", "b,1")
    (failed,) = feed.run()
    assert (failed.status, str(failed.reason).partition(":")[0]) == ("failed", "ExportExists")
    assert feed.rows("staging.feed", "id") == ["a"]


def test_what_comes_back_leaves_exports_then_tables_from_the_last_to_the_first_then_quarantine(
    feed: StewardFeed, monkeypatch: pytest.MonkeyPatch
) -> None:
    feed.define(EXPORT + APPEND + '<hive table="staging.history" mode="append"/>')
    feed.land("a.csv", "id,v", "a,1", "b,x")
    feed.run()
    left: list[str] = []
    leave, entries = taking_back._leave_target, taking_back._withdraw_entries

    def leaving(*given: Any) -> None:
        left.append(given[3].target.kind if given[3].asset is None else given[3].asset[-1])
        leave(*given)

    def withdrawing(*given: Any) -> None:
        left.append("quarantine")
        entries(*given)

    monkeypatch.setattr(taking_back, "_leave_target", leaving)
    monkeypatch.setattr(taking_back, "_withdraw_entries", withdrawing)
    feed.unpublish("a.csv")
    assert left[1:] == ["history", "feed", "quarantine"] and len(left) == 4
    assert exported(feed) == feed.rows("staging.feed", "id") == feed.rows("staging.history", "id") == []
    assert feed.states() == {"a.csv:2": "withdrawn"}


def test_stewards_wait_until_the_last_target_has_its_rows(feed: StewardFeed, monkeypatch: pytest.MonkeyPatch) -> None:
    def dies(point: str) -> None:
        if point == "target.committed":
            raise Killed

    feed.define()
    feed.land("a.csv", "id,v", "a,1", "b,x")
    with monkeypatch.context() as patched, pytest.raises(Killed):
        patched.setattr(failpoints, "reached", dies)
        feed.run()
    assert feed.states() == {"a.csv:2": "open"}
    entry = feed.entries()["a.csv:2"]
    named = Named({entry["record_id"]: {"v": "2"}})

    def corrects() -> None:
        with feed.open() as (lake, pipeline):
            scope = Scope(entry["batch_id"])
            correct_values(lake, feed.catalog(), pipeline, STEWARD, "typo", scope, named)

    with pytest.raises(Refused):
        corrects()
    feed.run()
    corrects()


def test_a_held_batch_has_counts_and_nothing_of_it_is_in_a_target(feed: StewardFeed) -> None:
    feed.define(APPEND + EXPORT, policy='<errorPolicy maxErrors="0"/>')
    feed.land("a.csv", "id,v", "a,1", "b,x")
    (held,) = feed.run()
    assert (held.status, held.counts.in_, held.counts.accepted, held.counts.quarantined) == ("held", 2, 1, 1)
    assert not feed.folder("staging.feed").exists() or feed.rows("staging.feed", "id") == []
    assert exported(feed) == []
    assert feed.states() == {"a.csv:2": "held"}
    with feed.open() as (lake, pipeline), pytest.raises(Refused):
        named = Named({feed.entries()["a.csv:2"]["record_id"]: {"v": "2"}})
        correct_values(lake, feed.catalog(), pipeline, STEWARD, "typo", Scope(held.batch), named)


def test_a_record_counts_in_the_first_term_that_applies_and_a_reject_is_in_no_target(feed: StewardFeed) -> None:
    steps = """<deduplicate source="s" keys="id" keep="first"/>
               <filter source="s" condition="v &lt; 100" onReject="drop"/>"""
    feed.define(APPEND + '<hive table="staging.history" mode="append"/>', steps)
    feed.land("a.csv", "id,v", "a,1", "a,2", "a,x", "b,200", "b,300", "c,3")
    (batch,) = feed.run()
    counts = batch.counts.as_dict()
    assert {name: number for name, number in counts.items() if number} == {
        "in": 6, "accepted": 2, "quarantined": 1, "deduplicated": 2, "filtered": 1,
    }  # fmt: skip
    assert feed.rows("staging.feed", "id", "v") == feed.rows("staging.history", "id", "v") == [("a", 1), ("c", 3)]


def test_an_empty_snapshot_replaces_what_stood(feed: StewardFeed) -> None:
    feed.define(OVERWRITE, pattern=f".*_{DATED}.csv", snapshot=True)
    feed.land("a_20240101.csv", "id,v", "a,1")
    feed.land("a_20240102.csv", "id,v", "b,1")
    feed.run()
    feed.land("b_20240101.csv", "id,v")
    (empty,) = feed.run()
    assert (empty.status, empty.counts.in_) == ("published", 0)
    assert feed.rows("staging.feed", "id") == ["b"]
    assert sorted(feed.statuses()) == ["published", "published", "superseded"]


def test_nothing_is_the_lowest_in_the_order_of_a_merge_and_the_later_of_equals_wins(feed: StewardFeed) -> None:
    feed.define(MERGE.replace('orderBy="v"', 'orderBy="at"'), v=NUMBER, at=NUMBER)
    for name, lines in (("a", ("a,1,5", "b,1,", "c,1,5", "c,2,5")), ("b", ("a,2,", "b,2,", "c,3,5", "d,1,"))):
        feed.land(f"{name}.csv", "id,v,at", *lines)
        feed.run()
    assert feed.rows("staging.feed", "id", "v") == [("a", 1), ("b", 2), ("c", 3), ("d", 1)]


def test_a_restore_is_no_restore_of_the_library(feed: StewardFeed, monkeypatch: pytest.MonkeyPatch) -> None:
    def never(*_: Any, **__: Any) -> Any:
        raise AssertionError("it leaves transaction ids behind, and what is loaded again would be skipped")

    monkeypatch.setattr(DeltaTable, "restore", never)
    feed.define()
    for name in "ab":
        feed.land(f"{name}.csv", "id,v", f"{name},1")
        feed.run()
    with feed.open() as (lake, pipeline):
        batch_decisions.restore(lake, pipeline, 0, feed.batch_of("a.csv"), APPROVER, "wrong")
    feed.land("again.csv", "id,v", "b,1")
    feed.run()
    assert feed.rows("staging.feed", "id") == ["a", "b"]


@pytest.mark.parametrize("read", ["partition", "full"])
def test_a_table_read_whole_is_read_again_only_where_it_moved(feed: StewardFeed, read: str) -> None:
    feed.define(pattern=f".*_{DATED}.csv")
    feed.define_reader(read, '<hive table="standardization.copy" mode="overwrite"/>')
    feed.land("a_20240101.csv", "id,v", "a,1")
    feed.land("b_20240102.csv", "id,v", "b,1")
    feed.run()
    assert feed.run("reader")
    assert feed.run("reader") == []
    feed.land("c_20240102.csv", "id,v", "c,1")
    feed.run()
    again = feed.run("reader")
    assert [b.status for b in again] == ["published"], "of the date that moved alone"
    assert feed.rows("standardization.copy", "id") == ["a", "b", "c"]


@pytest.mark.parametrize("grows", [False, True])
def test_a_column_comes_to_a_table_where_its_target_says_so(feed: StewardFeed, grows: bool) -> None:
    evolution = ' schemaEvolution="addColumns"' if grows else ""
    target = f'<hive table="staging.feed" mode="append"{evolution}/>'
    feed.define(target)
    feed.land("a.csv", "id,v", "a,1")
    feed.run()
    before = DeltaTable(str(feed.folder("staging.feed"))).version()
    feed.define(target, v=NUMBER, w=TEXT)
    feed.land("b.csv", "id,v,w", "b,2,x")
    (batch,) = feed.run()
    if not grows:
        assert (batch.status, feed.rows("staging.feed", "id")) == ("held", ["a"])
        assert 'schemaEvolution="addColumns"' in str(batch.reason)
        feed.define(target.replace("/>", ' schemaEvolution="addColumns"/>'), v=NUMBER, w=TEXT)
        (batch,) = feed.run(reprocess=True)[1:]
    assert batch.status == "published"
    assert feed.rows("staging.feed", "id", "w") == [("a", None), ("b", "x")]
    history = DeltaTable(str(feed.folder("staging.feed"))).history()
    added = [entry for entry in history if entry["version"] == before + 1]
    assert [entry.get("datalake.batch") for entry in added] == [None], "a commit of its own, before that of the rows"


@pytest.mark.parametrize(("columns", "why"), [({"w": NUMBER}, "v of the table are gone"), ({"v": TEXT}, "type of v")])
def test_a_column_that_goes_or_becomes_another_holds_the_batch(
    feed: StewardFeed, columns: dict[str, Any], why: str
) -> None:
    feed.define('<hive table="staging.feed" mode="append" schemaEvolution="addColumns"/>')
    feed.land("a.csv", "id,v", "a,1")
    feed.run()
    feed.define('<hive table="staging.feed" mode="append" schemaEvolution="addColumns"/>', **columns)
    feed.land("b.csv", f"id,{next(iter(columns))}", "b,2")
    (held,) = feed.run()
    assert held.status == "held"
    assert why in str(held.reason)
    assert feed.rows("staging.feed", "id", "v") == [("a", 1)]
