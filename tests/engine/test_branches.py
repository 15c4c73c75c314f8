"""Targets that write branches of the same records: accepted by any is accepted, rejected on any is in none."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from publishing.checks import published_checks
from publishing.lake import open_lake
from publishing.outcome import BatchOutcome
from publishing.rebuild_ledger import rebuild
from publishing.rebuild_table import rebuild_table
from publishing.replay_checks import replay_checks
from publishing.run import NotRunnable, run_pipeline
from publishing.verify import verify
from resources.engine import Engine
from tests.engine.test_beside import killed_at
from tests.promised_feed import DATED, NUMBER, TEXT
from tests.steward_feed import StewardFeed

SMALL = '<filter source="s" condition="v &lt; 10" onReject="drop" as="small"/>'
LARGE = '<filter source="s" condition="v &gt;= 10" onReject="drop" as="large"/>'
STRICT = '<filter source="s" condition="v &gt; 0" onReject="quarantine" as="large"/>'
ROUTED = """<hive table="staging.small" source="small" mode="append"/>
  <hive table="staging.large" source="large" mode="append"/>"""


@pytest.fixture
def feed(tmp_path: Path, engine: Engine) -> StewardFeed:
    return StewardFeed(tmp_path, engine)


def define(feed: StewardFeed, steps: str, targets: str = ROUTED, **rest: Any) -> None:
    feed.define(targets, steps, pattern=f"{DATED}.*", shop=TEXT, v=NUMBER, **rest)


def land(feed: StewardFeed, day: str, *lines: str) -> list[BatchOutcome]:
    feed.land(f"{day}.csv", "id,shop,v", *lines)
    return feed.run()


def counts(outcome: BatchOutcome) -> dict[str, int]:
    assert outcome.status == "published", outcome.reason
    assert outcome.counts.closes
    return {k: v for k, v in outcome.counts.as_dict().items() if v}


def clean(feed: StewardFeed) -> None:
    with feed.open() as (lake, pipeline):
        assert verify(lake, lake.catalog) == []
        checks = {check.name: check.passed for check in published_checks(lake, pipeline, None)}
        assert checks["reconciled"]


def test_records_go_to_the_branch_they_belong_to(feed: StewardFeed) -> None:
    define(feed, SMALL + LARGE)
    (batch,) = land(feed, "20240105", "a,x,1", "b,x,10", "c,y,9", "d,y,99", "e,y,")
    assert counts(batch) == {"in": 5, "accepted": 4, "filtered": 1}  # no v is neither small nor large
    assert feed.rows("staging.small", "id") == ["a", "c"]
    assert feed.rows("staging.large", "id") == ["b", "d"]
    assert [t.rows_written for t in batch.targets] == [2, 2]
    assert feed.run() == []
    clean(feed)


def test_a_record_rejected_on_one_branch_is_in_no_target_and_comes_back_into_each(feed: StewardFeed) -> None:
    define(feed, SMALL + STRICT)
    (batch,) = land(feed, "20240105", "a,x,1", "b,x,10", "c,y,-9", "d,y,text")
    assert counts(batch) == {"in": 4, "accepted": 2, "quarantined": 2}
    assert feed.rows("staging.small", "id") == ["a"]
    assert feed.rows("staging.large", "id") == ["a", "b"]
    assert {k: [e["code"] for e in v["errors"]] for k, v in feed.entries().items()} == {
        "20240105.csv:3": ["filter"], "20240105.csv:4": ["type"],
    }  # fmt: skip
    feed.decide({"20240105.csv:3": {"v": "5"}, "20240105.csv:4": {"v": "50"}})
    (replay,) = feed.replay()
    assert counts(replay) == {"in": 2, "accepted": 2}
    assert [t.rows_written for t in replay.targets] == [1, 2]
    assert feed.rows("staging.small", "id") == ["a", "c"]
    assert feed.rows("staging.large", "id") == ["a", "b", "c", "d"]
    with feed.open() as (lake, pipeline):
        assert [c.passed for c in replay_checks(lake, pipeline, batch.key)] == [True, True]
    clean(feed)
    assert [counts(b) for b in feed.run(reprocess=True)] == [{"in": 4, "accepted": 4}]
    assert feed.rows("staging.small", "id") == ["a", "c"]
    clean(feed)


def test_what_becomes_of_a_record_is_the_first_that_applies(feed: StewardFeed) -> None:
    sole = '<deduplicate source="s" keys="shop" keep="first" as="sole"/>'
    targets = ROUTED.replace("large", "sole")
    define(feed, SMALL + sole, targets)
    # a: first of x. b: lost in x, but small. c: lost in x and not small. d: first of y.
    (batch,) = land(feed, "20240105", "a,x,10", "b,x,1", "c,x,11", "d,y,12")
    assert counts(batch) == {"in": 4, "accepted": 3, "deduplicated": 1}
    assert feed.rows("staging.small", "id") == ["b"]
    assert feed.rows("staging.sole", "id") == ["a", "d"]
    clean(feed)


def test_the_stem_itself_may_be_written_and_groups_beside_it(feed: StewardFeed) -> None:
    group = '<aggregate source="small" groupBy="shop" metrics="count:n" as="shops"/>'
    targets = '<hive table="staging.all" source="s" mode="append"/><hive table="staging.shops" mode="append"/>'
    define(feed, SMALL + group, targets, policy='<errorPolicy onRecordError="skip"/>')
    (batch,) = land(feed, "20240105", "a,x,1", "b,x,2", "c,y,3", "d,y,30", "e,y,text")
    assert counts(batch) == {"in": 5, "accepted": 4, "skipped": 1}
    assert feed.rows("staging.all", "id") == ["a", "b", "c", "d"]
    assert feed.rows("staging.shops", "shop", "n") == [("x", 2), ("y", 1)]
    assert [(s.step, s.in_, s.out) for s in batch.steps] == [("aggregate", 3, 2)]
    clean(feed)


def test_reasons_of_a_step_that_two_branches_share_are_told_once(feed: StewardFeed) -> None:
    steps = STRICT + """<derive source="large"><column name="twice" expression="v * 2"/></derive>
      <filter source="large" condition="twice &gt; 40" onReject="drop" as="huge"/>""" + SMALL  # fmt: skip
    targets = ROUTED + '<hive table="staging.huge" source="huge" mode="append"/>'
    define(feed, steps, targets)
    (batch,) = land(feed, "20240105", "a,x,1", "b,x,-1", "c,x,30")
    assert counts(batch) == {"in": 3, "accepted": 2, "quarantined": 1}
    assert [len(entry["errors"]) for entry in feed.entries().values()] == [1]
    assert feed.rows("staging.huge", "id", "twice") == [("c", 60)]
    assert feed.rows("staging.large", "id") == ["a", "c"]


def test_one_branch_merged_and_one_appended(feed: StewardFeed) -> None:
    merged = """<hive table="staging.small" source="small" mode="merge" keys="shop" orderBy="v" partitionBy="shop"/>
      <hive table="staging.large" source="large" mode="append"/>"""
    define(feed, SMALL + LARGE, merged)
    (first,) = land(feed, "20240105", "a,x,1", "b,x,2", "c,x,30")
    assert counts(first) == {"in": 3, "accepted": 2, "superseded": 1}
    (second,) = land(feed, "20240106", "d,x,1", "e,y,40", "f,,3")
    assert counts(second) == {"in": 3, "accepted": 1, "quarantined": 1, "superseded": 1}  # no shop is no key
    assert feed.rows("staging.large", "id") == ["c", "e"]
    (third,) = land(feed, "20240107", "g,x,9")
    feed.unpublish_keys([third.key])
    assert feed.rows("staging.small", "shop", "id") == [("x", "b")]
    assert [c["accepted"] for c in feed.counts()] == [2, 1]
    clean(feed)
    with feed.open() as (lake, pipeline):
        before = feed.counts()
        rebuild(lake, lake.catalog)
        assert feed.counts() == before
        rows = {t: feed.rows(t, "id") for t in ("staging.small", "staging.large")}
        with lake.alone(pipeline.key):
            for position in (0, 1):
                rebuild_table(lake, pipeline, position)
        assert {t: feed.rows(t, "id") for t in rows} == rows
    clean(feed)


@pytest.mark.parametrize(
    ("point", "times"),
    [("stage.records", 1), ("stage.finished", 1), ("target.linked", 1), ("target.committed", 1), ("target.linked", 2),
     ("target.committed", 2), ("outcome.journaled", 1)],
)  # fmt: skip
def test_a_crash_between_the_targets_changes_nothing(feed: StewardFeed, point: str, times: int) -> None:
    define(feed, SMALL + STRICT)
    feed.land("20240105.csv", "id,shop,v", "a,x,1", "b,x,10", "c,y,-9")
    with killed_at(point, times):
        feed.run()
    assert [counts(b) for b in feed.run()] == [{"in": 3, "accepted": 2, "quarantined": 1}]
    assert feed.rows("staging.small", "id") == ["a"]
    assert feed.rows("staging.large", "id") == ["a", "b"]
    clean(feed)


def test_rules_over_the_batch_look_at_what_all_branches_are_made_of(feed: StewardFeed) -> None:
    derived = '<derive source="s"><column name="w" expression="v + 1"/></derive>'
    rules = '<rowCount id="few" min="1" max="3"/><completeness id="whole" column="w" min="1"/>'
    define(feed, derived + SMALL + LARGE, rules=rules)
    (batch,) = land(feed, "20240105", "a,x,1", "b,x,10", "c,y,9")
    assert counts(batch) == {"in": 3, "accepted": 3}
    (batch,) = land(feed, "20240106", "a,x,1", "b,x,10", "c,y,9", "d,y,19")
    assert batch.status == "held"
    assert batch.reason is not None and batch.reason.startswith("rule few failed")
    assert feed.rows("staging.small", "id") == ["a", "c"]
    clean(feed)


def test_records_of_a_table_part_as_well_and_rejected_ones_keep_their_cells(feed: StewardFeed) -> None:
    feed.define(pattern=f"{DATED}.*", v=NUMBER)
    steps = """<rename source="t" columns="v=w"/>
      <filter source="t" condition="w &lt; 5" onReject="drop" as="small"/>
      <filter source="t" condition="w &gt; 0" onReject="quarantine" as="large"/>"""
    feed.define_reader("changes", ROUTED.replace("staging.", "standardization."), steps)
    feed.land("20240105.csv", "id,v", "a,1", "b,7", "c,-3")
    feed.run()
    (batch,) = feed.run("reader")
    assert counts(batch) == {"in": 3, "accepted": 2, "quarantined": 1}
    assert feed.rows("standardization.small", "id", "w") == [("a", 1)]
    feed.decide({"20240105.csv:3": {"v": "3"}}, name="reader")
    (replay,) = feed.replay("reader")
    assert counts(replay) == {"in": 1, "accepted": 1}
    assert feed.rows("standardization.small", "id", "w") == [("a", 1), ("c", 3)]
    assert feed.rows("standardization.large", "id", "w") == [("a", 1), ("b", 7), ("c", 3)]
    clean(feed)


def test_a_name_that_is_taken_before_and_after_a_step_is_refused(feed: StewardFeed) -> None:
    group = '<aggregate source="s" groupBy="shop" metrics="count:n" as="shops"/>'
    derived = '<derive source="s"><column name="w" expression="v + 1"/></derive>'
    define(feed, group + derived, '<hive table="staging.a" source="s" mode="append"/>'
           '<hive table="staging.b" source="shops" mode="append"/>')  # fmt: skip
    feed.land("20240105.csv", "id,shop,v", "a,x,1")
    catalog = feed.catalog()
    pipeline = catalog.pipeline("app", "feed")
    assert pipeline is not None
    (why,) = pipeline.not_runnable
    assert "'s' is taken before and after a step changes it" in why and 'as="…"' in why
    with open_lake(feed.settings, catalog, feed.engine) as lake, pytest.raises(NotRunnable):
        run_pipeline(lake, pipeline, run_id="test")
