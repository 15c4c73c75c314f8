"""Rules that compare with other tables: which version was looked at, and what happens when that moves on."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import select

from pipeline_xml.load import load_catalog
from processing.transformations import registry
from publishing.checks import published_checks
from publishing.lake import Lake, open_lake
from publishing.ledger import Attempt, Batch
from publishing.run import run_pipeline
from resources.engine import Engine
from tests.golden_cases import CASES, case_settings, quarantine_document
from tests.promised_feed import APPEND
from tests.steward_feed import StewardFeed

CASE = CASES / "compared"


@pytest.fixture
def lake(tmp_path: Path, engine: Engine) -> Iterator[Lake]:
    settings = case_settings(CASE, tmp_path, engine)
    with open_lake(settings, load_catalog(settings.config, registry()), engine) as opened:
        yield opened


def land(lake: Lake, name: str, text: str | None = None) -> None:
    place = lake.settings.data / "landing" / "till" / name
    place.parent.mkdir(parents=True, exist_ok=True)
    if text is None:
        shutil.copyfile(CASE / "input" / name, place)
    else:
        place.write_text(text)


def run(lake: Lake, name: str, reprocess: bool = False) -> list[tuple[str, str | None, int]]:
    pipeline = lake.catalog.pipeline("till", name)
    assert pipeline is not None
    outcome = run_pipeline(lake, pipeline, run_id="compared", reprocess=reprocess)
    return [(b.status, b.reason, b.counts.quarantined) for b in outcome.batches]


def test_the_version_compared_with_is_pinned_and_a_later_attempt_sees_the_next(lake: Lake) -> None:
    for name in ("customers_20240104.csv", "totals_20240105.csv", "orders_20240105.csv"):
        land(lake, name)
    run(lake, "customers")
    run(lake, "totals")
    assert run(lake, "orders") == [("published", None, 2)]
    land(lake, "customers_20240106.csv", "customer_id,name\nC9,Nine\n")
    run(lake, "customers")
    # C9 is known now; what was sold to him is 5.00 more than the totals say.
    ((status, reason, rejected),) = run(lake, "orders", reprocess=True)
    assert (status, rejected) == ("held", 1)
    assert reason == "rule taken failed: the sum of amount is 13.5135% off that in staging.totals; allowed 0.1000%"
    with lake.ledger.read() as session:
        pins = session.scalars(
            select(Attempt.references).join(Batch, Batch.id == Attempt.batch_id).where(Batch.pipeline == "till/orders")
            .order_by(Attempt.number)
        ).all()  # fmt: skip
    versions = [{name: pin for name, pin in each.items() if name.startswith("table:")} for each in pins]
    totals = versions[0]["table:till.staging.totals"]
    newest = lake.table(("till", "staging", "customers")).snapshot().version
    assert versions[0] != versions[1]
    assert versions[1] == {"table:till.staging.customers": str(newest), "table:till.staging.totals": totals}
    assert {each["country"] for each in pins} == {pins[0]["country"]}


def test_the_published_rows_are_compared_with_the_tables_of_now(lake: Lake) -> None:
    for name in ("customers_20240104.csv", "totals_20240105.csv", "orders_20240105.csv"):
        land(lake, name)
    for name in ("customers", "totals", "orders"):
        run(lake, name)
    orders = lake.catalog.pipeline("till", "orders")
    assert orders is not None

    def failed() -> dict[str, int]:
        return {c.name: c.failed_rows for c in published_checks(lake, orders, None) if not c.passed}

    assert failed() == {"contract": 1, "known_country": 1, "as_many_rows": 1}
    land(lake, "totals_20240105_b.csv".replace("_b", ""), "shop,total\nS3,100.00\n")
    run(lake, "totals")
    assert failed() == {"contract": 1, "known_country": 1, "taken": 7300}  # 37.00 of 137.00


def test_what_was_never_published_cannot_be_compared_with(lake: Lake) -> None:
    land(lake, "orders_20240105.csv")
    ((status, reason, _),) = run(lake, "orders")
    assert status == "failed"
    assert reason is not None and "till.staging.customers, which was never published" in reason
    assert quarantine_document(lake, "till/orders") == []


def test_a_corrected_key_is_judged_again_when_it_is_replayed(engine: Engine, tmp_path: Path) -> None:
    feed = StewardFeed(tmp_path, engine)
    feed.define(APPEND, rules='<foreignKey id="known" column="id" reference="ids"/>')
    lookups = tmp_path / "config" / "applications" / "app" / "lookups"
    lookups.mkdir()
    (lookups / "ids.csv").write_text("id\na\nb\n")
    contract = {"type": "object", "x-primaryKey": ["id"], "required": ["id"], "properties": {"id": {"type": "string"}}}
    (lookups / "ids.json").write_text(json.dumps(contract))
    feed.land("x.csv", "id,v", "a,1", "z,2", "y,3")
    (batch,) = feed.run()
    assert (batch.counts.accepted, batch.counts.quarantined) == (1, 2)
    feed.decide({"x.csv:2": {"id": "b"}, "x.csv:3": {"id": "q"}})
    (done,) = feed.replay()
    assert (done.origin, done.counts.accepted, done.counts.quarantined) == ("replay", 1, 1)
    assert feed.states() == {"x.csv:2": "replayed", "x.csv:3": "open"}
    assert [e["code"] for e in feed.entries()["x.csv:3"]["errors"]] == ["missing_reference"]
    assert feed.rows("staging.feed", "id", "v") == [("a", 1), ("b", 2)]
