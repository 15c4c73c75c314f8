"""What an attempt reads: its files as they are scanned, what breaks them, and the decisions laid over their records."""

from __future__ import annotations

import uuid
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from sqlalchemy import select

from pipeline_xml.checked import CheckedPipeline
from pipeline_xml.model import FileSource
from processing.overlay import of_range
from processing.read import RawFile
from processing.scan_result import Scan, business_date
from publishing.arrived import MEMBER, NO_DATE, says_date, stated_date
from publishing.beside import judged
from publishing.bound import bound_values
from publishing.corrections import approved_for, load_changes, stacked, write_file_overlays, write_table_overlay
from publishing.decisions import DISCARD, Correction
from publishing.faults import apart, together
from publishing.lake import Lake
from publishing.ledger import Attempt, Batch, LandedFile
from publishing.raw import scan_raw, working_path
from publishing.same_records import same_records_faults
from publishing.sequence import sequence_faults
from publishing.stage import AttemptInput
from publishing.table_input import TableInput, other_inputs, table_input, versions_beside
from publishing.upstream import REWRITTEN


def landed(lake: Lake, batch: Batch) -> Sequence[LandedFile]:
    with lake.ledger.read() as session:
        chosen = select(LandedFile).where(LandedFile.batch_id == batch.id).order_by(LandedFile.arrival)
        return session.scalars(chosen).all()


def scan_again(lake: Lake, pipeline: CheckedPipeline, files: Sequence[LandedFile]) -> None:
    """What a later attempt knows of its files: the scan under the definition of today, and what it finds broken."""
    source = pipeline.driving.source
    if not isinstance(source, FileSource):
        return
    for item in files:
        before, root, contract = Scan.of(item.facts), lake.raw_root(pipeline.key), pipeline.driving.contract
        if not before.encoding:
            continue  # an archive that was not unpacked: what is in it nobody knows
        scan = scan_raw(root / item.raw, source, contract)
        sent, name = root / (item.archive or item.raw), item.name.partition(MEMBER)[0] if item.archive else item.name
        scan = judged(source, contract, scan, sent, working_path(root / item.raw, scan), name, before.beside)
        faults = [f"{f.code}: {f.message}" for f in scan.errors]
        stated = stated_date(source, item.name, scan)
        if stated is not None:
            try:
                day = business_date(stated, pipeline.pipeline.metadata.grain)
                if day != item.business_date:
                    faults.append(f"business_date: it says {day}, its batch is of {item.business_date}")
            except ValueError as error:
                faults.append(f"business_date: {error}")
        elif says_date(source, item.name):
            faults.append(f"business_date: {NO_DATE}")
        with lake.ledger.read() as session:
            faults += sequence_faults(session, source, item) + same_records_faults(session, item)
        item.facts = scan.as_dict()
        item.reason = together(faults)
        item.status = "held" if faults else "open"


def file_faults(
    pipeline: CheckedPipeline, batch: Batch, files: Sequence[LandedFile], waived: Collection[str] = ()
) -> dict[int, str]:
    """What breaks the contract of a whole file, by arrival; less what a release waived."""
    if not isinstance(pipeline.driving.source, FileSource):
        # A later attempt cannot mend this: the rows that went out of the upstream table are not in the window.
        return {0: batch.reason} if batch.reason and batch.reason.startswith(REWRITTEN) else {}
    found = {}
    for item in files:
        if item.status != "held":
            continue
        left = [part for part in apart(item.reason or "broken") if part.partition(":")[0] not in waived]
        if left:
            found[item.arrival] = "; ".join(left)
    return found


def raw_files(lake: Lake, pipeline: CheckedPipeline, files: Sequence[LandedFile]) -> dict[int, RawFile]:
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


def approved(lake: Lake, batch: Batch, files: Sequence[LandedFile]) -> dict[str, tuple[str, Any]]:
    """{correction: (kind, changes)} of the approved corrections and discards over the batch's records, oldest first."""
    with lake.ledger.read() as session:
        found = approved_for(session, batch, files)
    return {correction.id: (correction.kind, load_changes(lake, correction)) for correction in found}


def used(
    lake: Lake, batch: Batch, files: Sequence[LandedFile], without: Collection[str] = ()
) -> dict[str, tuple[str, Any]]:
    """Those of the approved decisions that a replay or an attempt obeyed already: what stands was made with them.

    Less those of some batches that are taken back.
    """
    gone = (None, *without)
    with lake.ledger.read() as session:
        found = [c for c in approved_for(session, batch, files) if c.kind == DISCARD or c.replay_id not in gone]
    return {correction.id: (correction.kind, load_changes(lake, correction)) for correction in found}


