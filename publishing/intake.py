"""From a claim to persisted batches: copy to raw, identify, date, group; before the first effect in the lake."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from contextlib import closing
from dataclasses import dataclass

from sqlalchemy import select
from sqlalchemy.orm import Session

from pipeline_xml.checked import CheckedPipeline
from publishing import failpoints
from publishing.arrived import Arrived, arrived
from publishing.claim_entries import batch_document, journal_claim, journal_copies
from publishing.copying import copied
from publishing.journal import batch_entry
from publishing.lake import Lake
from publishing.late import tell_late
from publishing.ledger import Batch, Claim, LandedFile, Look
from publishing.look import watched
from publishing.missed import UNREADABLE, Missed, note_missed
from publishing.persist import persist_files
from resources.durable import fsync
from resources.zone import Sighting


@dataclass(frozen=True, slots=True)
class Settled:
    """What of a claim joins no batch: looks that could not be read, and copies of what was delivered before."""

    unreadable: tuple[Sighting, ...]
    duplicates: tuple[LandedFile, ...]


def settle_claim(lake: Lake, pipeline: CheckedPipeline, claim_id: str) -> Settled:
    """Persists the batches of a claim: none, one or several.

    Idempotent: copying again finds the same content, and the transaction that persists is one. The claim is settled
    once the journal knows what the ledger knows of it.
    """
    with lake.ledger.read() as session:
        claim = session.get_one(Claim, claim_id)
        persisted = _persisted(session, claim_id)
        looks = session.scalars(select(Look).where(Look.claim_id == claim_id).order_by(Look.name, Look.id)).all()
    unreadable = [] if persisted else _take(lake, pipeline, claim, looks)
    failpoints.reached("intake.persisted")
    journal_claim(lake, pipeline.key, claim_id)
    failpoints.reached("claim.journaled")
    tell_late(lake, pipeline, claim_id)
    journal_open_batches(lake, pipeline.key)
    with lake.ledger.write() as session:
        session.get_one(Claim, claim_id).settled = True
    failpoints.reached("claim.settled")
    with lake.ledger.read() as session:
        copies = select(LandedFile).where(LandedFile.claim_id == claim_id, LandedFile.status == "duplicate")
        return Settled(tuple(unreadable), tuple(session.scalars(copies.order_by(LandedFile.arrival))))


def _persisted(session: Session, claim_id: str) -> bool:
    landed = session.scalar(select(LandedFile.arrival).where(LandedFile.claim_id == claim_id).limit(1))
    told = session.scalar(select(Look.id).where(Look.claim_id == claim_id, Look.outcome.is_not(None)).limit(1))
    return landed is not None or told is not None


def _take(lake: Lake, pipeline: CheckedPipeline, claim: Claim, looks: Sequence[Look]) -> list[Sighting]:
    """Copies every file of a claim and persists what they become; returns those that could not be read.

    ZoneUnreachable where the server is lost: then nothing is persisted, and the next run goes on where this one ended.
    """
    there: list[Arrived] = []
    copies: list[tuple[Look, str]] = []
    missed: list[Missed] = []
    with closing(copied(lake, pipeline, looks)) as copying:
        for look, found in copying:
            if isinstance(found, Missed):
                missed.append(found)
                continue
            copies.append((look, found.content_id))
            there += arrived(pipeline, claim, look, found, lake.secrets.key)
    if any(item.archive for item in there):
        fsync(lake.raw_root(pipeline.key))  # the names of what was unpacked
    journal_copies(lake, claim, copies)
    failpoints.reached("claim.copied")
    with lake.ledger.write() as session:
        if not _persisted(session, claim.id):
            note_missed(session, watched(pipeline), missed)
            persist_files(lake, session, pipeline, there)
    unread = (each.look for each in missed if each.outcome == UNREADABLE)
    return [Sighting(look.name, look.uri, look.size, look.note or UNREADABLE, 0.0) for look in unread]


def journal_open_batches(lake: Lake, pipeline: str, only: Collection[str] | None = None) -> None:
    """Writes the membership of every open batch, or of some, to the journal; what stands there already stays.

    The caller holds `lake.alone`, or names batches of his own: one that is being persisted is journaled by its claim.
    """
    with lake.ledger.read() as session:
        chosen = select(Batch).where(Batch.pipeline == pipeline, Batch.status == "open")
        for batch in session.scalars(chosen if only is None else chosen.where(Batch.id.in_(only))):
            files = session.scalars(
                select(LandedFile).where(LandedFile.batch_id == batch.id).order_by(LandedFile.arrival)
            )
            name = batch_entry(pipeline, batch.id)
            if lake.journal.exists(name):
                continue
            lake.journal.write(name, batch_document(batch, list(files)))
            failpoints.reached("journal.batch")
