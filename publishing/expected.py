"""Files that were expected and did not come: found by calendar and due time, told once in `ops.deliveries`.

A file that came is one that stands in the ledger for its date, held or not; one that was withdrawn did not come.
"""

from __future__ import annotations

import calendar
import hashlib
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from sqlalchemy import func, select

from pipeline_xml.checked import CheckedPipeline
from pipeline_xml.durations import parse_duration
from pipeline_xml.model import Delivery, FileSource
from publishing.commit import until_committed
from publishing.lake import Lake
from publishing.ledger import LandedFile, Ledger
from publishing.ops_table import DELIVERIES, DESCRIPTIONS, add_rows, ops_table
from publishing.ops_table import schema as ops_schema
from resources.lake_table import Snapshot

LOOK_BACK = timedelta(days=7)  # what was due while nobody was awake for longer is told no more


@dataclass(frozen=True, slots=True)
class Missing:
    """`arrived` of `expected` files of a business date; `sender` is None where none is named. `due` is in UTC."""

    pipeline: str
    business_date: date
    sender: str | None
    expected: int
    arrived: int
    due: datetime

    @property
    def id(self) -> str:
        """The same whenever it is asked."""
        return f"missing/{self.pipeline}/{self.business_date.isoformat()}/{self.sender or ''}"


def agreed_on(pipeline: CheckedPipeline) -> Delivery | None:
    """What the pipeline expects, where it expects files by a calendar."""
    source = pipeline.driving.source
    delivery = source.delivery if isinstance(source, FileSource) else None
    return delivery if delivery is not None and delivery.calendar is not None and delivery.due else None


def missing(ledger: Ledger, pipeline: CheckedPipeline, since: datetime, until: datetime) -> Iterator[Missing]:
    """What was due after `since`, up to `until` (with zones; LOOK_BACK apart at most), and has not come."""
    delivery = agreed_on(pipeline)
    if delivery is None or delivery.due is None:
        return
    since = max(since, until - LOOK_BACK)
    for day, due in _due_between(delivery, pipeline, since, until):
        for sender in delivery.senders or (None,):
            chosen = select(func.count(func.distinct(LandedFile.content_id))).where(
                LandedFile.pipeline == pipeline.key, LandedFile.business_date == day,
                LandedFile.batch_id.is_not(None), LandedFile.status != "withdrawn",
            )  # fmt: skip
            if sender is not None:
                chosen = chosen.where(LandedFile.sender == sender)
            with ledger.read() as session:
                came = session.scalar(chosen) or 0
            if came < delivery.files:
                yield Missing(pipeline.key, day, sender, delivery.files, came, due)


def due_at(delivery: Delivery, pipeline: CheckedPipeline, day: date) -> datetime:
    """When the files of a business date are due, in UTC: so long after it begins, by the clock on the wall."""
    zone = ZoneInfo(pipeline.pipeline.metadata.time_zone)
    return (datetime.combine(day, time(), zone) + parse_duration(delivery.due or "")).astimezone(UTC)


def _due_between(
    delivery: Delivery, pipeline: CheckedPipeline, since: datetime, until: datetime
) -> Iterator[tuple[date, datetime]]:
    zone, holidays = ZoneInfo(pipeline.pipeline.metadata.time_zone), pipeline.holidays
    allowed = parse_duration(delivery.due or "")
    day = (since - allowed).astimezone(zone).date() - timedelta(days=1)
    while day <= until.astimezone(zone).date():
        if _expected(delivery, day, holidays):
            due = due_at(delivery, pipeline, day)
            if since < due <= until:
                yield day, due
        day += timedelta(days=1)


def _expected(delivery: Delivery, day: date, holidays: Collection[date]) -> bool:
    if delivery.calendar == "monthEnd":  # a period ends on its last day, whoever works then
        return day.day == calendar.monthrange(day.year, day.month)[1]
    return day not in holidays and (delivery.calendar == "daily" or day.weekday() < 5)


def tell_missing(lake: Lake, pipelines: Iterable[CheckedPipeline], since: datetime, until: datetime) -> list[Missing]:
    """Writes a row for everything that is missing and was not told yet; what it wrote."""
    told = []
    for pipeline in pipelines:
        for each in missing(lake.ledger, pipeline, since, until):
            if _tell(lake, pipeline, each):
                told.append(each)
    return told


def _tell(lake: Lake, pipeline: CheckedPipeline, each: Missing) -> bool:
    app, metadata = pipeline.pipeline.app, pipeline.pipeline.metadata
    transaction = f"e:{hashlib.sha256(each.id.encode()).hexdigest()[:32]}"
    row: dict[str, Any] = {
        "event_id": each.id, "event": "missing", "occurred_at": each.due, "application": app,
        "pipeline": each.pipeline, "layer": pipeline.pipeline.layer, "product_processor": metadata.product_processor,
        "business_date": each.business_date, "sender": each.sender, "files_expected": each.expected,
        "files_arrived": each.arrived, "due": each.due,
    }  # fmt: skip

    def commit(snapshot: Snapshot) -> int | None:
        if snapshot.transaction(transaction):
            return None
        return add_rows(snapshot, DELIVERIES, [row], {transaction: 1})

    with lake.alone(f"{app}/.ops"):
        table = ops_table(lake, app, DELIVERIES)
        table.open_or_create(ops_schema(DELIVERIES), (), DESCRIPTIONS[DELIVERIES])
        return until_committed(table, commit) is not None
