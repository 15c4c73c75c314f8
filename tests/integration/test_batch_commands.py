"""`lake batches …` and `lake restore` as processes: held seen, released, withdrawn; a taking back is said first."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from resources.engine import Engine, open_engine
from tests.promised_feed import APPEND, MERGE
from tests.steward_feed import StewardFeed

LAKE = Path(sys.executable).with_name("lake")
REASON = ("--reason", "known")
POLICY = '<errorPolicy onRecordError="quarantine" maxErrors="1"/>'


def lake(feed: StewardFeed, *arguments: str) -> subprocess.CompletedProcess[str]:
    env = {**os.environ, "DATALAKE_CONFIG": str(feed.settings.config), "DATALAKE_DATA": str(feed.settings.data)}
    return subprocess.run([str(LAKE), *arguments], env=env, capture_output=True, text=True, check=False)


def said(feed: StewardFeed, *arguments: str) -> Any:
    done = lake(feed, *arguments, "--json")
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.fixture(scope="module")
def engine() -> Any:
    with open_engine("sail", None) as opened:
        yield opened


@pytest.fixture
def feed(engine: Engine, tmp_path: Path) -> StewardFeed:
    return StewardFeed(tmp_path, engine)


def test_a_held_batch_is_seen_released_and_the_next_withdrawn(feed: StewardFeed) -> None:
    feed.define(APPEND, policy=POLICY)
    feed.land("aaa.csv", "id,v", "a,1", "b,x", "c,y")
    feed.run()
    (line,) = said(feed, "batches", "list", "--pipeline", "app/feed", "--status", "held")
    assert (line["status"], line["holding"]) == ("held", {"maxErrors": 2.0})
    refused = lake(feed, "batches", "release", "app/feed", line["key"], *REASON)
    assert refused.returncode == 2
    assert "no waiver for maxErrors; it is held by: maxErrors" in " ".join(refused.stderr.split())
    waive = ("--waive", "maxErrors=two known ones")
    assert said(feed, "batches", "release", "app/feed", line["key"], *waive, *REASON)["status"] == "open"
    assert feed.run()[0].status == "published"
    feed.land("bbb.csv", "id,v", "d,1", "e,x", "f,y")
    (held,) = feed.run()
    assert said(feed, "batches", "withdraw", "app/feed", held.key, *REASON)["batch"] == held.key
    assert feed.statuses() == ["published", "withdrawn"]
    audited = json.loads(lake(feed, "audit", "list", "--json").stdout)
    assert [entry["action"] for entry in audited["entries"]] == ["withdraw", "release"]
    wrong = lake(feed, "batches", "list", "--status", "lost")
    assert (wrong.returncode, "valid: open, published, held" in " ".join(wrong.stderr.split())) == (2, True)


def test_a_rewritten_table_is_read_anew_by_one_command_with_its_cost_said_first(feed: StewardFeed) -> None:
    feed.define(APPEND)
    feed.define_reader("changes")
    feed.land("aaa.csv", "id,v", "a,1", "b,2")
    feed.run()
    feed.run("reader")
    feed.define(APPEND, steps='<filter source="s" condition="v &gt; 1" onReject="drop"/>')
    feed.run(reprocess=True)
    (held,) = feed.run("reader")
    assert "lake batches reread app/reader BATCH" in (held.reason or "")
    command = ("batches", "reread", "app/reader", held.key, *REASON)
    plan = said(feed, *command, "--dry-run")
    assert (plan["batches"][0], len(plan["batches"])) == (held.key, 2)
    assert plan["upstream"]["app/staging/feed"].startswith("1 rows, 1 files, ")
    assert "app/staging/feed is read anew by the next run: 1 rows" in lake(feed, *command, "--dry-run").stdout
    assert feed.rows("standardization.copy", "id") == ["a", "b"]
    done = said(feed, *command, "--yes")
    assert (done["unpublished"], done["asked_to_run_again"]) == (plan["batches"], ["app/reader"])
    assert [b.status for b in feed.run("reader")] == ["published"]
    assert feed.rows("standardization.copy", "id") == ["b"]


def test_what_is_taken_back_is_said_with_its_cost_before_it_is_done(feed: StewardFeed) -> None:
    feed.define(MERGE)
    for name in ("aaa", "bbb", "ccc"):
        feed.land(f"{name}.csv", "id,v", f"{name},1")
        feed.run()
    first = feed.batch_of("aaa.csv")
    plan = said(feed, "restore", "app/staging.feed", "--to", first, "--dry-run", *REASON)
    assert plan["batches"] == [feed.batch_of("ccc.csv"), feed.batch_of("bbb.csv")]
    assert plan["rebuilds"] == {"app/staging/feed": "1 batches, 1 files, 11 bytes of raw are computed again"}
    assert feed.rows("staging.feed", "id") == ["aaa", "bbb", "ccc"]
    unasked = lake(feed, "restore", "app/staging.feed", "--to", first, *REASON, "--json")
    assert (unasked.returncode, unasked.stdout) == (2, "")
    newest = feed.batch_of("ccc.csv")
    assert said(feed, "batches", "unpublish", "app/feed", newest, "--yes", *REASON)["unpublished"] == [newest]
    assert feed.rows("staging.feed", "id") == ["aaa", "bbb"]
    done = said(feed, "restore", "app/feed", "--to", first, "--yes", *REASON)
    assert done["unpublished"] == [feed.batch_of("bbb.csv")]
    assert feed.rows("staging.feed", "id") == ["aaa"]
    unknown = lake(feed, "restore", "app/staging.fed", "--to", first, "--yes", *REASON)
    assert (unknown.returncode, "tables are: app/staging.feed" in " ".join(unknown.stderr.split())) == (2, True)
