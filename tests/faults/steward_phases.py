"""Phases of the fault harness in which people decide: correct, discard, replay, un-publish. Each may be repeated."""

from __future__ import annotations

from typing import Any

from sqlalchemy import select

from publishing.corrections import apply_discards
from publishing.decisions import APPROVED, CORRECT, DISCARD, REVOKED, Correction
from publishing.lake import Lake
from publishing.ledger import Batch
from publishing.taking_back import ENDING
from stewardship import audit, batch_decisions
from stewardship.actors import Actor
from stewardship.approve import decide
from stewardship.correct import correct_values, discard
from stewardship.journaled import journal_all
from stewardship.new_values import Named
from stewardship.replay import replay
from stewardship.revoke import revoke
from stewardship.selection import Scope
from tests.faults.flow import load, pipeline_of

STEWARD, APPROVER = Actor("ann", "steward"), Actor("bob", "approver")
REASON = "as the branch said"
FILE = "north_20240115.txt"


def _record(lake: Lake, number: int) -> str:
    """The id of a rejected record of the first file."""
    rows: list[dict[str, Any]] = lake.quarantine("lender/loans").snapshot().dataset().to_table().to_pylist()
    (found,) = (r["record_id"] for r in rows if (r["source_file"], r["source_record"]) == (FILE, number))
    return str(found)


def _made(lake: Lake, kind: str) -> list[Correction]:
    with lake.ledger.read() as session:
        return list(session.scalars(select(Correction).where(Correction.kind == kind)))


def _approved(lake: Lake, kind: str) -> None:
    if any(each.state == "proposed" for each in _made(lake, kind)):
        decide(lake, lake.catalog, pipeline_of(lake, "loans"), APPROVER, "approve", REASON)
    journal_all(lake, "lender/loans")
    audit.journal_entries(lake)


def change_mind(lake: Lake) -> None:
    """A correction is approved and taken back before it has any effect; `correct` makes it anew."""
    pipeline = pipeline_of(lake, "loans")
    if not _made(lake, CORRECT):
        named = Named({_record(lake, 2): {"secured": "true"}})
        correct_values(lake, lake.catalog, pipeline, STEWARD, REASON, Scope(), named)
    _approved(lake, CORRECT)
    (made,) = _made(lake, CORRECT)
    if made.state == APPROVED:
        revoke(lake, lake.catalog, pipeline, APPROVER, REASON, corrections=[made.id])
    journal_all(lake, pipeline.key)


def correct(lake: Lake) -> None:
    """One record is corrected, and another person approves."""
    if all(each.state == REVOKED for each in _made(lake, CORRECT)):
        named = Named({_record(lake, 2): {"secured": "true"}})
        correct_values(lake, lake.catalog, pipeline_of(lake, "loans"), STEWARD, REASON, Scope(), named)
    _approved(lake, CORRECT)


def give_up(lake: Lake) -> None:
    """Another record is discarded, which takes effect with the approval."""
    if not _made(lake, DISCARD):
        discard(lake, lake.catalog, pipeline_of(lake, "loans"), STEWARD, REASON, Scope(), [_record(lake, 6)])
    _approved(lake, DISCARD)
    apply_discards(lake, "lender/loans")


def replay_all(lake: Lake) -> None:
    """What is approved comes back, and flows on."""
    replay(lake, pipeline_of(lake, "loans"), STEWARD, run_id="faults replay")
    load(lake)


def take_back(lake: Lake) -> None:
    """The newest batch of the merge target is un-published: the table is rebuilt without it."""
    pipeline = pipeline_of(lake, "loan")
    with lake.ledger.read() as session:
        own = select(Batch).where(Batch.pipeline == pipeline.key)
        taken = session.scalars(own.where(Batch.status.in_((*ENDING, "unpublished")))).all()
        newest = session.scalars(own.where(Batch.status == "published").order_by(Batch.arrival.desc())).first()
    if not taken:
        assert newest is not None
        batch_decisions.unpublish(lake, pipeline, APPROVER, [newest.key], REASON)
    audit.journal_entries(lake)
    load(lake)
