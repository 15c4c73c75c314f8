"""Decisions over whole batches, in the ledger: release what is held, withdraw it, un-publish what is published.

A release is a new attempt, computed from raw under the definition of now, with waivers: for each thing that holds the
batch, what was observed and why it may be. A worse count holds again. Withdrawing and un-publishing take effect by
publishing/taking_back.py; the batch says so (`withdrawing`, `unpublishing`) until that is done, so a crash loses no
decision.
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from publishing.decisions import RELEASE, UNPUBLISH, WITHDRAW, BatchDecision
from publishing.journal_entries import journal_reopened
from publishing.lake import Lake
from publishing.ledger import Attempt, Batch, now

WITHDRAWING = "withdrawing"
UNPUBLISHING = "unpublishing"
ENDING = (WITHDRAWING, UNPUBLISHING)
FAILED = "failed"
RESTORED = ("published", "superseded", "held", "open", FAILED)  # what an earlier attempt published goes with a restore
# Of files that can be read all the same.
OF_FILES = (
    "checksum", "control_total", "sequence_gap", "sequence_repeated", "same_records", "header_unknown_columns",
    "header_missing_columns",
)  # fmt: skip
LIMITS = ("maxErrors", "maxErrorRate")
REBUILD = "rebuild_needed"


class CannotDecide(Exception):
    """The batch is in no state for the decision, or a waiver is missing (permanent); says what is valid."""


@dataclass(frozen=True, slots=True)
class Decider:
    """Who decides, in which role, and why."""

    name: str
    role: str
    reason: str


def held_by(session: Session, batch: Batch) -> dict[str, float]:
    """What holds a batch, by name, with what was observed: rules, limits, faults of files.

    What no waiver can mend is not among them.
    """
    attempt = session.get(Attempt, (batch.id, batch.attempt))
    outcome = (attempt.outcome if attempt is not None else None) or {}
    reason = str(outcome.get("reason") or batch.reason or "")
    counts = outcome.get("counts", {})
    rejected = counts.get("quarantined", 0) + counts.get("skipped", 0)
    found: dict[str, float] = {}
    for part in (text.strip() for text in reason.split(";")):
        name = part.partition(":")[0]
        if name in OF_FILES or name == REBUILD:
            found[name] = 1.0
        elif name in LIMITS:
            found[name] = rejected / counts["in"] if name == "maxErrorRate" and counts.get("in") else float(rejected)
        elif part.startswith("rule ") and " failed" in part:
            rule = part.removeprefix("rule ").partition(" failed")[0]
            checks = {check["name"]: check["failed_rows"] for check in outcome.get("checks", ())}
            found[rule] = float(checks.get(rule, 0))
    return found


def release(
    lake: Lake, session: Session, batch: Batch, waived: Mapping[str, str], by: Decider, rule_hash: str
) -> BatchDecision:
    """The next attempt of a held batch, with `waived`: name of what holds it -> why it may be.

    The waivers are for the rules of `rule_hash`: under others the batch is judged as if there were none.
    """
    if batch.status != "held":
        raise CannotDecide(f"{batch.key} is {batch.status}; only a held batch is released")
    holding = held_by(session, batch)
    if not holding:
        raise CannotDecide(f"{batch.key}: no waiver mends this: {batch.reason}; mend the definition or withdraw it")
    missing = [name for name in holding if name not in waived]
    unknown = [name for name in waived if name not in holding]
    if missing or unknown:
        wrong = [f"no waiver for {', '.join(missing)}"] * bool(missing)
        wrong += [f"{', '.join(unknown)} does not hold it"] * bool(unknown)
        raise CannotDecide(f"{batch.key}: {'; '.join(wrong)}; it is held by: {', '.join(holding)}")
    waivers = {
        name: {"observed": observed, "rule_hash": rule_hash, "reason": waived[name]}
        for name, observed in holding.items()
    }
    made = _decide(session, batch, RELEASE, by, waivers)
    batch.status, batch.attempt = "open", batch.attempt + 1
    journal_reopened(lake, batch.pipeline, {batch.id: batch.attempt})
    return made


def withdraw(
    lake: Lake, session: Session, batch: Batch, by: Decider, of: Sequence[str] = ("held", FAILED)
) -> BatchDecision:
    """Closes a batch in one of these statuses, held or failed: its files may be delivered again."""
    if batch.status not in of:
        raise CannotDecide(f"{batch.key} is {batch.status}; what is held or failed is withdrawn, else un-published")
    made = _decide(session, batch, WITHDRAW, by, {})
    batch.status = WITHDRAWING
    return made


def unpublish(
    lake: Lake, session: Session, batches: Sequence[Batch], by: Decider, of: Sequence[str] = ("published",)
) -> list[BatchDecision]:
    """Takes batches of these statuses back, with the replays of their records. Of a replay, its records are open again.
    """
    wrong = [f"{batch.key} is {batch.status}" for batch in batches if batch.status not in of]
    if wrong:
        raise CannotDecide(f"{'; '.join(wrong)}; only what is {' or '.join(of)} is un-published")
    made = []
    for batch in batches:
        made.append(_decide(session, batch, UNPUBLISH, by, {}))
        batch.status = UNPUBLISHING
    return made


def _decide(session: Session, batch: Batch, kind: str, by: Decider, waivers: Mapping[str, Any]) -> BatchDecision:
    """The journal has it once the transaction is committed: one written before it could speak of what never was."""
    decision = BatchDecision(
        id=uuid.uuid4().hex,
        batch_id=batch.id,
        kind=kind,
        actor=by.name,
        role=by.role,
        reason=by.reason[:500],
        made_at=now(),
        waivers=dict(waivers),
    )
    session.add(decision)
    return decision


def waived(session: Session, batch_id: str, rule_hash: str) -> dict[str, float]:
    """{name: what was observed} that the newest release of a batch waived, as far as it is for these rules."""
    newest = (
        select(BatchDecision)
        .where(BatchDecision.batch_id == batch_id, BatchDecision.kind == RELEASE)
        .order_by(BatchDecision.made_at.desc(), BatchDecision.id)
        .limit(1)
    )
    found = session.scalar(newest)
    waivers = found.waivers if found is not None else {}
    return {name: float(each["observed"]) for name, each in waivers.items() if each["rule_hash"] == rule_hash}
