"""What the files of a claim become: batches, their members, copies of what was delivered before."""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import date
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from pipeline_xml.checked import CheckedPipeline
from pipeline_xml.model import FileSource
from publishing.arrived import Arrived, digest, sequence_of
from publishing.claim import caps
from publishing.lake import Lake
from publishing.late import with_lateness
from publishing.ledger import Batch, Delivery, LandedFile, now
from publishing.look import watched
from publishing.resent import duplicate_of, resent
from publishing.same_records import told_apart
from publishing.sequence import go_on, numbered
from publishing.touched import CHUNK


def persist_files(lake: Lake, session: Session, pipeline: CheckedPipeline, there: Sequence[Arrived]) -> None:
    """Adds what the files of a claim become to the caller's transaction."""
    most, most_bytes = caps(watched(pipeline))
    timed = with_lateness(session, pipeline, there)
    known = set(session.scalars(select(Delivery.key).where(Delivery.key.in_([a.delivery_key for a in there]))))
    names = _came_before(session, pipeline, there)
    joining: dict[tuple[Any, ...], list[Arrived]] = {}
    for item in told_apart(session, pipeline.key, numbered(session, pipeline, timed)):
        if item.aside is not None:
            session.add(_landed(pipeline, item, None, item.aside, item.why))
            continue
        if item.delivery_key in known:
            session.flush()  # it may have come with this claim
            session.add(_landed(pipeline, item, None, "duplicate", duplicate_of(session, pipeline.key, item)))
            continue
        if item.name in names:
            item = resent(lake, session, pipeline, item)
        names.add(item.name)
        known.add(item.delivery_key)
        group = joining.setdefault(_unit(pipeline, item), [])
        size = sum(a.copy.size for a in group)
        if group and (len(group) >= most or size + item.copy.size > most_bytes):
            _persist_batch(session, pipeline, joining.pop(_unit(pipeline, item)))
            joining[_unit(pipeline, item)] = [item]
        else:
            group.append(item)
    for group in joining.values():
        _persist_batch(session, pipeline, group)
    go_on(lake, session, pipeline)


def _came_before(session: Session, pipeline: CheckedPipeline, there: Sequence[Arrived]) -> set[str]:
    """The names of a claim that other files had before."""
    found: set[str] = set()
    for start in range(0, len(there), CHUNK):
        some = [item.name for item in there[start : start + CHUNK]]
        same = (LandedFile.pipeline == pipeline.key, LandedFile.name.in_(some), LandedFile.batch_id.is_not(None))
        found.update(session.scalars(select(LandedFile.name).where(*same)))
    return found


def _unit(pipeline: CheckedPipeline, item: Arrived) -> tuple[Any, ...]:
    """What may share a batch: one business date; a snapshot and a broken file are batches of their own."""
    source = pipeline.driving.source
    if item.fault or (isinstance(source, FileSource) and (source.snapshot or source.supersedes == "name")):
        return (item.business_date, item.delivery_key)
    return (item.business_date,)


def _persist_batch(session: Session, pipeline: CheckedPipeline, members: Sequence[Arrived]) -> None:
    first = members[0]
    identity = free_identity(session, pipeline.key, first.business_date, sorted(m.delivery_key for m in members))
    files = []
    held = next((m.fault for m in members if m.fault), None)
    batch = Batch(
        id=identity,
        key=free_key(session, first.business_date, first.name, len(members), identity),
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
    for member in members:  # arrivals are given in this order
        landed = _landed(pipeline, member, identity, "held" if member.fault else "open", member.fault)
        session.add(landed)
        session.add(Delivery(key=member.delivery_key, batch_id=identity))
        files.append(landed)
    session.flush()
    batch.arrival = max(f.arrival for f in files)


def free_identity(session: Session, pipeline: str, day: date, deliveries: Sequence[str]) -> str:
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
        sequence=sequence_of(pipeline.driving.source, item.name) if batch_id is not None else None,
        records_id=item.records_id if batch_id is not None else None,
        note="; ".join(item.notes)[:500] or None,
        late=item.late if batch_id is not None else None,
    )


def free_key(session: Session, day: date, first: str, members: int, batch_id: str) -> str:
    """Four digits are enough until two names of a day begin alike: then the whole id."""
    short = batch_key(day, first, members, batch_id)
    taken = session.scalar(select(Batch.id).where(Batch.key == short))
    return short if taken is None else f"{short}{batch_id[4:]}"


def batch_key(day: date, first: str, members: int, batch_id: str) -> str:
    """The readable name of a batch: business date, first file, how many more, and four digits of its id."""
    stem = re.sub(r"[^A-Za-z0-9_-]+", "-", first.rsplit(".", 1)[0])[:60].strip("-") or "file"
    more = f"_and_{members - 1}" if members > 1 else ""
    return f"{day.isoformat()}_{stem}{more}_{batch_id[:4]}"
