"""Looking into a zone: the ledger's memory of it is brought up to what lies there now. Nothing is read or claimed.

Neither the order of a listing nor the times of the sender are relied on: a file is new when its name is not in memory,
or stands there with another size or version; it is settled when it stayed as it was over so many of our own looks. A
name that one listing leaves out is not gone yet: listings are not made at one moment.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from itertools import islice

from sqlalchemy import ColumnElement, bindparam, case, delete, func, insert, select, update
from sqlalchemy.orm import Session

from pipeline_xml.checked import CheckedPipeline
from pipeline_xml.durations import settle_of
from pipeline_xml.model import FileSource, LandingZone
from publishing.beside import CHECKSUMS, control_names
from publishing.ledger import Ledger, Look, now
from publishing.zone_files import BESIDE, NO_FILE, UNMATCHED, WAITING, ZoneFile, ZoneState
from resources.zone import Sighting, Zone

SOME = 1000  # entries compared with the memory at once
GONE_AFTER = 2  # looks in a row without the name
TEMPORARY = ".*,*.tmp,*.part,*.partial,*.filepart,*.crdownload"  # what senders call what they are still writing
FIRST, CAME, CHANGED = "first", "came", "changed"  # how a file appears: on the first look of a zone, new, other content
Claimed = dict[tuple[int, str], int]  # {(size, version): occurrence}
_SIGHTING = (
    ZoneFile.name, ZoneFile.uri, ZoneFile.size, ZoneFile.version, ZoneFile.modified, ZoneFile.state != NO_FILE,
    ZoneFile.occurrence,
)  # fmt: skip
_COLUMNS = (ZoneFile.name, ZoneFile.size, ZoneFile.version, ZoneFile.missing, ZoneFile.state)


@dataclass(frozen=True, slots=True)
class Feed:
    """A pipeline that takes files of the zone: those whose whole name the pattern matches; None takes all.

    `control` is the ending of the control files that its files wait for.
    """

    pipeline: str
    pattern: str | None
    control: str | None = None

    def takes(self, name: str) -> bool:
        return self.pattern is None or re.fullmatch(self.pattern, name, re.DOTALL) is not None

    def sender(self, name: str) -> str | None:
        match = re.fullmatch(self.pattern, name, re.DOTALL) if self.pattern else None
        return match.groupdict().get("sender") if match else None


@dataclass(frozen=True, slots=True)
class Watched:
    """A zone as looking and claiming know it: its key in the ledger, its name in looks, its rules, who takes from it.

    `zone` is None for the files that a path names.
    """

    key: str
    name: str
    zone: LandingZone | None
    feeds: tuple[Feed, ...]

    @property
    def fingerprint(self) -> str:
        said = [[f.pipeline, f.pattern, f.control] for f in self.feeds]
        rules = [self.zone.done_marker, self.zone.ignore, self.zone.manifest] if self.zone else []
        return hashlib.sha256(json.dumps([said, rules]).encode()).hexdigest()

    @property
    def settle(self) -> tuple[int, float]:
        return settle_of(self.zone.settle) if self.zone else (1, 0.0)

    @property
    def lock(self) -> str:
        """The file of its lock, beside those of pipelines: by a zone's id, or a digest of a path with separators."""
        app, _, name = self.key.partition("/")
        return f"{app}/.zone-{name if self.zone else hashlib.sha256(name.encode()).hexdigest()[:16]}"

    def hidden(self, name: str) -> bool:
        """Whether a name is one that is not looked at."""
        globs = (self.zone.ignore or TEMPORARY).split(",") if self.zone else ()
        return any(fnmatchcase(name, each.strip()) for each in globs)

    def beside(self, name: str) -> bool:
        """Whether a file says something of another one, and is none itself."""
        if self.zone is None:
            return False
        said = [f".{each}" for each in CHECKSUMS] + [self.zone.done_marker, *(feed.control for feed in self.feeds)]
        return name.endswith(tuple(filter(None, said))) or self.is_manifest(name)

    def is_manifest(self, name: str) -> bool:
        """Whether a file lists others."""
        return self.zone is not None and self.zone.manifest is not None and fnmatchcase(name, self.zone.manifest)

    def takers(self, name: str) -> list[Feed]:
        return [] if self.beside(name) else [feed for feed in self.feeds if feed.takes(name)]


def watched(pipeline: CheckedPipeline, others: Iterable[CheckedPipeline] = ()) -> Watched:
    """The zone of a pipeline's files, with all pipelines among `others` that take from it too."""
    source, zone = pipeline.driving.source, pipeline.driving.zone
    assert isinstance(source, FileSource)  # noqa: S101 - only file sources have zones
    if zone is None:
        name = f"path:{source.path}"
        return Watched(f"{pipeline.key}:{name}", name, None, (Feed(pipeline.key, None),))
    feeds = {pipeline.key: _feed(pipeline.key, source)}
    for other in others:
        of = other.driving.source
        if isinstance(of, FileSource) and of.landing == zone.id and other.pipeline.app == zone.app:
            feeds[other.key] = _feed(other.key, of)
    return Watched(zone_key(zone), zone.id, zone, tuple(feeds[key] for key in sorted(feeds)))


