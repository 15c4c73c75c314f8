"""Files that come late: after they were due, where that was agreed; else after a file of a later business date.

A late file goes into its own business date like any other. Its record says that it is late, and so does one row in
`ops.deliveries`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, date, datetime
from typing import Any

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from pipeline_xml.checked import CheckedPipeline
from pipeline_xml.model import FileSource
from publishing.arrived import Arrived, says_date
from publishing.commit import until_committed
from publishing.expected import agreed_on, due_at
from publishing.lake import Lake
from publishing.ledger import Claim, LandedFile
from publishing.ops_table import DELIVERIES, DESCRIPTIONS, add_rows, ops_table
from publishing.ops_table import schema as ops_schema
from resources.lake_table import Snapshot


def with_lateness(session: Session, pipeline: CheckedPipeline, there: Sequence[Arrived]) -> list[Arrived]:
    """The files of one claim, those that are late with the reason; files that came together are not late to each other.

    A file whose date nobody states is of the day that it came, so never late.
    """
    source = pipeline.driving.source
    assert isinstance(source, FileSource)  # noqa: S101 - only file sources have claims
    newest: dict[str | None, date | None] = {}
    found = []
    for item in there:
        if item.aside is None and says_date(source, item.name):
            if item.sender not in newest:
                newest[item.sender] = _newest(session, pipeline.key, item)
            item = replace(item, late=_why(session, pipeline, item, newest[item.sender]))
        found.append(item)
    return found


def _why(session: Session, pipeline: CheckedPipeline, item: Arrived, newest: date | None) -> str | None:
    delivery = agreed_on(pipeline)
    if delivery is not None:
        due = due_at(delivery, pipeline, item.business_date)
        came = session.get_one(Claim, item.look.claim_id).claimed_at.replace(tzinfo=UTC)
        return f"late: it was due {due:%Y-%m-%d %H:%M} UTC" if came > due else None
    if newest is not None and item.business_date < newest:
        return f"late: a file for {newest} came before"
    return None


def _newest(session: Session, pipeline: str, item: Arrived) -> date | None:
    """The latest business date of what the sender sent before this claim."""
    chosen = select(func.max(LandedFile.business_date)).where(
        LandedFile.pipeline == pipeline, LandedFile.claim_id != item.look.claim_id, LandedFile.batch_id.is_not(None),
        LandedFile.sender.is_(None) if item.sender is None else LandedFile.sender == item.sender,
    )  # fmt: skip
    return session.scalar(chosen)


def count_late(lake: Lake, batch_id: str) -> int:
    """How many files of a batch came late."""
    with lake.ledger.read() as session:
        late = (LandedFile.batch_id == batch_id, LandedFile.late.is_not(None))
        return session.scalar(select(func.count()).select_from(LandedFile).where(*late)) or 0


def tell_late(lake: Lake, pipeline: CheckedPipeline, claim_id: str) -> None:
    """Writes a row for each late file of a claim; once, however often it is asked."""
    with lake.ledger.read() as session:
        came = session.get_one(Claim, claim_id).claimed_at.replace(tzinfo=UTC)
        late = (LandedFile.claim_id == claim_id, LandedFile.late.is_not(None), LandedFile.batch_id.is_not(None))
        files = session.scalars(select(LandedFile).where(*late).order_by(LandedFile.arrival)).all()
    if not files:
        return
    app, transaction = pipeline.pipeline.app, f"e:{hashlib.sha256(f'late/{claim_id}'.encode()).hexdigest()[:32]}"
    rows = [_row(pipeline, each, came) for each in files]

    def commit(snapshot: Snapshot) -> int | None:
        if snapshot.transaction(transaction):
            return None
        return add_rows(snapshot, DELIVERIES, rows, {transaction: 1})

    with lake.alone(f"{app}/.ops"):
        table = ops_table(lake, app, DELIVERIES)
        table.open_or_create(ops_schema(DELIVERIES), (), DESCRIPTIONS[DELIVERIES])
        until_committed(table, commit)


def _row(pipeline: CheckedPipeline, file: LandedFile, came: datetime) -> dict[str, Any]:
    delivery, metadata = agreed_on(pipeline), pipeline.pipeline.metadata
    return {
        "event_id": f"late/{file.pipeline}/{file.business_date.isoformat()}/{file.delivery_key}", "event": "late",
        "occurred_at": came, "application": pipeline.pipeline.app, "pipeline": file.pipeline,
        "layer": pipeline.pipeline.layer, "product_processor": metadata.product_processor,
        "business_date": file.business_date, "sender": file.sender,
        "files_expected": delivery.files if delivery is not None else None, "files_arrived": 1,
        "due": due_at(delivery, pipeline, file.business_date) if delivery is not None else None,
    }  # fmt: skip
