"""The ledger against what the journal would make of it, and files against their raw copies."""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from publishing.decisions import BatchDecision, Correction
from publishing.differences import Difference
from publishing.journal_entries import Entries
from publishing.lake import Lake
from publishing.ledger import Attempt, Batch, Claim, Delivery, LandedFile, Ledger
from publishing.outcome import Counts
from publishing.rebuild_batches import restore_batches
from publishing.rebuild_decisions import restore_decisions
from publishing.units import GONE

GOING_ON = ("open", "failed", "withdrawing", "unpublishing")  # what the next run brings to its end
CHUNK = 4 * 1024 * 1024
_BATCH = ("key", "pipeline", "business_date", "origin", "sender", "arrival", "window", "status", "reason", "attempt")
_FILE = (
    "pipeline", "batch_id", "name", "content_id", "delivery_key", "business_date", "sender", "size", "raw", "status",
    "reason", "archive", "sequence", "records_id",
)  # fmt: skip
_ATTEMPT = ("definition_hash", "rule_hash", "references", "opened_at", "run_id", "outcome")
_CORRECTION = ("pipeline", "batch_id", "kind", "records", "actor", "role", "reason", "made_at", "sealed")
_DECISION = ("batch_id", "kind", "actor", "role", "reason", "made_at", "waivers")


@dataclass(frozen=True, slots=True)
class Told:
    """The ledger and the one that the journal tells, of one application or of all."""

    ours: Session
    theirs: Session
    app: str | None

    def pair(self, kind: type[Any], key: str = "id") -> tuple[dict[Any, Any], dict[Any, Any]]:
        """Rows by a column, of the ledger and of the journal; `kind` has a column `pipeline`."""
        chosen = select(kind)
        if self.app is not None:
            chosen = chosen.where(kind.pipeline.startswith(f"{self.app}/", autoescape=True))
        both = ({getattr(row, key): row for row in session.scalars(chosen)} for session in (self.ours, self.theirs))
        known, told = both
        return known, told


def verify_ledger(lake: Lake, entries: Entries, app: str | None) -> Iterator[Difference]:
    """Everything the journal tells, told by a ledger made from it and compared row by row."""
    with tempfile.TemporaryDirectory(prefix="datalake-verify-") as folder:
        told = Ledger(f"sqlite:///{Path(folder) / 'ledger.db'}")
        try:
            with told.write() as session:
                restore_batches(session, entries)
                restore_decisions(session, entries)
            with lake.ledger.read() as ours, told.read() as theirs:
                both = Told(ours, theirs, app)
                known, expected = both.pair(Batch)
                yield from _claims(both, entries)
                yield from _batches(both, known, expected)
                yield from _files(both, known)
                yield from _attempts(both, known)
                yield from _deliveries(both, known)
                yield from _decisions(lake, both, known)
                yield from _outcomes(both, known)
        finally:
            told.close()


def _differing(ours: Any, theirs: Any, columns: Sequence[str]) -> list[str]:
    return [name for name in columns if getattr(ours, name) != getattr(theirs, name)]


def _claims(both: Told, entries: Entries) -> Iterator[Difference]:
    """Of claims that took anything: where nothing could be read there is nothing to journal."""
    known, _ = both.pair(Claim)
    filled = set(both.ours.scalars(select(LandedFile.claim_id)))
    for claim_id, claim in sorted(known.items()):
        if claim.settled and claim_id in filled and claim_id not in entries.claims:
            yield Difference("claim_not_in_journal", f"{claim.pipeline} claim {claim_id}", "ledger only", "both")
    for claim_id, document in sorted(entries.claims.items()):
        of = document["pipeline"]
        if claim_id not in known and (both.app is None or of.startswith(f"{both.app}/")):
            yield Difference("claim_not_in_ledger", f"{of} claim {claim_id}", "journal only", "both")


def _batches(both: Told, known: Mapping[str, Batch], told: Mapping[str, Batch]) -> Iterator[Difference]:
    began = set(both.ours.scalars(select(Attempt.batch_id)))
    for batch_id, batch in sorted(known.items(), key=lambda item: item[1].key):
        if batch_id not in told:
            # One that was persisted a moment ago is journaled by the run that takes it up.
            if batch.status not in GOING_ON or batch_id in began:
                yield Difference("batch_not_in_journal", batch.key, f"ledger only, {batch.status}", "both")
        elif batch.status not in GOING_ON:
            for name in _differing(batch, told[batch_id], _BATCH):
                found, expected = getattr(batch, name), getattr(told[batch_id], name)
                yield Difference("batch_differs", f"{batch.key} {name}", str(found), str(expected))
    for batch_id in sorted(told.keys() - known.keys()):
        yield Difference("batch_not_in_ledger", told[batch_id].key, "journal only", "both")


def _files(both: Told, batches: Mapping[str, Batch]) -> Iterator[Difference]:
    known, told = both.pair(LandedFile, "arrival")
    going_on = {batch_id for batch_id, batch in batches.items() if batch.status in GOING_ON}
    unsettled = set(both.ours.scalars(select(Claim.id).where(Claim.settled.is_(False))))
    for arrival in sorted(known.keys() | told.keys()):
        if arrival not in known:
            yield Difference("file_differs", f"arrival {arrival} {told[arrival].name}", "journal only", "both")
            continue
        file = known[arrival]
        if file.batch_id in going_on or file.claim_id in unsettled:
            continue
        if arrival not in told:
            yield Difference("file_differs", f"arrival {arrival} {file.name}", "ledger only", "both")
            continue
        for name in _differing(file, told[arrival], _FILE):
            found, expected = str(getattr(file, name)), str(getattr(told[arrival], name))
            yield Difference("file_differs", f"arrival {arrival} {file.name} {name}", found, expected)


