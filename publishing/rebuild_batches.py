"""Claims, files, batches and attempts of a ledger, made again from what the journal holds of them.

Where a batch stands follows from its entries in the order of its attempts: opened or asked for, ended by an outcome,
decided over. An attempt without an outcome is open, whatever it committed: its retry finds its transactions.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date, datetime
from typing import Any

from sqlalchemy import func, select, text
from sqlalchemy.orm import Session

from pipeline_xml.checked import Catalog, CheckedPipeline
from pipeline_xml.model import HiveTarget
from publishing.journal_entries import BatchEntries, Document, Entries
from publishing.ledger import Attempt, Batch, Claim, Delivery, LandedFile, Look
from publishing.targets import replaces_unit

# A decision that ends a batch: its status, and whether its delivery keys are free for the same files again.
ENDED_BY = {"withdraw": "withdrawn", "unpublish": "unpublished"}
MADE_AGAIN = "made_again"  # the claim of files whose batch was journaled without one


def restore_batches(session: Session, entries: Entries, catalog: Catalog) -> None:
    """Adds every claim, look, batch, file, delivery and attempt of the journal to an empty ledger."""
    _claims(session, entries)
    documents = batch_documents(entries)
    for batch_id, document in documents.items():
        session.add(_batch(document))
        session.flush()
        _files(session, document, document["files"], batch_id)
        for number, of_attempt in sorted(entries.batches.get(batch_id, _none(batch_id)).attempts.items()):
            if "opened" in of_attempt:
                session.add(_attempt(batch_id, number, of_attempt))
    for claim in entries.claims.values():
        _files(session, claim, claim["duplicates"], None)
    session.flush()
    for batch_id in documents:
        _stand(session, session.get_one(Batch, batch_id), entries)
    session.flush()
    _replaced(session, catalog)
    session.flush()
    _go_on_above(session)


def batch_documents(entries: Entries) -> dict[str, Document]:
    """The membership of every batch by id, in the order of arrival: from its claim, else from its own entry."""
    found = {d["batch"]: {**d, "claim": c["claim"]} for c in entries.claims.values() for d in c["batches"]}
    for each in entries.batches.values():
        if each.batch is not None:
            found.setdefault(each.id, each.batch)
    return dict(sorted(found.items(), key=lambda item: (item[1]["arrival"], item[0])))


def _none(batch_id: str) -> BatchEntries:
    return BatchEntries(batch_id, "")


def _claims(session: Session, entries: Entries) -> None:
    known = entries.copied | entries.claims
    for claim_id, document in sorted(known.items(), key=lambda item: (item[1]["claimed_at"], item[0])):
        session.add(
            Claim(
                id=claim_id,
                pipeline=document["pipeline"],
                zone=document["zone"],
                claimed_at=datetime.fromisoformat(document["claimed_at"]),
                settled=claim_id in entries.claims,
            )
        )
        session.flush()
        session.add_all(Look(claim_id=claim_id, pipeline=document["pipeline"], zone=document["zone"], **look)
                        for look in document["looks"])  # fmt: skip
    # A batch that was journaled before its claim was: a claim of its own, whose looks nobody knows any more.
    for each in entries.batches.values():
        if each.batch is not None and each.batch["files"] and not _has_claim(each.batch, known):
            made = datetime.fromisoformat(f"{each.batch['business_date']}T00:00:00")
            session.add(Claim(id=each.id, pipeline=each.pipeline, zone=MADE_AGAIN, claimed_at=made, settled=True))
    session.flush()


def _has_claim(document: Document, known: Mapping[str, Document]) -> bool:
    return any(item.get("claim") in known for item in document["files"])


def _batch(document: Document) -> Batch:
    made = document.get("created_at") or f"{document['business_date']}T00:00:00"
    return Batch(
        id=document["batch"],
        key=document["key"],
        pipeline=document["pipeline"],
        business_date=date.fromisoformat(document["business_date"]),
        origin=document["origin"],
        sender=document["sender"],
        arrival=document["arrival"],
        window=document["window"],
        status="open",
        reason=document.get("reason") or next((f["fault"] for f in document["files"] if f["fault"]), None),
        attempt=1,
        created_at=datetime.fromisoformat(made),
    )


def _files(session: Session, of: Document, files: Sequence[Document], batch_id: str | None) -> None:
    for item in files:
        claim_id = item.get("claim") or of.get("claim") or batch_id
        fault = item["fault"]
        status = "duplicate" if batch_id is None else "held" if fault else "open"
        session.add(
            LandedFile(
                arrival=item["arrival"],
                pipeline=of["pipeline"],
                claim_id=claim_id,
                batch_id=batch_id,
                name=item["name"],
                uri=item["uri"],
                content_id=item["content_id"],
                delivery_key=item["delivery_key"],
                business_date=date.fromisoformat(item["business_date"]),
                sender=item["sender"],
                size=item["size"],
                raw=item["raw"],
                facts=item["facts"],
                status=status,
                reason=item.get("reason") if batch_id is None else fault,
            )
        )


def _attempt(batch_id: str, number: int, entries: Mapping[str, Document]) -> Attempt:
    opened = entries["opened"]
    return Attempt(
        batch_id=batch_id,
        number=number,
        definition_hash=opened["definition_hash"],
        rule_hash=opened["rule_hash"],
        references=opened["references"],
        opened_at=datetime.fromisoformat(opened["opened_at"]),
        run_id=opened["run"],
        outcome=entries.get("outcome"),
    )


def _stand(session: Session, batch: Batch, entries: Entries) -> None:
    """Lets a batch go through what the journal says of it, as the ledger did."""
    own = entries.batches.get(batch.id, _none(batch.id))
    asked = entries.reopened.get(batch.id, set())
    decided = _decisions(own)
    chosen = select(LandedFile).where(LandedFile.batch_id == batch.id).order_by(LandedFile.arrival)
    files = session.scalars(chosen).all()
    for number in sorted({1, *own.attempts, *asked, *decided}):
        batch.attempt, batch.status = number, "open"
        of_attempt = own.attempts.get(number, {})
        if "outcome" in of_attempt:
            _end(batch, files, of_attempt["outcome"], of_attempt.get("scanned"))
        for kind in decided.get(number, ()):
            if kind in ENDED_BY:
                batch.status = ENDED_BY[kind]
                for item in files:
                    item.status = ENDED_BY[kind]
    if batch.status not in ENDED_BY.values():
        session.add_all(Delivery(key=item.delivery_key, batch_id=batch.id) for item in files)


def _decisions(own: BatchEntries) -> dict[int, list[str]]:
    """The kinds of decisions by the attempt they were taken over, in the order they were made."""
    found: dict[int, list[str]] = {}
    for decision in sorted(own.of_kind("decision"), key=lambda d: (d["made_at"], d["decision"])):
        opened = [n for n, e in own.attempts.items() if e.get("opened", {}).get("opened_at", "") <= decision["made_at"]]
        found.setdefault(decision.get("attempt") or max(opened, default=1), []).append(decision["kind"])
    return found


def _end(batch: Batch, files: Sequence[LandedFile], outcome: Document, scanned: Document | None) -> None:
    """What the end of an attempt writes (publishing/ending.py)."""
    batch.status = "superseded" if outcome["status"] == "nothing_to_do" else outcome["status"]
    if batch.status == "held":
        batch.reason = (outcome["reason"] or "")[:500]
    elif batch.origin == "files":
        batch.reason = None
    facts: Mapping[str, Any] = (scanned or {}).get("files", {})
    for position, item in enumerate(files):
        line = outcome["files"][position] if position < len(outcome["files"]) else None
        item.status = line["status"] if line else batch.status
        item.reason = line["reason"] if line else None
        item.facts = facts.get(str(item.arrival), item.facts)


def _replaced(session: Session, catalog: Catalog) -> None:
    """A batch whose unit a newer published one replaced has no row in the target any more."""
    for application in catalog.applications:
        for pipeline in application.pipelines:
            chosen = select(Batch).where(Batch.pipeline == pipeline.key, Batch.status == "published")
            newest: dict[Any, Batch] = {}
            for batch in session.scalars(chosen.order_by(Batch.arrival.desc(), Batch.id)):
                unit = (batch.business_date, batch.sender)
                owner = newest.get(unit)
                if owner is not None and owner.arrival > batch.arrival:
                    batch.status = "superseded"
                    for item in session.scalars(select(LandedFile).where(LandedFile.batch_id == batch.id)):
                        item.status = "superseded"
                elif owner is None and _replaces_units(pipeline, batch):
                    newest[unit] = batch


def _replaces_units(pipeline: CheckedPipeline, batch: Batch) -> bool:
    return any(isinstance(t.target, HiveTarget) and replaces_unit(t, batch) for t in pipeline.targets)


def _go_on_above(session: Session) -> None:
    """The next arrival is above all of them: SQLite does so by itself, PostgreSQL counts apart."""
    newest = session.scalar(select(func.max(LandedFile.arrival)))
    if newest is not None and session.get_bind().dialect.name == "postgresql":
        sequence = "pg_get_serial_sequence('landed_file', 'arrival')"
        session.execute(text(f"SELECT setval({sequence}, :newest)"), {"newest": newest})
