"""The way back: what was rejected, corrected, approved and replayed stands in the target once, or says why not."""

from __future__ import annotations

from pathlib import Path

import pytest
from sqlalchemy import select

from publishing.corrections import changes_table
from publishing.decisions import DISCARD
from publishing.ledger import Batch
from publishing.replay import persist_replays
from publishing.replay_trial import trial
from resources.engine import Engine
from tests.promised_feed import APPEND, DATED, MERGE, TEXT
from tests.steward_feed import StewardFeed


@pytest.fixture
def feed(engine: Engine, tmp_path: Path) -> StewardFeed:
    return StewardFeed(tmp_path, engine)


def test_a_corrected_record_comes_back_once(feed: StewardFeed) -> None:
    feed.define(APPEND)
    feed.land("a.csv", "id,v", "a,1", "b,x", "c,y", "d,4")
    feed.run()
    assert feed.states() == {"a.csv:2": "open", "a.csv:3": "open"}
    feed.decide({"a.csv:2": {"v": "2"}})
    (done,) = feed.replay()
    assert (done.status, done.origin, done.counts.in_, done.counts.accepted) == ("published", "replay", 1, 1)
    assert feed.states() == {"a.csv:2": "replayed", "a.csv:3": "open"}
    assert feed.rows("staging.feed", "id", "v") == [("a", 1), ("b", 2), ("d", 4)]
    assert feed.replay() == []
    assert feed.rows("staging.feed", "id") == ["a", "b", "d"]


def test_a_record_that_is_rejected_again_is_back_with_its_new_reasons_and_its_tries(feed: StewardFeed) -> None:
    feed.define(APPEND)
    feed.land("a.csv", "id,v", "a,1", ",x")
    feed.run()
    feed.decide({"a.csv:2": {"v": "2"}})
    (done,) = feed.replay()
    assert (done.status, done.counts.quarantined) == ("published", 1)
    entry = feed.entries()["a.csv:2"]
    assert (entry["state"], entry["tries"], [e["code"] for e in entry["errors"]]) == ("open", 1, ["required"])
    feed.decide({"a.csv:2": {"id": "b"}})
    feed.replay()
    assert feed.states() == {"a.csv:2": "replayed"}
    assert feed.rows("staging.feed", "id", "v") == [("a", 1), ("b", 2)]


def test_a_ragged_record_given_anew_is_whole(feed: StewardFeed) -> None:
    feed.define(APPEND)
    feed.land("a.csv", "id,v", "a,1", "b", "c,3,x", "d,4")
    feed.run()
    feed.decide({"a.csv:2": {"id": "b", "v": "2"}, "a.csv:3": {"id": "c", "v": None}})
    (done,) = feed.replay()
    assert done.counts.accepted == 2
    assert feed.rows("staging.feed", "id", "v") == [("a", 1), ("b", 2), ("c", None), ("d", 4)]


def test_a_reprocess_reads_what_was_approved_and_takes_the_replays_row_out(feed: StewardFeed) -> None:
    feed.define(APPEND)
    feed.land("a.csv", "id,v", "a,1", "b,x", "c,y", "d,z")
    feed.run()
    feed.decide({"a.csv:2": {"v": "2"}})
    feed.replay()
    feed.decide({"a.csv:3": {"v": "3"}})
    feed.decide({"a.csv:4": {}}, DISCARD)
    (done,) = feed.run(reprocess=True)
    assert (done.attempt, done.counts.accepted, done.counts.quarantined) == (2, 3, 1)
    assert feed.rows("staging.feed", "id", "v") == [("a", 1), ("b", 2), ("c", 3)]
    assert feed.states() == {"a.csv:2": "replayed", "a.csv:3": "resolved", "a.csv:4": "discarded"}
    assert feed.replay() == []
    assert feed.rows("staging.feed", "id") == ["a", "b", "c"]


