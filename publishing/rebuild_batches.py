"""Claims, files, batches and attempts of a ledger, made again from what the journal holds of them.

Where a batch stands follows from its entries in the order of its attempts: opened or asked for, ended by an outcome,
decided over. An attempt without an outcome is open, whatever it committed: its retry finds its transactions.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date, datetime
from typing import Any

from sqlalchemy import func, select, text
from sqlalchemy.orm import InstrumentedAttribute, Session

from publishing.journal_entries import BatchEntries, Document, Entries, ended_at
from publishing.ledger import Attempt, Batch, Claim, Delivery, LandedFile, Look
from publishing.replay import HANDED_OVER
from publishing.taking_back import reason_left
from publishing.units import GONE

# A decision that ends a batch: what it is called until it is out of every target, and then.
ENDED_BY = {"withdraw": ("withdrawing", "withdrawn"), "unpublish": ("unpublishing", "unpublished")}
Moment = tuple[int, str]  # of the end of an attempt, as journal_entries.ended_at tells it
NEVER: Moment = (0, "")
LOST = "lost"  # the zone of a claim that stands for one the journal does not have


def restore_batches(session: Session, entries: Entries) -> None:
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
        _files(session, claim, [*claim["duplicates"], *claim.get("archives", ())], None)
    session.flush()
    for batch_id in documents:
        _stand(session, session.get_one(Batch, batch_id), entries)
    session.flush()
    taken = _taken(entries)
    _replaced(session, entries, taken)
    _replays(session, entries, taken)
    session.flush()
    go_on_above(session, LandedFile.arrival)


def batch_documents(entries: Entries) -> dict[str, Document]:
    """The membership of every batch by id, in the order of arrival: from its claim, else from its own entry."""
    found = {d["batch"]: {**d, "claim": c["claim"]} for c in entries.claims.values() for d in c["batches"]}
    for each in entries.batches.values():
        if each.batch is not None:
            found.setdefault(each.id, each.batch)
    for each in entries.batches.values():
        for left in each.of_kind("left"):  # a file that was found broken later, a batch of its own since
            gone = {item["arrival"] for item in left["files"]}
            stays = [item for item in found[each.id]["files"] if item["arrival"] not in gone]
            found[each.id] = {**found[each.id], "files": stays}
            found[left["batch"]] = left
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
    # A batch whose claim the journal lost: one that stands for it, whose looks nobody knows any more.
    for each in entries.batches.values():
        for item in each.batch["files"] if each.batch is not None else ():
            claim_id = item.get("claim") or each.id
            if claim_id not in known and session.get(Claim, claim_id) is None:
                made = datetime.fromisoformat(f"{item['business_date']}T00:00:00")
                session.add(Claim(id=claim_id, pipeline=each.pipeline, zone=LOST, claimed_at=made, settled=True))
    session.flush()


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
        status = item.get("status", "duplicate") if batch_id is None else "held" if fault else "open"
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
                archive=item.get("archive"),
                sequence=item.get("sequence"),
                records_id=item.get("records_id"),
                note=item.get("note"),
                late=item.get("late"),
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
    chosen = select(LandedFile).where(LandedFile.batch_id == batch.id).order_by(LandedFile.arrival)
    files = session.scalars(chosen).all()
    for number in sorted({1, *own.attempts, *asked}):
        batch.attempt, batch.status = number, "open"
        of_attempt = own.attempts.get(number, {})
        if "outcome" in of_attempt:
            _end(batch, files, of_attempt["outcome"], of_attempt.get("scanned"))
    if entries.handed_over(own):
        batch.status, batch.reason = "superseded", HANDED_OVER
    kinds = [d["kind"] for d in own.of_kind("decision") if d["kind"] in ENDED_BY]
    if kinds:
        batch.status = ENDED_BY[kinds[-1]][batch.id in entries.taken_back]
    elif batch.id in entries.taken_back:  # a replay, with the batch of its records
        batch.status = "unpublished"
    if batch.status in GONE:
        batch.reason = reason_left(batch, "outcome" in own.attempts.get(batch.attempt, {}))
        for item in files:
            item.status = "withdrawn"
    else:
        session.add_all(Delivery(key=item.delivery_key, batch_id=batch.id) for item in files)


def _end(batch: Batch, files: Sequence[LandedFile], outcome: Document, scanned: Document | None) -> None:
    """What the end of an attempt writes (publishing/ending.py)."""
    late = outcome.get("late") or outcome["status"] == "nothing_to_do"
    batch.status = "superseded" if late else outcome["status"]
    if outcome["status"] == "held":
        batch.reason = (outcome["reason"] or "")[:500]
    elif batch.origin == "files":
        batch.reason = None
    facts: Mapping[str, Any] = (scanned or {}).get("files", {})
    for position, item in enumerate(files):
        line = outcome["files"][position] if position < len(outcome["files"]) else None
        item.status = line["status"] if line and not late else batch.status
        item.reason = line["reason"] if line else None
        item.facts = facts.get(str(item.arrival), item.facts)


def _replaced(session: Session, entries: Entries, taken: Mapping[str, list[Moment]]) -> None:
    """A batch whose unit a newer one took has no row in the target any more, until it ends once more itself."""
    for batch_id, moments in sorted(taken.items()):
        batch = session.get(Batch, batch_id)
        if batch is None or batch.origin == "replay" or batch.status in GONE:
            continue
        outcomes = [each["outcome"] for each in entries.batches[batch_id].attempts.values() if "outcome" in each]
        if max(moments) > max(map(ended_at, outcomes), default=NEVER):
            batch.status = "superseded" if batch.status in ("published", "held") else batch.status
            for item in session.scalars(select(LandedFile).where(LandedFile.batch_id == batch_id)):
                item.status = "superseded"


def _taken(entries: Entries) -> dict[str, list[Moment]]:
    """When the rows of a batch or a replay went out with the publication of a newer batch of their unit."""
    found: dict[str, list[Moment]] = {}
    for each in entries.batches.values():
        for outcome in each.ended("published").values():
            for batch_id in outcome.get("replaced", ()):
                found.setdefault(batch_id, []).append(ended_at(outcome))
    return found


def _replays(session: Session, entries: Entries, taken: Mapping[str, list[Moment]]) -> None:
    """A replay's rows went out with what came first: an attempt that read its records corrected, a newer snapshot."""
    for replay in session.scalars(select(Batch).where(Batch.origin == "replay", Batch.status == "published")).all():
        done = max(ended_at(o) for o in entries.batches[replay.id].ended("published").values())
        source = session.get_one(Batch, (replay.window or {})["source"])
        ends: list[tuple[Moment, str | None]] = [(moment, None) for moment in taken.get(replay.id, ())]
        for number, outcome in entries.batches[source.id].ended("published").items():
            ends.append((ended_at(outcome), f"attempt {number} of {source.key} read its records corrected"))
        later = sorted((end for end in ends if end[0] > done), key=lambda end: end[0])
        if later:
            replay.status, replay.reason = "superseded", later[0][1]


def go_on_above(session: Session, numbers: InstrumentedAttribute[int]) -> None:
    """The next number is above all of them: SQLite does so by itself, PostgreSQL counts apart."""
    newest = session.scalar(select(func.max(numbers)))
    if newest is not None and session.get_bind().dialect.name == "postgresql":
        sequence = f"pg_get_serial_sequence('{numbers.class_.__tablename__}', '{numbers.key}')"
        session.execute(text(f"SELECT setval({sequence}, :newest)"), {"newest": newest})
