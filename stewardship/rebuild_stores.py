"""What stewards did, made again from the journal for a ledger that was lost: given to publishing/rebuild_ledger.py."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from sqlalchemy.orm import Session

from publishing.journal_entries import Entries
from publishing.ledger import Batch
from stewardship.stores import Approval, Assignment, Audit, Escalation, Replay, Revocation


def restore_stores(session: Session, entries: Entries) -> None:
    """Assignments, verdicts, revocations, escalations, replays and the audit trail."""
    for each in entries.batches.values():
        _assignments(session, each.of_kind("assignment"))
        for document in each.of_kind("escalation"):
            raised_at = datetime.fromisoformat(document["raised_at"])
            told = {"level": document["level"], "told": document["told"], "raised_at": raised_at}
            session.add(Escalation(batch_id=document["batch"], **told))
        for name, document in each.others.items():
            if name.endswith(".verdict.json"):
                session.add(
                    Approval(
                        correction_id=document["correction"],
                        verdict=document["verdict"],
                        actor=document["actor"],
                        role=document["role"],
                        reason=document["reason"],
                        made_at=datetime.fromisoformat(document["made_at"]),
                    )
                )
            if name.endswith(".revoked.json"):
                made_at = datetime.fromisoformat(document["made_at"])
                by = {each: document[each] for each in ("actor", "role", "reason")}
                session.add(Revocation(correction_id=document["correction"], made_at=made_at, **by))
    for document in sorted(entries.audit, key=lambda entry: entry["seq"]):
        session.add(Audit(**document))
        if document["action"] == "replay" and "batch" in document["details"]:
            _replay(session, document)
    session.flush()


def _assignments(session: Session, documents: list[dict[str, Any]]) -> None:
    """An assignment ends when the next of the same batch or record is made."""
    standing: dict[str | None, Assignment] = {}
    for document in sorted(documents, key=lambda each: str(each["made_at"])):
        made = Assignment(
            batch_id=document["batch"],
            record_id=document["record"],
            assignee=document["assignee"],
            actor=document["actor"],
            made_at=datetime.fromisoformat(document["made_at"]),
            ended_at=None,
        )
        if made.record_id in standing:
            standing[made.record_id].ended_at = made.made_at
        standing[made.record_id] = made
        session.add(made)
        session.flush()


def _replay(session: Session, document: dict[str, Any]) -> None:
    """Who asked for a replay stands in the audit trail; what it counted in the outcome of its batch."""
    batch = session.get(Batch, document["details"]["batch"])
    if batch is None:  # never began: its corrections wait for the next replay
        return
    session.add(
        Replay(
            batch_id=batch.id,
            source_batch_id=document["subject"],
            actor=document["actor"],
            role=document["role"],
            asked_at=datetime.fromisoformat(document["at"]).astimezone(UTC).replace(tzinfo=None),
            counts=None,
        )
    )
