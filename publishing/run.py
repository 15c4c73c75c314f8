"""Running a pipeline: claim, persist, and bring every open batch to its end, those a crash left behind first."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, date, datetime

from sqlalchemy import func, or_, select

from pipeline_xml.checked import CheckedPipeline
from pipeline_xml.model import FileSource
from publishing import failpoints
from publishing.apart import run_apart
from publishing.claim import unsettled_claims
from publishing.claim_entries import journaled_claims
from publishing.corrections import apply_discards
from publishing.intake import journal_open_batches, settle_claim
from publishing.journal_entries import journal_reopened
from publishing.lake import Lake
from publishing.landing import take_settled
from publishing.late import count_late
from publishing.ledger import Attempt, Batch, Claim, LandedFile, Look
from publishing.ledger_errors import REBUILD, LedgerGone
from publishing.moved import settle_moved
from publishing.ops import recorded_run
from publishing.outcome import BatchOutcome, Counts, FileOutcome, PipelineOutcome, worst
from publishing.quarantined import refresh_all
from publishing.replay import REPLAY, TRIAL
from publishing.run_entries import went_well
from publishing.taking_back import finish_taking_back
from publishing.upstream import persist_table_batches
from resources.failures import Outside, by_name
from resources.zone import Sighting

Announce = Callable[[BatchOutcome], None]
LONG_COPY = 64 * 1024 * 1024  # bytes whose copy leaves time to start an engine beside it
OPEN = Batch.status.in_(("open", "failed"))  # what a run brings to its end


class NotRunnable(Exception):
    """The pipeline uses a part of the language that is checked but not run by this version."""


def run_pipeline(
    lake: Lake,
    pipeline: CheckedPipeline,
    *,
    run_id: str,
    business_date: date | None = None,
    reprocess: bool = False,
    claim_id: str | None = None,
    announce: Announce | None = None,
    parameters: Mapping[str, str] | None = None,
) -> PipelineOutcome:
    """Runs everything that is ready, in the order of arrival; `business_date` limits to one. `parameters` are texts.

    With `claim_id` (a sensor's run) only what was claimed is read, else the landing zone is looked at first. A batch
    that raises ends failed and the others go on; LedgerGone where the journal has batches that the ledger lacks;
    ZoneUnreachable and ZoneRefused after everything that is in raw has come to its end.
    """
    if pipeline.not_runnable:
        raise NotRunnable(f"{pipeline.key}: " + "; ".join(pipeline.not_runnable))
    outcomes: list[BatchOutcome] = []

    def ended(outcome: BatchOutcome) -> None:
        outcomes.append(outcome)
        if announce is not None:
            announce(outcome)

    kind = "reprocess" if reprocess else "load"
    with by_name(), lake.alone(pipeline.key), recorded_run(lake, pipeline, run_id, kind, outcomes, parameters):
        _ledger_is_whole(lake, pipeline.key)
        _count_again(lake, pipeline.key)
        finish_taking_back(lake, pipeline)  # first: what is taken back may come again in this run
        lost: Outside | None = None
        if isinstance(pipeline.driving.source, FileSource):
            try:
                for outcome in _take_in(lake, pipeline, claim_id):
                    ended(outcome)
            except Outside as error:  # what stands in raw is brought to its end all the same
                lost = error
        else:
            persist_table_batches(lake, pipeline, business_date)
        journal_open_batches(lake, pipeline.key)
        _sweep(lake, pipeline.key)
        apply_discards(lake, pipeline.key)
        if reprocess:
            _reopen(lake, pipeline, business_date)
        seen: set[str] = set()
        while fresh := [b for b in _open_batches(lake, pipeline, business_date) if b.id not in seen]:
            for batch in fresh:  # a file that left its batch is one of its own, and comes after them
                seen.add(batch.id)
                outcome = run_apart(lake, pipeline, batch, run_id)
                ended(replace(outcome, files_late=count_late(lake, batch.id)))
        settle_moved(lake, pipeline.key)
        if lost is not None:
            raise lost
    failures = (outcome.reason for outcome in outcomes if outcome.status == "failed")
    return PipelineOutcome(pipeline.key, worst(o.status for o in outcomes), tuple(outcomes), next(failures, None))


def run_batches(
    lake: Lake, pipeline: CheckedPipeline, batches: Collection[str], *, run_id: str, announce: Announce | None = None
) -> PipelineOutcome:
    """Brings these batches to their ends and looks for nothing else: the replays that a steward asked for."""
    outcomes: list[BatchOutcome] = []
    with by_name(), lake.alone(pipeline.key), recorded_run(lake, pipeline, run_id, "replay", outcomes):
        _ledger_is_whole(lake, pipeline.key)
        _count_again(lake, pipeline.key)
        journal_open_batches(lake, pipeline.key)
        for batch in _open_batches(lake, pipeline, None):
            if batch.id not in batches:
                continue
            outcomes.append(run_apart(lake, pipeline, batch, run_id))
            if announce is not None:
                announce(outcomes[-1])
        settle_moved(lake, pipeline.key)
    failures = (outcome.reason for outcome in outcomes if outcome.status == "failed")
    return PipelineOutcome(pipeline.key, worst(o.status for o in outcomes), tuple(outcomes), next(failures, None))


def _ledger_is_whole(lake: Lake, pipeline: str) -> None:
    """LedgerGone where the journal has batches or claims that the ledger lacks: their files would be taken again."""
    root = lake.journal.root / pipeline
    journaled = {each.name for each in root.iterdir()} if root.is_dir() else set()
    with lake.ledger.read() as session:
        missing = journaled - set(session.scalars(select(Batch.id).where(Batch.pipeline == pipeline)))
    if missing:
        raise LedgerGone(f"the ledger lacks {len(missing)} batches of {pipeline} that are in the journal; {REBUILD}")
    claims = journaled_claims(lake, pipeline)
    with lake.ledger.read() as session:
        missing = claims - set(session.scalars(select(Claim.id).where(Claim.pipeline == pipeline)))
    if missing:
        raise LedgerGone(f"the ledger lacks {len(missing)} claims of {pipeline} that are in the journal; {REBUILD}")


def _count_again(lake: Lake, pipeline: str) -> None:
    """After a run that failed or was killed: what it left in quarantine may not be counted, though its batch ended."""
    if lake.run is not None and not went_well(lake.journal, pipeline, lake.run.number - 1):
        refresh_all(lake, pipeline)


def _take_in(lake: Lake, pipeline: CheckedPipeline, claim_id: str | None) -> list[BatchOutcome]:
    """Settles the claims there are, and a new one of what lies in the zone; outcomes of what could not be read."""
    odd: list[Sighting] = []
    copies: list[LandedFile] = []
    if claim_id is None:
        odd += take_settled(lake, pipeline)
    fresh = [each for each, _ in unsettled_claims(lake.ledger, pipeline.key, claim_id)]
    if _bytes_of(lake, fresh) >= LONG_COPY:
        lake.begin_engine()
    try:
        for each in fresh:
            settled = settle_claim(lake, pipeline, each)
            odd += settled.unreadable
            copies += settled.duplicates
    finally:
        finish_taking_back(lake, pipeline)  # what a file that was sent again supersedes, before that is published
    return [_unreadable(s) for s in {o.name: o for o in odd}.values()] + [_duplicate(c) for c in copies]


def _bytes_of(lake: Lake, claims: Collection[str]) -> int:
    with lake.ledger.read() as session:
        return int(session.scalar(select(func.sum(Look.size)).where(Look.claim_id.in_(claims))) or 0)


def _duplicate(file: LandedFile) -> BatchOutcome:
    """A copy of what was delivered before: in no batch and in no count, but reported."""
    return BatchOutcome(
        batch="",
        key=f"{file.business_date.isoformat()}_{file.name}",
        business_date=file.business_date.isoformat(),
        attempt=0,
        origin="files",
        status="nothing_to_do",
        reason=file.reason,
        counts=Counts(),
        files=(FileOutcome(file.uri, "duplicate", file.reason, Counts()),),
    )


def _unreadable(sighting: Sighting) -> BatchOutcome:
    """What lies in the zone and cannot be read: held, and looked at again by every run until it is gone."""
    reason = "not_a_file: a folder or special file lies there"
    if sighting.regular:
        reason = f"unreadable: {sighting.version}"
    today = datetime.now(UTC).date().isoformat()
    return BatchOutcome(
        batch="",
        key=f"{today}_{sighting.name}",
        business_date=today,
        attempt=0,
        origin="files",
        status="held",
        reason=reason,
        counts=Counts(),
        files=(FileOutcome(sighting.uri, "held", reason, Counts()),),
    )


def _open_batches(lake: Lake, pipeline: CheckedPipeline, day: date | None) -> Sequence[Batch]:
    with lake.ledger.read() as session:
        chosen = select(Batch).where(Batch.pipeline == pipeline.key, OPEN)
        if day is not None:
            chosen = chosen.where(Batch.business_date == day)
        return session.scalars(chosen.order_by(Batch.arrival, Batch.id)).all()


def _sweep(lake: Lake, pipeline: str) -> None:
    """Removes what a crash left staged of batches that have ended: it holds records in clear."""
    root = lake.settings.data / "staged" / pipeline
    if not root.is_dir():
        return
    with lake.ledger.read() as session:
        open_ids = set(session.scalars(select(Batch.id).where(Batch.pipeline == pipeline, OPEN)))
    for folder in root.iterdir():
        if folder.name not in open_ids and not folder.name.startswith(TRIAL):  # that one may go on beside this run
            shutil.rmtree(folder, ignore_errors=True)


def _reopen(lake: Lake, pipeline: CheckedPipeline, day: date | None) -> None:
    """The next attempt of every batch that ended: recomputed from raw under the definition of now."""
    asked: dict[str, int] = {}
    with lake.ledger.write() as session:
        chosen = select(Batch).where(Batch.pipeline == pipeline.key, Batch.status.in_(("published", "held", "failed")))
        # What was replayed is read corrected by the attempt of the batch that it came from.
        chosen = chosen.where(or_(Batch.origin != REPLAY, Batch.status != "published"))
        if day is not None:
            chosen = chosen.where(Batch.business_date == day)
        for batch in session.scalars(chosen):
            ended = session.get(Attempt, (batch.id, batch.attempt))
            if ended is not None:
                batch.attempt += 1
            batch.status = "open"
            asked[batch.id] = batch.attempt
        journal_reopened(lake, pipeline.key, asked)
    failpoints.reached("batches.reopened")

