"""A ledger row by row, and made again: what it is compared by."""

from __future__ import annotations

import json
from collections.abc import Sequence

from sqlalchemy import select

from publishing.decisions import BatchDecision, Correction, QuarantinedBatch, TouchedRecord, record_state
from publishing.lake import open_lake
from publishing.ledger import Attempt, Base, Batch, Claim, Delivery, LandedFile, Look
from publishing.rebuild_ledger import Rebuilt, rebuild
from publishing.verify import verify
from stewardship.rebuild_stores import restore_stores
from stewardship.stores import Approval, Assignment, Audit, Escalation, Revocation
from tests.promised_feed import Feed

# Every table; what is numbered by the database, and what says only when it was told, is no part of what is compared.
COMPARED: tuple[tuple[type[Base], Sequence[str]], ...] = (
    (Claim, ()), (Look, ("id",)), (LandedFile, ()), (Delivery, ()), (Batch, ()), (Attempt, ()),
    (QuarantinedBatch, ()), (Correction, ("fate",)), (BatchDecision, ()), (Assignment, ("id",)),
    (Approval, ()), (Revocation, ()), (Audit, ()), (Escalation, ()),
)  # fmt: skip


def ledger_rows(feed: Feed) -> dict[str, list[str]]:
    """Every row of every table as text. A claim that took nothing is left out: nothing of it is journaled."""
    found = {}
    with open_lake(feed.settings, feed.catalog(), feed.engine) as lake, lake.ledger.read() as session:
        filled = set(session.scalars(select(LandedFile.claim_id)))
        for kind, without in COMPARED:
            names = [c.key for c in kind.__mapper__.column_attrs if c.key not in without]
            rows = [{name: getattr(row, name) for name in names} for row in session.scalars(select(kind))]
            if kind is Claim:
                rows = [row for row in rows if row["id"] in filled]
            found[kind.__tablename__] = sorted(json.dumps(row, default=str, sort_keys=True) for row in rows)
        touched = select(TouchedRecord.record_id, TouchedRecord.correction_id, record_state(), TouchedRecord.tries)
        states = session.execute(touched.join(Correction, Correction.id == TouchedRecord.correction_id))
        found["touched_record"] = sorted(str(tuple(row)) for row in states)
    return found


def rebuilt(feed: Feed) -> Rebuilt:
    with open_lake(feed.settings, feed.catalog(), feed.engine) as lake:
        return rebuild(lake, feed.catalog(), (restore_stores,))


def made_again(feed: Feed) -> None:
    """The ledger made again is the ledger, and nothing differs between it and the rest of the lake."""
    before = ledger_rows(feed)
    rebuilt(feed)
    after = ledger_rows(feed)
    other = {name: sorted(set(after[name]) ^ set(before[name])) for name in before if after[name] != before[name]}
    assert not other, other
    with open_lake(feed.settings, feed.catalog(), feed.engine) as lake:
        found = verify(lake, feed.catalog())
    assert not found, found
