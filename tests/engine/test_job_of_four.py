"""Each failure policy on a job of four real pipelines: what stands in the tables afterwards, and how the run ended.

    extract ─┬─▶ left ──┬─▶ publish        all read what `extract` wrote; `spare` stands ready as a fallback
             └─▶ right ─┘

What fails either holds its batch (no row meets its rule) or cannot find the secret of its mask. tests/unit has every
policy with each of the four failing, on a lake that plays its part.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from datalake_assets.execute import execute
from datalake_assets.work import lake_work
from publishing.outcome import RunOutcome
from resources.engine import Engine
from tests.notification_servers import webhook
from tests.promised_feed import Feed, pipeline_xml

AFTER = {"feed": "", "left": "feed", "right": "feed", "publish": "left,right"}
HELD = '<errorPolicy maxErrors="0"/>'
MASK = '<mask source="t" columns="id" strategy="hash" secretRef="NOBODY_HAS_IT"/>'


@pytest.fixture
def feed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Feed:
    """On the embedded engine, which each run opens for itself: what goes on after a failure is no engine's affair."""
    monkeypatch.delenv("DAGSTER_HOME", raising=False)
    return Feed(tmp_path, Engine("sail", None))  # type: ignore[arg-type]  # only its name is asked for


def run_job(
    feed: Feed, failing: str, on_failure: str, *, held: bool, notifications: str = ""
) -> tuple[RunOutcome, dict[str, int]]:
    """The outcome, and the rows of each table there is."""
    broken = '<matches id="never" column="id" pattern="^nothing$"/>'
    feed.define(policy=HELD if failing == "feed" else "", rules=broken)
    config = feed.settings.config / "applications" / "app"
    if failing != "feed":
        staging = config / "staging" / "pipelines" / "feed.xml"
        staging.write_text(staging.read_text().replace('<quality rules="pack"/>', ""))
    for name in (*list(AFTER)[1:], "spare"):
        bad = name == failing
        target = f'<hive table="standardization.{name}" mode="append"/>'
        text = pipeline_xml(
            name, "standardization", '<hive id="t" table="staging.feed" read="partition"/>',
            MASK if bad and not held else "", target, HELD if bad and held else "",
            '<quality rules="pack"/>' if bad and held else "",
        )  # fmt: skip
        (config / "standardization" / "pipelines").mkdir(parents=True, exist_ok=True)
        (config / "standardization" / "pipelines" / f"{name}.xml").write_text(text)
    more = ' fallback="spare"' if on_failure == "fallback" else ' maxRetries="1"' if on_failure == "retry" else ""
    refs = "".join(
        f'<pipelineRef id="{name}"{f" dependsOn={chr(34)}{after}{chr(34)}" if after else ""}'
        + (f' onFailure="{on_failure}"{more}/>' if name == failing else "/>")
        for name, after in AFTER.items()
    )
    (config / "service" / "jobs").mkdir(parents=True, exist_ok=True)
    job = f'<jobPipeline id="four" version="1.0"><pipelines>{refs}</pipelines>{notifications}</jobPipeline>'
    (config / "service" / "jobs" / "four.xml").write_text(job)
    feed.land("a.csv", "id,v", "a,1", "b,2")
    settings = replace(feed.settings, secrets=feed.root)
    catalog = feed.catalog()
    outcome = execute(settings, "app", "four", catalog=catalog, open_work=lake_work(settings, catalog))
    tables = ["staging.feed", *(f"standardization.{name}" for name in (*list(AFTER)[1:], "spare"))]
    made = [table for table in tables if (feed.folder(table) / "_delta_log").exists()]
    return outcome, {table.split(".")[1]: len(feed.rows(table, "id")) for table in made}


@pytest.mark.parametrize(
    ("failing", "on_failure", "held", "status", "rows"),
    [
        ("feed", "halt", True, "held", {}),
        ("left", "halt", False, "failed", {"feed": 2}),
        ("left", "skip", True, "held", {"feed": 2, "right": 2}),
        ("right", "continue", True, "held", {"feed": 2, "left": 2, "publish": 2}),
        ("publish", "continue", False, "failed", {"feed": 2, "left": 2, "right": 2}),
        ("right", "fallback", False, "published", {"feed": 2, "left": 2, "spare": 2, "publish": 2}),
        ("right", "retry", True, "held", {"feed": 2, "left": 2}),
    ],
)
def test_what_stands_after_a_job_of_four(
    feed: Feed, failing: str, on_failure: str, held: bool, status: str, rows: dict[str, int]
) -> None:
    outcome, found = run_job(feed, failing, on_failure, held=held)
    assert found == rows
    assert outcome.status == status


def test_a_job_on_a_real_lake_tells_its_end(feed: Feed) -> None:
    """The ledger that holds the outbox is the one the run has open."""
    notes = '<notifications><webhook urlSecretRef="HOOK" on="failure"/></notifications>'
    with webhook() as hook:
        (feed.root / "HOOK").write_text(hook.url)
        outcome, _ = run_job(feed, "left", "skip", held=True, notifications=notes)
        ((_, body),) = hook.taken
    assert body["run"] == outcome.run
    assert [(p["pipeline"], p["status"]) for p in body["pipelines"]] == [
        ("feed", "published"), ("left", "held"), ("right", "published"), ("publish", "did_not_run"),
    ]  # fmt: skip
    assert "left is held" in body["text"]
