"""What people decided, made again from the journal; and what lies in quarantine, counted from its tables."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from publishing.decisions import APPROVED, PROPOSED, REJECTED, BatchDecision, Correction
from publishing.journal_entries import BatchEntries, Document, Entries
from publishing.lake import Lake
from publishing.ledger import Batch
from publishing.quarantined import count_entries, store_counted

STATES = {"approved": APPROVED, "rejected": REJECTED}


def restore_decisions(session: Session, entries: Entries) -> None:
    """Corrections with their verdicts and the replay they belong to, and decisions over batches."""
    replayed = replays_of(entries)
    for each in entries.batches.values():
        for document in each.of_kind("correction"):
            session.add(_correction(document, each, replayed))
        for document in each.of_kind("decision"):
            session.add(
                BatchDecision(
                    id=document["decision"],
                    batch_id=document["batch"],
                    kind=document["kind"],
                    actor=document["actor"],
                    role=document["role"],
                    reason=document["reason"],
                    made_at=datetime.fromisoformat(document["made_at"]),
                    waivers=document.get("waivers") or {},
                )
            )
    session.flush()


def replays_of(entries: Entries) -> dict[str, str]:
    """The batch that published, or will publish, a correction: a replay, or the next attempt of its own batch."""
    found: dict[str, str] = {}
    for each in entries.batches.values():
        if each.batch is None:
            continue
        window: dict[str, Any] = each.batch["window"] or {}
        if each.batch["origin"] == "replay":
            found |= dict.fromkeys(window["corrections"], each.id)
    return found


def _correction(document: Document, of: BatchEntries, replayed: dict[str, str]) -> Correction:
    verdict = verdict_on(of, document["correction"])
    return Correction(
        id=document["correction"],
        pipeline=document["pipeline"],
        batch_id=document["batch"],
        kind=document["kind"],
        state=STATES[verdict["verdict"]] if verdict else PROPOSED,
        records=document["records"],
        actor=document["actor"],
        role=document["role"],
        reason=document["reason"],
        made_at=datetime.fromisoformat(document["made_at"]),
        sealed=document["sealed"],
        replay_id=replayed.get(document["correction"]),
    )


def verdict_on(of: BatchEntries, correction_id: str) -> Document | None:
    return of.others.get(f"correction-{correction_id}.verdict.json")


def restore_quarantined(lake: Lake, session: Session) -> None:
    """One row for each batch that has entries in a quarantine table."""
    for pipeline in session.scalars(select(Batch.pipeline).distinct()).all():
        table = lake.quarantine(pipeline)
        if table.exists:
            snapshot = table.snapshot()
            for batch_id, counted in count_entries(snapshot, snapshot.files()).items():
                store_counted(session, batch_id, counted)
