"""From a claim to persisted batches: copy to raw, identify, date, group; before the first effect in the lake."""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any

from sqlalchemy import delete, select
from sqlalchemy.orm import Session

from pipeline_xml.checked import CheckedPipeline
from pipeline_xml.model import CsvSource
from publishing import failpoints
from publishing.arrived import Arrived, arrived, digest
from publishing.claim_entries import batch_document, journal_claim, journal_copies
from publishing.journal import batch_entry
from publishing.lake import Lake
from publishing.ledger import Batch, Claim, Delivery, LandedFile, Look, now
from publishing.raw import RawCopy, copied_before, copy_to_raw
from resources.failures import DiskFull, named
from resources.zone import ChangedWhileRead, Sighting, Zone

MAX_FILES = 1000
MAX_BYTES = 10 * 1024**3


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
    source = pipeline.driving.source
    assert isinstance(source, CsvSource)  # noqa: S101 - only file sources have claims
    with lake.ledger.read() as session:
        claim = session.get_one(Claim, claim_id)
        persisted = _persisted(session, claim_id)
        looks = session.scalars(select(Look).where(Look.claim_id == claim_id).order_by(Look.name)).all()
    unreadable = [] if persisted else _take(lake, pipeline, source, claim, looks)
    failpoints.reached("intake.persisted")
    journal_claim(lake, pipeline.key, claim_id)
    failpoints.reached("claim.journaled")
    journal_open_batches(lake, pipeline.key)
    with lake.ledger.write() as session:
        session.get_one(Claim, claim_id).settled = True
    failpoints.reached("claim.settled")
    with lake.ledger.read() as session:
        copies = select(LandedFile).where(LandedFile.claim_id == claim_id, LandedFile.status == "duplicate")
        return Settled(tuple(unreadable), tuple(session.scalars(copies.order_by(LandedFile.arrival))))


def _persisted(session: Session, claim_id: str) -> bool:
    return session.scalar(select(LandedFile.arrival).where(LandedFile.claim_id == claim_id).limit(1)) is not None


def _take(
    lake: Lake, pipeline: CheckedPipeline, source: CsvSource, claim: Claim, looks: Sequence[Look]
) -> list[Sighting]:
    """Copies every file of a claim and persists what they become; returns those that could not be read."""
    there: list[Arrived] = []
    copies: list[tuple[Look, str]] = []
    gone, unreadable = [], []
    with lake.zone(source, pipeline.driving.zone) as place:
        for look in looks:
            try:
                copied = _copy_once(lake, pipeline, place, look)
            except (ChangedWhileRead, FileNotFoundError):
                gone.append(look)
                continue
            except OSError as error:
                ours = str(error.filename or "").startswith(str(lake.settings.data / "raw"))
                if ours or isinstance(named(error), DiskFull):  # raw cannot be written: the sender is not to blame
                    raise
                gone.append(look)
                unreadable.append(Sighting(look.name, look.uri, look.size, error.strerror or "unreadable", 0.0))
                continue
            copies.append((look, copied.content_id))
            there += arrived(pipeline, claim, look, copied, lake.secrets.key)
    journal_copies(lake, claim, copies)
    failpoints.reached("claim.copied")
    with lake.ledger.write() as session:
        if not _persisted(session, claim.id):
            session.execute(delete(Look).where(Look.id.in_([g.id for g in gone])))
            _persist(session, pipeline, there)
    return unreadable


def _copy_once(lake: Lake, pipeline: CheckedPipeline, place: Zone, look: Look) -> RawCopy:
    """Copies the file, or takes up the copy that a run before a crash made: the sender may have removed his by now."""
    source, contract = pipeline.driving.source, pipeline.driving.contract
    assert isinstance(source, CsvSource)  # noqa: S101 - only file sources have claims
    root = lake.raw_root(pipeline.key)
    if look.content_id is not None:
        return copied_before(root / look.content_id, source, contract)
    seen = Sighting(look.name, look.uri, look.size, look.version, 0.0)
    copied = copy_to_raw(place, seen, root, source, contract)
    failpoints.reached("raw.copied")
    with lake.ledger.write() as session:
        session.get_one(Look, look.id).content_id = copied.content_id
    return copied


