"""What the journal holds of a claim: which looks were taken, under which content ids, and what became of them.

`claims/<pipeline>/<claim>.copied.json` before anything is persisted: the raw files stand, whatever becomes of those in
the zone. `claims/<pipeline>/<claim>.json` once the batches are: all of them in one entry, the copies of what
was delivered before, and the archives. From it the ledger's claims, looks, files, deliveries and arrivals can be made
again.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import select

from publishing.lake import Lake
from publishing.ledger import Batch, Claim, LandedFile, Look

CLAIMS = "claims"


def copied_entry(pipeline: str, claim_id: str) -> str:
    return f"{CLAIMS}/{pipeline}/{claim_id}.copied.json"


def claim_entry(pipeline: str, claim_id: str) -> str:
    return f"{CLAIMS}/{pipeline}/{claim_id}.json"


def journaled_claims(lake: Lake, pipeline: str) -> set[str]:
    """The ids of the claims that the journal knows, copied or persisted; by the names of their entries."""
    folder = lake.journal.root / CLAIMS / pipeline
    found = folder.glob("[!.]*.json") if folder.is_dir() else []
    return {path.name.partition(".")[0] for path in found}


def journal_copies(lake: Lake, claim: Claim, looks: Sequence[tuple[Look, str]]) -> None:
    """(look, content id) of every file of a claim that is in raw; nothing where none could be read."""
    if looks:
        document = {**_head(claim), "looks": [_look(look, content_id) for look, content_id in looks]}
        lake.journal.write(copied_entry(claim.pipeline, claim.id), document)


def journal_claim(lake: Lake, pipeline: str, claim_id: str) -> None:
    """The batches and the copies that a persisted claim became; what stands there already stays."""
    name = claim_entry(pipeline, claim_id)
    if lake.journal.exists(name):
        return
    with lake.ledger.read() as session:
        claim = session.get_one(Claim, claim_id)
        looks = session.scalars(select(Look).where(Look.claim_id == claim_id).order_by(Look.name, Look.id)).all()
        chosen = select(LandedFile).where(LandedFile.claim_id == claim_id).order_by(LandedFile.arrival)
        files = session.scalars(chosen).all()
        ids = list(dict.fromkeys(f.batch_id for f in files if f.batch_id is not None))
        batches = [session.get_one(Batch, each) for each in ids]
    if not looks:
        return
    document = {
        **_head(claim),
        "looks": [_look(look, look.content_id) for look in looks],
        "batches": [batch_document(b, [f for f in files if f.batch_id == b.id]) for b in batches],
        "duplicates": [_aside(f) for f in files if f.batch_id is None and f.status == "duplicate"],
        "archives": [_aside(f) for f in files if f.batch_id is None and f.status != "duplicate"],
    }
    lake.journal.write(name, document)


def batch_document(batch: Batch, files: Sequence[LandedFile]) -> dict[str, Any]:
    """The journal's account of a batch: enough to persist it again."""
    return {
        "batch": batch.id,
        "key": batch.key,
        "pipeline": batch.pipeline,
        "business_date": batch.business_date.isoformat(),
        "origin": batch.origin,
        "sender": batch.sender,
        "arrival": batch.arrival,
        "window": batch.window,
        "reason": batch.reason,
        "created_at": batch.created_at.isoformat(),
        "files": [file_document(f) for f in files],
    }


def file_document(file: LandedFile) -> dict[str, Any]:
    return {
        "arrival": file.arrival,
        "claim": file.claim_id,
        "name": file.name,
        "uri": file.uri,
        "content_id": file.content_id,
        "delivery_key": file.delivery_key,
        "business_date": file.business_date.isoformat(),
        "sender": file.sender,
        "size": file.size,
        "raw": file.raw,
        "facts": file.facts,
        "fault": file.reason if file.status == "held" else None,
        "archive": file.archive,
        "sequence": file.sequence,
        "records_id": file.records_id,
        "note": file.note,
        "late": file.late,
    }


def _aside(file: LandedFile) -> dict[str, Any]:
    """A file in no batch."""
    return {**file_document(file), "status": file.status, "reason": file.reason}


def _head(claim: Claim) -> dict[str, Any]:
    return {
        "claim": claim.id,
        "pipeline": claim.pipeline,
        "zone": claim.zone,
        "claimed_at": claim.claimed_at.isoformat(),
    }


def _look(look: Look, content_id: str | None) -> dict[str, Any]:
    return {
        "name": look.name,
        "uri": look.uri,
        "size": look.size,
        "version": look.version,
        "occurrence": look.occurrence,
        "content_id": content_id,
        "outcome": look.outcome,
        "note": look.note,
        "beside": look.beside,
    }
