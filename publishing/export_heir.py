"""Who exports again when the batch whose export stood in a folder is taken back."""

from __future__ import annotations

from collections.abc import Collection

from sqlalchemy import select
from sqlalchemy.orm import Session

from pipeline_xml.checked import CheckedPipeline, CheckedTarget
from pipeline_xml.model import CsvTarget
from publishing.export import export_folder, read_manifest
from publishing.lake import Lake
from publishing.ledger import Batch
from publishing.targets import replaces_unit, unit_name
from publishing.units import published_once


def export_heir(
    lake: Lake, session: Session, pipeline: CheckedPipeline, export: CheckedTarget, batch: Batch, going: Collection[str]
) -> Batch | None:
    """The newest batch that stays and exports to the same folder; of mode `ignore` the oldest, as the first one stands.

    None where each batch has a part of its own, or where the export that stands is another's. A folder whose manifest
    names no part was emptied by this taking back before a crash.
    """
    target = export.target
    assert isinstance(target, CsvTarget)  # noqa: S101 - the caller chose by kind
    if target.mode == "append" and replaces_unit(export, batch):
        return _read_before(session, export, batch, going)
    if target.mode not in ("overwrite", "ignore"):
        return None
    folder = export_folder(lake, pipeline.pipeline.app, target, batch)
    known = read_manifest(folder)
    if known is None or (known["parts"] and not any(part["batch"] in going for part in known["parts"])):
        return None
    stays = Batch.status.in_(("published", "superseded")) & Batch.id.not_in(going)
    older = select(Batch).where(Batch.pipeline == batch.pipeline, Batch.origin != "replay", stays)
    first = Batch.arrival.desc() if target.mode == "overwrite" else Batch.arrival
    for each in session.scalars(older.order_by(first, Batch.id)):
        if export_folder(lake, pipeline.pipeline.app, target, each) == folder:
            return each
    return None


def _read_before(session: Session, export: CheckedTarget, batch: Batch, going: Collection[str]) -> Batch | None:
    """The reading of a table whose part gave way to that of this batch; None where a newer one has its place."""
    stays = Batch.status.in_(("published", "superseded")) & Batch.id.not_in([*going, batch.id])
    others = select(Batch).where(Batch.pipeline == batch.pipeline, Batch.origin == "table", stays, published_once())
    unit = unit_name(export, batch)
    same = [b for b in session.scalars(others) if replaces_unit(export, b) and unit_name(export, b) == unit]
    stood = session.scalar(select(Batch.id).where(Batch.id == batch.id, published_once()))
    if stood is None or any(other.arrival > batch.arrival for other in same):
        return None
    return max(same, key=lambda other: other.arrival, default=None)