def attempt_input(
    lake: Lake,
    pipeline: CheckedPipeline,
    batch: Batch,
    files: Sequence[LandedFile],
    attempt: Attempt,
    layers: Mapping[str, tuple[str, Any]],
    number: int | None = None,
) -> AttemptInput:
    """The records of the batch, with decisions laid over them. `number`: instead of the attempt's, for a computation
    aside."""
    given = AttemptInput(
        batch_id=batch.id,
        attempt=attempt.number if number is None else number,
        business_date=batch.business_date,
        opened_at=aware(attempt.opened_at),
        arrival=batch.arrival,
        bound=bound_values(pipeline, attempt.references or {}, batch.business_date),
        versions=versions_beside(attempt.references or {}),
    )
    return whole_batch(lake, pipeline, batch, files, given, layers, overlay_folder(lake, batch, given.attempt))


def whole_batch(
    lake: Lake,
    pipeline: CheckedPipeline,
    batch: Batch,
    files: Sequence[LandedFile],
    given: AttemptInput,
    layers: Mapping[str, tuple[str, Any]],
    folder: Path,
) -> AttemptInput:
    """`given` with all records of the batch to read, and decisions laid over them by files in `folder`."""
    raw = raw_files(lake, pipeline, files)
    table = table_input(lake, pipeline, batch) if batch.origin == "table" else None
    others = other_inputs(lake, pipeline, batch) if batch.origin == "table" else {}
    obeyed = tuple(layers)
    if table is not None and layers:
        layers, obeyed = _read_here(lake, batch, (table, *others.values()), layers)
    given = replace(
        given,
        raw=tuple(raw.values()),
        uris=tuple((item.arrival, item.uri, raw[item.arrival].scan.records) for item in files),
        table=table,
        others=others,
        corrections=obeyed,
    )
    if not layers:
        return given
    changes = stacked(list(layers.values()))
    if batch.origin == "table":
        return replace(given, overlay=write_table_overlay(folder, changes))
    return replace(given, raw=tuple(lay_over(folder, raw, changes).values()))


def _read_here(
    lake: Lake, batch: Batch, tables: Sequence[TableInput], layers: Mapping[str, tuple[str, Any]]
) -> tuple[dict[str, tuple[str, Any]], tuple[str, ...]]:
    """(the decisions over rows of this batch, as far as they are; those that this batch uses up).

    One that is about rows of another batch too waits for that, unless it was given to this one.
    """
    import pyarrow as pa
    import pyarrow.compute as pc

    ids = pa.concat_arrays([table.record_ids() for table in tables])
    with lake.ledger.read() as session:
        given = set(session.scalars(select(Correction.id).where(Correction.replay_id == batch.id)))
    here: dict[str, tuple[str, Any]] = {}
    obeyed = []
    for each, (kind, changes) in layers.items():
        own = changes.filter(pc.is_in(changes["record_id"], value_set=ids))
        if own.num_rows:
            here[each] = (kind, own)
        if own.num_rows == changes.num_rows or each in given:
            obeyed.append(each)
    return here, tuple(obeyed)


def aware(moment: datetime) -> datetime:
    """A moment of the ledger, which is UTC and does not say so."""
    return moment.replace(tzinfo=UTC)


def lay_over(folder: Path, raw: Mapping[int, RawFile], changes: Any, only: bool = False) -> dict[int, RawFile]:
    """The files with the decisions over their records; with `only`, just the files and ranges that have some."""
    overlays = write_file_overlays(folder, changes, {arrival: file.delivery for arrival, file in raw.items()})
    if not only:
        return {a: replace(file, overlay=overlays.get(a)) for a, file in raw.items()}
    found = {}
    for arrival, path in overlays.items():
        scan = raw[arrival].scan
        ranges = tuple(part for part in scan.ranges if of_range(path, part).num_rows)
        found[arrival] = replace(raw[arrival], overlay=path, only=True, scan=replace(scan, ranges=ranges))
    return found


def overlay_folder(lake: Lake, batch: Batch, attempt: int) -> Path:
    """A new folder for the overlays of one staging, swept with it."""
    return lake.staged_root(batch.pipeline, batch.id, attempt) / f"overlay-{uuid.uuid4().hex}"
