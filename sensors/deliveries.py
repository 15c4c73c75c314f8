"""Tells files that were expected and have not come, each once."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, datetime

import dagster as dg

from pipeline_xml.checked import Catalog, CheckedPipeline
from publishing.expected import Missing, tell_missing
from publishing.lake import open_lake
from resources.settings import Settings

INTERVAL_SECONDS = 60

Tell = Callable[[datetime, datetime], Sequence[Missing]]


def missing_in(settings: Settings, catalog: Catalog, pipelines: Sequence[CheckedPipeline]) -> Tell:
    """Tells what is missing in the real lake; opens no engine."""

    def tell(since: datetime, until: datetime) -> Sequence[Missing]:
        with open_lake(settings, catalog) as lake:
            return tell_missing(lake, pipelines, since, until)

    return tell


def deliveries_sensor(
    name: str, tell: Tell, clock: Callable[[], datetime] = lambda: datetime.now(UTC)
) -> dg.SensorDefinition:
    """The cursor is the moment up to which all is told: what was due before the sensor first looked is nobody's."""

    def tick(context: dg.SensorEvaluationContext) -> dg.SensorResult:
        until = clock()
        since = datetime.fromisoformat(context.cursor) if context.cursor else until
        told = tell(since, until)
        for each in told:
            whose = f" of {each.sender}" if each.sender else ""
            context.log.warning(
                f"{each.pipeline}: {each.arrived} of {each.expected} files{whose} for {each.business_date} came by "
                f"{each.due:%Y-%m-%d %H:%M} UTC"
            )
        return dg.SensorResult(
            cursor=max(since, until).isoformat(),
            skip_reason=f"{len(told)} deliveries are missing" if told else "nothing that is due is missing",
        )

    return dg.SensorDefinition(
        name=name,
        evaluation_fn=tick,
        minimum_interval_seconds=INTERVAL_SECONDS,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description="Tells files that were expected by a calendar and have not come when they were due.",
    )
