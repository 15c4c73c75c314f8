"""Every record accounted for, exactly once, where things go another way: compactions, senders, targets, attempts."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from deltalake import DeltaTable
from sqlalchemy import select

from publishing import copying, publish
from publishing.lake import open_lake
from publishing.ledger import Batch
from resources.engine import Engine
from tests.promised_feed import APPEND, COPY, DATED, MERGE, NUMBER, TEXT, Feed


@pytest.fixture
def feed(engine: Engine, tmp_path: Path) -> Feed:
    return Feed(tmp_path, engine)


def test_a_snapshot_of_one_sender_leaves_those_of_the_others(feed: Feed) -> None:
    target = '<hive table="staging.feed" mode="overwrite"/>'
    feed.define(target, pattern=f"(?P&lt;sender&gt;[a-z]+)_{DATED}.*", snapshot=True)
    for name, line in (("north_20240101", "n1,1"), ("south_20240101", "s1,1"), ("north_20240101_b", "n2,1")):
        feed.land(f"{name}.csv", "id,v", line)
        feed.run()
    assert feed.rows("staging.feed", "id") == ["n2", "s1"]
    assert feed.statuses() == ["superseded", "published", "published"]


def test_rows_that_a_compaction_moved_before_they_were_read_are_read(feed: Feed) -> None:
    feed.define()
    feed.define_reader("changes")
    feed.land("a.csv", "id,v", "a,1")
    feed.run()
    feed.run("reader")
    feed.land("b.csv", "id,v", "b,1")
    feed.run()
    DeltaTable(str(feed.folder("staging.feed"))).optimize.compact()
    assert [b.counts.accepted for b in feed.run("reader")] == [1]
    DeltaTable(str(feed.folder("staging.feed"))).optimize.compact()
    assert feed.run("reader") == []
    feed.land("c.csv", "id,v", "c,1")
    feed.run()
    feed.run("reader")
    assert feed.rows("standardization.copy", "id") == ["a", "b", "c"]


def test_rows_that_were_vacuumed_before_they_were_read_hold_the_reader(feed: Feed) -> None:
    feed.define()
    feed.define_reader("changes")
    feed.land("a.csv", "id,v", "a,1")
    feed.run()
    feed.run("reader")
    feed.land("b.csv", "id,v", "b,1")
    feed.run()
    table = DeltaTable(str(feed.folder("staging.feed")))
    table.optimize.compact()
    table.vacuum(retention_hours=0, enforce_retention_duration=False, dry_run=False)
    (held,) = feed.run("reader")
    assert held.status == "held"
    assert "upstream_rewritten" in str(held.reason)


def test_what_came_back_after_a_compaction_is_read_as_it_came_back(feed: Feed) -> None:
    """Appended, compacted and reprocessed between two reads of a merging reader: each record once, as it is now."""

    def derived(more: int) -> None:
        feed.define(steps=f'<derive source="s"><column name="w" expression="v + {more}"/></derive>')

    derived(1)
    feed.define_reader("changes", COPY.replace('mode="append"', 'mode="merge" keys="id" orderBy="v"'))
    feed.land("a.csv", "id,v", "a,1")
    feed.run()
    feed.run("reader")
    feed.land("b.csv", "id,v", "b,1")
    feed.run()
    DeltaTable(str(feed.folder("staging.feed"))).optimize.compact()
    derived(2)
    feed.run(reprocess=True)
    batches = feed.run("reader")
    assert [b.status for b in batches] == ["published"]
    assert sum(b.counts.superseded for b in batches) == 0
    assert feed.rows("standardization.copy", "id", "w") == feed.rows("staging.feed", "id", "w") == [("a", 3), ("b", 3)]


@pytest.mark.parametrize(
    ("read", "target"), [("partition", COPY), ("full", COPY.replace("append", "overwrite")), ("full", COPY)]
)
def test_what_is_read_whole_again_stands_once(feed: Feed, read: str, target: str) -> None:
    feed.define(pattern=f".*_{DATED}.csv")
    feed.define_reader(read, target)
    feed.land("a_20240101.csv", "id,v", "a,1")
    feed.run()
    feed.run("reader")
    feed.land("b_20240101.csv", "id,v", "b,1")
    feed.run()
    feed.run("reader")
    assert feed.rows("standardization.copy", "id") == ["a", "b"]


def test_a_record_that_is_rejected_each_time_it_is_read_is_one_entry(feed: Feed) -> None:
    feed.define(pattern=f".*_{DATED}.csv")
    target, condition = COPY.replace("append", "overwrite"), '<filter source="t" condition="v &gt; 1"/>'
    feed.define_reader("partition", target, condition)
    feed.land("a_20240101.csv", "id,v", "a,1")
    feed.run()
    feed.run("reader")
    feed.land("b_20240101.csv", "id,v", "b,2")
    feed.run()
    feed.run("reader")
    assert feed.rows("exceptions.reader", "state") == ["open"]
    feed.define_reader("partition", target)
    feed.run("reader", reprocess=True)
    assert feed.rows("exceptions.reader", "state") == ["resolved"]
    assert feed.rows("standardization.copy", "id") == ["a", "b"]


def test_a_file_that_could_not_be_read_is_taken_once_it_can(feed: Feed, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: Any) -> Any:
        raise OSError(5, "Input/output error")

    feed.define()
    feed.land("a.csv", "id,v", "a,1")
    with monkeypatch.context() as patched:
        patched.setattr(copying, "copy_to_raw", broken)
        assert [[b.status for b in feed.run()] for _ in range(2)] == [["held"], ["held"]]
    assert [b.status for b in feed.run()] == ["published"]


def test_a_reprocess_forgives_no_business_date(feed: Feed) -> None:
    feed.define(pattern=f"s_{DATED}.csv")
    feed.land("s_20241345.csv", "id,v", "a,1")
    assert [b.status for b in feed.run()] == ["held"]
    (again,) = feed.run(reprocess=True)
    assert (again.status, again.attempt) == ("held", 2)
    assert "business_date" in str(again.reason)


def test_a_record_without_a_derived_merge_key_is_quarantined(feed: Feed) -> None:
    key = '<derive source="s"><column name="k" expression="case when v &gt; 1 then id end"/></derive>'
    feed.define(MERGE.replace('keys="id"', 'keys="k"'), key)
    feed.land("a.csv", "id,v", "a,1", "b,2")
    feed.run()
    (again,) = feed.run(reprocess=True)
    assert (again.counts.accepted, again.counts.quarantined) == (1, 1)
    assert feed.rows("staging.feed", "id") == ["b"]


def test_a_record_under_a_new_key_does_not_stand_twice(feed: Feed) -> None:
    def key(expression: str) -> None:
        derived = f'<derive source="s"><column name="k" expression="{expression}"/></derive>'
        feed.define(MERGE.replace('keys="id"', 'keys="k"'), derived)

    key("id")
    feed.land("a.csv", "id,v", "a,1", "b,2")
    feed.run()
    key("concat(id, 'x')")
    (held,) = feed.run(reprocess=True)
    assert held.status == "held"
    assert "rebuild_needed: 2 records" in str(held.reason)
    assert feed.rows("staging.feed", "id") == ["a", "b"]


def test_a_rebuild_that_is_needed_is_known_before_another_target_takes_rows(feed: Feed) -> None:
    both = '<hive table="staging.history" mode="append"/>' + MERGE
    feed.define(both)
    feed.land("a.csv", "id,v", "a,1", "b,2")
    feed.run()
    feed.define(both, v={**NUMBER, "minimum": 2})
    (held,) = feed.run(reprocess=True)
    assert held.status == "held"
    assert feed.rows("staging.history", "id") == feed.rows("staging.feed", "id") == ["a", "b"]
    assert feed.rows("exceptions.feed", "state") == ["held"]


def test_a_held_attempt_does_not_resolve_what_is_open(feed: Feed) -> None:
    feed.define(v={**NUMBER, "minimum": 2})
    feed.land("a.csv", "id,v", "a,1", "b,2")
    feed.run()
    feed.define('<hive table="staging.feed" mode="append" partitionBy="v"/>')
    (held,) = feed.run(reprocess=True)
    assert (held.status, held.counts.accepted) == ("held", 2)
    assert "schema_drift" in str(held.reason)
    assert feed.rows("exceptions.feed", "state") == ["open"], "the record is in no target yet"
    feed.define()
    feed.run(reprocess=True)
    assert feed.rows("exceptions.feed", "state") == ["resolved"]
    assert feed.rows("staging.feed", "id") == ["a", "b"]


def test_a_record_that_any_target_took_is_accepted(feed: Feed) -> None:
    feed.define(MERGE + '<hive table="staging.history" mode="append"/>')
    feed.land("a.csv", "id,v", "a,1", "a,2")
    (both,) = feed.run()
    assert (both.counts.accepted, both.counts.superseded) == (2, 0)
    assert [t.rows_written for t in both.targets] == [1, 2]


def test_an_older_snapshot_still_reaches_the_targets_that_keep_history(feed: Feed) -> None:
    both = '<hive table="staging.history" mode="append"/><hive table="staging.feed" mode="overwrite"/>'
    feed.define(both, pattern=f".*_{DATED}.csv", snapshot=True, v={**NUMBER, "minimum": 2})
    feed.land("a_20240101.csv", "id,v", "a,1", "b,2")
    feed.run()
    feed.land("b_20240101.csv", "id,v", "c,3")
    feed.run()
    with open_lake(feed.settings, feed.catalog(), feed.engine) as lake, lake.ledger.write() as session:
        old = session.scalars(select(Batch).where(Batch.status == "superseded")).one()
        old.status, old.attempt = "open", 2
    (late,) = feed.run()
    assert (late.status, late.counts.accepted, late.counts.superseded) == ("published", 1, 0)
    assert [t.name for t in late.targets] == ["app/staging/history"]
    assert feed.rows("staging.history", "id") == ["b", "c"]
    assert feed.rows("staging.feed", "id") == ["c"]


@pytest.mark.parametrize(
    ("column", "value"),
    [
        ({"type": "integer"}, "7"),
        ({"type": "boolean"}, "true"),
        ({"type": "number"}, "1.5"),
        ({"type": "string", "format": "date"}, "2024-01-05"),
        ({"type": "string"}, "x/y=z %41"),
    ],
)
@pytest.mark.parametrize("more", ["", '<csv path="exports/feed" mode="append"/>'])
def test_partition_values_and_nulls_come_back(feed: Feed, column: dict[str, Any], value: str, more: str) -> None:
    feed.define('<hive table="staging.feed" mode="append" partitionBy="p"/>' + more, p=column)
    feed.land("a.csv", "id,p", f"a,{value}", "b,")
    feed.run()
    found = feed.rows("staging.feed", "id", "p")
    assert [name for name, _ in found] == ["a", "b"]
    assert str(found[0][1]).lower() == value.lower()
    assert found[1][1] is None
    DeltaTable(str(feed.folder("staging.feed"))).optimize.compact()
    feed.run(reprocess=True)
    assert feed.rows("staging.feed", "id", "p") == found


def test_no_value_of_a_rejected_record_is_in_the_journal(feed: Feed) -> None:
    feed.define('<hive table="staging.feed" mode="append" partitionBy="p"/>', v=NUMBER, p=TEXT)
    feed.land("a.csv", "id,v,p", "a,1,fine", "b,x,secret")
    (batch,) = feed.run()
    assert (batch.counts.accepted, batch.counts.quarantined) == (1, 1)
    written = [p.read_text() for p in (feed.settings.data / "journal").rglob("*.json")]
    assert any("fine" in text for text in written)
    assert not any("secret" in text for text in written)


def test_a_new_column_is_added_and_a_changed_type_is_held(feed: Feed) -> None:
    feed.define()
    feed.land("a.csv", "id,v", "a,1")
    feed.run()
    grows = APPEND.replace("/>", ' schemaEvolution="addColumns"/>')
    feed.define(grows, v=NUMBER, w=TEXT)
    feed.land("b.csv", "id,v,w", "b,1,new")
    feed.run()
    assert feed.rows("staging.feed", "id", "w") == [("a", None), ("b", "new")]
    feed.define(grows, v=TEXT, w=TEXT)
    feed.land("c.csv", "id,v,w", "c,abc,new")
    (held,) = feed.run()
    assert held.status == "held"
    assert "schema_drift: app/staging/feed: the type of v changed" in str(held.reason)
    assert [check.name for check in held.checks if not check.passed] == ["schema_drift"]
    assert len(feed.rows("staging.feed", "id")) == 2


def test_the_chain_of_steps_closes_over_branches_and_filters(feed: Feed) -> None:
    steps = """<aggregate source="s" as="a" groupBy="id" metrics="count:n"/>
               <aggregate source="s" as="b" groupBy="v" metrics="count:n"/>
               <filter source="a" condition="n &gt; 1" onReject="drop"/>"""
    targets = (f'<hive table="staging.{name}" source="{name}" mode="append"/>' for name in "ab")
    feed.define("".join(targets), steps)
    feed.land("a.csv", "id,v", "a,1", "a,1", "b,1")
    (batch,) = feed.run()
    assert [(s.step, s.in_, s.out) for s in batch.steps] == [("aggregate", 3, 2), ("aggregate", 3, 1), ("filter", 2, 1)]
    assert feed.rows("staging.a", "id", "n") == [("a", 2)]


def test_records_taken_before_their_last_step_are_accepted_all_the_same(feed: Feed) -> None:
    steps = '<filter source="s" as="f" condition="v &gt; 1" onReject="drop"/><aggregate source="f" as="a" groupBy="id"'
    targets = '<hive table="staging.feed" source="s" mode="append"/><hive table="staging.a" source="a" mode="append"/>'
    feed.define(targets, steps + ' metrics="count:n"/>')
    feed.land("a.csv", "id,v", "a,1", "b,2", "b,3")
    (batch,) = feed.run()
    assert (batch.counts.accepted, batch.counts.filtered) == (3, 0)  # what the groups leave out is in the first table
    assert [(s.step, s.in_, s.out) for s in batch.steps] == [("aggregate", 2, 1)]
    assert feed.rows("staging.feed", "v") == [1, 2, 3]


def test_skipped_records_count_into_the_rate_of_errors(feed: Feed) -> None:
    feed.define(policy='<errorPolicy onRecordError="skip" maxErrorRate="0.4"/>')
    feed.land("a.csv", "id,v", "a,1", "b,x")
    (held,) = feed.run()
    assert (held.status, held.counts.skipped) == ("held", 1)
    assert "maxErrorRate" in str(held.reason)


class Killed(BaseException):
    """Stands for the end of the process: nothing catches it."""


@pytest.mark.parametrize("change", ["definition", "staging swept"])
def test_a_retry_publishes_nothing_that_was_staged_otherwise(
    feed: Feed, monkeypatch: pytest.MonkeyPatch, change: str
) -> None:
    """The manifest stands, the first of two targets is published, then the process ends."""

    def killed(*_: Any) -> Any:
        raise Killed

    history, table = '<hive table="staging.history" mode="append"/>', '<csv path="exports/feed" mode="append"/>'
    feed.define(history + table)
    feed.land("a.csv", "id,v", "a,1", "b,2")
    with monkeypatch.context() as patched, pytest.raises(Killed):
        patched.setattr(publish, "export_csv", killed)
        feed.run()
    assert feed.rows("staging.history", "id") == ["a", "b"]
    if change == "definition":
        feed.define(APPEND + history, v={**NUMBER, "minimum": 2})
        expected = ["b"]
    else:
        for path in (feed.settings.data / "staged").rglob("*.parquet"):
            path.unlink()
        expected = ["a", "b"]
    (again,) = feed.run()
    assert (again.status, again.attempt, again.counts.accepted) == ("published", 2, len(expected))
    assert feed.rows("staging.history", "id") == expected
    if change == "definition":
        assert feed.rows("staging.feed", "id") == expected
        assert feed.rows("exceptions.feed", "state") == ["open"]


def test_an_export_beside_a_merge_target_holds_what_stands_there_and_not_what_lost(feed: Feed) -> None:
    feed.define(f'{MERGE}<csv path="out" mode="append"/>')
    feed.land("a.csv", "id,v", "a,1", "a,3", "b,1")
    (done,) = feed.run()
    assert (done.counts.in_, [t.rows_written for t in done.targets]) == (3, [2, 2])
    feed.land("b.csv", "id,v", "a,2", "c,1")
    feed.run()
    parts = sorted((feed.settings.application_data / "app" / "out").glob("part-*"))
    written = sorted(line for part in parts for line in part.read_text().splitlines()[1:])
    assert written == ['"a",3', '"b",1', '"c",1']


def test_what_a_killed_export_left_is_not_among_the_parts(feed: Feed, monkeypatch: pytest.MonkeyPatch) -> None:
    from publishing import export

    def killed(*_: Any) -> Any:
        raise Killed

    feed.define('<csv path="exports/feed" mode="append"/>', v={**NUMBER, "minimum": 2})
    feed.land("a.csv", "id,v", "a,1", "b,2")
    with monkeypatch.context() as patched, pytest.raises(Killed):
        patched.setattr(export, "_replace", killed)
        feed.run()
    feed.define('<csv path="exports/feed" mode="append"/>')
    feed.run()
    folder = feed.settings.application_data / "app" / "exports" / "feed"
    (part,) = folder.glob("part-*")
    assert [line for line in part.read_text().splitlines() if line.startswith('"a"')] == ['"a",1']
