"""Schedules of pipelines and job pipelines: a tick asks for one run over everything that is ready."""

from __future__ import annotations

import dagster as dg

RUN_DATE_TAG = "datalake/run_date"


def pipeline_schedule(
    name: str,
    cron: str,
    time_zone: str,
    job: dg.JobDefinition,
    tags: dict[str, str],
) -> dg.ScheduleDefinition:
    """The run key is the tick's logical time, so that a tick evaluated twice makes one run."""

    def tick(context: dg.ScheduleEvaluationContext) -> dg.RunRequest:
        at = context.scheduled_execution_time
        return dg.RunRequest(
            run_key=f"{name}:{at.isoformat()}",
            tags={**tags, RUN_DATE_TAG: at.date().isoformat()},
        )

    return dg.ScheduleDefinition(
        name=name,
        cron_schedule=cron,
        execution_timezone=time_zone,
        job=job,
        execution_fn=tick,
        default_status=dg.DefaultScheduleStatus.RUNNING,
    )
