"""The clock of the machine is set back by more than a year: between two runs, between a crash and the retry."""

from __future__ import annotations

import signal
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from publishing.ledger import Ledger
from publishing.look import look, settled, sightings, watched
from resources.zone_local import LocalZone
from tests.faults.children import feed_at, run, start
from tests.promised_feed import APPEND, DATED, MERGE, NUMBER, Feed

LIBRARIES = sorted(Path("/usr/lib").glob("*/faketime/libfaketimeMT.so.1"))
BACK = {
    "LD_PRELOAD": str(LIBRARIES[0]) if LIBRARIES else "",
    "FAKETIME": "-400d",
    "FAKETIME_DONT_FAKE_MONOTONIC": "1",
    "FAKETIME_DONT_RESET": "1",
}
faked = pytest.mark.skipif(not LIBRARIES, reason="needs libfaketime (Debian: libfaketime)")
OVERWRITE = '<hive table="staging.feed" mode="overwrite"/>'


@faked
@pytest.mark.parametrize("point", ["claim.persisted", "manifest.written", "target.committed"])
def test_set_back_between_crash_and_retry(tmp_path: Path, point: str) -> None:
    """The clock is set back by 400 days between a crash and the retry

    the retry ends the same attempt: what was pinned when it was opened stays, and each record is there once
    """
    feed = feed_at(tmp_path)
    feed.define(APPEND, v={**NUMBER, "minimum": 2})
    feed.land("a.csv", "id,v", "a,1", "b,2")
    assert start(feed, at=point).code() == -signal.SIGKILL
    (batch,) = start(feed, environment=BACK).ended()
    assert (batch["attempt"], batch["counts"]["accepted"], batch["counts"]["quarantined"]) == (1, 1, 1)
    assert batch["business_date"] == datetime.now(UTC).date().isoformat(), "the claim's own date"
    assert feed.rows("staging.feed", "id") == ["b"]
    (ingested,) = feed.rows("staging.feed", "ingest_date")
    back = (datetime.now(UTC).date() - ingested).days
    assert back == (400 if point == "claim.persisted" else 0), "of the moment at which the attempt was opened"
    assert run(feed) == []


@faked
@pytest.mark.parametrize("target", [MERGE, OVERWRITE])
def test_set_back_between_two_runs(tmp_path: Path, target: str) -> None:
    """The clock is set back by 400 days between two runs

    which row or snapshot is newer is decided by arrival, never by the clock: the second stands
    """
    feed = _feed(tmp_path, target)
    feed.land("a_20240101.csv", "id,v", "a,1")
    run(feed)
    feed.land("b_20240101.csv", "id,v", "a,1", "b,1")
    (second,) = start(feed, environment=BACK).ended()
    assert (second["status"], second["counts"]["accepted"]) == ("published", 2)
    assert feed.rows("staging.feed", "id", "_source_file") == [("a", "b_20240101.csv"), ("b", "b_20240101.csv")]
    feed.land("c_20240101.csv", "id,v", "c,1", "a,1")
    run(feed)
    assert ("a", "c_20240101.csv") in feed.rows("staging.feed", "id", "_source_file")


@faked
def test_set_back_between_two_claims(tmp_path: Path) -> None:
    """The clock is set back between two claims that no run has settled yet

    their files arrive in the order in which they were claimed: the snapshot that came last stands
    """
    feed = _feed(tmp_path, OVERWRITE)
    feed.land("b_20240101.csv", "id,v", "a,1")
    assert start(feed, at="claim.persisted").code() == -signal.SIGKILL
    feed.land("a_20240101.csv", "id,v", "a,2")
    assert start(feed, at="claim.persisted", environment=BACK).code() == -signal.SIGKILL
    run(feed)
    assert feed.rows("staging.feed", "id", "v") == [("a", 2)]


def test_set_back_while_a_file_settles(tmp_path: Path) -> None:
    """The clock is set back while a sensor waits for a file to settle

    the file waits for its settle time anew, and not until the clock has caught up
    """
    feed = _feed(tmp_path, APPEND)
    feed.land("a_20240101.csv", "id,v", "a,1")
    pipeline = feed.catalog().pipeline("app", "feed")
    assert pipeline is not None
    found = watched(pipeline)
    assert found.zone is not None
    at = replace(found, zone=replace(found.zone, settle="PT1H"))
    now = 1_700_000_000.0
    waits = []
    ledger = Ledger.of(feed.settings)
    for moment in (now, now - 86_400, now - 86_400 + 3_600):
        look(ledger, at, LocalZone(feed.settings.data / "landing"), moment)
        with ledger.read() as session:
            waits.append([s.name for page in sightings(session, settled(at, moment)) for s in page])
    ledger.close()
    assert waits == [[], [], ["a_20240101.csv"]]


def _feed(root: Path, target: str) -> Feed:
    feed = feed_at(root)
    feed.define(target, pattern=f".*_{DATED}.csv", snapshot=target == OVERWRITE)
    return feed
