"""One attempt at one batch, from its pinned inputs to its published, held or failed end. Every step may be repeated."""

from __future__ import annotations

import shutil
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime

from sqlalchemy import select

from pipeline_xml.checked import CheckedPipeline
from pipeline_xml.model import CsvSource
from processing.keys import SHORTEST
from processing.read import RawFile
from processing.scan_result import Scan, business_date
from publishing import failpoints
from publishing.ending import end_attempt
from publishing.intake import stated_date
from publishing.journal import attempt_entry
from publishing.lake import Lake
from publishing.ledger import Attempt, Batch, LandedFile, now
from publishing.manifest import Manifest
from publishing.outcome import BatchOutcome, CheckOutcome, Counts, FileOutcome, QuarantineOutcome
from publishing.publish import outcome_of, publish_targets, unfit
from publishing.quarantine import commit_quarantine
from publishing.raw import scan_raw, working_path
from publishing.stage import AttemptInput, stage
from publishing.targets import Publication
from publishing.upstream import REWRITTEN, table_input
from resources.secrets import SecretMissing

DRIFT = "schema_drift"


def run_attempt(lake: Lake, pipeline: CheckedPipeline, batch: Batch, run_id: str) -> BatchOutcome:
    """Brings the batch's current attempt to its end; errors propagate and leave the batch open for a retry."""
    begun = time.monotonic()
    files = _landed(lake, batch)
    attempt = _open_attempt(lake, pipeline, batch, run_id)
    if attempt.number > 1:
        _scan_again(lake, pipeline, files)
    faults = _faults(pipeline, batch, files)
    if faults:
        outcome = _held_by_file(batch, files, attempt, faults)
        return end_attempt(lake, pipeline, batch, files, attempt, replace(outcome, seconds=time.monotonic() - begun))
    raw = _raw_files(lake, pipeline, files)
    manifest = _manifest(lake, pipeline, batch, files, attempt, raw)
    given = Publication(
        batch, manifest, [item.delivery_key for item in files], attempt.run_id, lake.settings.data / manifest.root
    )
    manifest = replace(manifest, held=manifest.held or unfit(lake, pipeline, given))
    path, rejected = commit_quarantine(lake, pipeline, batch, manifest, raw, _aware(attempt.opened_at), run_id)
    quarantine = QuarantineOutcome(str(path), rejected)
    if manifest.held:
        outcome = outcome_of(batch, attempt, manifest, files, "held", manifest.held, (), quarantine)
    else:
        outcome = publish_targets(lake, pipeline, batch, files, attempt, given, quarantine)
    outcome = replace(outcome, seconds=round(time.monotonic() - begun, 3))
    ended = end_attempt(lake, pipeline, batch, files, attempt, outcome)
    shutil.rmtree(lake.staged_root(pipeline.key, batch.id, attempt.number), ignore_errors=True)
    return ended


def _landed(lake: Lake, batch: Batch) -> Sequence[LandedFile]:
    with lake.ledger.read() as session:
        chosen = select(LandedFile).where(LandedFile.batch_id == batch.id).order_by(LandedFile.arrival)
        return session.scalars(chosen).all()


def _open_attempt(lake: Lake, pipeline: CheckedPipeline, batch: Batch, run_id: str) -> Attempt:
    """The batch's current attempt, pinned. Where what it pinned changed since, or what it staged is gone, the next one.

    Also where the manifest is written: its targets are those of the definition it was made by.
    """
    references = {r.id: r.content_hash for step in pipeline.steps for r in step.references}
    today = (pipeline.definition_hash, pipeline.rule_hash, references)
    with lake.ledger.write() as session:
        stored = session.get_one(Batch, batch.id)
        found = session.get(Attempt, (batch.id, stored.attempt))
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
    entry = {
        "definition_hash": found.definition_hash,
        "rule_hash": found.rule_hash,
        "references": found.references,
        "opened_at": found.opened_at.isoformat(),
        "run": found.run_id,
    }
    lake.journal.write(attempt_entry(batch.pipeline, batch.id, found.number, "opened"), entry)
    return found


