"""`lake ledger verify`: a lake in order has no difference, and each kind of difference is made by hand and named."""

from __future__ import annotations

import gzip
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import delete, select, text, update

from publishing.decisions import BatchDecision, Correction, QuarantinedBatch
from publishing.differences import CODES, Difference
from publishing.journal_entries import journal_reopened
from publishing.lake import Lake, open_lake
from publishing.ledger import Attempt, Batch, Claim, Delivery, LandedFile, now
from publishing.verify import verify
from resources.engine import Engine
from tests.promised_feed import APPEND, DATED, Feed

EXPORT = '<csv path="exports/feed" mode="append" compression="gzip"/>'
FIRST, HELD = "2024-01-05_feed_20240105", "2024-01-06_feed_20240106"
STAGING = ("app", "staging", "feed")
Change = Callable[[Any], Any]
Damage = Callable[[Feed, Lake], object]


@pytest.fixture(scope="module")
def whole(engine: Engine, tmp_path_factory: pytest.TempPathFactory) -> Feed:
    """Two published batches with a quarantined record each, one held by a rule, a copy, an export, and a reader."""
    feed = Feed(tmp_path_factory.mktemp("whole"), engine)
    feed.define(f"{APPEND}{EXPORT}", pattern=f"feed_{DATED}.*", policy='<errorPolicy maxErrors="1"/>')
    feed.define_reader("changes", '<hive table="standardization.copy" mode="merge" keys="id" orderBy="v"/>')
    feed.land("feed_20240105.csv", "id,v", "a,1", "b,x", "c,3")
    feed.land("feed_20240106.csv", "id,v", "d,x", "e,x", "f,6")
    feed.land("feed_20240107.csv", "id,v", "g,7", "h,y")
    feed.land("feed_20240107_copy.csv", "id,v", "g,7", "h,y")
    feed.run()
    feed.run("reader")
    return feed


@pytest.fixture
def feed(whole: Feed, tmp_path: Path) -> Feed:
    shutil.copytree(whole.root, tmp_path / "feed")
    return Feed(tmp_path / "feed", whole.engine)


def differences(feed: Feed, **asked: Any) -> list[Difference]:
    with open_lake(feed.settings, feed.catalog(), feed.engine) as lake:
        return verify(lake, feed.catalog(), **asked)


def test_a_lake_in_order_has_no_difference(feed: Feed) -> None:
    assert differences(feed) == []
    feed.define(f"{APPEND}{EXPORT}", pattern=f"feed_{DATED}.*", policy='<errorPolicy maxErrors="3"/>')
    feed.run(reprocess=True)
    feed.run("reader")
    assert differences(feed) == []
    assert differences(feed, application="app") == []
    assert differences(feed, application="another") == []


def sql(lake: Lake, statement: Any) -> None:
    """Past the constraints, as a hand or another program would."""
    with lake.ledger.engine.begin() as connection:
        connection.execute(text("PRAGMA foreign_keys=OFF"))
        connection.execute(statement)


def batch_id(lake: Lake, key: str) -> str:
    with lake.ledger.read() as session:
        return str(session.scalars(select(Batch.id).where(Batch.key.startswith(key))).one())


def entry(lake: Lake, key: str, name: str) -> Path:
    return lake.journal.root / "app" / "feed" / batch_id(lake, key) / name


def table_rows(lake: Lake, change: Change, asset: tuple[str, str, str] = STAGING) -> None:
    """Writes all rows of a table anew, as `change` wants them; transactions stay."""
    import pyarrow.parquet as pq

    from resources.lake_table import describe_parquet

    snapshot = lake.table(asset).snapshot()
    rows = change(snapshot.dataset().to_table())
    pq.write_table(rows, snapshot.root / "part-by-hand.parquet")
    snapshot.commit([describe_parquet(snapshot.root, "part-by-hand.parquet")], snapshot.files(), {}, {})


def entries(lake: Lake, change: Change) -> None:
    table_rows(lake, change, ("app", "exceptions", "feed"))


def with_value(rows: Any, column: str, value: Any, where: Any = None) -> Any:
    import pyarrow as pa
    import pyarrow.compute as pc

    at = rows.schema.get_field_index(column)
    chosen = pa.repeat(pa.scalar(True), rows.num_rows) if where is None else where
    fresh = pc.if_else(chosen, pa.scalar(value, rows.schema.field(at).type), rows[column])
    return rows.set_column(at, rows.schema.field(at), fresh)


def of_batch(rows: Any, batch: str, column: str = "_batch_id") -> Any:
    import pyarrow.compute as pc

    return pc.equal(rows[column], batch)


def doubled(rows: Any) -> Any:
    import pyarrow as pa

    return pa.concat_tables([rows, rows.slice(0, 1)])


def set_transaction(lake: Lake, key: str, version: int, asset: tuple[str, str, str]) -> None:
    """Delta keeps the newest version that was committed, lower ones too."""
    lake.table(asset).snapshot().commit([], [], {f"b:{batch_id(lake, key)}": version}, {})


