"""A batch apart from the others: what raises in one ends it failed, with its reason, and the later ones go on.

A permanent error ends the batch `failed`. After a transient one it stays open. Either way the next run takes it up
where it stopped: nothing of it is journaled as an outcome, and what it committed carries its transaction.
"""

from __future__ import annotations

from sqlalchemy import select
from sqlalchemy.orm import Session

from pipeline_xml.checked import CheckedPipeline
from processing.scan_result import Scan
from publishing.attempt import run_attempt
from publishing.lake import Lake
from publishing.ledger import Batch, LandedFile
from publishing.ledger_errors import LedgerUnavailable
from publishing.outcome import BatchOutcome, Counts, FileOutcome
from publishing.replay import REPLAY, run_replay
from publishing.upstream import REWRITTEN
from resources.engine import EngineUnavailable, lost
from resources.failures import is_transient, named, told
from resources.secrets import SecretMissing

FAILED = "failed"
# No other batch of the pipeline would fare better.
_STOPPING = (EngineUnavailable, LedgerUnavailable, SecretMissing)


def run_apart(lake: Lake, pipeline: CheckedPipeline, batch: Batch, run_id: str) -> BatchOutcome:
    """Brings the batch to its end; an error is its outcome, unless it would stop every other batch too."""
    try:
        _take_up(lake, batch)
        bring = run_replay if batch.origin == REPLAY else run_attempt
        return bring(lake, pipeline, batch, run_id)
    except _STOPPING:
        raise
    except Exception as raised:  # whatever it is, the other batches are not to blame
        if gone := lost(raised):
            raise gone from raised
        error = named(raised)
        transient = is_transient(error)
        reason = told(error)[:500]
        if not transient:
            _end_failed(lake, batch, reason)
        return _outcome(lake, batch, reason, transient)


def _take_up(lake: Lake, batch: Batch) -> None:
    """A batch that failed is open again; what its files were found to be stays."""
    if batch.status != FAILED:
        return
    with lake.ledger.write() as session:
        stored = session.get_one(Batch, batch.id)
        stored.status = "open"
        if not (stored.reason or "").startswith(REWRITTEN):
            stored.reason = None
        for item in _files(session, batch):
            if item.status == FAILED:
                item.status, item.reason = "open", None


def _end_failed(lake: Lake, batch: Batch, reason: str) -> None:
    with lake.ledger.write() as session:
        stored = session.get_one(Batch, batch.id)
        if stored.status != "open":  # another run ended it meanwhile
            return
        stored.status = FAILED
        if not (stored.reason or "").startswith(REWRITTEN):
            stored.reason = reason
        for item in _files(session, batch):
            if item.status == "open":  # a broken file stays held: its reason decides what becomes of the batch
                item.status, item.reason = FAILED, reason


def _files(session: Session, batch: Batch) -> list[LandedFile]:
    chosen = select(LandedFile).where(LandedFile.batch_id == batch.id).order_by(LandedFile.arrival)
    return list(session.scalars(chosen))


def _outcome(lake: Lake, batch: Batch, reason: str, transient: bool) -> BatchOutcome:
    with lake.ledger.read() as session:
        files = _files(session, batch)
    lines = tuple(FileOutcome(f.uri, FAILED, reason, Counts(in_=Scan.of(f.facts).records)) for f in files)
    return BatchOutcome(
        batch=batch.id,
        key=batch.key,
        business_date=batch.business_date.isoformat(),
        attempt=batch.attempt,
        origin=batch.origin,
        status="failed",
        reason=reason,
        counts=sum((line.counts for line in lines), Counts()),
        files=lines,
        transient=transient,
    )
