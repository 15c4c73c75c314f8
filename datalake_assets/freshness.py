"""When an asset counts as late: `<sla>` after the schedule's tick, or after the period that its grain promises."""

from __future__ import annotations

from datetime import timedelta

import dagster as dg

from pipeline_xml.durations import parse_duration
from pipeline_xml.model import Grain, Metadata

_PERIOD: dict[Grain, timedelta] = {
    "day": timedelta(days=1),
    "month": timedelta(days=31),
    "quarter": timedelta(days=92),
    "year": timedelta(days=366),
}


def freshness_policy(metadata: Metadata) -> dg.FreshnessPolicy | None:
    """None without an SLA.

    A daily feed with a daily tick has a deadline: the tick plus the SLA. Anything else is late once a whole period of
    its grain and the SLA have passed since the last publication (a yearly feed polled daily is not late every morning).
    """
    if metadata.sla is None:
        return None
    sla = parse_duration(metadata.sla)
    deadline = _deadline(metadata.schedule, sla) if metadata.grain == "day" else None
    if deadline:
        return dg.FreshnessPolicy.cron(deadline_cron=deadline, lower_bound_delta=sla, timezone=metadata.time_zone)
    window = max(_PERIOD[metadata.grain] + sla, timedelta(minutes=1))
    return dg.FreshnessPolicy.time_window(fail_window=window)


def _deadline(schedule: str | None, sla: timedelta) -> str | None:
    """`0 6 * * *` and PT2H: `0 8 * * *`. None where the tick is no fixed time or the deadline another day."""
    parts = (schedule or "").split()
    if len(parts) != 5 or not (parts[0].isdigit() and parts[1].isdigit()) or sla < timedelta(minutes=1):
        return None
    minutes = int(parts[1]) * 60 + int(parts[0]) + int(sla.total_seconds() // 60)
    return f"{minutes % 60} {minutes // 60} {' '.join(parts[2:])}" if minutes < 24 * 60 else None
