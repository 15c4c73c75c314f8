"""`lake landing …` as processes: what lies in a zone and became of it; paused, ignored, tried again, in the audit."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from publishing.lake import open_lake
from publishing.rebuild_ledger import rebuild
from resources.engine import Engine, open_engine
from stewardship.rebuild_stores import restore_stores
from tests.promised_feed import Feed

LAKE = Path(sys.executable).with_name("lake")
WHY = ("--reason", "known")
SENDERS = r"(?P&lt;sender&gt;[a-z]+)_.*\.csv"


@pytest.fixture(scope="module")
def engine() -> Any:
    with open_engine("sail", None) as opened:
        yield opened


@pytest.fixture
def feed(engine: Engine, tmp_path: Path) -> Feed:
    made = Feed(tmp_path, engine)
    made.define(pattern=SENDERS)
    return made


def lake(feed: Feed, *arguments: str) -> subprocess.CompletedProcess[str]:
    env = {**os.environ, "DATALAKE_CONFIG": str(feed.settings.config), "DATALAKE_DATA": str(feed.settings.data)}
    return subprocess.run([str(LAKE), *arguments], env=env, capture_output=True, text=True, check=False)


def said(feed: Feed, *arguments: str) -> Any:
    done = lake(feed, *arguments, "--json")
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_what_lies_in_a_zone_is_listed_with_what_became_of_it(feed: Feed) -> None:
    (zone,) = said(feed, "landing", "list")
    assert (zone["zone"], zone["state"], zone["files"]) == ("app/zone", "never looked at", {})
    feed.land("bank_1.csv", "id,v", "a,1")
    feed.land("shop_1.csv", "id,v", "a,x", "b")
    feed.land("copy_1.csv")
    feed.land("readme.txt", "hello")
    (feed.settings.data / "landing" / "bank_2.csv").mkdir()
    feed.run()
    (zone,) = said(feed, "landing", "list")
    assert (zone["state"], zone["files"]) == ("ok", {"taken": 3, "unmatched": 1, "not_a_file": 1})
    files = {line["name"]: (line["state"], line["status"]) for line in said(feed, "landing", "list", "app/zone")}
    assert files == {
        "bank_1.csv": ("taken", "published"), "bank_2.csv": ("not_a_file", "not_a_file"),
        "copy_1.csv": ("taken", "held"), "readme.txt": ("unmatched", "unmatched"), "shop_1.csv": ("taken", "published"),
    }  # fmt: skip
    (line,) = said(feed, "landing", "list", "app/zone", "--state", "unmatched")
    assert line["name"] == "readme.txt"
    assert line["reason"].startswith("no pipeline's pattern has such a name: correct a pattern")
    (line,) = said(feed, "landing", "list", "app/zone", "--after", "readme.txt")
    assert line["name"] == "shop_1.csv"
    found = said(feed, "landing", "show", "app/zone", "bank_1.csv")
    assert [each["outcome"] for each in found["claims"]] == ["copied"]
    assert [(each["status"], each["arrival"]) for each in found["deliveries"]] == [("published", 1)]
    assert "published" in lake(feed, "landing", "show", "app/zone", "bank_1.csv").stdout
    assert "app/zone" in lake(feed, "landing", "list").stdout
    assert "unmatched" in lake(feed, "landing", "list", "app/zone").stdout


def test_a_late_file_says_so_in_list_and_show(feed: Feed) -> None:
    feed.define(pattern=r"(?P&lt;business_date&gt;[0-9]{8})\.csv")
    for day in ("20240102", "20240101"):
        feed.land(f"{day}.csv", "id,v", f"{day},1")
        feed.run()
    late = "late: a file for 2024-01-02 came before"
    reasons = {line["name"]: line["reason"] for line in said(feed, "landing", "list", "app/zone")}
    assert reasons == {"20240101.csv": late, "20240102.csv": None}
    found = said(feed, "landing", "show", "app/zone", "20240101.csv")
    assert [(each["status"], each["late"]) for each in found["deliveries"]] == [("published", late)]


def test_what_is_paused_or_ignored_waits_until_it_is_resumed_and_is_in_the_audit(feed: Feed) -> None:
    said(feed, "landing", "pause", "app/zone", *WHY)
    feed.land("bank_1.csv", "id,v", "a,1")
    assert feed.run() == []
    (zone,) = said(feed, "landing", "list")
    assert (zone["state"], zone["files"]) == ("paused", {})
    said(feed, "landing", "resume", "app/zone", *WHY)
    said(feed, "landing", "pause", "app/zone", "--sender", "bank", *WHY)
    feed.land("shop_1.csv", "id,v", "b,1")
    feed.run()
    assert feed.rows("staging.feed", "id") == ["b"]
    lines = {each["name"]: each for each in said(feed, "landing", "list", "app/zone")}
    assert (lines["bank_1.csv"]["state"], lines["bank_1.csv"]["status"]) == ("waiting", "paused")
    assert lines["bank_1.csv"]["reason"].endswith(": known")
    said(feed, "landing", "ignore", "app/zone", "bank_1.csv", *WHY)
    said(feed, "landing", "resume", "app/zone", "--sender", "bank", *WHY)
    assert feed.run() == []
    said(feed, "landing", "resume", "app/zone", "--file", "bank_1.csv", *WHY)
    feed.run()
    assert feed.rows("staging.feed", "id") == ["a", "b"]
    actions = [entry["action"] for entry in said(feed, "audit", "list")["entries"]]
    assert actions[::-1] == ["pause", "resume", "pause", "ignore", "resume", "resume"]
    assert lake(feed, "audit", "verify").returncode == 0


def test_decisions_are_in_force_after_the_ledger_was_made_again(feed: Feed) -> None:
    feed.land("bank_1.csv", "id,v", "a,1")
    feed.run()
    said(feed, "landing", "pause", "app/zone", "--sender", "bank", *WHY)
    said(feed, "landing", "pause", "app/zone", "--sender", "shop", *WHY)
    said(feed, "landing", "resume", "app/zone", "--sender", "shop", *WHY)
    (feed.settings.data / "ledger.db").unlink()
    with open_lake(feed.settings, feed.catalog(), feed.engine) as opened:
        rebuild(opened, feed.catalog(), (restore_stores,))
    feed.land("bank_2.csv", "id,v", "b,1")
    feed.land("shop_2.csv", "id,v", "c,1")
    feed.run()
    assert feed.rows("staging.feed", "id") == ["a", "c"], "and what was taken is not taken again"


def test_a_withdrawn_file_is_tried_again(feed: Feed) -> None:
    feed.land("bank_1.csv", "id,w", "a,1")
    (held,) = feed.run()
    feed.withdraw(held.key)
    feed.define(pattern=SENDERS, w={"type": "integer"})
    assert feed.run() == []
    assert said(feed, "landing", "retry", "app/zone", "bank_1.csv", *WHY)["state"] == "waiting"
    assert [batch.status for batch in feed.run()] == ["published"]
    found = said(feed, "landing", "show", "app/zone", "bank_1.csv")
    assert [(c["occurrence"], c["outcome"]) for c in found["claims"]] == [(0, "copied"), (1, "copied")]
    assert [d["status"] for d in found["deliveries"]] == ["withdrawn", "published"]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("list", "app/nowhere"), "no landing zone 'app/nowhere'; there are: app/zone"),
        (("list", "--state", "lost"), "valid: waiting, taken, unmatched, beside, not_a_file"),
        (("show", "app/zone", "x.csv"), "no file 'x.csv' lies in app/zone, as the last look saw it; for example: none"),
        (("retry", "app/zone", "x.csv", *WHY), "no file 'x.csv' lies in app/zone"),
        (("pause", "app/zone"), "a reason is needed"),
        (("resume", "app/zone", *WHY), "zone of app/zone is neither paused nor ignored; what is: nothing"),
        (("pause", "app/zone", "--file", "a", "--sender", "b", *WHY), "one of them, or neither"),
    ],
)
def test_what_cannot_be_done_is_said_with_what_can(feed: Feed, arguments: tuple[str, ...], words: str) -> None:
    done = lake(feed, "landing", *arguments)
    assert done.returncode == 2
    assert words in " ".join(done.stderr.split())