def test_a_replay_that_an_attempt_overtook_leaves_its_records_out(feed: StewardFeed) -> None:
    """Persisted, then the batch is reprocessed before the replay runs."""
    feed.define(APPEND)
    feed.land("a.csv", "id,v", "a,1", "b,x")
    feed.run()
    feed.decide({"a.csv:2": {"v": "2"}})
    with feed.open() as (lake, pipeline), lake.ledger.write() as session:
        assert len(persist_replays(lake, session, pipeline)) == 1
        (source,) = session.scalars(select(Batch).where(Batch.origin == "files"))
        source.status, source.attempt = "open", 2
        source.arrival = 0  # before the replay
    outcomes = feed.run()
    told = [(b.origin, b.counts.accepted, b.counts.deduplicated) for b in outcomes]
    assert told == [("files", 2, 0), ("replay", 0, 1)]
    assert feed.rows("staging.feed", "id", "v") == [("a", 1), ("b", 2)]


def test_an_older_correction_never_goes_over_a_newer_row(feed: StewardFeed) -> None:
    feed.define(MERGE.replace('orderBy="v"', 'orderBy="at"'), v={"type": "integer"}, at={"type": "integer"})
    feed.land("a.csv", "id,v,at", "a,x,1", "b,x,1")
    feed.run()
    feed.land("b.csv", "id,v,at", "a,5,2")
    feed.run()
    feed.decide({"a.csv:1": {"v": "1"}, "a.csv:2": {"v": "1"}})
    (done,) = feed.replay()
    assert (done.counts.accepted, done.counts.superseded) == (1, 1)
    assert feed.rows("staging.feed", "id", "v") == [("a", 5), ("b", 1)]
    assert feed.states() == {"a.csv:1": "superseded", "a.csv:2": "replayed"}


def test_into_an_overwrite_unit_a_replay_is_the_units_next_attempt(feed: StewardFeed) -> None:
    feed.define('<hive table="staging.feed" mode="overwrite"/>', pattern=f".*_{DATED}.csv", snapshot=True)
    feed.land("a_20240101.csv", "id,v", "a,1", "b,x")
    feed.run()
    feed.decide({"a_20240101.csv:2": {"v": "2"}})
    (done,) = feed.replay()
    assert (done.origin, done.attempt, done.counts.accepted) == ("files", 2, 2)
    assert feed.rows("staging.feed", "id", "v") == [("a", 1), ("b", 2)]
    assert feed.states() == {"a_20240101.csv:2": "resolved"}


def test_rows_of_a_lake_table_are_replayed_from_their_sealed_payload(feed: StewardFeed) -> None:
    feed.define(APPEND, v={"type": "number"}, d=TEXT | {"format": "date"})
    condition = '<filter source="t" condition="v &gt; 1"/>'
    feed.define_reader("changes", steps=condition)
    feed.land("a.csv", "id,v,d", "a,0.25,2024-01-05", "b,2.5,2024-01-06")
    feed.run()
    feed.run("reader")
    assert feed.states("reader") == {"a.csv:1": "open"}
    feed.decide({"a.csv:1": {"v": "7.5"}}, name="reader")
    (done,) = feed.replay("reader")
    assert (done.status, done.counts.accepted) == ("published", 1)
    assert [(i, v, str(d)) for i, v, d in feed.rows("standardization.copy", "id", "v", "d")] == [
        ("a", 7.5, "2024-01-05"), ("b", 2.5, "2024-01-06"),
    ]  # fmt: skip
    assert feed.states("reader") == {"a.csv:1": "replayed"}


def test_a_trial_tells_what_would_pass_and_changes_nothing(feed: StewardFeed) -> None:
    feed.define(APPEND)
    feed.land("a.csv", "id,v", "a,1", "b,x", ",y")
    feed.run()
    found = feed.entries()
    changes = changes_table([(found[f"a.csv:{n}"]["record_id"], {"v": "2"}, {}) for n in (2, 3)])
    with feed.open() as (lake, pipeline):
        with lake.ledger.read() as session:
            (batch,) = session.scalars(select(Batch))
        told = trial(lake, pipeline, batch, changes)
    assert (told.records, told.would_pass, told.rules) == (2, 1, {"contract.id.required": 1})
    assert feed.entries() == found
    assert feed.rows("staging.feed", "id") == ["a"]