def outcome_changed(lake: Lake) -> None:
    with lake.ledger.write() as session:
        attempt = session.get_one(Attempt, (batch_id(lake, FIRST), 1))
        attempt.outcome = {**(attempt.outcome or {}), "counts": {**attempt.outcome["counts"], "accepted": 7}}  # type: ignore[index]


def correction(lake: Lake, **changed: Any) -> None:
    """A correction of the ledger, with or without its journal entry and sealed file."""
    batch = batch_id(lake, FIRST)
    folder = f"app/feed/{batch}"
    document = {
        "correction": "c1", "pipeline": "app/feed", "batch": batch, "kind": "correct", "records": 1, "actor": "ann",
        "role": "steward", "reason": "typing error", "made_at": now().isoformat(),
        "sealed": f"{folder}/correction-c1.sealed",
    }  # fmt: skip
    lake.journal.write(f"{folder}/correction-c1.json", document)
    with lake.ledger.write() as session:
        session.add(
            Correction(
                id="c1", pipeline="app/feed", batch_id=batch, kind="correct", state="proposed",
                records=changed.get("records", 1), actor="ann", role="steward", reason="typing error",
                made_at=lake_moment(document["made_at"]), sealed=str(document["sealed"]), replay_id=None,
            )
        )  # fmt: skip
    if changed.get("file", True):
        (lake.journal.root / str(document["sealed"])).write_bytes(b"sealed")


def lake_moment(said: object) -> Any:
    from datetime import datetime

    return datetime.fromisoformat(str(said))


def export_folder(feed: Feed) -> Path:
    return feed.settings.application_data / "app" / "exports" / "feed"


def fewer_lines(feed: Feed) -> None:
    part = next(iter(sorted(export_folder(feed).glob("part-*"))))
    lines = gzip.decompress(part.read_bytes()).splitlines(keepends=True)
    part.write_bytes(gzip.compress(b"".join(lines[:-1])))


def manifest_parts(feed: Feed, change: Callable[[list[dict[str, Any]]], list[dict[str, Any]]]) -> None:
    path = export_folder(feed) / "_manifest.json"
    document = json.loads(path.read_text())
    path.write_text(json.dumps({**document, "parts": change(document["parts"])}))


def raw_file(lake: Lake) -> Path:
    return min(p for p in lake.raw_root("app/feed").iterdir())


def raw_rewritten(lake: Lake) -> None:
    path = raw_file(lake)
    path.chmod(0o600)
    path.write_bytes(path.read_bytes().replace(b",", b";"))


def claim_forgotten(lake: Lake) -> None:
    for path in (lake.journal.root / "claims").rglob("*.json"):
        path.unlink()


def claims_removed(lake: Lake) -> None:
    for statement in ("UPDATE landed_file SET claim_id = 'elsewhere'", "DELETE FROM look", "DELETE FROM claim"):
        sql(lake, text(statement))



