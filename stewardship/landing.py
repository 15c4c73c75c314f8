"""What a person asks of landing zones: what lies there and became of it; pause, ignore, take up again, try again."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from pipeline_xml.checked import Catalog, CheckedPipeline
from pipeline_xml.model import LandingZone
from publishing import landing_decisions as decisions
from publishing.lake import Lake
from publishing.landing import landing_pipelines, observe, why_left_alone
from publishing.landing_decisions import FILE, Standing, standing
from publishing.ledger import Batch, LandedFile, Look, now
from publishing.look import Watched, watched
from publishing.zone_files import TAKEN, UNMATCHED, WAITING, ZoneFile, ZoneState
from stewardship import audit
from stewardship.actors import Actor, reason_of, require
from stewardship.refused import NotFound, Refused

STATES = ("waiting", "taken", "unmatched", "beside", "not_a_file")


@dataclass(frozen=True, slots=True)
class ZoneLine:
    """A zone as of its last look. `files` by state; `oldest_seconds` since the file that waits longest was seen."""

    zone: str
    type: str
    uri: str
    state: str  # ok, failing, left alone, paused, never looked at
    reason: str | None
    looked_at: str | None
    files: dict[str, int]
    bytes_waiting: int
    oldest_seconds: float


@dataclass(frozen=True, slots=True)
class FileLine:
    """A name in a zone as of its last look. `status` is what became of it; of a taken file, of its newest delivery."""

    name: str
    size: int
    state: str
    status: str
    occurrence: int
    first_seen: str
    reason: str | None


def find_zone(catalog: Catalog, name: str) -> tuple[LandingZone, list[CheckedPipeline]]:
    """The zone `APP/ZONE` with the pipelines that take from it; NotFound says which there are."""
    for application in catalog.applications:
        for zone in application.zones:
            if f"{application.name}/{zone.id}" == name:
                return zone, landing_pipelines(application, zone)
    known = [f"{a.name}/{z.id}" for a in catalog.applications for z in a.zones]
    raise NotFound(f"no landing zone '{name}'; there are: {', '.join(known) or 'none'}")


def list_zones(lake: Lake) -> list[ZoneLine]:
    return [
        _zone_line(lake, zone, watched(pipelines[0], pipelines))
        for application in lake.catalog.applications
        for zone in application.zones
        if (pipelines := landing_pipelines(application, zone))
    ]


def _zone_line(lake: Lake, zone: LandingZone, at: Watched) -> ZoneLine:
    moment = datetime.now(UTC).timestamp()
    with lake.ledger.read() as session:
        state = session.get(ZoneState, at.key)
        counts = select(ZoneFile.state, func.count()).where(ZoneFile.zone == at.key).group_by(ZoneFile.state)
        files = {name: number for name, number in session.execute(counts)}
    paused, alone = standing(lake.ledger, at).paused, why_left_alone(lake.ledger, at, moment)
    fault = state.fault if state is not None else None
    said = "paused" if paused else "left alone" if alone else "failing" if fault else "ok"
    if state is None or state.looked_at is None:
        said = said if said != "ok" else "never looked at"
    looked = state.looked_at.isoformat(timespec="seconds") if state is not None and state.looked_at else None
    seen = observe(lake.ledger, at.key, moment)
    return ZoneLine(
        at.key, zone.type, zone.uri, said, paused or alone or fault, looked, files, seen.bytes,
        round(seen.oldest_seconds, 1),
    )  # fmt: skip


def list_files(
    lake: Lake, at: Watched, state: str | None = None, limit: int = 50, after: str | None = None
) -> list[FileLine]:
    """By name; `after` is the last name of the page before."""
    chosen = select(ZoneFile).where(ZoneFile.zone == at.key).order_by(ZoneFile.name).limit(limit)
    if state is not None:
        chosen = chosen.where(ZoneFile.state == state)
    if after is not None:
        chosen = chosen.where(ZoneFile.name > after)
    decided = standing(lake.ledger, at)
    with lake.ledger.read() as session:
        rows = session.scalars(chosen).all()
        landed = _newest(session, at, [row.name for row in rows if row.state == TAKEN])
        return [_file_line(row, decided, landed.get(row.name)) for row in rows]


def _newest(session: Session, at: Watched, names: Sequence[str]) -> dict[str, LandedFile]:
    """The newest delivery under each name."""
    keys = [feed.pipeline for feed in at.feeds]
    chosen = select(LandedFile).where(LandedFile.pipeline.in_(keys), LandedFile.name.in_(names))
    return {row.name: row for row in session.scalars(chosen.order_by(LandedFile.arrival))} if names else {}


def _file_line(row: ZoneFile, decided: Standing, landed: LandedFile | None) -> FileLine:
    over = decided.over(row.name)
    status, reason = row.state, None
    if row.state == WAITING and over is not None:
        status, reason = f"{over.kind}d", f"{over.what} {over.kind}d by {over.actor}: {over.reason}"
    elif row.state == WAITING and row.tries:
        status, reason = "unreadable", f"could not be read {row.tries} times; it is tried again"
    elif row.state == UNMATCHED:
        reason = "no pipeline's pattern has such a name: correct a pattern, have it sent under another, or ignore it"
    elif row.missing:
        status, reason = "missing", "the last look did not find it"
    elif row.state == TAKEN:
        status = landed.status if landed is not None else "claimed"
        reason = _said(landed) if landed is not None else None
    since = datetime.fromtimestamp(row.since, UTC).isoformat(timespec="seconds")
    return FileLine(row.name, row.size, row.state, status, row.occurrence, since, reason)


def _said(landed: LandedFile) -> str | None:
    return "; ".join(filter(None, (landed.reason or landed.note, landed.late))) or None


def show_file(lake: Lake, at: Watched, name: str) -> dict[str, Any]:
    """Everything that is known of a name: how it lies there, each time it was claimed, each delivery."""
    keys = [feed.pipeline for feed in at.feeds]
    decided = standing(lake.ledger, at)
    with lake.ledger.read() as session:
        row = session.get(ZoneFile, (at.key, name))
        looks = session.scalars(
            select(Look).where(Look.pipeline.in_(keys), Look.zone == at.name, Look.name == name).order_by(Look.id)
        ).all()
        files = session.execute(
            select(LandedFile, Batch.key)
            .outerjoin(Batch, Batch.id == LandedFile.batch_id)
            .where(LandedFile.pipeline.in_(keys), LandedFile.name == name)
            .order_by(LandedFile.arrival)
        ).all()
        if row is None and not looks:
            raise NotFound(str(decisions.no_such_file(session, at, name)))
        here = asdict(_file_line(row, decided, _newest(session, at, [name]).get(name))) if row is not None else None
    return {
        "zone": at.key,
        "name": name,
        "now": here,
        "takers": [feed.pipeline for feed in at.takers(name)],
        "claims": [
            {"pipeline": each.pipeline, "claim": each.claim_id, "size": each.size, "version": each.version,
             "occurrence": each.occurrence, "outcome": each.outcome or ("copied" if each.content_id else "claimed"),
             "note": each.note, "content_id": each.content_id}
            for each in looks
        ],
        "deliveries": [
            {"pipeline": file.pipeline, "arrival": file.arrival, "content_id": file.content_id,
             "business_date": file.business_date.isoformat(), "status": file.status, "reason": file.reason,
             "note": file.note, "late": file.late, "batch": key}
            for file, key in files
        ],
    }  # fmt: skip


def pause(lake: Lake, at: Watched, actor: Actor, kind: str, what: str, value: str, reason: str) -> None:
    """`kind` is pause or ignore, `what` zone, file or sender. NotFound where a file does not lie there."""

    def decided(session: Session) -> None:
        decisions.decide(session, at, kind, what, value, actor.name, actor.role, reason_of(reason))

    _done(lake, at, actor, kind, {"what": what, "value": value, "reason": reason}, decided)


def resume(lake: Lake, at: Watched, actor: Actor, what: str, value: str, reason: str) -> None:
    reason_of(reason)

    def decided(session: Session) -> None:
        decisions.resume(session, at, what, value, actor.name)

    _done(lake, at, actor, "resume", {"what": what, "value": value, "reason": reason}, decided)


def retry(lake: Lake, at: Watched, actor: Actor, name: str, reason: str) -> None:
    """The next look takes the file as if it had just come."""
    reason_of(reason)
    details = {"what": FILE, "value": name, "reason": reason}
    _done(lake, at, actor, "retry", details, lambda session: decisions.retry(session, at, name))


def _done(
    lake: Lake, at: Watched, actor: Actor, action: str, details: dict[str, Any], decided: Callable[[Session], None]
) -> None:
    """The decision and its audit in one transaction, then both in the journal."""
    for feed in at.feeds:
        require(lake.catalog, feed.pipeline, actor, action)
    with lake.ledger.write() as session:
        try:
            decided(session)
        except decisions.NoSuchFile as wrong:
            raise NotFound(str(wrong)) from wrong
        except decisions.NothingDecided as wrong:
            raise Refused(str(wrong)) from wrong
        session.flush()
        audit.append(session, lake, actor, action, at.key, {**details, "at": now().isoformat()})
    decisions.journal_decisions(lake, at)
    audit.journal_entries(lake)
