"""The ledger on PostgreSQL, and on SQLite where both do: migrations both ways, two that claim at once, made again."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import date
from pathlib import Path
from typing import Any

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from sqlalchemy import Engine as Database
from sqlalchemy import create_engine, inspect, select, text
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from publishing.decisions import Correction, TouchedRecord, record_state
from publishing.lake import open_lake
from publishing.ledger import Base, Batch, Claim, LandedFile, Ledger, Look, now
from publishing.outbox import OutboxMessage
from publishing.rebuild_ledger import rebuild
from publishing.verify import verify
from resources.engine import Engine, open_engine
from resources.settings import Settings
from stewardship.rebuild_stores import restore_stores
from tests.postgres_server import PostgresServer
from tests.promised_feed import APPEND, Feed

PROJECT = Path(__file__).resolve().parents[2]
FILES = 40
CLAIMING = """
import sys, time
from pathlib import Path
from publishing.claim import claim
from publishing.ledger import Ledger
from resources.zone import Sighting

url, start, files = sys.argv[1], Path(sys.argv[2]), int(sys.argv[3])
ledger = Ledger(url)
sightings = [Sighting(f"f{n}.csv", f"/landing/f{n}.csv", 10, f"1:{n}", 0.0) for n in range(files)]
print("ready", flush=True)
while not start.exists():
    time.sleep(0.001)
for first in range(0, files, 4):
    claim(ledger, "app/feed", "zone", sightings[: first + 4])
