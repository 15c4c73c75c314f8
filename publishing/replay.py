"""Replays: approved corrections become batches of their own, or the next attempt of a batch that is judged as a whole.

A replay batch reads the records of its corrections once more, from raw or from the sealed payload, with every approved
correction of theirs in place, and publishes them under one transaction `b:<replay>`. Records that stand in the target
already are left out. Its targets come before the quarantine's commit: until an entry says `replayed` its batch is open,
so a crash between the two is ended by the next run, and a record rejected again is not lost, for its entry stays.
"""

from __future__ import annotations

import hashlib
import shutil
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from pipeline_xml.checked import CheckedPipeline
from pipeline_xml.model import CsvTarget, FileSource
from processing.transformations import registry
from publishing.attempt import held_by_file, open_attempt, run_attempt, staged_manifest
from publishing.bound import bound_values
from publishing.corrections import joined_ids, stacked, unplayed, write_table_overlay
from publishing.decide import waived
from publishing.decisions import Correction
from publishing.ending import end_attempt
from publishing.inputs import approved, aware, file_faults, landed, lay_over, overlay_folder, raw_files, scan_again
from publishing.journal_entries import journal_reopened
from publishing.lake import Lake
from publishing.ledger import Attempt, Batch, LandedFile, now
from publishing.moved import GAVE_WAY, holder_of
from publishing.outcome import BatchOutcome, QuarantineOutcome
from publishing.payloads import write_payload_rows
from publishing.persist import batch_key
from publishing.publish import outcome_of, publish_targets, unfit
from publishing.replay_fate import fate_of, settle_entries
from publishing.stage import AttemptInput
from publishing.table_input import versions_beside
from publishing.targets import Publication
from publishing.touched import touched_by_replay

REPLAY = "replay"
HANDED_OVER = "the pipeline replays by the next attempt of the batch now"
TRIAL = "trial-"  # what a computation aside stages stands in a folder of its own


class CannotReplay(Exception):
    """Records that cannot be replayed now (permanent); says why and what to do."""


def replays_by_attempt(pipeline: CheckedPipeline) -> bool:
    """Whether corrected records come back by the next attempt of their batch, and not as a batch of their own.

    Where a target is whole by nature (an overwrite, an export that is replaced) or holds groups instead of records.
    And where a record cannot be judged alone: a step compares it with others, a rule over the whole may block.
    """
    whole = any(
        target.target.mode == "overwrite"
        or not target.dataset.per_record
        or (isinstance(target.target, CsvTarget) and target.target.mode != "append")
        for target in pipeline.targets
    )
    together = any(registry()[step.kind].compares_records for step in pipeline.steps)
    together = together or any(rule.compares_records for rule in pipeline.key_rules)
    return whole or together or any(rule.rule.severity == "error" for rule in pipeline.dataset_rules)


def persist_replays(
    lake: Lake, session: Session, pipeline: CheckedPipeline, batch_id: str | None = None
) -> list[tuple[str, str]]:
    """(batch that will publish, batch it comes from) of every approved correction that belongs to no replay yet.

    In the caller's transaction. Corrections of a batch that does not stand, or not yet, wait for an attempt of it; of
    one that gave way to another they follow their records.
    """
    grouped: dict[str, list[Correction]] = {}
    for correction in unplayed(session, pipeline.key, None):
        about = session.get_one(Batch, correction.batch_id)
        holder = holder_of(lake, session, correction) if about.status == GAVE_WAY else about
        if holder is not None and batch_id in (None, correction.batch_id, holder.id):
            grouped.setdefault(holder.id, []).append(correction)
    made = []
    for source_id, corrections in grouped.items():
        source = session.get_one(Batch, source_id)
        if source.status == "published":
            publishing = source if replays_by_attempt(pipeline) else _replay_batch(session, source, corrections)
            if publishing is source:
                source.status, source.attempt = "open", source.attempt + 1
                given = dict.fromkeys((correction.id for correction in corrections), source.id)
                journal_reopened(lake, pipeline.key, {source.id: source.attempt}, corrections=given)
            for correction in corrections:
                correction.replay_id = publishing.id
            made.append((publishing.id, source_id))
    return made


