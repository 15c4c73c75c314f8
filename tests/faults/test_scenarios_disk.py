"""No room on the disk at each write, and folders that may not be written.

A lake on a small file system of its own is filled up while the run is held at a failpoint; or, where nobody may mount
one, the process may not write a byte to a file from there on. Then there is room again, and the run is repeated.
"""

from __future__ import annotations

import contextlib
import ctypes
import resource
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.faults.children import feed_at, run, some, start
from tests.promised_feed import APPEND, MERGE, NUMBER, Feed

TARGETS = APPEND.replace("staging.feed", "staging.history") + MERGE + '<csv path="exports/feed" mode="append"/>'
LIMIT = {**NUMBER, "minimum": 2}
NAMED = ("DiskFull: no room left on the disk", "make room, then run again")
ROOM = "64m"


@contextlib.contextmanager
def small_disk(folder: Path, size: str) -> Iterator[None]:
    """A file system of that size in the folder; skipped where nobody may mount one."""
    folder.mkdir(parents=True)
    made = subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(folder)], capture_output=True)
    if made.returncode:
        pytest.skip("no right to mount a file system; the limit of file sizes is tried in any case")
    try:
        yield
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


def fill(folder: Path) -> Path:
    """Takes every byte there is."""
    path = folder / "filler"
    with path.open("ab", buffering=0) as out, contextlib.suppress(OSError):
        while True:
            out.write(b"\0" * 4096)
    return path


def three_records(feed: Feed, steps: str = "") -> None:
    feed.define(TARGETS, v=LIMIT)
    feed.land("a.csv", "id,v", "a,1", "b,2", "c,3")


def account(feed: Feed) -> dict[str, Any]:
    """What stands in tables, quarantine and export, and what is left over."""
    parts = sorted(feed.folder("exports").joinpath("feed").iterdir())
    return {
        "history": feed.rows("staging.history", "id", "v"),
        "feed": feed.rows("staging.feed", "id", "v"),
        "exceptions": feed.rows("exceptions.feed", "source_record", "state"),
        "export": [p.read_text() for p in parts if p.suffix == ".csv"],
        "others": [p.name for p in parts if p.suffix != ".csv"],
        "staged": [p.name for p in (feed.settings.data / "staged").rglob("*.parquet")],
        "raw": len(list((feed.settings.data / "raw" / "app" / "feed").iterdir())),
        "files": feed.statuses(),
    }


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, Any], list[str]]:
    """What a run without trouble leaves, and the failpoints that it passes."""
    feed = feed_at(tmp_path_factory.mktemp("undisturbed"))
    three_records(feed)
    child = start(feed)
    (batch,) = child.ended()
    assert batch["counts"]["accepted"] == 2
    return account(feed), child.passed()


@pytest.fixture(scope="module")
def undisturbed(plain: tuple[dict[str, Any], list[str]]) -> dict[str, Any]:
    return plain[0]


def said(child: Any) -> str:
    """What a run that had no room says: the reason of its batch, or what it raised."""
    if child.code():
        return str(child.error()).partition("\n")[0]
    return str(child.ended()[0]["reason"])


def test_disk_full_from_each_failpoint_on(tmp_path: Path, plain: tuple[dict[str, Any], list[str]]) -> None:
    """The disk is full from one of the failpoints on, each in turn

    the run fails with DiskFull and what to do, nothing of it is lost or doubled, and once there is room the retry ends
    like a run that was not disturbed
    """
    undisturbed, points = plain
    assert len(points) > 20
    for point in some(points):
        root = tmp_path / point
        with small_disk(root / "data", ROOM):
            feed = feed_at(root)
            three_records(feed)
            child = start(feed, at=point, by=signal.SIGSTOP)
            child.held()
            filler = fill(root / "data")
            child.go_on()
            if point != points[-1]:  # after it, nothing is written any more
                told = said(child)
                assert told.startswith(NAMED[0]), f"{point}: {told}"
                assert NAMED[1] in told
            filler.unlink()
            ended = points.index(point) >= points.index("ledger.ended")
            assert [b["status"] for b in run(feed)] == ([] if ended else ["published"]), point
            assert account(feed) == undisturbed, point


