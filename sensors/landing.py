"""One thin sensor for each landing zone: a tick looks, claims what has settled, and asks for runs. It reads no file."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

import dagster as dg

from pipeline_xml.checked import CheckedApplication
from pipeline_xml.durations import parse_duration
from pipeline_xml.model import LandingZone
from publishing.claim import ReadyClaim
from publishing.landing import Observation, Tick, tick
from resources.settings import Settings
from resources.zones import OpenZone

REQUESTS_A_TICK = 50  # submitting one takes 0.16 s of the 60 s that a tick may last; the rest wait for the next tick
TRIES = 3  # runs of one claim that ended without settling it; then one more each LATER seconds
LATER = 900.0
DAEMON_SECONDS = 5.0  # the daemon comes round no more often; a zone polled faster is looked at again within the tick

SOME = 200  # claims whose runs are looked for at once
UNENDED = [status for status in dg.DagsterRunStatus if status not in (
    dg.DagsterRunStatus.SUCCESS, dg.DagsterRunStatus.FAILURE, dg.DagsterRunStatus.CANCELED,
)]  # fmt: skip

Look = Callable[[], Tick]


@dataclass(frozen=True, slots=True)
class Launch:
    """What a landed file of a pipeline starts: a job with tags; the claim's id travels in `claim_tag`."""

    job: dg.JobDefinition
    tags: dict[str, str]
    claim_tag: str


def look_into(settings: Settings, application: CheckedApplication, zone: LandingZone, open_zone: OpenZone) -> Look:
    """The look of a real zone: claims in the ledger, opens no engine."""
    return lambda: tick(settings, application, zone, lambda: open_zone(zone))


def landing_sensor(
    name: str,
    zone: LandingZone,
    asset: dg.AssetKey,
    look: Look,
    launches: dict[str, Launch],
    sleep: Callable[[float], None] = time.sleep,
) -> dg.SensorDefinition:
    """`look` says what was claimed and seen, or why the zone was left alone; `launches` are by pipeline id.

    The cursor holds two numbers, to tell whether the zone changed: what lies in it the ledger remembers.
    """
    poll = max(parse_duration(zone.poll).total_seconds(), 1.0)
    looks = max(1, int(DAEMON_SECONDS / poll))

    def evaluate(context: dg.SensorEvaluationContext) -> dg.SensorResult:
        before = json.loads(context.cursor) if context.cursor else {}
        for number in range(looks):
            found = look()
            keys = _run_keys(context.instance, found.claims, launches)
            fresh = [claim for claim in found.claims if claim.id in keys]
            if fresh or found.skipped or number == looks - 1:
                break
            sleep(poll)
        seen = found.seen
        waiting = [seen.waiting, seen.bytes]
        why = f"zone {zone.id}: {found.skipped}" if found.skipped else f"{_looked_at(zone, seen)}, nothing new to claim"
        return dg.SensorResult(
            run_requests=[_request(claim, launches[claim.pipeline], keys[claim.id]) for claim in fresh] or None,
            skip_reason=None if fresh else why,
            cursor=json.dumps({"waiting": waiting}),
            # an event only where the zone changed: a look every few seconds would fill the log with nothing
            asset_events=[_observed(asset, seen, fresh)] if fresh or waiting != before.get("waiting") else [],
        )

    jobs = {launch.job.name: launch.job for launch in launches.values()}
    return dg.SensorDefinition(
        name=name,
        evaluation_fn=evaluate,
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


def _run_keys(
    instance: dg.DagsterInstance, claims: Sequence[ReadyClaim], launches: dict[str, Launch]
) -> dict[str, str]:
    """{claim id: key of its next run} of the first REQUESTS_A_TICK that have none under way.

    Thousands may wait for theirs, and each is listed with every tick: they are told apart some at a time.
    """
    keys: dict[str, str] = {}
    for start in range(0, len(claims), SOME):
        some = claims[start : start + SOME]
        busy = _under_way(instance, some, {launches[claim.pipeline].claim_tag for claim in some})
        for claim in (each for each in some if each.id not in busy):
            key = _run_key(instance, claim, launches[claim.pipeline].claim_tag)
            keys |= {claim.id: key} if key is not None else {}
            if len(keys) == REQUESTS_A_TICK:
                return keys
    return keys


def _under_way(instance: dg.DagsterInstance, claims: Sequence[ReadyClaim], claim_tags: Collection[str]) -> set[str]:
    """The ids of claims whose run has not ended."""
    ids = [claim.id for claim in claims]
    runs = [run for tag in claim_tags for run in instance.get_runs(dg.RunsFilter(statuses=UNENDED, tags={tag: ids}))]
    return {run.tags[tag] for run in runs for tag in claim_tags if tag in run.tags}


def _run_key(instance: dg.DagsterInstance, claim: ReadyClaim, claim_tag: str) -> str | None:
    """The key of the next run of a claim: none while one is under way, nor soon after the last of TRIES.

    A claim stays listed until a run has settled it. One whose run was killed before that is asked for again, under a
    key of its own, because Dagster would take the same key for the same request.
    """
    of_claim = dg.RunsFilter(tags={claim_tag: claim.id})
    newest = instance.get_run_records(of_claim, limit=TRIES)
    if any(not record.dagster_run.is_finished for record in newest):
        return None
    if len(newest) == TRIES:
        ended = max(record.end_time or record.create_timestamp.timestamp() for record in newest)
        if 0 <= time.time() - ended < LATER:
            return None
        return f"{claim.id}-{instance.get_runs_count(of_claim) + 1}"
    return f"{claim.id}-{len(newest) + 1}" if newest else claim.id


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