def _attempts(both: Told, batches: Mapping[str, Batch]) -> Iterator[Difference]:
    ours, theirs = (
        {(a.batch_id, a.number): a for a in session.scalars(select(Attempt)) if a.batch_id in batches}
        for session in (both.ours, both.theirs)
    )
    for batch_id, number in sorted(ours.keys() | theirs.keys()):
        batch = batches[batch_id]
        if batch.status in GOING_ON and number == batch.attempt:
            continue
        attempt, expected = ours.get((batch_id, number)), theirs.get((batch_id, number))
        subject = f"{batch.key} attempt {number}"
        if attempt is None or expected is None:
            yield Difference("attempt_differs", subject, "journal only" if attempt is None else "ledger only", "both")
            continue
        for name in _differing(attempt, expected, _ATTEMPT):
            yield Difference("attempt_differs", f"{subject} {name}", "of the ledger", "as in the journal")


def _deliveries(both: Told, batches: Mapping[str, Batch]) -> Iterator[Difference]:
    chosen = select(LandedFile.delivery_key, LandedFile.batch_id, LandedFile.name)
    files = [row for row in both.ours.execute(chosen.order_by(LandedFile.arrival)) if row[1] in batches]
    members = {(key, batch_id) for key, batch_id, _ in files}
    keys = {delivery.key: delivery.batch_id for delivery in both.ours.scalars(select(Delivery))}
    elsewhere = set(both.ours.scalars(select(Batch.id))) - set(batches)
    for key, batch_id in sorted(keys.items()):
        status = batches[batch_id].status if batch_id in batches else "not in the ledger"
        if batch_id not in elsewhere and ((key, batch_id) not in members or status in GONE):
            found = f"batch {batch_id}, {status}"
            yield Difference("delivery_without_batch", f"delivery key {key[:24]}", found, "a batch that has the file")
    for key, owner, name in files:
        if owner is not None and key not in keys and batches[owner].status not in GONE:
            yield Difference("delivery_missing", f"{name} of batch {owner}", "no key", f"key {key[:24]}")


def _decisions(lake: Lake, both: Told, batches: Mapping[str, Batch]) -> Iterator[Difference]:
    corrections = both.pair(Correction)
    over = [
        {d.id: d for d in session.scalars(select(BatchDecision)) if d.batch_id in batches}
        for session in (both.ours, both.theirs)
    ]
    kinds: list[tuple[str, dict[Any, Any], dict[Any, Any], Sequence[str]]] = [
        ("correction", *corrections, _CORRECTION), ("decision", over[0], over[1], _DECISION),
    ]  # fmt: skip
    for what, known, told, columns in kinds:
        for each in sorted(known.keys() | told.keys()):
            if each not in known or each not in told:
                found = "ledger only" if each in known else "journal only"
                yield Difference("decision_differs", f"{what} {each}", found, "both")
            elif names := _differing(known[each], told[each], columns):
                subject = f"{what} {each} {', '.join(names)}"
                yield Difference("decision_differs", subject, "of the ledger", "as in the journal")
    for each, correction in sorted(corrections[0].items()):
        if not (lake.journal.root / correction.sealed).exists():
            yield Difference("sealed_missing", f"correction {each}", "no file", correction.sealed)


def _outcomes(both: Told, batches: Mapping[str, Batch]) -> Iterator[Difference]:
    chosen = select(Attempt).where(Attempt.outcome.is_not(None)).order_by(Attempt.batch_id, Attempt.number)
    for attempt in both.ours.scalars(chosen):
        outcome = attempt.outcome
        if not outcome or attempt.batch_id not in batches:
            continue
        counts = Counts.of(outcome["counts"])
        subject = f"{batches[attempt.batch_id].key} attempt {attempt.number}"
        unread = outcome["status"] == "held" and sum(counts.terms()) == counts.in_  # held by a file: nothing was read
        if not counts.closes and not unread:
            yield Difference("outcome_does_not_close", subject, _said(counts), "in = the sum of the others")
        lines = sum((Counts.of(line["counts"]) for line in outcome["files"]), Counts())
        if outcome["files"] and lines != counts:
            yield Difference("outcome_does_not_close", f"{subject}, its files", _said(lines), _said(counts))


def _said(counts: Counts) -> str:
    return " ".join(f"{name} {number}" for name, number in counts.as_dict().items() if number or name == "in")


def verify_raw(lake: Lake, hashes: bool, app: str | None) -> Iterator[Difference]:
    """Every file of every batch has its raw copy; with `hashes` each is read whole."""
    with lake.ledger.read() as session:
        files = session.scalars(select(LandedFile).order_by(LandedFile.arrival)).all()
    seen: set[Path] = set()
    for file in files:
        if app is not None and not file.pipeline.startswith(f"{app}/"):
            continue
        path = lake.raw_root(file.pipeline) / file.raw
        if path in seen:
            continue
        seen.add(path)
        subject = f"arrival {file.arrival} {file.name}"
        if not path.exists():
            yield Difference("raw_missing", subject, "no file", f"raw/{file.pipeline}/{file.raw}")
        elif path.stat().st_size != file.size:
            yield Difference("raw_differs", subject, f"{path.stat().st_size} bytes", f"{file.size} bytes")
        elif hashes and (found := _sha256(path)) != file.content_id:
            yield Difference("raw_differs", subject, f"sha256 {found[:16]}…", f"sha256 {file.content_id[:16]}…")


def _sha256(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(CHUNK):
            digest.update(chunk)
    return digest.hexdigest()
