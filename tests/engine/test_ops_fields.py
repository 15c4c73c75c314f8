"""The operations tables have every field that was promised, filled; what is rejected costs the ledger no rows."""

from __future__ import annotations

from pathlib import Path

import pytest
from sqlalchemy import func, select

from publishing.ledger import Base
from publishing.ops_table import DELIVERIES, PIPELINE_RUNS, QUARANTINE_EVENTS, schema
from resources.engine import Engine
from tests.ops_rows import EVENTS, RUNS, opened, rows
from tests.promised_feed import Feed

PAGE = (Path(__file__).parents[2] / "docs" / "ops-tables.md").read_text()
# Of a load that went well: an error has no type, and nobody replayed or decided anything.
EMPTY_RUN = {"error_type", "error_reason"}
EMPTY_EVENT = {"replay_batch_id", "decision_id", "actor", "role"}


@pytest.fixture
def feed(tmp_path: Path, engine: Engine) -> Feed:
    return Feed(tmp_path, engine)


@pytest.mark.parametrize("name", [PIPELINE_RUNS, QUARANTINE_EVENTS, DELIVERIES])
def test_every_column_is_told_of_on_the_page(name: str) -> None:
    told = {f"rows_{n}" for n in ("accepted", "quarantined", "deduplicated", "filtered", "superseded")}  # by its ends
    assert [column for column in schema(name).names if f"`{column}`" not in PAGE and column not in told] == []


def test_a_run_and_its_events_have_every_field(feed: Feed) -> None:
    feed.define()
    path = feed.root / "config/applications/app/staging/pipelines/feed.xml"
    metadata = "<appName>app</appName><productProcessor>Cards</productProcessor><sla>PT2H</sla>"
    path.write_text(path.read_text().replace("<appName>app</appName>", metadata))
    feed.land("a.csv", "id,v", "a,1", "b,x")
    feed.run()
    ((run,), (event,)) = rows(feed, RUNS), rows(feed, EVENTS)
    assert {name for name, value in run.items() if value is None} == EMPTY_RUN
    assert {name for name, value in event.items() if value is None} == EMPTY_EVENT
    assert (run["product_processor"], run["sla_status"], run["engine"]) == ("Cards", "met", feed.engine.name)
    assert dict(run["cost_tags"])["product_processor"] == event["product_processor"] == "Cards"
    assert (event["rule_id"], event["records"], event["remediation_status"]) == ("contract.v.type", 1, "open")


def test_what_is_rejected_costs_the_ledger_no_rows(feed: Feed) -> None:
    def size() -> dict[str, int]:
        with opened(feed) as (lake, _), lake.ledger.read() as session:
            tables = Base.metadata.sorted_tables
            return {t.name: session.scalar(select(func.count()).select_from(t)) or 0 for t in tables}

    feed.define()
    feed.land("few.csv", "id,v", "a,1", "b,x")
    feed.run()
    before = size()
    feed.land("many.csv", "id,v", *(f"r{n},x" for n in range(3_000)))
    (batch,) = feed.run()
    assert batch.counts.quarantined == 3_000
    grown = {name: number - before[name] for name, number in size().items() if number > before[name]}
    assert sum(grown.values()) <= 8, grown
