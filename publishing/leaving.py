"""A file that a later attempt finds broken leaves its batch, and is a held batch of its own; the others go on.

Only while nothing of the batch is in the lake: rows that stand are taken back by a person's decision, and not because a
definition changed. Then the batch is held as a whole, and what it had published stays.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime

from pipeline_xml.checked import CheckedPipeline
from pipeline_xml.model import HiveTarget
from publishing.claim_entries import batch_document
from publishing.lake import Lake
from publishing.ledger import Attempt, Batch, Delivery, LandedFile, now
from publishing.persist import free_identity, free_key


def let_go(
    lake: Lake, pipeline: CheckedPipeline, batch: Batch, files: Sequence[LandedFile], faults: Mapping[int, str]
) -> bool:
    """Whether the broken files left, so that the batch goes on without them; may be done again after a crash."""
    broken = [item for item in files if item.arrival in faults]
    if not broken or len(broken) == len(files) or _stands(lake, pipeline, batch):
        return False
    for item in broken:
        _leave(lake, pipeline, batch, item, faults[item.arrival][:500])
    return True


def _stands(lake: Lake, pipeline: CheckedPipeline, batch: Batch) -> bool:
    """Whether an attempt of the batch committed anything, or ended."""
    with lake.ledger.read() as session:
        attempts = [session.get(Attempt, (batch.id, number)) for number in range(1, batch.attempt + 1)]
    if any(each is not None and each.outcome is not None and each.outcome["status"] != "held" for each in attempts):
        return True
    tables = [lake.table(target.asset) for target in pipeline.targets if isinstance(target.target, HiveTarget)]
    names = [(table, f"b:{batch.id}") for table in tables] + [(lake.quarantine(pipeline.key), f"q:{batch.id}")]
    return any(table.exists and table.snapshot().transaction(name) for table, name in names)


def _leave(lake: Lake, pipeline: CheckedPipeline, batch: Batch, item: LandedFile, fault: str) -> None:
    """Journal first: what it says is what the ledger gets, whoever writes it."""
    with lake.ledger.read() as session:
        identity = free_identity(session, pipeline.key, item.business_date, [item.delivery_key])
        key = free_key(session, item.business_date, item.name, 1, identity)
    item.status, item.reason = "held", fault
    own = Batch(
        id=identity,
        key=key,
        pipeline=pipeline.key,
        business_date=item.business_date,
        origin="files",
        sender=item.sender,
        arrival=item.arrival,
        window=None,
        status="open",
        reason=fault,
        attempt=1,
        created_at=now(),
    )
    document = lake.journal.write(f"{pipeline.key}/{batch.id}/left-{identity}.json", batch_document(own, [item]))
    own.created_at = datetime.fromisoformat(document["created_at"])
    with lake.ledger.write() as session:
        session.add(own)
        session.flush()
        stored = session.get_one(LandedFile, item.arrival)
        stored.batch_id, stored.status, stored.reason, stored.facts = identity, "held", fault, item.facts
        session.get_one(Delivery, item.delivery_key).batch_id = identity