"""


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'ledger.db'}"
    server: PostgresServer = request.getfixturevalue("postgres")
    return server.database()


def migrate(database: Database, to: str) -> None:
    config = Config()
    config.set_main_option("script_location", str(PROJECT / "publishing" / "migrations"))
    config.set_main_option("version_locations", str(PROJECT / "publishing" / "revisions"))
    config.set_main_option("path_separator", "os")
    with database.connect() as connection:
        config.attributes["connection"] = connection
        (command.upgrade if to == "head" else command.downgrade)(config, to)


def test_migrations_go_up_down_and_up_again(url: str) -> None:
    database = create_engine(url)
    tables = {*Base.metadata.tables, "alembic_version"}
    assert OutboxMessage.__tablename__ in tables  # of a room below: imported, it is in the metadata
    try:
        migrate(database, "head")
        assert set(inspect(database).get_table_names()) == tables
        migrate(database, "0001")
        assert {"claim", "batch"} < set(inspect(database).get_table_names()) < tables
        migrate(database, "base")
        assert inspect(database).get_table_names() == ["alembic_version"]
        migrate(database, "head")
        with database.connect() as connection:
            assert compare_metadata(MigrationContext.configure(connection), Base.metadata) == []
    finally:
        database.dispose()


def test_what_became_of_touched_records_survives_the_migrations(url: str) -> None:
    """As rows of revision 0002 had it, where each record had its own state, and back."""
    database = create_engine(url)
    batch = {
        "id": "b1", "key": "k", "pipeline": "app/feed", "business_date": date(2024, 1, 31), "origin": "files",
        "arrival": 1, "status": "published", "attempt": 1, "created_at": now(),
    }  # fmt: skip
    correction = {
        "id": "c1", "pipeline": "app/feed", "batch_id": "b1", "kind": "correct", "state": "approved", "records": 2,
        "actor": "ann", "role": "steward", "reason": "typo", "made_at": now(), "sealed": "x",
    }  # fmt: skip
    told = text("SELECT record_id, batch_id, correction_id, state, tries FROM touched_record ORDER BY record_id")
    before = [("r1", "b1", "c1", "replayed", 0), ("r2", "b1", "c1", "failed", 2)]
    try:
        migrate(database, "head")
        migrate(database, "0002")
        with database.begin() as connection:
            for name, row in (("batch", batch), ("correction", correction)):
                columns = ", ".join(row)
                connection.execute(text(f"INSERT INTO {name} ({columns}) VALUES (:{', :'.join(row)})"), row)  # noqa: S608
            for record in before:
                values = dict(zip("rbcst", record, strict=True))
                connection.execute(text("INSERT INTO touched_record VALUES ('app/feed', :r, :b, :c, :s, :t)"), values)
        migrate(database, "head")
        with Session(database) as session:
            states = select(TouchedRecord.record_id, record_state(), TouchedRecord.tries)
            states = states.join(Correction, Correction.id == TouchedRecord.correction_id)
            found = session.execute(states.order_by(TouchedRecord.record_id)).all()
            assert [tuple(row) for row in found] == [("r1", "replayed", 0), ("r2", "failed", 2)]
        migrate(database, "0002")
        with database.connect() as connection:
            assert [tuple(row) for row in connection.execute(told)] == before
    finally:
        database.dispose()


def test_two_that_claim_at_once_share_the_files_and_none_has_one_twice(url: str, tmp_path: Path) -> None:
    Ledger(url).close()
    start = tmp_path / "start"
    environment = {**os.environ, "PYTHONPATH": str(PROJECT)}
    arguments = [sys.executable, "-c", CLAIMING, url, str(start), str(FILES)]
    both = [subprocess.Popen(arguments, stdout=subprocess.PIPE, text=True, env=environment) for _ in range(2)]
    for child in both:
        assert child.stdout is not None
        assert child.stdout.readline() == "ready\n"
    start.touch()
    assert [child.wait(60) for child in both] == [0, 0]
    for child in both:
        assert child.stdout is not None
        child.stdout.close()
    ledger = Ledger(url)
    with ledger.read() as session:
        looks = session.execute(select(Look.name, Look.claim_id)).all()
        assert sorted(name for name, _ in looks) == sorted(f"f{n}.csv" for n in range(FILES))
        assert {claim for _, claim in looks} == set(session.scalars(select(Claim.id)))
    ledger.close()


@dataclass(frozen=True)
class OnPostgres(Feed):
    """A feed whose ledger is in a database of a server."""

    url: str = ""

    @property
    def settings(self) -> Settings:
        return replace(super().settings, ledger=self.url)


@pytest.fixture(scope="module")
def engine() -> Iterator[Engine]:
    with open_engine("sail", None) as opened:
        yield opened


@pytest.fixture
def feed(postgres: PostgresServer, engine: Engine, tmp_path: Path) -> OnPostgres:
    """One batch published with a record rejected, and a copy; reprocessed and read."""
    feed = OnPostgres(tmp_path, engine, postgres.database())
    feed.define(f'{APPEND}<csv path="exports/feed" mode="append"/>')
    feed.define_reader("changes", '<hive table="standardization.copy" mode="merge" keys="id" orderBy="v"/>')
    feed.land("a.csv", "id,v", "a,1", "b,x")
    feed.land("b.csv", "id,v", "a,1", "b,x")
    feed.run()
    feed.run(reprocess=True)
    feed.run("reader")
    return feed


def rows(feed: OnPostgres) -> dict[str, list[str]]:
    found = {}
    with open_lake(feed.settings, feed.catalog(), feed.engine) as lake, lake.ledger.read() as session:
        for kind in (Claim, Batch, LandedFile):
            names = [c.key for c in kind.__mapper__.column_attrs]
            values = [{n: getattr(row, n) for n in names} for row in session.scalars(select(kind))]
            found[kind.__tablename__] = sorted(json.dumps(v, default=str, sort_keys=True) for v in values)
    return found


def made_again(feed: OnPostgres) -> Any:
    with open_lake(feed.settings, feed.catalog(), feed.engine) as lake:
        return rebuild(lake, feed.catalog(), (restore_stores,))


def test_a_whole_run_leaves_no_ledger_file_and_no_difference(feed: OnPostgres) -> None:
    assert not (feed.settings.data / "ledger.db").exists()
    assert sorted(feed.statuses()) == ["duplicate", "published"]
    assert feed.rows("staging.feed", "id", "v") == [("a", 1)]
    assert feed.rows("standardization.copy", "id", "v") == [("a", 1)]
    assert feed.run() == []
    with open_lake(feed.settings, feed.catalog(), feed.engine) as lake:
        assert verify(lake, feed.catalog()) == []


@pytest.mark.parametrize("lost", [True, False])
def test_made_again_it_is_the_same_the_old_one_stands_aside_and_arrivals_go_on(feed: OnPostgres, lost: bool) -> None:
    before = rows(feed)
    database = create_engine(feed.url)
    with database.begin() as connection:
        connection.execute(text("CREATE SCHEMA ledger_rebuild_20240101"))  # what a killed one left
        if lost:
            connection.execute(text("DROP SCHEMA public CASCADE"))
            connection.execute(text("CREATE SCHEMA public"))
    found = made_again(feed)
    assert rows(feed) == before
    own = {name for name in inspect(database).get_schema_names() if name.startswith("ledger_")}
    assert own == (set() if lost else {found.kept})
    if not lost:
        kept = set(inspect(database).get_table_names(schema=found.kept))
        assert kept == {*Base.metadata.tables, "alembic_version"}
    database.dispose()
    feed.land("c.csv", "id,v", "c,3")
    feed.run()
    assert feed.rows("staging.feed", "id", "_arrival") == [("a", 2), ("c", 3)]
    with open_lake(feed.settings, feed.catalog(), feed.engine) as lake:
        assert verify(lake, feed.catalog()) == []


def test_what_has_the_same_name_in_another_schema_is_left_alone(feed: OnPostgres) -> None:
    database = create_engine(feed.url)
    with database.begin() as connection:
        connection.execute(text("CREATE TABLE runs (id int)"))
    made_again(feed)
    assert "runs" in inspect(database).get_table_names()
    database.dispose()


def test_a_name_that_is_too_long_for_a_column_holds_its_file_alone(feed: OnPostgres) -> None:
    """PostgreSQL measures, SQLite does not: one such file held up all that came with it and after it."""
    feed.define(APPEND, pattern=r"(?P&lt;sender&gt;[a-z]+)\.csv")
    feed.land("s" * 250 + ".csv", "id,v", "s,1")
    feed.land("c.csv", "id,v", "c,3")
    reasons = {batch.status: batch.reason for batch in feed.run()}
    assert reasons == {
        "published": None, "held": "sender: its name holds one of 250 characters, and at most 200 are kept",
    }  # fmt: skip
    assert feed.rows("staging.feed", "id") == ["a", "c"]


def test_no_error_of_the_database_holds_what_was_to_be_written(url: str) -> None:
    ledger = Ledger(url)
    row = Look(claim_id="none", pipeline="p", zone="z", name="n", uri="u", size=1, version="v", note="a private value")
    with pytest.raises(IntegrityError) as told, ledger.write() as session:
        session.add(row)
    ledger.close()
    assert "private" not in str(told.value)


def test_a_server_that_does_not_answer_is_told_without_its_password(tmp_path: Path) -> None:
    lake = str(Path(sys.executable).parent / "lake")
    environment = {
        **os.environ, "DATALAKE_DATA": str(tmp_path), "DATALAKE_CONFIG": str(PROJECT / "config"),
        "DATALAKE_LEDGER": "postgresql+psycopg2://ann:secret@127.0.0.1:1/ledger",
    }  # fmt: skip
    done = subprocess.run([lake, "ledger", "verify"], env=environment, capture_output=True, text=True, check=False)
    assert done.returncode != 0
    assert "secret" not in done.stdout + done.stderr
