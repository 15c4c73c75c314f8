"""The sweep: each kind of leftover found and removed; nothing young, nothing of what goes on, nothing referred to."""

from __future__ import annotations

import fcntl
import os
import time
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import update

from publishing.lake import open_lake
from publishing.ledger import Batch
from publishing.leftovers import KINDS, Swept, sweep
from publishing.raw import SYNCED, WORKING
from publishing.table_files import UnknownLog, unreferenced
from resources.engine import Engine
from tests.promised_feed import APPEND, Feed

EXPORT = '<csv path="exports/feed" mode="append"/>'
AT_ONCE = timedelta(0)


@pytest.fixture
def feed(engine: Engine, tmp_path: Path) -> Feed:
    """A lake in order, with a quarantined record and an export; everything in it is two hours old."""
    feed = Feed(tmp_path, engine)
    feed.define(f"{APPEND}{EXPORT}")
    feed.land("a.csv", "id,v", "a,1", "b,x")
    feed.run()
    age(feed, 7200)
    return feed


def age(feed: Feed, seconds: float) -> None:
    at = time.time() - seconds
    for path in feed.settings.data.rglob("*"):
        if path.is_file() and not path.is_symlink():
            os.utime(path, (at, at))


def swept(feed: Feed, older_than: timedelta = timedelta(hours=1), dry_run: bool = False) -> Swept:
    catalog = feed.catalog()
    with open_lake(feed.settings, catalog, feed.engine) as lake:
        return sweep(lake, catalog, older_than, dry_run)


def batch_id(feed: Feed, status: str | None = None) -> str:
    with open_lake(feed.settings, feed.catalog(), feed.engine) as lake, lake.ledger.write() as session:
        if status is not None:
            session.execute(update(Batch).values(status=status))
        return str(session.query(Batch.id).scalar())


def leave(feed: Feed, kind: str, batch: str = "0" * 32) -> Path:
    """Makes a leftover of a kind, of a batch."""
    token = "f" * 32
    places = {
        "table_file": f"applications/app/staging/feed/part-{batch}-0001-00000.parquet",
        "raw_copy": f"raw/app/feed/.copy-{token}",
        "staged": f"staged/app/feed/{batch}/0001/{token}/records/part-0.parquet",
        "journal": f"journal/app/feed/{batch}/.batch.json.{token}",
        "export": f"applications/app/exports/feed/part-{batch}-0001.csv",
        "lock": "locks/app/gone",
        "correction": f"journal/app/feed/{batch}/correction-{token}.sealed",
        "ledger": "ledger.db.rebuild-20240101T000000",
        "key": "keys/.quarantine.4711",
    }
    path = feed.settings.data / places[kind]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"left")
    return path


def test_a_lake_in_order_has_no_leftovers(feed: Feed) -> None:
    assert swept(feed, AT_ONCE).found == []


@pytest.mark.parametrize("kind", KINDS)
def test_each_kind_is_found_and_removed_once_it_is_old(feed: Feed, kind: str) -> None:
    path = leave(feed, kind)
    assert swept(feed).found == [], "an hour has not passed"
    age(feed, 7200)
    for folder in (feed.settings.data / "staged").rglob("*"):
        os.utime(folder, (0, 0))
    seen = swept(feed, dry_run=True)
    assert [item.kind for item in seen.found] == [item.kind for item in seen.left] == [kind]
    assert path.exists()
    done = swept(feed)
    assert (done.by_kind(), done.size, list(done.left)) == ({kind: 1}, 4, [])
    assert not path.exists()
    assert feed.rows("staging.feed", "id") == ["a"]


def test_all_that_is_left_of_a_copy_is_removed(feed: Feed) -> None:
    path = leave(feed, "raw_copy")
    for name in (f"{path.name}{SYNCED}", f".{path.name}{SYNCED}.{'e' * 32}", f"{path.name}{WORKING}"):
        path.with_name(name).write_bytes(b"1")
    age(feed, 7200)
    assert swept(feed).by_kind() == {"raw_copy": 4}
    assert [each.name for each in path.parent.iterdir() if each.name.startswith(".")] == []


@pytest.mark.parametrize("kind", ["table_file", "staged", "export"])
@pytest.mark.parametrize("status", ["open", "failed", "unpublishing"])
def test_nothing_of_a_batch_that_has_not_ended_is_touched(feed: Feed, kind: str, status: str) -> None:
    batch_id(feed, status)
    path = leave(feed, kind, batch_id(feed))
    assert swept(feed, AT_ONCE).found == []
    assert path.exists()


@pytest.mark.parametrize("kind", ["table_file", "staged", "raw_copy"])
def test_nothing_of_a_pipeline_that_runs_is_touched(feed: Feed, kind: str) -> None:
    path = leave(feed, kind)
    with (feed.settings.data / "locks" / "app" / "feed").open("a") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        assert swept(feed, AT_ONCE).found == []
    assert path.exists()
    assert [item.kind for item in swept(feed, AT_ONCE).found] == [kind]


def test_what_an_older_version_of_a_table_refers_to_stays_until_the_log_forgets_it(feed: Feed) -> None:
    from deltalake import DeltaTable

    feed.run(reprocess=True)
    folder = feed.folder("staging.feed")
    assert len(list(folder.glob("*.parquet"))) == 2
    assert swept(feed, AT_ONCE).found == []
    for path in (folder / "_delta_log").glob("*.json"):
        os.utime(path, (0, 0))
    DeltaTable(str(folder)).create_checkpoint()
    DeltaTable(str(folder)).cleanup_metadata()
    assert swept(feed, AT_ONCE).found == [], "the checkpoint still says that it was removed, for who reads old versions"


def test_a_log_that_cannot_be_read_whole_forbids_to_remove_anything(feed: Feed) -> None:
    leave(feed, "table_file")
    folder = feed.folder("staging.feed")
    assert len(unreferenced(folder)) == 1
    (folder / "_delta_log" / "00000000000000000009.compacted.orc").write_bytes(b"?")
    assert unreferenced(folder) == []
    assert issubclass(UnknownLog, Exception)
    assert swept(feed, AT_ONCE).found == []


def test_applications_that_are_not_loaded_are_left_alone(feed: Feed) -> None:
    from dataclasses import replace

    from pipeline_xml.checked import Catalog

    kept = [leave(feed, kind) for kind in ("table_file", "lock")]
    settings = replace(feed.settings, applications=("another",))
    with open_lake(settings, Catalog(settings.config, ()), feed.engine) as lake:
        assert sweep(lake, lake.catalog, AT_ONCE).found == []
    assert all(path.exists() for path in kept)
