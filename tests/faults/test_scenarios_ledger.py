"""The ledger's database locked, slow, removed or unwritable while a pipeline runs."""

from __future__ import annotations

import signal
import sqlite3
import subprocess
import sys
import time
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from publishing import ledger
from publishing.lake import open_lake
from publishing.rebuild_ledger import rebuild
from resources.settings import Settings
from tests.faults.children import NO_ENGINE, PROJECT, feed_at, run, start
from tests.postgres_server import postgres_server
from tests.promised_feed import DATED, MERGE, NUMBER, Feed

BESIDE = ("-wal", "-shm")


def waits_shortly(seconds: float) -> None:
    """A busy timeout of less than half a minute, so that the test need not wait that long."""
    ledger.BUSY_SECONDS = seconds  # type: ignore[assignment]  # parts of a second will do here


def feed_of(root: Path) -> Feed:
    feed = feed_at(root)
    feed.define(v={**NUMBER, "minimum": 2}, pattern=f".*_{DATED}.csv")
    return feed


def database(feed: Feed) -> Path:
    return feed.settings.data / "ledger.db"


def held_for(feed: Feed, seconds: float) -> subprocess.Popen[bytes]:
    """A process that holds the write lock for some seconds from now on."""
    text = (
        "import sqlite3, sys, time\nfound = sqlite3.connect(sys.argv[1], isolation_level=None, timeout=30)\n"
        "found.execute('BEGIN IMMEDIATE')\nprint('held', flush=True)\ntime.sleep(float(sys.argv[2]))\n"
    )
    command = [sys.executable, "-c", text, str(database(feed)), str(seconds)]
    holder = subprocess.Popen(command, stdout=subprocess.PIPE, cwd=PROJECT)
    assert holder.stdout is not None
    assert holder.stdout.readline() == b"held\n"
    return holder


def test_locked_beyond_the_busy_timeout(tmp_path: Path) -> None:
    """Another connection holds the ledger for longer than a run waits, in the middle of a run

    the run fails with LedgerLocked and what to do, which may be tried again; the retry publishes the rest once
    """
    feed = feed_of(tmp_path)
    feed.land("a_20240101.csv", "id,v", "a,1", "b,2")
    child = start(feed, at="target.committed", by=signal.SIGSTOP, before=waits_shortly, given={"seconds": 0.3})
    child.held()
    holder = held_for(feed, 30)
    child.go_on()
    told = child.error()
    holder.kill()
    holder.wait()
    assert told.startswith("LedgerLocked: another connection has held the ledger")
    assert "then run again" in told.partition("\n")[0]
    assert [b["counts"]["accepted"] for b in run(feed)] == [1]
    assert feed.rows("staging.feed", "id") == ["b"]
    assert feed.rows("exceptions.feed", "state") == ["open"]


def test_slow(tmp_path: Path) -> None:
    """The ledger is slow: each transaction waits for another connection, for less than a run has patience

    the run takes longer and ends as always
    """
    feed = feed_of(tmp_path)
    feed.land("a_20240101.csv", "id,v", "a,1", "b,2")
    child = start(feed, at="claim.persisted", by=signal.SIGSTOP)
    child.held()
    holder = held_for(feed, 1.5)
    begun = time.monotonic()
    child.go_on()
    assert [b["status"] for b in child.ended()] == ["published"]
    assert time.monotonic() - begun > 1
    holder.wait()
    assert feed.rows("staging.feed", "id") == ["b"]


@pytest.mark.parametrize("point", ["claim.persisted", "raw.copied"])
def test_removed_before_anything_is_journaled(tmp_path: Path, point: str) -> None:
    """The ledger's file is removed before the journal knows of a batch

    the run fails with LedgerGone; the next begins with a new ledger, takes the files anew and has each record once
    """
    feed = feed_of(tmp_path)
    feed.land("a_20240101.csv", "id,v", "a,1", "b,2")
    child = start(feed, at=point, by=signal.SIGSTOP)
    child.held()
    for each in ("", *BESIDE):
        Path(f"{database(feed)}{each}").unlink(missing_ok=True)
    child.go_on()
    assert child.error().startswith("LedgerGone: ")
    feed.land("b_20240101.csv", "id,v", "c,3")
    assert [b["counts"]["accepted"] for b in run(feed)] == [2]
    assert feed.rows("staging.feed", "id") == ["b", "c"]


@pytest.mark.parametrize("point", ["attempt.opened", "target.committed"])
def test_removed_while_a_run_uses_it(tmp_path: Path, point: str) -> None:
    """The ledger's file is removed while a run uses it

    the run fails with LedgerGone instead of writing into a file that nobody will find, and no run takes the files for
    new ones: each says LedgerGone until the ledger is rebuilt, also where files came or left meanwhile; then the batch
    is published once
    """
    feed = feed_of(tmp_path)
    feed.land("a_20240101.csv", "id,v", "a,1", "b,2")
    child = start(feed, at=point, by=signal.SIGSTOP)
    child.held()
    for each in ("", *BESIDE):
        Path(f"{database(feed)}{each}").unlink(missing_ok=True)
    child.go_on()
    told = child.error() or str(child.ended()[0]["reason"])
    assert told.startswith("LedgerGone: the ledger"), told
    assert "lake ledger rebuild" in told
    feed.land("b_20240101.csv", "id,v", "c,3")  # would make another batch of the same day with the first
    for _ in range(2):
        again = start(feed).error()
        assert again.startswith("LedgerGone: the ledger lacks 1 batches of app/feed"), again
        assert "lake ledger rebuild" in again
    for each in ("", *BESIDE):
        Path(f"{database(feed)}{each}").unlink(missing_ok=True)
    with open_lake(feed.settings, feed.catalog(), NO_ENGINE) as lake:
        rebuild(lake, feed.catalog())
    # The run had come to its end but for the ledger: the journal has its outcome, and only the new file is left.
    assert [b["counts"]["accepted"] for b in run(feed)] == [1]
    assert feed.rows("staging.feed", "id") == ["b", "c"]
    assert run(feed) == []