def _replay_batch(session: Session, source: Batch, corrections: Sequence[Correction]) -> Batch:
    ids = [c.id for c in corrections]
    parts = (source.pipeline, REPLAY, source.id, *sorted(ids))
    identity, before = _digest(parts), 0
    while session.get(Batch, identity) is not None:  # that one was taken back
        before += 1
        identity = _digest((*parts, f"#{before}"))
    batch = Batch(
        id=identity,
        key=batch_key(source.business_date, f"replay_{source.key[11:]}", 1, identity),
        pipeline=source.pipeline,
        business_date=source.business_date,
        origin=REPLAY,
        sender=source.sender,
        arrival=source.arrival,
        window={"source": source.id, "corrections": ids},
        status="open",
        reason=None,
        attempt=1,
        created_at=now(),
    )
    session.add(batch)
    session.flush()
    return batch


def _digest(parts: Sequence[str]) -> str:
    return hashlib.sha256("\x00".join(parts).encode()).hexdigest()[:32]


def run_replay(lake: Lake, pipeline: CheckedPipeline, batch: Batch, run_id: str) -> BatchOutcome:
    """Brings a replay batch to its end; errors propagate and leave it open for a retry.

    Where a target became whole by nature since it was asked for, the batch of its records gets an attempt instead.
    """
    if replays_by_attempt(pipeline):
        return run_attempt(lake, pipeline, _hand_over(lake, pipeline, batch), run_id)
    begun = time.monotonic()
    attempt = open_attempt(lake, pipeline, batch, run_id)
    source, files = _source(lake, pipeline, batch)
    faults = file_faults(pipeline, source, files)
    if faults:
        outcome = held_by_file(batch, files, attempt, faults)
        return end_attempt(lake, pipeline, batch, (), attempt, replace(outcome, seconds=time.monotonic() - begun))
    manifest = staged_manifest(
        lake, pipeline, batch, attempt, lambda: _given(lake, pipeline, batch, source, files, attempt)
    )
    given = Publication(
        batch=batch,
        manifest=manifest,
        deliveries=(),
        run_id=attempt.run_id,
        staged=lake.settings.data / manifest.root,
    )
    # Limits on errors hold back files of unknown quality; here a person has looked at each record.
    with lake.ledger.read() as session:
        passes = waived(session, batch.id, pipeline.rule_hash)
    refused = unfit(lake, pipeline, given, passes)
    again = QuarantineOutcome(str(lake.quarantine(pipeline.key).root), manifest.counts.quarantined)
    if refused:
        outcome = outcome_of(batch, attempt, replace(manifest, held=refused), (), "held", refused, (), again)
        return end_attempt(lake, pipeline, batch, (), attempt, replace(outcome, files=()))
    outcome = publish_targets(lake, pipeline, batch, (), attempt, given, again)
    fate = fate_of(lake, pipeline, given)
    settle_entries(lake, pipeline, source.id, given, fate)
    outcome = replace(
        outcome,
        counts=fate.counts(manifest.counts),
        files=(),
        targets=tuple(replace(t, rows_written=fate.rows(t)) for t in outcome.targets),
        checks=(),
        seconds=round(time.monotonic() - begun, 3),
    )
    ended = end_attempt(lake, pipeline, batch, (), attempt, outcome, touched_by_replay(manifest, fate))
    shutil.rmtree(lake.staged_root(pipeline.key, batch.id, attempt.number), ignore_errors=True)
    return ended


