"""Looking and claiming: what a sensor tick or a headless run does before anything is read.

A look is (zone, name, size, version); what a version is, resources/zone.py says. A look is in one claim; the unique
constraint of the ledger decides between two that look at the same time.
"""

from __future__ import annotations

import fnmatch
import hashlib
import json
import re
import time
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import timedelta

from sqlalchemy import func, select
from sqlalchemy.exc import IntegrityError

from pipeline_xml.checked import CheckedApplication, CheckedPipeline
from pipeline_xml.durations import parse_duration
from pipeline_xml.model import CsvSource, LandingZone
from publishing import failpoints
from publishing.ledger import Claim, Ledger, Look, now
from resources.settings import Settings
from resources.zone import Sighting, Zone

CLAIM_ATTEMPTS = 3


@dataclass(frozen=True, slots=True)
class ReadyClaim:
    """A claim that asks for a run: `id` is the run key, `pipeline` the pipeline's id."""

    id: str
    pipeline: str
    files: int


@dataclass(frozen=True, slots=True)
class Observation:
    """What a zone looked like: shown on its asset."""

    waiting: int
    bytes: int
    oldest_seconds: float


def zone_name(source: CsvSource) -> str:
    return source.landing or f"path:{source.path}"


def look_at(place: Zone, source: CsvSource, zone: LandingZone | None) -> list[Sighting]:
    """Every entry that the source's path or pattern names, by name. Files with temporary names are not seen."""
    there = list(place.entries())
    if zone is not None:
        names = {each.name for each in there}
        pattern = re.compile(source.pattern or ".*", re.DOTALL)
        there = [each for each in there if pattern.fullmatch(each.name) and not _waits(each.name, names, zone)]
    return sorted(there, key=lambda each: (each.name, each.uri))


def _waits(name: str, names: Collection[str], zone: LandingZone) -> bool:
    if zone.ignore and any(fnmatch.fnmatchcase(name, glob.strip()) for glob in zone.ignore.split(",")):
        return True
    return bool(zone.done_marker) and name + str(zone.done_marker) not in names


def settle(
    place: Zone, source: CsvSource, zone: LandingZone | None, seen: dict[str, tuple[int, str, float]], at: float
) -> tuple[list[Sighting], dict[str, tuple[int, str, float]]]:
    """Splits what is there into settled files and a memory of the others: name -> (size, version, first seen so)."""
    wait = parse_duration(zone.settle) if zone is not None else timedelta(0)
    settled, memory = [], {}
    for item in look_at(place, source, zone):
        size, version, since = seen.get(item.name, (item.size, item.version, at))
        if (size, version) != (item.size, item.version):
            since = at
        since = min(since, at)  # the clock was set back: what is on its way does not wait until it has caught up
        if at - since >= wait.total_seconds():
            settled.append(item)
        else:
            memory[item.name] = (item.size, item.version, since)
    return settled, memory


def look_until_settled(place: Zone, source: CsvSource, zone: LandingZone | None) -> list[Sighting]:
    """For a headless run: looks, waits for the settle time where anything is there, and takes what stayed as it was."""
    settled, memory = settle(place, source, zone, {}, time.time())
    if not memory or zone is None:
        return settled
    time.sleep(parse_duration(zone.settle).total_seconds())
    return settle(place, source, zone, memory, time.time())[0]


