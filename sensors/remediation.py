"""Raises batches that are open or held beyond their SLA: a level at a time, each once.

What is raised is an observation of the quarantine's partition. A notifier is to be called where those are made.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime

import dagster as dg

from publishing.journal import Journal
from publishing.ledger import Ledger, now
from resources.settings import Settings
from stewardship.escalations import Breach, Deadline, journal_raised, raise_breaches, raised_since

INTERVAL_SECONDS = 60
BREACHES_A_TICK = 100

Raise = Callable[[datetime | None], Sequence[Breach]]


def breaches_in(settings: Settings, found: Mapping[str, Deadline], clock: Callable[[], datetime] = now) -> Raise:
    """Raises what is due in the real ledger, and gives all that was raised after a moment."""

    def raised(last: datetime | None) -> Sequence[Breach]:
        ledger = Ledger.of(settings)
        try:
            raise_breaches(ledger, found, clock(), BREACHES_A_TICK)
            journal_raised(ledger, Journal(settings.data / "journal"), found, last)
            return raised_since(ledger, found, last)
        finally:
            ledger.close()

    return raised


def remediation_sensor(name: str, quarantines: Mapping[str, dg.AssetKey], raised: Raise) -> dg.SensorDefinition:
    """`quarantines` are the assets by pipeline. The cursor is the moment of the last breach that was told.

    Rows are committed before they are told and the cursor moves with the events: a tick that dies tells them again.
    """

    def tick(context: dg.SensorEvaluationContext) -> dg.SensorResult:
        last = datetime.fromisoformat(context.cursor) if context.cursor else None
        breaches = raised(last)
        for breach in breaches:
            context.log.warning(f"{breach.pipeline}: batch {breach.key} reached level {breach.level}, {breach.told}")
        return dg.SensorResult(
            asset_events=[_observed(quarantines[breach.pipeline], breach) for breach in breaches],
            cursor=breaches[-1].raised_at.isoformat() if breaches else context.cursor,
            skip_reason=f"{len(breaches)} breaches told" if breaches else "no open or held batch is beyond its SLA",
        )

    return dg.SensorDefinition(
        name=name,
        evaluation_fn=tick,
        minimum_interval_seconds=INTERVAL_SECONDS,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description="Raises batches that are open or held beyond their remediation SLA, level by level.",
    )


def _observed(asset: dg.AssetKey, breach: Breach) -> dg.AssetObservation:
    return dg.AssetObservation(
        asset,
        partition=breach.key,
        description=f"level {breach.level}: {'held' if breach.held else 'open'} beyond its remediation SLA",
        metadata={
            "escalation_level": breach.level,
            "escalated_to": breach.told,
            "due": breach.due.isoformat(sep=" ", timespec="minutes") + " UTC",
            "age_hours": round(breach.age_hours, 2),
            "records_open": breach.records,
        },
    )