def _hand_over(lake: Lake, pipeline: CheckedPipeline, batch: Batch) -> Batch:
    """Ends a replay that was not published, binds its corrections to the batch of its records, and reopens that."""
    with lake.ledger.write() as session:
        stored = session.get_one(Batch, batch.id)
        source = session.get_one(Batch, (batch.window or {})["source"])
        corrections = session.scalars(select(Correction).where(Correction.replay_id == batch.id)).all()
        for correction in corrections:
            correction.replay_id = source.id
        stored.status, stored.reason = "superseded", HANDED_OVER
        source.status, source.attempt = "open", source.attempt + 1
        given = dict.fromkeys((correction.id for correction in corrections), source.id)
        journal_reopened(lake, pipeline.key, {source.id: source.attempt}, corrections=given)
    return source


def _source(lake: Lake, pipeline: CheckedPipeline, batch: Batch) -> tuple[Batch, Sequence[LandedFile]]:
    """The batch that rejected the records, and its files as the definition of today scans them."""
    with lake.ledger.read() as session:
        source = session.get_one(Batch, (batch.window or {})["source"])
    files = landed(lake, source)
    scan_where_changed(lake, pipeline, source, files)
    return source, files


def scan_where_changed(
    lake: Lake, pipeline: CheckedPipeline, batch: Batch, files: Sequence[LandedFile]
) -> None:
    """Scans the files anew where the definition is not that of the batch's last attempt any more."""
    with lake.ledger.read() as session:
        last = session.scalar(
            select(Attempt.definition_hash).where(Attempt.batch_id == batch.id, Attempt.number == batch.attempt)
        )
    if last != pipeline.definition_hash:
        scan_again(lake, pipeline, files)


def _given(
    lake: Lake,
    pipeline: CheckedPipeline,
    batch: Batch,
    source: Batch,
    files: Sequence[LandedFile],
    attempt: Attempt,
) -> AttemptInput:
    """The records of the replay's corrections, with all that was approved of them in place."""
    import pyarrow.compute as pc

    from processing.overlay import RECORD_ID

    wanted = (batch.window or {})["corrections"]
    found = approved(lake, source, files)
    own = [changes for correction, (_, changes) in found.items() if correction in wanted]
    if len(own) < len(wanted):
        raise CannotReplay(f"{batch.key}: {len(wanted) - len(own)} of its corrections are not approved any more")
    changes = stacked(list(found.values()))
    changes = changes.filter(pc.is_in(changes[RECORD_ID], value_set=joined_ids(own)))
    given = AttemptInput(
        batch_id=batch.id,
        attempt=attempt.number,
        business_date=batch.business_date,
        opened_at=aware(attempt.opened_at),
        corrections=tuple(wanted),
        judged=False,
        bound=bound_values(pipeline, attempt.references or {}, batch.business_date),
        versions=versions_beside(attempt.references or {}),
    )
    folder = overlay_folder(lake, batch, attempt.number)
    return only_changed(lake, pipeline, given, files, folder, changes)


def only_changed(
    lake: Lake,
    pipeline: CheckedPipeline,
    given: AttemptInput,
    files: Sequence[LandedFile],
    folder: Path,
    changes: Any,
) -> AttemptInput:
    """`given` with just the changed records to read: of files again from raw, of a table from the sealed payloads."""
    from processing.overlay import RECORD_ID, load_overlay

    if not isinstance(pipeline.driving.source, FileSource):
        overlay = write_table_overlay(folder, changes)
        path, number = write_payload_rows(lake, pipeline, folder, changes[RECORD_ID].combine_chunks())
        return replace(given, rows=path, overlay=overlay, uris=((0, f"quarantine of {pipeline.key}", number),))
    raw = lay_over(folder, raw_files(lake, pipeline, files), changes, only=True)
    uris = {item.arrival: item.uri for item in files}
    counted = tuple((a, uris[a], load_overlay(str(file.overlay)).num_rows) for a, file in raw.items())
    return replace(given, raw=tuple(raw.values()), uris=counted)