def test_replaced_by_an_older_copy(tmp_path: Path) -> None:
    """An older copy of the ledger is put in place, as from a backup of yesterday

    the batches that it does not know are missed: LedgerGone, and no file is read twice
    """
    feed = feed_of(tmp_path)
    feed.land("a_20240101.csv", "id,v", "b,2")
    run(feed)
    with sqlite3.connect(database(feed)) as found:
        found.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    copy = database(feed).read_bytes()
    feed.land("b_20240101.csv", "id,v", "c,3")
    run(feed)
    for each in BESIDE:
        Path(f"{database(feed)}{each}").unlink(missing_ok=True)
    database(feed).write_bytes(copy)
    assert start(feed).error().startswith("LedgerGone: the ledger lacks 1 batches")
    assert feed.rows("staging.feed", "id") == ["b", "c"]


def test_is_no_database(tmp_path: Path) -> None:
    """The ledger's file is damaged: it is no database any more

    the run fails with LedgerGone and what to do
    """
    feed = feed_of(tmp_path)
    feed.land("a_20240101.csv", "id,v", "b,2")
    run(feed)
    for each in BESIDE:
        Path(f"{database(feed)}{each}").unlink(missing_ok=True)
    database(feed).write_bytes(b"not a database, but long enough to be looked at" * 200)
    told = start(feed).error().partition("\n")[0]
    assert told.startswith("LedgerGone: "), told
    assert "lake ledger rebuild" in told


def test_one_batch_raises(tmp_path: Path) -> None:
    """One of several batches raises an error that will not pass by itself

    it ends failed, with type and place of the error and no value of a record; the others are published, and the next
    run takes the failed one up where it stopped
    """
    feed = feed_at(tmp_path)
    export = '<csv path="exports/%m" mode="error"/>'
    feed.define(MERGE + export, pattern=f".*_{DATED}.csv")
    feed.land("x_20240101.csv", "id,v", "x,1")
    run(feed)
    feed.land("a_20240102.csv", "id,v", "a,1")  # January has an export already
    feed.land("b_20240201.csv", "id,v", "b,1")
    found = run(feed)
    assert [(b["status"], b["transient"]) for b in found] == [("failed", False), ("published", False)]
    assert str(found[0]["reason"]).startswith("ExportExists: ")
    assert feed.statuses() == ["published", "failed", "published"]
    assert feed.rows("staging.feed", "id") == ["b", "x"], "an export that may not be is known before a table takes rows"
    feed.define(MERGE + export.replace("error", "append"), pattern=f".*_{DATED}.csv")
    (again,) = run(feed)
    assert (again["status"], again["files"][0]["status"]) == ("published", "published")
    assert feed.statuses() == ["published", "published", "published"]
    assert feed.rows("staging.feed", "id") == ["a", "b", "x"]


@dataclass(frozen=True)
class OnPostgres(Feed):
    """A feed whose ledger is in a database of a server."""

    url: str = ""

    @property
    def settings(self) -> Settings:
        return replace(super().settings, ledger=self.url)


def test_server_gone_in_the_middle(tmp_path: Path) -> None:
    """The server of a ledger on PostgreSQL is gone in the middle of a run, and is back for the next

    the run fails with LedgerUnreachable, which may be tried again; the next ends the same attempt, and each record is
    there once
    """
    with postgres_server() as server:
        feed = OnPostgres(tmp_path, NO_ENGINE, server.database())
        feed.define(v={**NUMBER, "minimum": 2}, pattern=f".*_{DATED}.csv")
        for number, point in enumerate(("claim.persisted", "attempt.opened", "target.committed", "outcome.journaled")):
            feed.land(f"{number}_20240101.csv", "id,v", f"a{number},1", f"b{number},2")
            child = start(feed, at=point, by=signal.SIGSTOP)
            child.held()
            server.stop()
            child.go_on()
            told = child.error()
            assert told.startswith("LedgerUnreachable: the ledger postgresql+psycopg2://"), told
            assert "then run again" in told.partition("\n")[0]
            server.start_again()
            (batch,) = run(feed)
            assert (batch["attempt"], batch["counts"]["accepted"], batch["counts"]["quarantined"]) == (1, 1, 1)
            assert run(feed) == []
        assert feed.rows("staging.feed", "id") == ["b0", "b1", "b2", "b3"]
        assert len(feed.rows("exceptions.feed", "state")) == 4
