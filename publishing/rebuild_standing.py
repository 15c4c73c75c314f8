"""What the ledger knows of a table that is lost: the batches that stood in it, and the transactions it bore."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import select
from sqlalchemy.orm import Session

from pipeline_xml.checked import CheckedPipeline, CheckedTarget
from publishing.ledger import Attempt, Batch, LandedFile
from publishing.targets import replaces_unit, unit_name
from publishing.units import GONE, is_replaced, published_once


@dataclass(frozen=True, slots=True)
class Standing:
    """`batches` by arrival, without replays; `transactions` as the lost table had them, their counters begun anew."""

    batches: list[Batch]
    transactions: dict[str, int]


def standing_transactions(session: Session, pipeline: CheckedPipeline, target: CheckedTarget) -> Standing:
    own = select(Batch).where(Batch.pipeline == pipeline.key, published_once()).order_by(Batch.arrival, Batch.id)
    batches, transactions = [], {}
    for batch in session.scalars(own):
        gone = batch.status in GONE
        replay = batch.origin == "replay"
        number = 2 * batch.attempt if gone else 2 * _published(session, batch) - 1
        transactions[f"b:{batch.id}"] = number
        for key in session.scalars(select(LandedFile.delivery_key).where(LandedFile.batch_id == batch.id)):
            transactions[f"f:{key}"] = max(transactions.get(f"f:{key}", 0), 2 if gone else 3)
        replaced = replaces_unit(target, batch) and is_replaced(session, pipeline, batch)
        if gone or replay or replaced:
            continue
        batches.append(batch)
        if replaces_unit(target, batch):
            transactions[unit_name(target, batch)] = batch.arrival
    return Standing(batches, transactions)


def _published(session: Session, batch: Batch) -> int:
    """The newest attempt that was published."""
    status = Attempt.outcome["status"].as_string()
    chosen = select(Attempt.number).where(Attempt.batch_id == batch.id, status == "published")
    return session.scalars(chosen.order_by(Attempt.number.desc())).first() or batch.attempt
