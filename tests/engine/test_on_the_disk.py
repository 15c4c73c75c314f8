"""What the journal says was done is on the disk by then: power that is lost takes the one with the other."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from publishing import failpoints
from resources.engine import Engine
from tests.promised_feed import MERGE
from tests.steward_feed import StewardFeed

TARGETS = MERGE + '<hive table="staging.parts" mode="append" partitionBy="v"/><csv path="out" mode="overwrite"/>'


@pytest.fixture
def feed(engine: Engine, tmp_path: Path) -> StewardFeed:
    return StewardFeed(tmp_path, engine)


def unsynced(data: Path, synced: dict[int, int], first: bool) -> list[str]:
    """Files that were never synced, and folders whose names changed after they last were; less the ledger's own."""
    found = []
    for root in ("raw", "journal", "applications"):
        for path in (data / root).rglob("*"):
            if path.name == "out" and not first:  # of parts that were replaced only names go
                continue
            told = path.stat()
            changed = told.st_mtime_ns if path.is_dir() else 0
            if synced.get(told.st_ino, -1) < changed:
                found.append(str(path.relative_to(data)))
    return found


def test_what_is_said_to_be_done_is_on_the_disk(feed: StewardFeed, monkeypatch: pytest.MonkeyPatch) -> None:
    synced: dict[int, int] = {}
    missing: dict[str, list[str]] = {}
    sync = os.fsync

    def noted(descriptor: int) -> None:
        begun = time.time_ns()
        sync(descriptor)
        synced[os.fstat(descriptor).st_ino] = begun

    def looked(point: str) -> None:
        if point in ("claim.settled", "outcome.journaled", "run.recorded"):
            found = unsynced(feed.settings.data, synced, point not in missing)
            missing.setdefault(point, []).extend(found)

    monkeypatch.setattr(os, "fsync", noted)
    monkeypatch.setattr(failpoints, "reached", looked)
    feed.define(TARGETS, snapshot=True)
    for name in "ab":
        feed.land(f"{name}.csv", "id,v", f"{name},1", "both,2", f"{name}{name},x")
        feed.run()
    feed.decide({"a.csv:3": {"v": "3"}})
    feed.run(reprocess=True)
    feed.unpublish("b.csv")
    assert set(missing) == {"claim.settled", "outcome.journaled", "run.recorded"}
    assert [path for paths in missing.values() for path in paths] == []


def test_a_copy_whose_name_was_lost_is_made_again(feed: StewardFeed, monkeypatch: pytest.MonkeyPatch) -> None:
    class Ended(BaseException):
        pass

    def ends(point: str) -> None:
        if point == "claim.copied":
            raise Ended

    feed.define()
    feed.land("a.csv", "id,v", "a,1")
    with monkeypatch.context() as patched, pytest.raises(Ended):
        patched.setattr(failpoints, "reached", ends)
        feed.run()
    (copy,) = (path for path in (feed.settings.data / "raw").rglob("*") if path.is_file())
    copy.unlink()
    assert [b.status for b in feed.run()] == ["published"]
    assert feed.rows("staging.feed", "id") == ["a"]
