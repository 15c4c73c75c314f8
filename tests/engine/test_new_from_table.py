"""`lake new APP/LAYER.TABLE`: what it writes is right, runs, and says how sure it is."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from command_line.main import app
from command_line.new_from_table import new_from_table
from resources.engine import Engine
from tests.promised_feed import MERGE, NUMBER, TEXT, Feed

STAMP = {"type": "string", "format": "date-time"}


@pytest.fixture
def feed(engine: Engine, tmp_path: Path) -> Feed:
    return Feed(tmp_path, engine)


def load(feed: Feed, target: str = '<hive table="staging.feed" mode="append"/>') -> None:
    feed.define(target, v=NUMBER, status=TEXT, email=TEXT, updated_at=STAMP)
    rows = [f"k{n},{n},{'open' if n % 3 else 'paid'},a{n}@x.org,2024-01-05 10:{n:02d}:00" for n in range(60)]
    feed.land("20240105.csv", "id,v,status,email,updated_at", *rows)
    assert [b.status for b in feed.run()] == ["published"]


def test_what_is_written_is_checked_and_runs(feed: Feed) -> None:
    load(feed)
    made = new_from_table(feed.settings, "app/staging.feed", feed.settings.config, "copy", 10_000, force=False)
    assert [p for p in made.problems if p.severity == "error"] == []
    assert (made.key, made.order, made.read) == (("id",), "updated_at", "changes")
    assert made.key_why == "id is unique in 60 of 60 records (so is v, email)"
    assert {c.name: str(c.type) for c in made.columns} == {
        "id": "string", "v": "int", "status": "string", "email": "string", "updated_at": "timestamp",
    }  # fmt: skip
    columns = {c.name: c for c in made.columns}
    assert columns["status"].listed == ("open", "paid")
    assert columns["email"].classification == "pii"
    assert columns["v"].evidence == "the table's own type; 60 of 60 rows have a value"
    assert [b.status for b in feed.run("copy")] == ["published"]
    assert feed.rows("standardization.copy", "id") == feed.rows("staging.feed", "id")


def test_a_table_that_is_merged_into_is_not_read_by_its_changes(feed: Feed) -> None:
    load(feed, MERGE)
    made = new_from_table(feed.settings, "app/staging.feed", feed.settings.config, None, 10, force=False)
    assert (made.read, made.read_why) == ("partition", "app/feed writes it by merge")
    assert (made.rows, made.total, made.pipeline) == (10, 60, "feed_standardization")
    assert not [c for c in made.columns if c.required and c.name != "id"]  # ten rows say nothing of the others
    assert [p for p in made.problems if p.severity == "error"] == []


def test_the_command_says_what_it_did_and_what_there_is(feed: Feed, monkeypatch: pytest.MonkeyPatch) -> None:
    load(feed)
    monkeypatch.setenv("DATALAKE_CONFIG", str(feed.settings.config))
    monkeypatch.setenv("DATALAKE_DATA", str(feed.settings.data))
    done = CliRunner().invoke(app, ["new", "app/staging.feed", "--id", "next", "--json"])
    assert done.exit_code == 0, done.output
    said = json.loads(done.output)
    assert (said["rows"], said["total"], said["primary_key"], said["problems"]) == (60, 60, ["id"], [])
    assert all(Path(file).is_file() for file in said["files"])
    assert "a1@x.org" not in done.output + "".join(Path(file).read_text() for file in said["files"])
    again = CliRunner().invoke(app, ["new", "app/staging.feed", "--id", "next"])
    assert "nothing written, these stand there" in str(again.exception)
    other = CliRunner().invoke(app, ["new", "app/staging.food"])
    assert "no table app/staging.food; there are: app/staging.feed" in str(other.exception)