def _staged_is_gone(lake: Lake, batch: Batch, attempt: int) -> bool:
    """Whether the manifest names files that are not there any more: the staging folder may be swept at any restart."""
    name = attempt_entry(batch.pipeline, batch.id, attempt, "manifest")
    if not lake.journal.exists(name):
        return False
    manifest = Manifest.of(lake.journal.read(name))
    staged = [item for files in (*manifest.records.values(), *manifest.targets.values()) for item in files]
    return any(not (lake.settings.data / manifest.root / item.path).exists() for item in staged)


def _scan_again(lake: Lake, pipeline: CheckedPipeline, files: Sequence[LandedFile]) -> None:
    """What a later attempt knows of its files: the scan under the definition of today, and what it finds broken."""
    source = pipeline.driving.source
    if not isinstance(source, CsvSource):
        return
    for item in files:
        scan = scan_raw(lake.raw_root(pipeline.key) / item.raw, source, pipeline.driving.contract)
        faults = [f"{f.code}: {f.message}" for f in scan.errors]
        stated = stated_date(source, item.name, scan)
        if stated is not None:
            try:
                day = business_date(stated, pipeline.pipeline.metadata.grain)
                if day != item.business_date:
                    faults.append(f"business_date: it says {day}, its batch is of {item.business_date}")
            except ValueError as error:
                faults.append(f"business_date: {error}")
        item.facts = scan.as_dict()
        item.reason = "; ".join(faults)[:500] or None
        item.status = "held" if faults else "open"


def _faults(pipeline: CheckedPipeline, batch: Batch, files: Sequence[LandedFile]) -> dict[int, str]:
    """What breaks the contract of a whole file, by arrival."""
    if not isinstance(pipeline.driving.source, CsvSource):
        # A later attempt cannot mend this: the rows that went out of the upstream table are not in the window.
        return {0: batch.reason} if batch.reason and batch.reason.startswith(REWRITTEN) else {}
    return {item.arrival: item.reason or "broken" for item in files if item.status == "held"}


def _held_by_file(
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


def _raw_files(lake: Lake, pipeline: CheckedPipeline, files: Sequence[LandedFile]) -> dict[int, RawFile]:
    found = {}
    for item in files:
        scan = Scan.of(item.facts)
        found[item.arrival] = RawFile(
            path=str(working_path(lake.raw_root(pipeline.key) / item.raw, scan)),
            delivery=item.delivery_key[:24],
            arrival=item.arrival,
            sender=item.sender,
            source_file=item.name,
            business_date=item.business_date,
            scan=scan,
        )
    return found


def _manifest(
    lake: Lake,
    pipeline: CheckedPipeline,
    batch: Batch,
    files: Sequence[LandedFile],
    attempt: Attempt,
    raw: Mapping[int, RawFile],
) -> Manifest:
    """What was staged: by an earlier run of this attempt, or now. The first manifest in the journal is the one."""
    name = attempt_entry(batch.pipeline, batch.id, attempt.number, "manifest")
    if lake.journal.exists(name):
        return Manifest.of(lake.journal.read(name))
    _look_up_secrets(lake, pipeline)
    given = AttemptInput(
        batch_id=batch.id,
        attempt=attempt.number,
        business_date=batch.business_date,
        opened_at=_aware(attempt.opened_at),
        raw=tuple(raw.values()),
        uris=tuple((item.arrival, item.uri, raw[item.arrival].scan.records) for item in files),
        table=table_input(lake, pipeline, batch) if batch.origin == "table" else None,
    )
    manifest = Manifest.of(lake.journal.write(name, stage(lake, pipeline, given).as_dict()))
    failpoints.reached("manifest.written")
    return manifest


def _look_up_secrets(lake: Lake, pipeline: CheckedPipeline) -> None:
    """SecretMissing now, in its own words, and not minutes later inside the error of an engine's worker."""
    for name in dict.fromkeys(name for step in pipeline.steps for name in step.secrets):
        found = len(lake.secrets.key(name))
        if found < SHORTEST:
            raise SecretMissing(f"secret '{name}' has {found} bytes; a key needs at least {SHORTEST}")


def _aware(moment: datetime) -> datetime:
    return moment.replace(tzinfo=UTC)
