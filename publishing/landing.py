"""A look into a zone and what follows from it: for a sensor's tick, which waits for nothing, and for a headless run.

A zone that fails is left alone for a while (a circuit breaker): after THRESHOLD failures in a row it is open, and only
one look at a time finds out whether it has come back. Its state is in the ledger: it outlives daemon and process.
"""

from __future__ import annotations

import fcntl
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass

from sqlalchemy import func, select

from pipeline_xml.checked import CheckedApplication, CheckedPipeline
from pipeline_xml.model import FileSource, LandingZone
from publishing.claim import ReadyClaim, claim_settled, unsettled_claims
from publishing.lake import Lake
from publishing.landing_decisions import Standing, journal_decisions, standing
from publishing.ledger import Ledger
from publishing.look import Watched, look, saw, settled, watched
from publishing.zone_files import NO_FILE, WAITING, ZoneFile, ZoneState
from publishing.zone_manifests import read_manifests
from resources.failures import told
from resources.secrets import SecretMissing
from resources.settings import Settings
from resources.zone import Sighting, Zone, ZoneRefused, ZoneUnreachable

CLAIMS_A_TICK = 50
CLAIMING_SECONDS = 20.0  # of the 60 that a tick may last
THRESHOLD = 3  # failures in a row after which a zone is left alone
FIRST_WAIT, LONGEST_WAIT = 60.0, 900.0  # seconds; doubled with every further failure
LOOK_SECONDS = 1.0  # between two looks of a headless run that waits for files to settle
FAILS = (ZoneUnreachable, ZoneRefused, SecretMissing)
EVERY_CLAIM = 10**9


@dataclass(frozen=True, slots=True)
class Observation:
    """What a zone looked like: shown on its asset. `oldest_seconds` since the file that waits longest was seen."""

    waiting: int
    bytes: int
    oldest_seconds: float


@dataclass(frozen=True, slots=True)
class Tick:
    """`claims` are all that no run has settled yet; `skipped` says why the zone was not looked into."""

    claims: tuple[ReadyClaim, ...]
    seen: Observation
    skipped: str | None = None


def tick(
    settings: Settings,
    app: CheckedApplication,
    zone: LandingZone,
    open_zone: Callable[[], Zone],
    names: Sequence[str] | None = None,
) -> Tick:
    """Looks once and claims what has settled for each pipeline of the zone. What the zone raises becomes a reason.

    A claim comes again with each tick until its run has settled it: a tick that dies after claiming loses none.
    With `names` only these are looked at, as a server tells them that notifies of what was put: the claim is the one
    that a look at the whole zone would have made, and such a look makes none of the same files again.
    """
    pipelines = landing_pipelines(app, zone)
    at = watched(pipelines[0], pipelines)
    moment = time.time()
    ledger = Ledger.of(settings)
    try:
        decided = standing(ledger, at)
        skipped = decided.paused or why_left_alone(ledger, at, moment)
        if skipped is None:
            with _one_look(settings, at, wait=False) as free:
                busy = "another look into it goes on"
                skipped = _try(ledger, at, decided, open_zone, moment, names) if free else busy
        ready: list[ReadyClaim] = []
        if skipped is None:  # a run would copy from the same zone
            for each in pipelines:
                found = unsettled_claims(ledger, each.key)
                ready += [ReadyClaim(claim_id, each.pipeline.id, files) for claim_id, files in found]
        return Tick(tuple(ready), observe(ledger, at.key, moment), skipped)
    finally:
        ledger.close()


def _try(
    ledger: Ledger,
    at: Watched,
    decided: Standing,
    open_zone: Callable[[], Zone],
    moment: float,
    names: Sequence[str] | None,
) -> str | None:
    """Looks and claims; says what went wrong, and remembers it."""
    try:
        with closing(open_zone()) as place:
            if names is None:
                look(ledger, at, place, moment)
            for seen in filter(None, map(place.find, names or ())):
                saw(ledger, at, seen, moment)
            read_manifests(ledger, at, place, moment)
    except FAILS as error:
        return _failed(ledger, at, told(error), moment)
    _well(ledger, at)
    patient = [ZoneFile.not_before <= moment]
    claim_settled(
        ledger, at, moment, CLAIMS_A_TICK, also=patient, waits=decided.waits, seconds=CLAIMING_SECONDS
    )
    return None


