"""Publishing a staged attempt: whether its targets can take it, then every target in document order."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from functools import partial

from pipeline_xml.checked import CheckedPipeline, CheckedTarget
from pipeline_xml.model import CsvTarget, HiveTarget
from pipeline_xml.versioned import versioned
from publishing.decide import REBUILD
from publishing.export import export_csv, export_folder, require_place
from publishing.lake import Lake
from publishing.ledger import Attempt, Batch, LandedFile
from publishing.manifest import FileCounts, Manifest
from publishing.merge import MergeResult, publish_merge, rebuild_needed, without_key
from publishing.outcome import BatchOutcome, CheckOutcome, FileOutcome, QuarantineOutcome, TargetOutcome
from publishing.rebuild_merge import rebuild_cost, rebuild_for
from publishing.recount import recount
from publishing.taken import follows_merge, lost_everywhere
from publishing.targets import (
    Publication,
    Superseded,
    files_of,
    in_order,
    publish_table,
    rows_that,
    target_schema,
)
from publishing.vault import commit_vault
from resources.lake_table import DataFile

DRIFT = "schema_drift"


def unfit(
    lake: Lake, pipeline: CheckedPipeline, given: Publication, waived: Collection[str] = ()
) -> str | None:
    """Why a target cannot take the rows; asked before anything is committed, so that none takes them alone.

    A merge target that has to forget a row is rebuilt only where a release says so.
    """
    for position, target in enumerate(pipeline.targets):
        chosen = target.target
        if not isinstance(chosen, HiveTarget):
            continue
        table = lake.table(target.asset)
        grows = chosen.schema_evolution == "addColumns"
        fits = partial(table.drift, target_schema(pipeline, target), chosen.partition_by, grows)
        if table.exists and (drift := fits(versioned(pipeline, target))):
            return f"{DRIFT}: {'/'.join(target.asset)}: {drift}"
        if chosen.mode == "merge" and (number := without_key(target, files_of(given.manifest, position), given)):
            keys = ", ".join(target.keys)
            return f"merge_keys: {number} rows of '{target.dataset.name}' have no {keys}, by which they are merged"
        if chosen.mode != "merge" or not (
            why := rebuild_needed(lake, target, position, files_of(given.manifest, position), given)
        ):
            continue
        if drift := fits():
            return f"{DRIFT}: {'/'.join(target.asset)} has to be rebuilt, as {why}: {drift}"
        if REBUILD not in waived:
            cost = rebuild_cost(lake, pipeline, target)
            return f"{REBUILD}: {why}, and a merge target forgets a row only by being rebuilt: {cost}"
    return None


def publish_targets(
    lake: Lake,
    pipeline: CheckedPipeline,
    batch: Batch,
    files: Sequence[LandedFile],
    attempt: Attempt,
    given: Publication,
    quarantine: QuarantineOutcome,
) -> BatchOutcome:
    """Every target, tables first: exports hold what stands there. One that has newer rows takes none, the others go on.

    A record is accepted where any target took it, and superseded where it lost in all of them.
    """
    for _, target in in_order(pipeline):
        if isinstance(target.target, CsvTarget):
            require_place(lake, pipeline.pipeline.app, target.target, given)
    commit_vault(lake, pipeline, given)
    manifest = given.manifest
    targets: dict[int, TargetOutcome] = {}
    merges: dict[int, MergeResult] = {}
    newer = ""
    for position, target in in_order(pipeline):
        rows = files_of(manifest, position)
        written = sum(item.records for item in rows)
        chosen = target.target
        name = "/".join(target.asset)
        try:
            if isinstance(chosen, CsvTarget):
                rows = _that_stand(lake, pipeline, target, rows, given)
                written = sum(item.records for item in rows)
                exported = export_csv(lake, pipeline.pipeline.app, target, rows, given)
                folder = export_folder(lake, pipeline.pipeline.app, chosen, batch)
                written = written if exported is None else exported
                targets[position] = TargetOutcome(chosen.kind, name, str(folder), None, written)
                continue
            table = lake.table(target.asset)
            if chosen.mode == "merge":
                if rebuild_needed(lake, target, position, rows, given):
                    rebuild_for(lake, pipeline, position, rows, given)
                merged = publish_merge(lake, pipeline, target, rows, given)
                if merged.recount:
                    recount(lake, pipeline, target)
                merges[position] = merged
                version, written = merged.version, merged.written
            else:
                version = publish_table(pipeline, target, table, rows, given)
            targets[position] = TargetOutcome("delta", name, str(table.root), version, written)
        except Superseded as found:
            newer = str(found)
    if newer and not targets:
        everything = {line.arrival: line.counts.accepted for line in manifest.files}
        gone = _superseded(manifest, everything)
        return outcome_of(batch, attempt, gone, files, "nothing_to_do", f"superseded: {newer}", (), quarantine)
    counted = _superseded(manifest, lost_everywhere(lake, pipeline, given, merges))
    in_document = tuple(targets[position] for position in sorted(targets))
    return outcome_of(batch, attempt, counted, files, "published", None, in_document, quarantine)


def _that_stand(
    lake: Lake, pipeline: CheckedPipeline, export: CheckedTarget, rows: Sequence[DataFile], given: Publication
) -> Sequence[DataFile]:
    """What an export writes: the rows as they stand in the merge target that took them, so without those that lost."""
    merged = follows_merge(pipeline, export)
    if merged is None:
        return rows
    snapshot = lake.table(merged.asset).snapshot()
    return rows_that(snapshot, rows, given, lambda batch: batch == given.batch.id, keep=True)


def _superseded(manifest: Manifest, lost: Mapping[int, int]) -> Manifest:
    """The manifest with the records that lost in the target moved from accepted to superseded.

    A table batch has one line, arrival 0, whatever files its records once came from.
    """
    lines = []
    for line in manifest.files:
        number = sum(lost.values()) if line.arrival == 0 else lost.get(line.arrival, 0)
        counts = replace(
            line.counts, accepted=line.counts.accepted - number, superseded=line.counts.superseded + number
        )
        lines.append(FileCounts(line.arrival, line.uri, counts))
    return replace(manifest, files=lines)


def outcome_of(
    batch: Batch,
    attempt: Attempt,
    manifest: Manifest,
    files: Sequence[LandedFile],
    status: str,
    reason: str | None,
    targets: tuple[TargetOutcome, ...],
    quarantine: QuarantineOutcome,
) -> BatchOutcome:
    file_status = {"published": "published", "held": "held"}.get(status, "superseded")
    return BatchOutcome(
        batch=batch.id,
        key=batch.key,
        business_date=batch.business_date.isoformat(),
        attempt=attempt.number,
        origin=batch.origin,
        status=status,  # type: ignore[arg-type]  # one of the literals above
        reason=reason,
        counts=manifest.counts,
        files=tuple(FileOutcome(line.uri, file_status, reason, line.counts) for line in manifest.files),
        targets=targets,
        checks=tuple(_drifted(check) if (reason or "").startswith(DRIFT) else check for check in manifest.checks),
        quarantine=quarantine,
        steps=tuple(manifest.steps),
        quarantined_by_rule=dict(manifest.rejecting),
    )


def _drifted(check: CheckOutcome) -> CheckOutcome:
    return replace(check, passed=False) if check.name == DRIFT else check
