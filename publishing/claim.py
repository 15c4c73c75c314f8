"""Claiming: what has settled in a zone is put into claims, before anything is read.

A look is (zone, name, size, version, occurrence); what a version is, resources/zone.py says. A look is in one claim;
the unique constraint of the ledger decides between two that look at the same time.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol, TypeVar

from sqlalchemy import ColumnElement, func, select
from sqlalchemy.exc import IntegrityError

from publishing import failpoints
from publishing.ledger import Claim, Ledger, Look, now
from publishing.look import SOME, Watched, controlled, marked, set_aside, settled, sightings, without_takers
from publishing.zone_files import TAKEN
from publishing.zone_manifests import Sums, listed, use_up
from resources.zone import Sighting

CLAIM_ATTEMPTS = 3
MAX_FILES = 1000
MAX_BYTES = 10 * 1024**3


NOTHING_SAID: Mapping[str, Sums] = {}


class _File(Protocol):
    @property
    def size(self) -> int: ...


F = TypeVar("F", bound=_File)


@dataclass(frozen=True, slots=True)
class ReadyClaim:
    """A claim that asks for a run: `id` is the run key, `pipeline` the pipeline's id."""

    id: str
    pipeline: str
    files: int


def claim(
    ledger: Ledger, pipeline: str, zone: str, files: Sequence[Sighting], said: Mapping[str, Sums] = NOTHING_SAID
) -> Claim | None:
    """Claims those files that are in no claim yet, all in one; None where there is nothing new.

    `said` is what manifests say of the files, by name: it goes with their looks.
    IntegrityError where others were quicker each time: what is left is no less new for that.
    """
    for tried in range(1, CLAIM_ATTEMPTS + 1):
        fresh = unclaimed(ledger, pipeline, zone, files)
        if not fresh:
            return None
        at = now()
        # With the moment: what could not be read is looked at again, and may be all that is new then.
        identity = json.dumps(
            [pipeline, zone, at.isoformat(), [[s.name, s.size, s.version, s.occurrence] for s in fresh]]
        )
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
                occurrence=s.occurrence, beside=dict(said.get(s.name, {})) or None,
            )
            for s in fresh
        ]  # fmt: skip
        try:
            with ledger.write() as session:
                session.add(made)
                session.flush()
                session.add_all(looks)
        except IntegrityError:  # somebody claimed one of them meanwhile: look again
            if tried == CLAIM_ATTEMPTS:
                raise
            continue
        failpoints.reached("claim.persisted")
        return made
    return None


def unclaimed(ledger: Ledger, pipeline: str, zone: str, files: Sequence[Sighting]) -> list[Sighting]:
    """The regular files among them whose look is in no claim."""
    known: set[tuple[str, int, str, int]] = set()
    with ledger.read() as session:
        for start in range(0, len(files), SOME):
            names = [each.name for each in files[start : start + SOME]]
            chosen = select(Look.name, Look.size, Look.version, Look.occurrence)
            chosen = chosen.where(Look.pipeline == pipeline, Look.zone == zone, Look.name.in_(names))
            known.update((row[0], row[1], row[2], row[3]) for row in session.execute(chosen))
    return [s for s in files if s.regular and (s.name, s.size, s.version, s.occurrence) not in known]


def claim_settled(
    ledger: Ledger,
    at: Watched,
    moment: float,
    most: int,
    *,
    only: str | None = None,
    also: Sequence[ColumnElement[bool]] = (),
    waits: Callable[[Sighting], bool] = lambda _: False,
    seconds: float = float("inf"),
) -> list[str]:
    """Claims what has settled, for each pipeline that it is for, in claims of at most maxFiles and maxBytes.

    Ends after `most` claims, or so many seconds: what is left stays for the next look. `only` is the one pipeline to
    claim for; `also` narrows the files, `waits` says of one that it is not to be taken now. The ids of the claims.
    """
    made: list[str] = []
    until = time.monotonic() + seconds
    with ledger.read() as reading:
        for page in sightings(reading, [*settled(at, moment), *also]):
            names = [each.name for each in page]
            said = listed(reading, at, names)
            ready = marked(reading, at, names).intersection(said)
            files = [
                each
                for each in page
                if (each.name in ready or at.beside(each.name)) and not at.is_manifest(each.name) and not waits(each)
            ]
            done = {each.name for each in files}
            for feed in at.feeds:
                own = [each for each in files if feed in at.takers(each.name)]
                complete = controlled(reading, at, feed, own, moment)
                done -= {each.name for each in own} - {each.name for each in complete}
                fresh = unclaimed(ledger, feed.pipeline, at.name, complete)
                if only is not None and feed.pipeline != only:
                    done -= {each.name for each in fresh}
                    continue
                for some in in_parts(fresh, *caps(at)):
                    if len(made) >= most:
                        done -= {each.name for each in some}
                    elif (found := claim(ledger, feed.pipeline, at.name, some, said)) is not None:
                        made.append(found.id)
            _say(ledger, at, [each for each in files if each.name in done])
            if len(made) >= most or time.monotonic() > until:
                break
    return made


def _say(ledger: Ledger, at: Watched, files: Sequence[Sighting]) -> None:
    states: dict[str, list[Sighting]] = {}
    for each in files:
        state = TAKEN if at.takers(each.name) else without_takers(at, each.name)
        states.setdefault(state, []).append(each)
    if states:
        with ledger.write() as session:
            set_aside(session, at, states)
            use_up(session, at, [each.name for each in states.get(TAKEN, ())])


def in_parts(files: Sequence[F], most: int, most_bytes: int) -> Iterator[list[F]]:
    """Parts of at most so many files and bytes, in their order; one that is larger than that alone goes alone."""
    part: list[F] = []
    size = 0
    for each in files:
        if part and (len(part) >= most or size + each.size > most_bytes):
            yield part
            part, size = [], 0
        part.append(each)
        size += each.size
    if part:
        yield part


def caps(at: Watched) -> tuple[int, int]:
    """The most files and bytes of a claim, and of a batch."""
    return (at.zone.max_files, at.zone.max_bytes) if at.zone else (MAX_FILES, MAX_BYTES)


def unsettled_claims(ledger: Ledger, pipeline: str, upto: str | None = None) -> list[tuple[str, int]]:
    """(claim id, files) of the claims that no run has settled, the oldest first; up to the one `upto`."""
    with ledger.read() as session:
        chosen = (
            select(Claim.id, func.count(Look.id))
            .join(Look, Look.claim_id == Claim.id)
            .where(Claim.pipeline == pipeline, Claim.settled.is_(False))
            .group_by(Claim.id)
            .order_by(func.min(Look.id))  # not by the moment: the clock may have been set back between two
        )
        found = [(claim_id, files) for claim_id, files in session.execute(chosen)]
    if upto is None:
        return found
    last = next((number for number, (claim_id, _) in enumerate(found) if claim_id == upto), -1)
    return found[: last + 1]
