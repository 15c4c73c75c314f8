"""One attempt at one batch, from its pinned inputs to its published, held or failed end. Every step may be repeated."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

from pipeline_xml.checked import CheckedPipeline
from processing.scan_result import Scan
from publishing import failpoints
from publishing.bound import pinned_before, pins
from publishing.corrections import replays_of
from publishing.decide import waived
from publishing.ending import end_attempt
from publishing.inputs import approved, attempt_input, aware, file_faults, landed, raw_files, scan_again
from publishing.journal import attempt_entry
from publishing.journal_entries import journal_scans
from publishing.lake import Lake
from publishing.leaving import let_go
from publishing.ledger import Attempt, Batch, LandedFile, now
from publishing.manifest import Manifest
from publishing.mask_keys import key_pins, require_same_keys
from publishing.outcome import BatchOutcome, CheckOutcome, Counts, FileOutcome, QuarantineOutcome
from publishing.publish import outcome_of, publish_targets, unfit
from publishing.quarantine import commit_quarantine
from publishing.stage import AttemptInput, stage
from publishing.table_input import pinned_beside
from publishing.targets import Publication
from publishing.touched import touched_by_attempt


def run_attempt(lake: Lake, pipeline: CheckedPipeline, batch: Batch, run_id: str) -> BatchOutcome:
    """Brings the batch's current attempt to its end; errors propagate and leave the batch open for a retry."""
    begun = time.monotonic()
    files = landed(lake, batch)
    attempt = open_attempt(lake, pipeline, batch, run_id)
    if attempt.number > 1:
        scan_again(lake, pipeline, files)
        journal_scans(lake, pipeline.key, batch.id, attempt.number, {item.arrival: item.facts for item in files})
        failpoints.reached("scan.journaled")
    with lake.ledger.read() as session:
        passes = waived(session, batch.id, pipeline.rule_hash)
    faults = file_faults(pipeline, batch, files, passes)
    if attempt.number > 1 and batch.origin == "files" and let_go(lake, pipeline, batch, files, faults):
        files = [item for item in files if item.arrival not in faults]
        faults = {}
    if faults:
        outcome = held_by_file(batch, files, attempt, faults)
        return end_attempt(lake, pipeline, batch, files, attempt, replace(outcome, seconds=time.monotonic() - begun))
    raw = raw_files(lake, pipeline, files)

    def given_input() -> AttemptInput:
        read = attempt_input(lake, pipeline, batch, files, attempt, approved(lake, batch, files))
        return replace(read, waived=passes)

    manifest = staged_manifest(lake, pipeline, batch, attempt, given_input)
    given = Publication(
        batch=batch,
        manifest=manifest,
        deliveries=[item.delivery_key for item in files],
        run_id=attempt.run_id,
        staged=lake.settings.data / manifest.root,
        replays=replays_of(lake, batch),
    )
    manifest = replace(manifest, held=manifest.held or unfit(lake, pipeline, given, passes))
    path, rejected = commit_quarantine(lake, pipeline, batch, manifest, raw, aware(attempt.opened_at), run_id)
    quarantine = QuarantineOutcome(str(path), rejected)
    if manifest.held:
        outcome = outcome_of(batch, attempt, manifest, files, "held", manifest.held, (), quarantine)
    else:
        outcome = publish_targets(lake, pipeline, batch, files, attempt, given, quarantine)
    outcome = replace(outcome, seconds=round(time.monotonic() - begun, 3))
    touched = touched_by_attempt(lake, manifest)
    ended = end_attempt(lake, pipeline, batch, files, attempt, outcome, touched)
    shutil.rmtree(lake.staged_root(pipeline.key, batch.id, attempt.number), ignore_errors=True)
    return ended


