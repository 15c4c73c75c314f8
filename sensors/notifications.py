"""Tells what nobody told yet: ends of runs whose process died, SLAs that passed, messages that wait in the outbox."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import dagster as dg

INTERVAL_SECONDS = 30
GRACE = timedelta(seconds=60)  # a run tells its end itself, and knows more of it
FIRST_LOOK = timedelta(minutes=10)
RUNS_A_TICK = 100
_OVER = [dg.DagsterRunStatus.SUCCESS, dg.DagsterRunStatus.FAILURE, dg.DagsterRunStatus.CANCELED]


@dataclass(frozen=True, slots=True)
class Teller:
    """What a tick does: `ends` enqueues ends of runs, `misses` SLAs that passed in between; `deliver` sends, and gives
    how many and what was not delivered."""

    ends: Callable[[dg.DagsterInstance, Sequence[dg.DagsterRun]], int]
    misses: Callable[[datetime, datetime], int]
    deliver: Callable[[], tuple[int, Sequence[str]]]


def notification_sensor(name: str, jobs: Sequence[str], teller: Teller) -> dg.SensorDefinition:
    """`jobs` are the names of the jobs that tell somebody. The cursor is the moment up to which all is told.

    A tick that dies comes again from the same cursor; a message is in the outbox once, however often it is put there.
    """

    def tick(context: dg.SensorEvaluationContext) -> dg.SensorResult:
        now = datetime.now(UTC)
        since = datetime.fromisoformat(context.cursor) if context.cursor else now - FIRST_LOOK
        over, until = ended_runs(context.instance, jobs, since, now - GRACE)
        told = teller.ends(context.instance, over) + teller.misses(since, until)
        sent, reasons = teller.deliver()
        for reason in reasons:
            context.log.warning(f"notification not delivered: {reason}")
        return dg.SensorResult(
            cursor=max(since, until).isoformat(),
            skip_reason=f"{told} notifications found, {sent} sent, {len(reasons)} not delivered",
        )

    return dg.SensorDefinition(
        name=name,
        evaluation_fn=tick,
        minimum_interval_seconds=INTERVAL_SECONDS,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description="Tells ends of killed runs, SLAs that passed, and what is left in the outbox.",
    )


def ended_runs(
    instance: dg.DagsterInstance, jobs: Sequence[str], since: datetime, until: datetime
) -> tuple[list[dg.DagsterRun], datetime]:
    """Runs of these jobs that ended in between, the first RUNS_A_TICK of all; and up to when that is all of them."""
    if until <= since:
        return [], since
    between = dg.RunsFilter(statuses=_OVER, updated_after=since, updated_before=until)
    records = instance.get_run_records(between, limit=RUNS_A_TICK, order_by="update_timestamp", ascending=True)
    full = len(records) == RUNS_A_TICK
    return [r.dagster_run for r in records if r.dagster_run.job_name in jobs], (
        records[-1].update_timestamp.replace(tzinfo=UTC) if full else until
    )
