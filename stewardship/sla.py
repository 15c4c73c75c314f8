"""When a quarantined batch is due, by its workflow's sla or the pipeline's remediationSla, and how old it is."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from pipeline_xml.checked import Catalog
from pipeline_xml.durations import parse_duration
from publishing.decisions import QuarantinedBatch
from publishing.ledger import now
from publishing.quarantine import HELD

HOUR = 3600


@dataclass(frozen=True, slots=True)
class Due:
    """`due` is UTC (ISO), None where nothing says when; `overdue` only while records are open or held."""

    age_hours: float
    due: str | None
    overdue: bool


def due(catalog: Catalog, batch: QuarantinedBatch, at: datetime | None = None) -> Due:
    """`at` is UTC without zone, by default now. The clock runs from the first attempt that rejected without a break."""
    at = at or now()
    age = max(0.0, (at - batch.quarantined_at).total_seconds() / HOUR)
    written = catalog.remediation_sla(batch.pipeline)
    if written is None:
        return Due(round(age, 2), None, False)
    end = batch.quarantined_at + parse_duration(written)
    waits = batch.open or batch.states.get(HELD)
    return Due(round(age, 2), moment(end), bool(waits) and at > end)


def moment(value: datetime) -> str:
    """A moment of the ledger (UTC without zone) as documents show it."""
    return f"{value.isoformat(timespec='seconds')}Z"