def open_attempt(lake: Lake, pipeline: CheckedPipeline, batch: Batch, run_id: str) -> Attempt:
    """The batch's current attempt, pinned. Where what it pinned changed since, or what it staged is gone, the next one.

    Also where the manifest is written: its targets are those of the definition it was made by.
    """
    references = {r.id: r.content_hash for r in pipeline.references}
    references |= pinned_beside(lake, pipeline)
    keys = key_pins(lake, pipeline)
    require_same_keys(lake, pipeline, keys)
    references |= keys
    _journal_current(lake, batch)
    with lake.ledger.write() as session:
        stored = session.get_one(Batch, batch.id)
        found = session.get(Attempt, (batch.id, stored.attempt))
        given = lake.run.parameters if lake.run else {}
        references |= pins(pipeline, stored, given, pinned_before(session, stored), found is not None)
        today = (pipeline.definition_hash, pipeline.rule_hash, references)
        if found is not None:
            pinned = (found.definition_hash, found.rule_hash, found.references)
            if pinned != today or _staged_is_gone(lake, batch, found.number):
                stored.attempt += 1
                found = None
        if found is None:
            found = Attempt(
                batch_id=batch.id,
                number=stored.attempt,
                definition_hash=pipeline.definition_hash,
                rule_hash=pipeline.rule_hash,
                references=references,
                opened_at=now(),
                run_id=run_id,
                outcome=None,
            )
            session.add(found)
        batch.attempt = stored.attempt
    failpoints.reached("attempt.opened")
    _journal_opened(lake, batch, found)
    return found


def _journal_current(lake: Lake, batch: Batch) -> None:
    """The attempt that a crash left in the ledger alone: it may have to make way for the next one."""
    with lake.ledger.read() as session:
        stored = session.get_one(Batch, batch.id)
        found = session.get(Attempt, (batch.id, stored.attempt))
    if found is not None:
        _journal_opened(lake, batch, found)


def _journal_opened(lake: Lake, batch: Batch, attempt: Attempt) -> None:
    name = attempt_entry(batch.pipeline, batch.id, attempt.number, "opened")
    if lake.journal.exists(name):
        return
    entry = {
        "definition_hash": attempt.definition_hash,
        "rule_hash": attempt.rule_hash,
        "references": attempt.references,
        "opened_at": attempt.opened_at.isoformat(),
        "run": attempt.run_id,
    }
    lake.journal.write(name, entry)


def _staged_is_gone(lake: Lake, batch: Batch, attempt: int) -> bool:
    """Whether the manifest names files that are not there any more: the staging folder may be swept at any restart."""
    name = attempt_entry(batch.pipeline, batch.id, attempt, "manifest")
    if not lake.journal.exists(name):
        return False
    manifest = Manifest.of(lake.journal.read(name))
    staged = [item for files in (*manifest.records.values(), *manifest.targets.values()) for item in files]
    return any(not (lake.settings.data / manifest.root / item.path).exists() for item in staged)


def held_by_file(
    batch: Batch, files: Sequence[LandedFile], attempt: Attempt, faults: Mapping[int, str]
) -> BatchOutcome:
    lines = []
    for item in files:
        counted = Counts(in_=Scan.of(item.facts).records)
        reason = faults.get(item.arrival, "another file of the batch is broken")
        lines.append(FileOutcome(item.uri, "held", reason, counted))
    checks: tuple[CheckOutcome, ...] = ()
    if any(reason.startswith("control_total") for reason in faults.values()):
        checks = (CheckOutcome("control_totals", "error", False, 0, "declared and counted records differ"),)
    return BatchOutcome(
        batch=batch.id,
        key=batch.key,
        business_date=batch.business_date.isoformat(),
        attempt=attempt.number,
        origin=batch.origin,
        status="held",
        reason="; ".join(dict.fromkeys(faults.values())),
        counts=sum((line.counts for line in lines), Counts()),
        files=tuple(lines),
        checks=checks,
    )


def staged_manifest(
    lake: Lake, pipeline: CheckedPipeline, batch: Batch, attempt: Attempt, given: Callable[[], AttemptInput]
) -> Manifest:
    """What was staged: by an earlier run of this attempt, or now. The first manifest in the journal is the one."""
    name = attempt_entry(batch.pipeline, batch.id, attempt.number, "manifest")
    if lake.journal.exists(name):
        return Manifest.of(lake.journal.read(name))
    manifest = Manifest.of(lake.journal.write(name, stage(lake, pipeline, given()).as_dict()))
    failpoints.reached("manifest.written")
    return manifest