def _feed(pipeline: str, source: FileSource) -> Feed:
    return Feed(pipeline, source.pattern, source.control.file if source.control else None)


def zone_key(zone: LandingZone) -> str:
    return f"{zone.app}/{zone.id}"


def look(ledger: Ledger, at: Watched, place: Zone, moment: float) -> None:
    """Brings the memory of a zone up to date; `moment` is now, in seconds since 1970.

    What the zone raises is raised: then what was seen so far is remembered, and no name counts as gone.
    """
    known = _begin(ledger, at)
    there: set[int] = set()
    entries = (entry for entry in place.entries() if not at.hidden(entry.name))
    while some := list(islice(entries, SOME)):
        there.update(hash(each.name) for each in some)
        _compare(ledger, at, some, moment, known)
    _missing(ledger, at, there)
    with ledger.write() as session:
        session.get_one(ZoneState, at.key).looked_at = now()


def saw(ledger: Ledger, at: Watched, seen: Sighting, moment: float) -> None:
    """One file that somebody tells of, such as a server that notifies: remembered as a look remembers it.

    `seen` is what `find` of the zone says of the name, so a look before or after it sees the same. Nothing else in the
    zone is looked at and no name counts as gone; what has settled is claimed by `claim_settled`, as after a look.
    """
    known = _begin(ledger, at)
    if not at.hidden(seen.name):
        _compare(ledger, at, [seen], moment, known)


def _begin(ledger: Ledger, at: Watched) -> bool:
    """Whether the zone was looked at before. Other pipelines, or other patterns: everything is matched anew."""
    with ledger.write() as session:
        state = session.get(ZoneState, at.key)
        known = state is not None and state.looked_at is not None
        if state is None:
            state = ZoneState(zone=at.key, looked_at=None, feeds="", failures=0, retry_at=0.0, fault=None)
            session.add(state)
        if state.feeds != at.fingerprint:
            state.feeds = at.fingerprint
            session.execute(update(ZoneFile).where(ZoneFile.zone == at.key).values(state=WAITING))
    return known


def _compare(ledger: Ledger, at: Watched, some: Sequence[Sighting], moment: float, known: bool) -> None:
    """Holds entries against the memory. `known`: the zone was looked at before, so a name it lacks is new there."""
    names = [each.name for each in some]
    of_zone = ZoneFile.zone == at.key
    with ledger.read() as session:
        rows = session.execute(select(*_COLUMNS).where(of_zone, ZoneFile.name.in_(names))).all()
    remembered = {row.name: row for row in rows}
    fresh: list[Sighting] = []
    changed: list[Sighting] = []
    again: list[str] = []
    back: list[str] = []
    for each in {entry.name: entry for entry in some}.values():
        row = remembered.get(each.name)
        if row is None:
            fresh.append(each)
        elif (row.size, row.version) != (each.size, each.version) or (row.state == NO_FILE) == each.regular:
            changed.append(each)
        elif row.state == WAITING:
            again.append(each.name)
        elif row.missing:
            back.append(each.name)
    if not (fresh or changed or again or back):
        return
    with ledger.write() as session:
        claimed = _claimed(session, at, [e.name for e in (*fresh, *changed)])
        if fresh:
            how = CAME if known else FIRST
            added = [_row(at, each, moment, claimed.get(each.name, {}), how) for each in fresh]
            session.execute(insert(ZoneFile), added)
        for each in changed:
            other = _row(at, each, moment, claimed.get(each.name, {}), CHANGED)
            session.execute(update(ZoneFile).where(of_zone, ZoneFile.name == each.name).values(other))
        if again:
            since = case((ZoneFile.since > moment, moment), else_=ZoneFile.since)  # the clock was set back
            once_more = {"looks": ZoneFile.looks + 1, "since": since, "missing": 0}
            session.execute(update(ZoneFile).where(of_zone, ZoneFile.name.in_(again)).values(once_more))
        if back:
            session.execute(update(ZoneFile).where(of_zone, ZoneFile.name.in_(back)).values(missing=0))


def _row(at: Watched, seen: Sighting, moment: float, before: Claimed, how: str) -> dict[str, object]:
    """A file as it was just seen for the first time; `before` are the looks that were claimed under its name."""
    newest = max(before.values(), default=0)
    same = before.get((seen.size, seen.version))
    if how == FIRST:  # nothing is known of its comings; what stands there as it was taken is what was taken
        occurrence = newest if same is None else same
    else:
        occurrence = newest + 1 if same is not None or (how == CAME and before) else newest
    return {
        "zone": at.key, "name": seen.name, "uri": seen.uri, "size": seen.size, "version": seen.version,
        "modified": seen.modified, "since": moment, "looks": 1, "missing": 0, "occurrence": occurrence,
        "state": WAITING if seen.regular else NO_FILE, "tries": 0, "not_before": 0.0,
    }  # fmt: skip