def test_a_correction_waits_for_the_batch_of_its_records(feed: StewardFeed) -> None:
    """A later batch of the same table reads other rows: it must not use the correction up."""
    feed.define(APPEND, v={"type": "number"})
    feed.define_reader("changes", steps='<filter source="t" condition="v &gt; 1"/>')
    feed.land("a.csv", "id,v", "a,0.5", "b,2.5")
    feed.run()
    feed.run("reader")
    feed.decide({"a.csv:1": {"v": "7.5"}}, name="reader")
    feed.land("b.csv", "id,v", "c,3")
    feed.run()
    feed.run("reader")
    (done,) = feed.replay("reader")
    assert done.counts.accepted == 1
    assert feed.rows("standardization.copy", "id") == ["a", "b", "c"]


def test_a_part_of_an_export_goes_out_with_the_replay_that_an_attempt_took_over(feed: StewardFeed) -> None:
    feed.define(f'{APPEND}<csv path="out" mode="append"/>')
    feed.land("a.csv", "id,v", "a,1", "b,x")
    feed.run()
    feed.decide({"a.csv:2": {"v": "2"}})
    feed.replay()
    feed.run(reprocess=True)
    parts = sorted((feed.settings.application_data / "app" / "out").glob("part-*"))
    assert sorted(line for part in parts for line in part.read_text().splitlines()[1:]) == ['"a",1', '"b",2']


def test_a_replay_whose_target_became_whole_is_an_attempt_of_the_unit(feed: StewardFeed) -> None:
    pattern = f".*_{DATED}.csv"
    feed.define(APPEND, pattern=pattern, snapshot=True)
    feed.land("aaa_20240101.csv", "id,v", "a,1", "b,x", "c,1")
    feed.run()
    feed.decide({"aaa_20240101.csv:2": {"v": "2"}})
    with feed.open() as (lake, pipeline), lake.ledger.write() as session:
        assert len(persist_replays(lake, session, pipeline)) == 1
    feed.define('<hive table="staging.feed" mode="overwrite"/>', pattern=pattern, snapshot=True)
    (done,) = feed.run()
    assert (done.origin, done.attempt, done.counts.accepted) == ("files", 2, 3)
    assert feed.rows("staging.feed", "id", "v") == [("a", 1), ("b", 2), ("c", 1)]
    assert feed.run() == []


def test_a_held_attempt_leaves_what_was_replayed(feed: StewardFeed) -> None:
    """It takes no row out, so the replay's row stands, whatever the rules of today say of its record."""
    feed.define(APPEND)
    feed.land("a.csv", "id,v", "a,1", "b,x", "c,y")
    feed.run()
    feed.decide({"a.csv:2": {"v": "2"}})
    feed.replay()
    strict = '<satisfies id="low" severity="error" expression="v &lt; 2" description="at most one"/>'
    feed.define(APPEND, policy='<errorPolicy onRecordError="quarantine" maxErrors="1"/>', rules=strict)
    (held,) = feed.run(reprocess=True)
    assert (held.status, held.counts.quarantined) == ("held", 2)
    assert feed.rows("staging.feed", "id", "v") == [("a", 1), ("b", 2)]
    assert feed.states() == {"a.csv:2": "replayed", "a.csv:3": "held"}
    feed.define(APPEND)
    (done,) = feed.run(reprocess=True)
    assert (done.status, done.counts.accepted) == ("published", 2)
    assert feed.rows("staging.feed", "id", "v") == [("a", 1), ("b", 2)]
    assert feed.states() == {"a.csv:2": "replayed", "a.csv:3": "open"}


def test_an_attempt_that_publishes_without_a_replayed_record_opens_its_entry(feed: StewardFeed) -> None:
    feed.define(APPEND)
    feed.land("a.csv", "id,v", "a,1", "b,x")
    feed.run()
    feed.decide({"a.csv:2": {"v": "2"}})
    feed.replay()
    strict = '<satisfies id="low" severity="error" expression="v &lt; 2" description="at most one"/>'
    feed.define(APPEND, rules=strict)
    feed.run(reprocess=True)
    assert feed.rows("staging.feed", "id", "v") == [("a", 1)]
    assert feed.states() == {"a.csv:2": "open"}
