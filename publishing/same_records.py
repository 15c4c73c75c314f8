"""Files with the records of an earlier one: yesterday's under today's name, or packed, ordered or written otherwise."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from sqlalchemy import select
from sqlalchemy.orm import Session

from publishing.arrived import Arrived
from publishing.faults import together
from publishing.ledger import LandedFile

SAME = "same_records"


def told_apart(session: Session, pipeline: str, there: Sequence[Arrived]) -> list[Arrived]:
    """The files of a claim; those with the records of another, of this claim or before, get a fault."""
    found: list[Arrived] = []
    seen: dict[tuple[str | None, str], Arrived] = {}
    for item in there:
        if item.records_id is None or item.aside is not None:
            found.append(item)
            continue
        first = seen.setdefault((item.sender, item.records_id), item)
        fault = _before(session, pipeline, item.sender, item.records_id, item.delivery_key)
        if fault is None and first is not item and first.delivery_key != item.delivery_key:
            fault = _said(f"{first.name} of this delivery")
        found.append(replace(item, fault=together((item.fault, fault))) if fault else item)
    return found


def same_records_faults(session: Session, file: LandedFile) -> list[str]:
    """The same of a file that came before, as things stand now."""
    if file.records_id is None:
        return []
    fault = _before(session, file.pipeline, file.sender, file.records_id, file.delivery_key, file.arrival)
    return [fault] if fault else []


def _before(
    session: Session, pipeline: str, sender: str | None, records: str, delivery: str, arrival: int | None = None
) -> str | None:
    chosen = select(LandedFile).where(
        LandedFile.records_id == records, LandedFile.pipeline == pipeline, LandedFile.batch_id.is_not(None),
        LandedFile.sender.is_not_distinct_from(sender), LandedFile.status != "withdrawn",
        LandedFile.delivery_key != delivery,
    )  # fmt: skip
    if arrival is not None:
        chosen = chosen.where(LandedFile.arrival < arrival)
    first = session.scalars(chosen.order_by(LandedFile.arrival).limit(1)).first()
    return None if first is None else _said(f"{first.name} for {first.business_date} (arrival {first.arrival})")


def _said(of: str) -> str:
    return f"{SAME}: its records are those of {of}; withdraw it, or release it if they are meant twice"