def take_settled(lake: Lake, pipeline: CheckedPipeline) -> list[Sighting]:
    """For a headless run: looks until what is on its way has settled or had the time to, and claims all that has.

    What could not be read before is tried again. The entries that are no files. Raises what the zone raises.
    """
    source, zone = pipeline.driving.source, pipeline.driving.zone
    assert isinstance(source, FileSource)  # noqa: S101 - the caller chose by kind
    application = lake.catalog.application(pipeline.pipeline.app)
    at = watched(pipeline, application.pipelines if application is not None else ())
    decided = standing(lake.ledger, at)
    if decided.decisions:
        journal_decisions(lake, at)  # what a crash left out
    if decided.paused:
        return []
    with _one_look(lake.settings, at, wait=True), lake.zone(source, zone) as place:
        try:
            moment = _look_until_settled(lake.ledger, at, place)
            read_manifests(lake.ledger, at, place, moment)
        except FAILS as error:
            _failed(lake.ledger, at, told(error), time.time())
            raise
        _well(lake.ledger, at)
        claim_settled(lake.ledger, at, moment, EVERY_CLAIM, only=pipeline.key, waits=decided.waits)
    return no_files(lake.ledger, at, pipeline.key)


def _look_until_settled(ledger: Ledger, at: Watched, place: Zone) -> float:
    looks, seconds = at.settle
    for number in range(looks):
        moment = time.time()
        look(ledger, at, place, moment)
        if number == looks - 1 or not _still_settling(ledger, at, moment):
            break
        time.sleep(max(seconds / (looks - 1), 0.0) or LOOK_SECONDS)
    return moment


def _still_settling(ledger: Ledger, at: Watched, moment: float) -> bool:
    with ledger.read() as session:
        waiting = select(func.count()).select_from(ZoneFile)
        ready = session.scalar(waiting.where(*settled(at, moment)))
        return session.scalar(waiting.where(ZoneFile.zone == at.key, ZoneFile.state == WAITING)) != ready


def no_files(ledger: Ledger, at: Watched, pipeline: str) -> list[Sighting]:
    """What lies in a zone under a name that the pipeline asks for, and is no file."""
    feed = next(feed for feed in at.feeds if feed.pipeline == pipeline)
    with ledger.read() as session:
        of_zone = (ZoneFile.zone == at.key, ZoneFile.state == NO_FILE, ZoneFile.missing == 0)
        rows = session.scalars(select(ZoneFile).where(*of_zone).order_by(ZoneFile.name)).all()
        return [Sighting(r.name, r.uri, r.size, r.version, r.modified, False) for r in rows if feed.takes(r.name)]


def landing_pipelines(app: CheckedApplication, zone: LandingZone) -> list[CheckedPipeline]:
    return [
        p
        for p in app.pipelines
        if isinstance(p.driving.source, FileSource) and p.driving.source.landing == zone.id
    ]


def observe(ledger: Ledger, key: str, moment: float) -> Observation:
    with ledger.read() as session:
        chosen = select(func.count(), func.sum(ZoneFile.size), func.min(ZoneFile.since))
        files, size, since = session.execute(chosen.where(ZoneFile.zone == key, ZoneFile.state == WAITING)).one()
    return Observation(files, int(size or 0), max(0.0, moment - since) if since is not None else 0.0)


def why_left_alone(ledger: Ledger, at: Watched, moment: float) -> str | None:
    """Why the zone is not looked into now; None where it is well, or it is time to find out."""
    with ledger.read() as session:
        state = session.get(ZoneState, at.key)
        if state is None or state.failures < THRESHOLD:
            return None
        left = state.retry_at - moment
        if not 0 < left <= LONGEST_WAIT:  # beyond: the clock was set back
            return None
        return f"left alone for {left:.0f} s more after {state.failures} failures: {state.fault}"


def _failed(ledger: Ledger, at: Watched, fault: str, moment: float) -> str:
    with ledger.write() as session:
        state = session.get(ZoneState, at.key)
        if state is None:
            state = ZoneState(zone=at.key, looked_at=None, feeds="", failures=0, retry_at=0.0, fault=None)
            session.add(state)
        state.failures += 1
        state.fault = fault[:500]
        wait = min(FIRST_WAIT * 2 ** min(max(0, state.failures - THRESHOLD), 10), LONGEST_WAIT)
        state.retry_at = moment + wait
        closed = state.failures < THRESHOLD
    return fault if closed else f"{fault} (tried again in {wait:.0f} s)"


def _well(ledger: Ledger, at: Watched) -> None:
    with ledger.read() as session:
        if session.get_one(ZoneState, at.key).failures == 0:
            return
    with ledger.write() as session:
        state = session.get_one(ZoneState, at.key)
        state.failures, state.fault, state.retry_at = 0, None, 0.0


@contextmanager
def _one_look(settings: Settings, at: Watched, *, wait: bool) -> Iterator[bool]:
    """One look at a time, and its claims: of two, the one that listed first must not have the last word.

    False where another goes on and this one does not wait; a process that dies lets go.
    """
    path = settings.data / "locks" / at.lock
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a") as held:
        try:
            fcntl.flock(held, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        except BlockingIOError:
            yield False
        else:
            yield True
