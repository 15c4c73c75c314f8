"""Parameters of jobs in expressions: typed, pinned by the attempt, kept by retries, replays and reprocesses."""

from __future__ import annotations

from pathlib import Path

import pytest

from publishing.bound import ParameterMissing
from publishing.lake import open_lake
from publishing.outcome import BatchOutcome
from publishing.run import run_pipeline
from resources.engine import Engine
from tests.promised_feed import Feed

STEPS = (
    '<derive source="s"><column name="region" expression=":region"/>'
    '<column name="scaled" expression="v * :rate"/><column name="at" expression=":runDate"/></derive>'
)
RULE = '<satisfies id="not_before" expression=":since is null or :since &lt;= :businessDate"/>'


@pytest.fixture
def feed(engine: Engine, tmp_path: Path) -> Feed:
    found = Feed(tmp_path, engine)
    found.define(steps=STEPS, rules=RULE, pattern="(?P&lt;business_date&gt;[0-9]{8}).*")
    declare(found, "EU")
    return found


def declare(feed: Feed, region: str | None) -> None:
    default = f' default="{region}"' if region else ""
    folder = feed.root / "config/applications/app/staging/jobs"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "job.xml").write_text(
        f'<jobPipeline id="job" version="1.0"><parameters><parameter name="region"{default}/>'
        '<parameter name="rate" type="decimal(4,2)" default="1.50"/>'
        '<parameter name="since" type="date" default="2024-01-01"/></parameters>'
        '<pipelines><pipelineRef id="feed"/></pipelines></jobPipeline>'
    )


def run(feed: Feed, reprocess: bool = False, **given: str) -> list[BatchOutcome]:
    catalog = feed.catalog()
    pipeline = catalog.pipeline("app", "feed")
    assert pipeline is not None
    with open_lake(feed.settings, catalog, feed.engine) as lake:
        return list(run_pipeline(lake, pipeline, run_id="t", reprocess=reprocess, parameters=given).batches)


def rows(feed: Feed) -> list[tuple[str, ...]]:
    return [tuple(map(str, row)) for row in feed.rows("staging.feed", "id", "region", "scaled", "at")]


def test_what_is_given_counts_else_the_default_and_it_stays_with_the_batch(feed: Feed) -> None:
    feed.land("20240105.csv", "id,v", "a,2")
    run(feed)
    assert rows(feed) == [("a", "EU", "3.00", "2024-01-05")]
    run(feed, reprocess=True, region="US", rate="2.00", runDate="2024-01-09")
    assert rows(feed) == [("a", "US", "4.00", "2024-01-09")]
    run(feed, reprocess=True)  # nobody gives another: what the batch was computed with stays
    assert rows(feed) == [("a", "US", "4.00", "2024-01-09")]
    feed.land("20240106.csv", "id,v", "b,2")
    run(feed)
    assert rows(feed)[1] == ("b", "EU", "3.00", "2024-01-06")


def test_a_changed_default_counts_from_the_next_attempt_on(feed: Feed) -> None:
    feed.land("20240105.csv", "id,v", "a,2")
    run(feed)
    declare(feed, "UK")
    (batch,) = run(feed, reprocess=True)
    assert batch.attempt == 2
    assert rows(feed) == [("a", "UK", "3.00", "2024-01-05")]


def test_rules_read_parameters_too(feed: Feed) -> None:
    feed.land("20240105.csv", "id,v", "a,2")
    (batch,) = run(feed, since="2024-02-01")
    assert batch.counts.quarantined == 1
    assert batch.quarantined_by_rule == {"not_before": 1}


def test_a_parameter_that_nobody_gives_fails_the_batch_and_says_how(feed: Feed) -> None:
    declare(feed, None)
    feed.land("20240105.csv", "id,v", "a,2")
    (batch,) = run(feed)
    assert batch.status == "failed"
    said = "app/feed reads :region, which has no default; give --param region=…"
    assert batch.reason == f"{ParameterMissing.__name__}: {said}"
    (batch,) = run(feed, region="DE")
    assert batch.status == "published"
    assert rows(feed) == [("a", "DE", "3.00", "2024-01-05")]