@pytest.mark.parametrize("kilobytes", [0, 16, 64, 128, 256])
def test_files_limited_in_size(tmp_path: Path, undisturbed: dict[str, Any], kilobytes: int) -> None:
    """The process may write files up to a size only (RLIMIT_FSIZE), which fails in the ledger, in a table or nowhere

    the run fails by name or ends; without the limit the retry ends like a run that was not disturbed
    """
    feed = feed_at(tmp_path)
    three_records(feed)
    child = start(feed, before=limit_files, given={"size": kilobytes * 1024})
    child.code()
    if child.process.exitcode or child.ended()[0]["status"] == "failed":
        assert said(child).split(":")[0] in ("DiskFull", "LedgerUnreachable"), said(child)
    run(feed)
    assert account(feed) == undisturbed


def limit_files(size: int) -> None:
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))


@pytest.mark.parametrize("kilobytes", [8, 180, 260, 340, 420])
def test_disk_too_small(tmp_path: Path, undisturbed: dict[str, Any], kilobytes: int) -> None:
    """The disk has room for a part of the run only, from a few kilobytes to nearly enough

    wherever it stops it says DiskFull; once the disk is larger, the retry ends like a run that was not disturbed
    """
    data = tmp_path / "data"
    with small_disk(data, f"{kilobytes}k"):
        feed = feed_at(tmp_path)
        three_records(feed)
        told = said(start(feed))
        assert told == "None" or told.startswith(NAMED[0]), told
        subprocess.run(["mount", "-o", f"remount,size={ROOM}", str(data)], check=True)
        run(feed)
        assert account(feed) == undisturbed


def test_disk_full_in_the_middle_of_a_copy(tmp_path: Path) -> None:
    """The disk of the lake is full in the middle of the copy of a large file to raw

    the run fails with DiskFull and calls no file bad; nothing of the copy is left over, and once there is room the file
    is published once
    """
    data, outside = tmp_path / "data", tmp_path / "outside"
    outside.mkdir()
    (outside / "a.csv").write_text("id,v\n" + "".join(f"{number:0999d},1\n" for number in range(12_000)))
    with small_disk(data, "8m"):
        feed = feed_at(tmp_path)
        feed.define(APPEND, zone=f'type="local" uri="{outside}"')
        assert said(start(feed)).startswith(NAMED[0])
        assert feed.statuses() == []
        assert list((data / "raw").rglob("*.csv")) == list((data / "raw" / "app" / "feed").glob("[!.]*")) == []
        subprocess.run(["mount", "-o", f"remount,size={ROOM}", str(data)], check=True)
        assert [(b["status"], b["counts"]["accepted"]) for b in run(feed)] == [("published", 12_000)]
        assert feed.statuses() == ["published"]


def without_privileges() -> None:
    """Root is subject to the rights of files from here on, as everybody else."""
    header = (ctypes.c_uint32 * 2)(0x20080522, 0)  # capability sets of two words, of this process
    assert ctypes.CDLL(None).capset(header, (ctypes.c_uint32 * 6)()) == 0


@pytest.mark.parametrize("folder", ["raw", "journal", "staged", "history", "feed", "exceptions", "export", "."])
def test_folder_that_may_not_be_written(tmp_path: Path, undisturbed: dict[str, Any], folder: str) -> None:
    """A folder of the lake (of a table, the quarantine, an export, raw, journal, staging, the root) is read-only

    the run fails with NotWritable, which folder and what to do; with the right given back, the retry ends like a run
    that was not disturbed
    """
    feed = feed_at(tmp_path)
    tables = {"history": "staging.history", "feed": "staging.feed", "exceptions": "exceptions.feed"}
    data = feed.settings.data
    if folder in tables:  # a table that is there already, with its log
        feed.define(TARGETS, v=LIMIT)
        feed.land("x.csv", "id,v", "b,2", "a,1", "c,3")
        assert run(feed)[0]["status"] == "published"
    closed = feed.folder(tables[folder]) if folder in tables else data / folder
    if folder == "export":
        closed = feed.folder("exports") / "feed"
    closed.mkdir(parents=True, exist_ok=True)
    three_records(feed)
    everything = [closed, *(p for p in closed.rglob("*") if p.is_dir())] if folder != "." else [closed]
    for each in everything:
        each.chmod(0o555)
    told = said(start(feed, before=without_privileges))
    assert told.startswith("NotWritable: no right to write"), told
    assert "then run again" in told
    for each in everything:
        each.chmod(0o755)
    run(feed)
    if folder not in tables:
        assert account(feed) == undisturbed
    else:
        assert feed.rows("staging.feed", "id", "v") == undisturbed["feed"]
        assert feed.rows("staging.history", "id", "v") == sorted([*undisturbed["history"], *undisturbed["history"]])
        assert feed.rows("exceptions.feed", "source_record", "state") == [(1, "open"), (2, "open")]
