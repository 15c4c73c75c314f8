"""Commits of others between the snapshot that was looked up and the commit that was computed from it.

The run is held in between (SIGSTOP at a failpoint), `deltalake` commits to the table, and the run goes on.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable
from datetime import UTC, date, datetime
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from deltalake import CommitProperties, DeltaTable, Transaction, write_deltalake

from pipeline_xml.checked import CheckedPipeline
from processing import frame as f
from publishing.lake import open_lake
from publishing.ledger import Batch
from publishing.manifest import Manifest, staged_files
from publishing.outcome import Counts
from publishing.targets import Publication, Superseded, publish_table, target_schema
from tests.delta_rows import delta_dataset
from tests.faults.children import NO_ENGINE, feed_at, run, start
from tests.promised_feed import APPEND, DATED, MERGE

OVERWRITE = '<hive table="staging.feed" mode="overwrite"/>'
SNAPSHOT = f".*_{DATED}.*"


def foreign_append(folder: Path) -> None:
    """A row of another writer, who has no batch."""
    table = DeltaTable(str(folder))
    row = delta_dataset(folder).to_table().slice(0, 1)
    for name, value in (("id", "foreign"), ("_record_id", "foreign"), ("_batch_id", "foreign")):
        row = row.set_column(row.schema.get_field_index(name), name, pa.array([value]))
    row = row.set_column(row.schema.get_field_index("_business_date"), "_business_date", pa.array([date(1999, 1, 1)]))
    write_deltalake(table, row, mode="append")


def foreign_delete(folder: Path) -> None:
    DeltaTable(str(folder)).delete("id = 'a'")


def compact(folder: Path) -> None:
    DeltaTable(str(folder)).optimize.compact()


def vacuum(folder: Path) -> None:
    """As hard as it can be: everything that no version of now refers to goes at once."""
    table = DeltaTable(str(folder))
    table.optimize.compact()
    table.vacuum(retention_hours=0, enforce_retention_duration=False, dry_run=False)


def vacuum_full(folder: Path) -> None:
    """Everything that no version refers to, the files of a run that are not committed yet among it."""
    DeltaTable(str(folder)).vacuum(retention_hours=0, enforce_retention_duration=False, dry_run=False, full=True)


CONFLICTS: dict[str, tuple[Callable[[Path], None], dict[str, list[str]]]] = {
    # what the others commit: (it, the ids that stand in the table afterwards by mode)
    "append": (foreign_append, {"append": ["foreign"], "overwrite": ["foreign"], "merge": ["foreign"]}),
    "delete": (foreign_delete, {"append": [], "overwrite": [], "merge": []}),
    "optimize": (compact, {"append": [], "overwrite": [], "merge": []}),
    "vacuum full": (vacuum_full, {"append": [], "overwrite": [], "merge": []}),
    "vacuum": (vacuum, {"append": [], "overwrite": [], "merge": []}),
}


@pytest.mark.parametrize("mode", ["append", "overwrite", "merge"])
@pytest.mark.parametrize("conflict", CONFLICTS)
def test_foreign_commit(tmp_path: Path, conflict: str, mode: str) -> None:
    """Another writer appends, deletes, compacts (OPTIMIZE) or vacuums between the snapshot and the commit of a run

    the run looks again and commits against the newer version: what the others added or took away stays so, and each of
    its own records is there once
    """
    feed = feed_at(tmp_path)
    if mode == "overwrite":
        feed.define(OVERWRITE, pattern=SNAPSHOT, snapshot=True)
    else:
        feed.define(APPEND if mode == "append" else MERGE, pattern=SNAPSHOT)
    for name, ids in (("x_20240101.csv", "ab"), ("y_20240102.csv", "c")):  # two files, so that there is what to compact
        feed.land(name, "id,v", *(f"{i},1" for i in ids))
        run(feed)
    feed.land("z_20240103.csv", "id,v", "d,2", "b,3")
    held = start(feed, at="merge.contested" if mode == "merge" else "target.linked", by=signal.SIGSTOP)
    held.held()
    commit, added = CONFLICTS[conflict]
    commit(feed.folder("staging.feed"))
    held.go_on()
    (batch,) = held.ended()
    assert (batch["status"], batch["counts"]["accepted"]) == ("published", 2)
    expected = {"append": ["a", "b", "b", "c", "d"], "overwrite": ["a", "b", "b", "c", "d"], "merge": list("abcd")}
    ids = [i for i in expected[mode] if not (conflict == "delete" and i == "a")]
    assert feed.rows("staging.feed", "id") == sorted([*ids, *added[mode]])
    assert run(feed) == []


@pytest.mark.parametrize("conflict", CONFLICTS)
def test_foreign_commit_during_a_reprocess(tmp_path: Path, conflict: str) -> None:
    """The same while a reprocess is replacing the rows of its earlier attempt

    the rows of the earlier attempt are gone wherever they were moved to, and each record is there once
    """
    feed = feed_at(tmp_path)
    feed.define(pattern=SNAPSHOT)
    for name, ids in (("x_20240101.csv", "ab"), ("y_20240102.csv", "c")):
        feed.land(name, "id,v", *(f"{i},1" for i in ids))
        run(feed)
    held = start(feed, at="target.linked", by=signal.SIGSTOP, reprocess=True)
    held.held()
    commit, added = CONFLICTS[conflict]
    commit(feed.folder("staging.feed"))
    held.go_on()
    assert [(b["status"], b["counts"]["accepted"]) for b in held.ended()] == [("published", 2), ("published", 1)]
    assert feed.rows("staging.feed", "id") == sorted(["a", "b", "c", *added["append"]])


def test_quarantine_compacted_under_a_reprocess(tmp_path: Path) -> None:
    """The quarantine table is compacted while a reprocess is about to resolve an entry of it

    the entry is there once, and resolved
    """
    feed = feed_at(tmp_path)
    feed.define(v={"type": "integer", "minimum": 2})
    for name in ("x.csv", "y.csv"):
        feed.land(name, "id,v", f"{name[0]},1", "b,2")
        run(feed)
    feed.define()
    held = start(feed, at="quarantine.written", by=signal.SIGSTOP, reprocess=True)
    held.held()
    compact(feed.folder("exceptions.feed"))
    held.go_on()
    held.ended()
    assert feed.rows("exceptions.feed", "state") == ["resolved", "resolved"]
    assert feed.rows("staging.feed", "id") == ["b", "b", "x", "y"]


@pytest.mark.parametrize("newest_first", [False, True])
def test_stale_overwriters(tmp_path: Path, newest_first: bool) -> None:
    """Two overwriters of a partition that is still empty hold the same stale snapshot and commit one after the other

    the second is refused, looks again, and the newer snapshot stands alone, whichever commits first
    """
    feed = feed_at(tmp_path)
    feed.define(OVERWRITE, pattern=SNAPSHOT, snapshot=True)
    catalog = feed.catalog()
    pipeline = catalog.pipeline("app", "feed")
    assert pipeline is not None
    target = pipeline.targets[0]
    looked = threading.Barrier(2, timeout=30)
    turn = {True: threading.Event(), False: threading.Event()}
    said: dict[int, str] = {}
    with open_lake(feed.settings, catalog, NO_ENGINE) as lake:
        lake.table(target.asset).open_or_create(target_schema(pipeline, target), (), "")

        class Stale(type(lake.table(target.asset))):  # type: ignore[misc]  # a table that is looked at together
            def snapshot(self, version: int | None = None):  # type: ignore[no-untyped-def]
                found = super().snapshot(version)
                newest = threading.current_thread().name == "2"
                if not self.looked and threading.current_thread() is not threading.main_thread():
                    self.looked = True
                    looked.wait()
                    if newest != newest_first:
                        turn[newest].wait(30)
                return found

            looked = False

        def publish(arrival: int) -> None:
            given = overwriter(tmp_path, pipeline, arrival)
            table = Stale(lake.table(target.asset).root)
            table.open_or_create = lambda *_: None
            try:
                publish_table(pipeline, target, table, given.manifest.records[f.ACCEPTED], given)
                said[arrival] = "committed"
            except Superseded as error:
                said[arrival] = str(error)
            finally:
                turn[arrival != 2].set()

        threads = [threading.Thread(target=publish, args=(n,), name=str(n)) for n in (1, 2)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(30)
    assert feed.rows("staging.feed", "id") == ["of 2"]
    assert said == {1: "a newer snapshot of 2024-01-01 is published" if newest_first else "committed", 2: "committed"}


def overwriter(root: Path, pipeline: CheckedPipeline, arrival: int) -> Publication:
    """A staged snapshot of one row."""
    schema = target_schema(pipeline, pipeline.targets[0])
    row = {
        "id": f"of {arrival}", "v": 1, "_record_id": f"r{arrival}", "_batch_id": f"batch{arrival}",
        "_business_date": date(2024, 1, 1), "_arrival": arrival, "_source_file": "x", "_source_record": 1,
        "_ingested_at": datetime(2024, 1, 2, tzinfo=UTC), "ingest_date": date(2024, 1, 2),
    }  # fmt: skip
    staged = root / f"staged{arrival}"
    staged.mkdir()
    pq.write_table(pa.Table.from_pylist([row], schema), staged / "part.parquet")
    records = {f.ACCEPTED: staged_files(staged, staged)}
    manifest = Manifest(f"batch{arrival}", 1, str(staged), records, {}, (), {}, {}, ())
    batch = Batch(
        id=f"batch{arrival}", key=f"k{arrival}", pipeline=pipeline.key, business_date=date(2024, 1, 1), origin="files",
        sender=None, arrival=arrival, window=None, status="open", reason=None, attempt=1, created_at=datetime.now(UTC),
    )  # fmt: skip
    assert manifest.counts == Counts()
    return Publication(batch, manifest, [f"delivery{arrival}"], "run", staged)


def test_transactions_survive_what_others_commit(tmp_path: Path) -> None:
    """A compaction, a checkpoint and the clean-up of the log fall between a crash after the commit and the retry

    the retry finds its transaction and commits nothing again
    """
    feed = feed_at(tmp_path)
    feed.define()
    for name in ("a", "b"):
        feed.land(f"{name}.csv", "id,v", f"{name},1")
        assert start(feed, at="target.committed").code() == -signal.SIGKILL
        table = DeltaTable(str(feed.folder("staging.feed")))
        table.optimize.compact()
        table.create_checkpoint()
        table.cleanup_metadata()
        run(feed)
    assert feed.rows("staging.feed", "id") == ["a", "b"]


def test_transaction_of_another_writer(tmp_path: Path) -> None:
    """A foreign writer commits with transaction ids of its own between the snapshot and the commit

    they are not ours: the run looks again and commits
    """
    feed = feed_at(tmp_path)
    feed.define()
    feed.land("a.csv", "id,v", "a,1")
    run(feed)
    feed.land("b.csv", "id,v", "b,1")
    held = start(feed, at="target.linked", by=signal.SIGSTOP)
    held.held()
    rows = delta_dataset(feed.folder("staging.feed")).to_table()
    properties = CommitProperties(app_transactions=[Transaction("another", 7)])
    write_deltalake(str(feed.folder("staging.feed")), rows.slice(0, 0), mode="append", commit_properties=properties)
    held.go_on()
    held.ended()
    assert feed.rows("staging.feed", "id") == ["a", "b"]