def _claimed(session: Session, at: Watched, names: Sequence[str]) -> dict[str, Claimed]:
    """By name, the looks that were claimed."""
    found: dict[str, Claimed] = {}
    for feed in at.feeds if names else ():
        chosen = select(Look.name, Look.size, Look.version, func.max(Look.occurrence)).where(
            Look.pipeline == feed.pipeline, Look.zone == at.name, Look.name.in_(names)
        )
        for name, size, version, occurrence in session.execute(chosen.group_by(Look.name, Look.size, Look.version)):
            of_name = found.setdefault(name, {})
            of_name[(size, version)] = max(occurrence, of_name.get((size, version), 0))
    return found


def _missing(ledger: Ledger, at: Watched, there: Collection[int]) -> None:
    """Counts the look for every name that was not there; forgets those that are gone."""
    of_zone = ZoneFile.zone == at.key
    with ledger.read() as session:
        if session.scalar(select(func.count()).select_from(ZoneFile).where(of_zone)) == len(there):
            return
        names = session.execute(select(ZoneFile.name).where(of_zone).execution_options(yield_per=SOME)).scalars()
        absent = [name for name in names if hash(name) not in there]
    with ledger.write() as session:
        for some in _parts(absent):
            these = (of_zone, ZoneFile.name.in_(some))
            session.execute(delete(ZoneFile).where(*these, ZoneFile.missing + 1 >= GONE_AFTER))
            session.execute(update(ZoneFile).where(*these).values(missing=ZoneFile.missing + 1))


def settled(at: Watched, moment: float) -> list[ColumnElement[bool]]:
    """The conditions on a ZoneFile that waits to be claimed and stayed as it is for long enough."""
    looks, seconds = at.settle
    return [
        ZoneFile.zone == at.key, ZoneFile.state == WAITING, ZoneFile.missing == 0, ZoneFile.looks >= looks,
        ZoneFile.since <= moment - seconds,
    ]  # fmt: skip


def sightings(session: Session, conditions: Sequence[ColumnElement[bool]]) -> Iterator[list[Sighting]]:
    """Files in the order of their names, some at a time."""
    after: str | None = None
    while True:
        further = [] if after is None else [ZoneFile.name > after]
        chosen = select(*_SIGHTING).where(*conditions, *further).order_by(ZoneFile.name).limit(SOME)
        found = [Sighting(*row) for row in session.execute(chosen)]
        if found:
            yield found
            after = found[-1].name
        if len(found) < SOME:
            return


def marked(session: Session, at: Watched, names: Sequence[str]) -> set[str]:
    """Those of the names that have their done-marker beside them; all, where the zone asks for none."""
    marker = at.zone.done_marker if at.zone else None
    if not marker:
        return set(names)
    wanted = [name + marker for name in names]
    there = select(ZoneFile.name).where(ZoneFile.zone == at.key, ZoneFile.missing == 0, ZoneFile.name.in_(wanted))
    return {name.removesuffix(marker) for name in session.scalars(there)}


def controlled(session: Session, at: Watched, feed: Feed, files: Sequence[Sighting], moment: float) -> list[Sighting]:
    """Those of a feed's files that have their control file beside them, settled; all, where it asks for none."""
    if feed.control is None or not files:
        return list(files)
    wanted = {each.name: control_names(each.name, feed.control) for each in files}
    looks, seconds = at.settle
    chosen = select(ZoneFile.name).where(
        ZoneFile.zone == at.key, ZoneFile.missing == 0, ZoneFile.looks >= looks, ZoneFile.since <= moment - seconds,
        ZoneFile.name.in_([name for names in wanted.values() for name in names]),
    )  # fmt: skip
    there = set(session.scalars(chosen))
    return [each for each in files if there.intersection(wanted[each.name])]


def set_aside(session: Session, at: Watched, states: Mapping[str, Sequence[Sighting]]) -> None:
    """Says of files what became of them, {state: files}, unless they changed since."""
    row = ZoneFile.__table__.c
    names = ("name", "size", "version", "occurrence")
    same = (row[name] == bindparam(f"of_{name}") for name in names)
    one = update(ZoneFile.__table__).where(row.zone == at.key, *same)  # type: ignore[arg-type]
    for state, files in states.items():
        if files:
            these = [{f"of_{name}": getattr(each, name) for name in names} for each in files]
            session.connection().execute(one.values(state=state), these)  # one statement, however many files


def without_takers(at: Watched, name: str) -> str:
    """The state of a file that no pipeline asks for."""
    return BESIDE if at.beside(name) else UNMATCHED


def _parts(names: Sequence[str]) -> Iterator[Sequence[str]]:
    for start in range(0, len(names), SOME):
        yield names[start : start + SOME]