def claim(ledger: Ledger, pipeline: str, zone: str, sightings: Sequence[Sighting]) -> Claim | None:
    """Claims those sightings that are in no claim yet, all in one; None where there is nothing new."""
    for _ in range(CLAIM_ATTEMPTS):
        fresh = unclaimed(ledger, pipeline, zone, sightings)
        if not fresh:
            return None
        at = now()
        # With the moment: what could not be read is looked at again, and may be all that is new then.
        identity = json.dumps([pipeline, zone, at.isoformat(), [[s.name, s.size, s.version] for s in fresh]])
        made = Claim(
            id=hashlib.sha256(identity.encode()).hexdigest()[:32],
            pipeline=pipeline,
            zone=zone,
            claimed_at=at,
            settled=False,
        )
        looks = [
            Look(
                claim_id=made.id, pipeline=pipeline, zone=zone, name=s.name, uri=s.uri, size=s.size, version=s.version,
                occurrence=0,
            )
            for s in fresh
        ]
        try:
            with ledger.write() as session:
                session.add(made)
                session.flush()
                session.add_all(looks)
        except IntegrityError:  # somebody claimed one of them meanwhile: look again
            continue
        failpoints.reached("claim.persisted")
        return made
    return None


def unclaimed(ledger: Ledger, pipeline: str, zone: str, sightings: Sequence[Sighting]) -> list[Sighting]:
    """The regular files among the sightings whose look is in no claim."""
    with ledger.read() as session:
        rows = session.execute(
            select(Look.name, Look.size, Look.version).where(Look.pipeline == pipeline, Look.zone == zone)
        )
        known = {(name, size, version) for name, size, version in rows}
    return [s for s in sightings if s.regular and (s.name, s.size, s.version) not in known]


def unsettled_claims(ledger: Ledger, pipeline: str) -> list[tuple[str, int]]:
    """(claim id, files) of the claims that no run has settled, the oldest first."""
    with ledger.read() as session:
        chosen = (
            select(Claim.id, func.count(Look.id))
            .join(Look, Look.claim_id == Claim.id)
            .where(Claim.pipeline == pipeline, Claim.settled.is_(False))
            .group_by(Claim.id)
            .order_by(func.min(Look.id))  # not by the moment: the clock may have been set back between two
        )
        return [(claim_id, files) for claim_id, files in session.execute(chosen)]


def landing_pipelines(app: CheckedApplication, zone: LandingZone) -> list[CheckedPipeline]:
    return [
        p
        for p in app.pipelines
        if isinstance(p.driving.source, CsvSource) and p.driving.source.landing == zone.id
    ]


def claim_ready(
    settings: Settings, app: CheckedApplication, zone: LandingZone, cursor: str | None, place: Zone
) -> tuple[list[ReadyClaim], str, Observation]:
    """One tick: claims what has settled for each pipeline of the zone; returns every claim that no run has settled yet.

    A claim comes again with each tick until its run has settled it: a tick that dies after claiming loses none.

    The cursor remembers only files that have not settled yet, so it is bounded by what is on its way in.
    """
    memory = json.loads(cursor) if cursor else {}
    at = time.time()
    claims: list[ReadyClaim] = []
    left: dict[str, dict[str, tuple[int, str, float]]] = {}
    waiting: dict[str, Sighting] = {}
    ledger = Ledger.of(settings)
    try:
        for pipeline in landing_pipelines(app, zone):
            source = pipeline.driving.source
            assert isinstance(source, CsvSource)  # noqa: S101 - landing_pipelines chose these
            seen = {name: tuple(value) for name, value in memory.get(pipeline.pipeline.id, {}).items()}
            settled, unsettled = settle(place, source, zone, seen, at)
            left[pipeline.pipeline.id] = unsettled
            fresh = unclaimed(ledger, pipeline.key, zone.id, settled)
            waiting |= {s.name: s for s in fresh}
            capped: list[Sighting] = []
            size = 0
            for item in fresh[: zone.max_files]:
                size += item.size
                if capped and size > zone.max_bytes:
                    break
                capped.append(item)
            claim(ledger, pipeline.key, zone.id, capped)
            claims += [
                ReadyClaim(each, pipeline.pipeline.id, files) for each, files in unsettled_claims(ledger, pipeline.key)
            ]
    finally:
        ledger.close()
    oldest = min((s.modified for s in waiting.values()), default=at)
    observed = Observation(len(waiting), sum(s.size for s in waiting.values()), max(0.0, at - oldest))
    return claims, json.dumps(left), observed


