"""Whether any row ever lost in a merge target against one that stands: what could win if that came back lower.

Losers stand nowhere but in raw. But where every row that the other batches brought stands, none of them lost. That is
counted: rows staged, by the manifests of what stands, against rows in the table. It says nothing of a table that was
rebuilt, whose rows may be of another definition than the manifests; then one may have lost.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import Any

from sqlalchemy import select

from publishing.decide import REBUILD
from publishing.decisions import RELEASE, BatchDecision
from publishing.journal import attempt_entry
from publishing.lake import Lake
from publishing.ledger import Batch
from publishing.manifest import Manifest
from publishing.targets import files_of
from resources.lake_table import Snapshot

REBUILDS = "r:*"  # the transaction that counts how often `lake rebuild` made the table again


def others_lost(lake: Lake, pipeline: str, position: int, snapshot: Snapshot, own: Collection[str]) -> bool:
    """Whether a row of other batches than `own` may have lost in the target at `position`, to whomever."""
    with lake.ledger.read() as session:
        batches = session.scalars(select(Batch).where(Batch.pipeline == pipeline)).all()
        releases = select(BatchDecision).join(Batch, Batch.id == BatchDecision.batch_id)
        releases = releases.where(Batch.pipeline == pipeline, BatchDecision.kind == RELEASE)
        rebuilt = any(REBUILD in decision.waivers for decision in session.scalars(releases))
    versions = snapshot.transactions([f"b:{batch.id}" for batch in batches])
    taken_back = any(version and version % 2 == 0 for version in versions.values())
    if rebuilt or taken_back or snapshot.transaction(REBUILDS):
        return True
    standing = [batch for batch in batches if versions[f"b:{batch.id}"] and batch.id not in own]
    if not standing:
        return False
    brought = 0
    for batch in standing:
        if batch.origin == "replay" and batch.status == "superseded":
            continue  # an attempt read its records corrected, and brought them itself
        name = attempt_entry(pipeline, batch.id, (versions[f"b:{batch.id}"] + 1) // 2, "manifest")
        if not lake.journal.exists(name):
            return True
        brought += sum(item.records for item in files_of(Manifest.of(lake.journal.read(name)), position))
    return brought != sum(_rows_of_others(snapshot, own))


def _rows_of_others(snapshot: Snapshot, own: Collection[str]) -> Iterator[int]:
    import pyarrow as pa
    import pyarrow.compute as pc

    from processing.frame import BATCH_ID

    ours: Any = pa.array(sorted(own), pa.string())
    # Filtered here: a merge writes texts as views, which a filter of the reader cannot compare with a text.
    for rows in snapshot.dataset().to_batches(columns=[BATCH_ID]):
        yield rows.num_rows - int(pc.sum(pc.is_in(rows[BATCH_ID], value_set=ours)).as_py() or 0)