DAMAGE: dict[str, tuple[Damage, set[str]]] = {
    "batch_not_in_journal": (
        lambda feed, lake: [claim_forgotten(lake), shutil.rmtree(entry(lake, FIRST, "batch.json").parent)],
        {"claim_not_in_journal", "attempt_differs", "file_differs"},
    ),
    "batch_not_in_ledger": (
        lambda feed, lake: lake.journal.write(
            "app/feed/0123/batch.json",
            {**json.loads(entry(lake, FIRST, "batch.json").read_text()), "batch": "0123", "files": [], "key": "lost"},
        ),
        set(),
    ),
    "batch_differs": (
        lambda feed, lake: sql(lake, update(Batch).where(Batch.key.startswith(HELD)).values(status="superseded")),
        {"entry_state_differs"},
    ),
    "file_differs": (lambda feed, lake: sql(lake, update(LandedFile).values(sender="nobody")), set()),
    "attempt_differs": (
        lambda feed, lake: sql(lake, update(Attempt).values(run_id="another")),
        set(),
    ),
    "claim_not_in_journal": (lambda feed, lake: claim_forgotten(lake), {"file_differs"}),
    "claim_not_in_ledger": (lambda feed, lake: claims_removed(lake), set()),
    "delivery_without_batch": (
        lambda feed, lake: sql(lake, update(Delivery).values(batch_id="gone")),
        set(),
    ),
    "delivery_missing": (lambda feed, lake: sql(lake, delete(Delivery)), set()),
    "decision_differs": (
        lambda feed, lake: sql(
            lake,
            BatchDecision.__table__.insert().values(  # type: ignore[attr-defined]
                id="d1", batch_id=batch_id(lake, HELD), kind="release", actor="ann", role="steward", reason="seen",
                made_at=now(), waivers={},
            ),
        ),
        set(),
    ),
    "sealed_missing": (lambda feed, lake: correction(lake, file=False), set()),
    "outcome_does_not_close": (lambda feed, lake: outcome_changed(lake), {"attempt_differs"}),
    "raw_missing": (lambda feed, lake: raw_file(lake).unlink(), set()),
    "raw_differs": (lambda feed, lake: raw_rewritten(lake), set()),
    "transaction_missing": (lambda feed, lake: set_transaction(lake, FIRST, 2, STAGING), set()),
    "transaction_left": (
        lambda feed, lake: [
            lake.journal.write(
                f"app/feed/{batch_id(lake, FIRST)}/decision-d1.json",
                {"decision": "d1", "batch": batch_id(lake, FIRST), "kind": "unpublish", "actor": "ann", "role": "r",
                 "reason": "wrong", "made_at": "2024-02-01T00:00:00", "waivers": {}},
            ),
            journal_reopened(lake, "app/feed", {}, {batch_id(lake, FIRST): 1}),
            sql(lake, update(Batch).where(Batch.key.startswith(FIRST)).values(status="unpublished")),
        ],
        {
            "rows_not_published", "decision_differs", "file_differs", "delivery_without_batch", "entry_state_differs",
            "export_of_unknown_batch",
        },
    ),
    "rows_differ": (lambda feed, lake: table_rows(lake, lambda rows: rows.slice(1)), set()),
    "rows_of_unknown_batch": (
        lambda feed, lake: table_rows(lake, lambda rows: with_value(rows, "_batch_id", "stranger")),
        {"rows_differ"},
    ),
    "rows_not_published": (
        lambda feed, lake: table_rows(lake, lambda rows: with_value(rows, "_batch_id", batch_id(lake, HELD))),
        {"rows_differ"},
    ),
    "record_doubled": (lambda feed, lake: table_rows(lake, doubled), {"rows_differ"}),
    "entry_doubled": (lambda feed, lake: entries(lake, doubled), {"entries_differ", "quarantined_differs"}),
    "entries_of_unknown_batch": (
        lambda feed, lake: entries(lake, lambda rows: with_value(rows, "batch_id", "stranger")),
        {"entries_differ", "quarantined_differs"},
    ),
    "entries_differ": (
        lambda feed, lake: entries(lake, lambda rows: rows.slice(1)),
        {"quarantined_differs"},
    ),
    "entry_state_unknown": (
        lambda feed, lake: entries(lake, lambda rows: with_value(rows, "state", "lost")),
        {"quarantined_differs"},
    ),
    "entry_state_differs": (
        lambda feed, lake: entries(
            lake, lambda rows: with_value(rows, "state", "held", of_batch(rows, batch_id(lake, FIRST), "batch_id"))
        ),
        {"quarantined_differs"},
    ),
    "quarantined_differs": (lambda feed, lake: sql(lake, delete(QuarantinedBatch)), set()),
    "export_part_missing": (lambda feed, lake: [p.unlink() for p in export_folder(feed).glob("part-*")], set()),
    "export_rows_differ": (lambda feed, lake: fewer_lines(feed), set()),
    "export_of_unknown_batch": (
        lambda feed, lake: manifest_parts(feed, lambda parts: [{**p, "batch": "stranger"} for p in parts[:1]] + parts),
        set(),
    ),
    "export_part_unnamed": (lambda feed, lake: manifest_parts(feed, lambda parts: parts[1:]), set()),
}


def test_every_kind_of_difference_has_a_case() -> None:
    assert DAMAGE.keys() == CODES.keys()


@pytest.mark.parametrize("code", CODES)
def test_a_difference_made_by_hand_is_named(feed: Feed, code: str) -> None:
    damage, follows = DAMAGE[code]
    with open_lake(feed.settings, feed.catalog(), feed.engine) as lake:
        damage(feed, lake)
    found = differences(feed)
    codes = {difference.code for difference in found}
    assert code in codes
    assert codes <= {code, *follows}, found
    for difference in found:
        assert difference.subject
        assert difference.found != difference.expected
        assert set(difference.as_dict()) == {"code", "subject", "found", "expected", "meaning", "todo"}


def test_without_hashes_a_raw_file_is_told_by_its_size(feed: Feed) -> None:
    with open_lake(feed.settings, feed.catalog(), feed.engine) as lake:
        raw_rewritten(lake)
    assert differences(feed, hashes=False) == []
    with open_lake(feed.settings, feed.catalog(), feed.engine) as lake:
        raw_file(lake).write_bytes(b"id,v\n")
    assert [d.code for d in differences(feed, hashes=False)] == ["raw_differs"]


def test_a_batch_that_a_run_has_still_to_end_is_no_difference(feed: Feed) -> None:
    """Its rows are in one target and not yet in the other: the next run ends it."""
    with open_lake(feed.settings, feed.catalog(), feed.engine) as lake:
        sql(lake, update(Batch).where(Batch.key.startswith(FIRST)).values(status="open", attempt=2))
        sql(lake, update(Claim).values(settled=True))
    assert differences(feed) == []