def _persist(session: Session, pipeline: CheckedPipeline, there: Sequence[Arrived]) -> None:
    known = set(session.scalars(select(Delivery.key).where(Delivery.key.in_([a.delivery_key for a in there]))))
    joining: dict[tuple[Any, ...], list[Arrived]] = {}
    for item in there:
        if item.aside is not None:
            session.add(_landed(pipeline, item, None, item.aside, item.why))
            continue
        if item.delivery_key in known:
            session.add(_landed(pipeline, item, None, "duplicate", "the same content was delivered before"))
            continue
        known.add(item.delivery_key)
        group = joining.setdefault(_unit(pipeline, item), [])
        size = sum(a.copy.size for a in group)
        if group and (len(group) >= MAX_FILES or size + item.copy.size > MAX_BYTES):
            _persist_batch(session, pipeline, joining.pop(_unit(pipeline, item)))
            joining[_unit(pipeline, item)] = [item]
        else:
            group.append(item)
    for group in joining.values():
        _persist_batch(session, pipeline, group)


def _unit(pipeline: CheckedPipeline, item: Arrived) -> tuple[Any, ...]:
    """What may share a batch: one business date; a snapshot and a broken file are batches of their own."""
    source = pipeline.driving.source
    if item.fault or (isinstance(source, CsvSource) and source.snapshot):
        return (item.business_date, item.delivery_key)
    return (item.business_date,)


def _persist_batch(session: Session, pipeline: CheckedPipeline, members: Sequence[Arrived]) -> None:
    first = members[0]
    identity = _free_identity(session, pipeline.key, first.business_date, sorted(m.delivery_key for m in members))
    files = []
    held = next((m.fault for m in members if m.fault), None)
    batch = Batch(
        id=identity,
        key=_free_key(session, first.business_date, first.name, len(members), identity),
        pipeline=pipeline.key,
        business_date=first.business_date,
        origin="files",
        sender=first.sender if len({m.sender for m in members}) == 1 else None,
        arrival=0,
        window=None,
        status="open",
        reason=held,
        attempt=1,
        created_at=now(),
    )
    session.add(batch)
    session.flush()
    for member in members:
        landed = _landed(pipeline, member, identity, "held" if member.fault else "open", member.fault)
        session.add(landed)
        session.add(Delivery(key=member.delivery_key, batch_id=identity))
        session.flush()
        files.append(landed)
    batch.arrival = max(f.arrival for f in files)


def _free_identity(session: Session, pipeline: str, day: date, deliveries: Sequence[str]) -> str:
    """The hash of the members. Of the same files delivered again after a withdrawal, the next one."""
    parts = [pipeline, day.isoformat(), *deliveries]
    identity, before = digest(*parts)[:32], 0
    while session.get(Batch, identity) is not None:
        before += 1
        identity = digest(*parts, f"#{before}")[:32]
    return identity


def _landed(
    pipeline: CheckedPipeline, item: Arrived, batch_id: str | None, status: str, reason: str | None
) -> LandedFile:
    return LandedFile(
        pipeline=pipeline.key,
        claim_id=item.look.claim_id,
        batch_id=batch_id,
        name=item.name,
        uri=item.uri,
        content_id=item.copy.content_id,
        delivery_key=item.delivery_key,
        business_date=item.business_date,
        sender=item.sender,
        size=item.copy.size,
        raw=item.copy.path.name,
        facts=item.copy.scan.as_dict(),
        status=status,
        reason=reason,
        archive=item.archive,
    )


def _free_key(session: Session, day: date, first: str, members: int, batch_id: str) -> str:
    """Four digits are enough until two names of a day begin alike: then the whole id."""
    short = batch_key(day, first, members, batch_id)
    taken = session.scalar(select(Batch.id).where(Batch.key == short))
    return short if taken is None else f"{short}{batch_id[4:]}"


def batch_key(day: date, first: str, members: int, batch_id: str) -> str:
    """The readable name of a batch: business date, first file, how many more, and four digits of its id."""
    stem = re.sub(r"[^A-Za-z0-9_-]+", "-", first.rsplit(".", 1)[0])[:60].strip("-") or "file"
    more = f"_and_{members - 1}" if members > 1 else ""
    return f"{day.isoformat()}_{stem}{more}_{batch_id[:4]}"


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

