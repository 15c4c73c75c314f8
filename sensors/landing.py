"""One thin sensor for each landing zone: a tick looks, claims what has settled, and asks for runs. It reads no file."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import dagster as dg

from pipeline_xml.checked import CheckedApplication
from pipeline_xml.durations import parse_duration
from pipeline_xml.model import LandingZone
from publishing.claim import Observation, ReadyClaim, claim_ready
from resources.settings import Settings
from resources.zones import OpenZone

REQUESTS_A_TICK = 50  # submitting one takes 0.16 s of the 60 s that a tick may last; the rest wait for the next tick
TRIES = 3  # runs of one claim that ended without settling it
DAEMON_SECONDS = 5.0  # the daemon comes round no more often; a zone polled faster is looked at again within the tick

Look = Callable[[str | None], tuple[Sequence[ReadyClaim], str, Observation]]


@dataclass(frozen=True, slots=True)
class Launch:
    """What a landed file of a pipeline starts: a job with tags; the claim's id travels in `claim_tag`."""

    job: dg.JobDefinition
    tags: dict[str, str]
    claim_tag: str


def look_into(settings: Settings, application: CheckedApplication, zone: LandingZone, open_zone: OpenZone) -> Look:
    """The look of a real zone: claims in the ledger, opens no engine."""

    def look(cursor: str | None) -> tuple[Sequence[ReadyClaim], str, Observation]:
        with closing(open_zone(zone)) as place:
            return claim_ready(settings, application, zone, cursor, place)

    return look


def landing_sensor(
    name: str,
    zone: LandingZone,
    asset: dg.AssetKey,
    look: Look,
    launches: dict[str, Launch],
    sleep: Callable[[float], None] = time.sleep,
) -> dg.SensorDefinition:
    """`look` takes the cursor and gives claims, the next cursor and what was seen; `launches` are by pipeline id."""
    poll = max(parse_duration(zone.poll).total_seconds(), 1.0)
    looks = max(1, int(DAEMON_SECONDS / poll))

    def tick(context: dg.SensorEvaluationContext) -> dg.SensorResult:
        before = json.loads(context.cursor) if context.cursor else {}
        look_cursor: str | None = before.get("look")
        for number in range(looks):
            claims, look_cursor, seen = look(look_cursor)
            keys = {c.id: _run_key(context.instance, c, launches[c.pipeline].claim_tag) for c in claims}
            fresh = [claim for claim in claims if keys[claim.id]]
            if fresh or number == looks - 1:
                break
            sleep(poll)
        waiting = [seen.waiting, seen.bytes]
        return dg.SensorResult(
            run_requests=[
                _request(claim, launches[claim.pipeline], keys[claim.id] or claim.id)
                for claim in fresh[:REQUESTS_A_TICK]
            ]
            or None,
            skip_reason=None if fresh else f"{_looked_at(zone, seen)}, nothing new to claim",
            cursor=json.dumps({"look": look_cursor, "waiting": waiting}),
            # an event only where the zone changed: a look every few seconds would fill the log with nothing
            asset_events=[_observed(asset, seen, fresh)] if fresh or waiting != before.get("waiting") else [],
        )

    jobs = {launch.job.name: launch.job for launch in launches.values()}
    return dg.SensorDefinition(
        name=name,
        evaluation_fn=tick,
        jobs=list(jobs.values()),
        minimum_interval_seconds=int(poll),
        default_status=dg.DefaultSensorStatus.RUNNING,
        description=f"Looks into {zone.uri} every {zone.poll} and runs the pipelines of the files that have settled.",
    )


def _request(claim: ReadyClaim, launch: Launch, run_key: str) -> dg.RunRequest:
    return dg.RunRequest(
        run_key=run_key,
        job_name=launch.job.name,
        tags={**launch.tags, launch.claim_tag: claim.id, "datalake/files": str(claim.files)},
    )


def _run_key(instance: dg.DagsterInstance, claim: ReadyClaim, claim_tag: str) -> str | None:
    """The key of the next run of a claim: none while one is under way, nor after the last try.

    A claim stays listed until a run has settled it. One whose run was killed before that is asked for again, under a
    key of its own, because Dagster would take the same key for the same request.
    """
    runs = instance.get_runs(dg.RunsFilter(tags={claim_tag: claim.id}), limit=TRIES)
    if len(runs) >= TRIES or any(not run.is_finished for run in runs):
        return None
    return f"{claim.id}-{len(runs) + 1}" if runs else claim.id


def _observed(asset: dg.AssetKey, seen: Observation, claims: Sequence[ReadyClaim]) -> dg.AssetObservation:
    return dg.AssetObservation(
        asset,
        metadata={
            "files_waiting": seen.waiting,
            "bytes_waiting": seen.bytes,
            "oldest_seconds": float(seen.oldest_seconds),
            "files_claimed": sum(claim.files for claim in claims),
        },
    )


def _looked_at(zone: LandingZone, seen: Observation) -> str:
    folder = Path(zone.uri).name if zone.type == "local" else zone.uri
    return f"looked into zone {zone.id} ({folder}): {seen.waiting} files wait, {seen.bytes} bytes"
