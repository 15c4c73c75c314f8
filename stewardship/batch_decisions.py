"""Decisions over whole batches: release, withdraw, un-publish, restore or reread a table; each audited with it."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from sqlalchemy import or_, select
from sqlalchemy.orm import Session

from pipeline_xml.checked import Catalog, CheckedPipeline
from pipeline_xml.model import HiveTarget
from publishing import decide
from publishing.decisions import BatchDecision, Rerun
from publishing.lake import Lake
from publishing.ledger import Attempt, Batch, now
from publishing.rebuild_merge import CannotRebuild, Cost, rebuild_cost, require_rebuild
from publishing.replay import REPLAY
from publishing.taking_back import finish_taking_back, stand
from publishing.units import of_unit
from publishing.upstream import REWRITTEN
from resources.lake_table import LakeTable
from stewardship import audit
from stewardship.actors import Actor, reason_of, require
from stewardship.journaled import journal_decided
from stewardship.refused import NotFound, Refused


@dataclass(frozen=True, slots=True)
class Plan:
    """What a restore, or an un-publishing, does: the batches that go, the newest first, and what rebuilding costs.

    `newer` are batches that stay, but as of a later attempt than the one that stood there then. `upstream`: what is
    read anew afterwards, by table.
    """

    pipeline: str
    batches: tuple[str, ...]
    targets: tuple[str, ...]
    rebuilds: Mapping[str, Cost]
    newer: tuple[str, ...] = ()
    upstream: Mapping[str, str] = field(default_factory=dict)

    def as_dict(self) -> dict[str, Any]:
        return {
            "pipeline": self.pipeline,
            "batches": list(self.batches),
            "targets": list(self.targets),
            "rebuilds": {name: str(cost) for name, cost in self.rebuilds.items()},
            "newer": list(self.newer),
            "upstream": dict(self.upstream),
        }


STATUSES = ("open", "published", "held", "failed", "superseded", "withdrawn", "unpublished")


@dataclass(frozen=True, slots=True)
class Line:
    """A batch in a list; `holding` is what a release can waive, with what was observed."""

    key: str
    id: str
    pipeline: str
    business_date: str
    status: str
    attempt: int
    origin: str
    reason: str | None
    holding: Mapping[str, float]


def list_batches(lake: Lake, pipeline: str | None, status: str | None, limit: int) -> list[Line]:
    """The newest first."""
    chosen = select(Batch).order_by(Batch.created_at.desc(), Batch.arrival.desc(), Batch.id).limit(limit)
    if pipeline is not None:
        chosen = chosen.where(Batch.pipeline == pipeline)
    if status is not None:
        chosen = chosen.where(Batch.status == status)
    with lake.ledger.read() as session:
        return [
            Line(
                batch.key,
                batch.id,
                batch.pipeline,
                batch.business_date.isoformat(),
                batch.status,
                batch.attempt,
                batch.origin,
                batch.reason,
                decide.held_by(session, batch) if batch.status == "held" else {},
            )
            for batch in session.scalars(chosen)
        ]


def asked_again(lake: Lake) -> list[str]:
    """The pipelines that wait to be run again because something above them changed."""
    with lake.ledger.read() as session:
        waiting = select(Rerun.pipeline).where(Rerun.done.is_(False)).distinct().order_by(Rerun.pipeline)
        return list(session.scalars(waiting))


def holding(lake: Lake, pipeline: CheckedPipeline, name: str) -> dict[str, float]:
    """What holds a batch and a release can waive, with what was observed."""
    with lake.ledger.read() as session:
        return decide.held_by(session, find_any(session, pipeline.key, name))


def release(
    lake: Lake, pipeline: CheckedPipeline, actor: Actor, name: str, waived: Mapping[str, str], reason: str
) -> str:
    """The key of the batch, which is open again: the next run of the pipeline computes its next attempt."""

    def decided(session: Session) -> list[BatchDecision]:
        batch = find_any(session, pipeline.key, name)
        return [decide.release(lake, session, batch, waived, _decider(actor, reason), pipeline.rule_hash)]

    return _decided(lake, pipeline.key, actor, "release", reason, decided)[0]


def withdraw(lake: Lake, pipeline: CheckedPipeline, actor: Actor, name: str, reason: str) -> str:
    """Closes a held batch; its files may be delivered again."""

    def decided(session: Session) -> list[BatchDecision]:
        batch = find_any(session, pipeline.key, name)
        _require_rebuilds(lake, pipeline, [batch])
        return [decide.withdraw(lake, session, batch, _decider(actor, reason))]

    return _taken_back(lake, pipeline, actor, "withdraw", reason, decided)[0]


def plan_unpublish(lake: Lake, pipeline: CheckedPipeline, names: Sequence[str]) -> Plan:
    with lake.ledger.read() as session:
        return _plan(lake, pipeline, [find_any(session, pipeline.key, name) for name in names])


def unpublish(
    lake: Lake, pipeline: CheckedPipeline, actor: Actor, names: Sequence[str], reason: str
) -> list[str]:
    """Takes published batches back out of every target; the keys of those that went."""

    def decided(session: Session) -> list[BatchDecision]:
        batches = [find_any(session, pipeline.key, name) for name in names]
        _require_rebuilds(lake, pipeline, batches)
        return decide.unpublish(lake, session, batches, _decider(actor, reason))

    return _taken_back(lake, pipeline, actor, "unpublish", reason, decided)


def plan_reread(lake: Lake, pipeline: CheckedPipeline, name: str) -> Plan:
    """What `reread` would take back; `upstream` is what the next run reads instead."""
    with lake.ledger.read() as session:
        going = _read_before(session, pipeline.key, find_any(session, pipeline.key, name))
        plan = _plan(lake, pipeline, going)
    upstream = {}
    for asset in (source.upstream for source in pipeline.drivers):
        if asset is not None and lake.table(asset).exists:
            files = lake.table(asset).snapshot().files()
            cost = f"{sum(f.records for f in files):,} rows, {len(files)} files, {sum(f.size for f in files):,} bytes"
            upstream["/".join(asset)] = cost
    return replace(plan, upstream=upstream)


def reread(lake: Lake, pipeline: CheckedPipeline, actor: Actor, name: str, reason: str) -> list[str]:
    """Of a batch that is held because its table was rewritten: takes back all that the pipeline wrote from its tables.

    The next run, which is asked for, finds nothing read and reads them whole. The keys of the batches that went.
    """

    def decided(session: Session) -> list[BatchDecision]:
        held = find_any(session, pipeline.key, name)
        going = _read_before(session, pipeline.key, held)
        _require_rebuilds(lake, pipeline, going)
        cause = f"{held.key}: its table is read anew"
        session.add(Rerun(pipeline=pipeline.key, business_date=held.business_date, cause=cause, asked_at=now()))
        return decide.unpublish(lake, session, going, _decider(actor, reason), decide.RESTORED)

    return _taken_back(lake, pipeline, actor, "reread", reason, decided)


def _read_before(session: Session, pipeline: str, held: Batch) -> list[Batch]:
    """The held batch and all others that came from its table and are not taken back, the newest first."""
    if held.status != "held" or not (held.reason or "").startswith(REWRITTEN):
        raise Refused(
            f"{held.key} is {held.status}{f', {held.reason}' if held.reason else ''}; a table is read anew for a batch "
            f"that is held by {REWRITTEN}"
        )
    chosen = select(Batch).where(Batch.pipeline == pipeline, Batch.origin == "table", Batch.status.in_(decide.RESTORED))
    return list(session.scalars(chosen.order_by(Batch.arrival.desc(), Batch.id)))


def writer_of(catalog: Catalog, application: str, layer: str, table: str) -> tuple[CheckedPipeline, int]:
    """The pipeline that writes a lake table, and the target's position; without a layer where its name is enough."""
    found, names = [], []
    for app in catalog.applications:
        for pipeline in app.pipelines if app.name == application else ():
            for position, target in enumerate(pipeline.targets):
                if isinstance(target.target, HiveTarget):
                    names.append(f"{application}/{'.'.join(target.asset[1:])}")
                    if target.asset[2] == table and layer in ("", target.asset[1]):
                        found.append((pipeline, position))
    if len(found) == 1:
        return found[0]
    what = "several tables are" if found else "no pipeline writes"
    raise NotFound(f"{what} {application}/{table}; tables are: {', '.join(names) or 'none'}")


def plan_restore(lake: Lake, pipeline: CheckedPipeline, position: int, to: str) -> Plan:
    """What `restore` would do. `to` is a version of the table, or the key or id of the last batch that stays."""
    with lake.ledger.read() as session:
        going, newer = _later(lake, session, pipeline, position, to)
        return _plan(lake, pipeline, going, newer)


def restore(lake: Lake, pipeline: CheckedPipeline, position: int, to: str, actor: Actor, reason: str) -> list[str]:
    """Un-publishes every batch that was published after a version or a batch; the keys of those that went.

    Delta's own RESTORE would leave their transactions behind, and the same files could never be loaded again.
    """

    def decided(session: Session) -> list[BatchDecision]:
        going, _ = _later(lake, session, pipeline, position, to)
        _require_rebuilds(lake, pipeline, going)
        return decide.unpublish(lake, session, going, _decider(actor, reason), decide.RESTORED)

    return _taken_back(lake, pipeline, actor, "restore", f"to {to}: {reason}", decided)


def find_any(session: Session, pipeline: str, name: str) -> Batch:
    """The batch of a pipeline with this key or id, or the beginning of one that only it has."""
    own = select(Batch).where(Batch.pipeline == pipeline)
    exact = session.scalars(own.where(or_(Batch.key == name, Batch.id == name))).first()
    if exact is not None:
        return exact
    begins = or_(Batch.key.startswith(name, autoescape=True), Batch.id.startswith(name, autoescape=True))
    found = session.scalars(own.where(begins).limit(6)).all()
    if len(found) == 1:
        return found[0]
    some = found or session.scalars(own.order_by(Batch.created_at.desc()).limit(5)).all()
    what = "begins more than one batch" if found else "is no batch"
    raise NotFound(f"'{name}' {what} of {pipeline}; for example: {', '.join(b.key for b in some) or 'there is none'}")


def _later(
    lake: Lake, session: Session, pipeline: CheckedPipeline, position: int, to: str
) -> tuple[list[Batch], list[str]]:
    """(batches first published after `to`, the newest first; keys of those that stay as of a later attempt).

    Whatever became of them since: what an attempt published stands while a later one is held or open, and a snapshot
    that a newer one replaced would come back when that goes.
    """
    asset = pipeline.targets[position].asset
    name, table = "/".join(asset), lake.table(asset)
    versions = _versions(session, pipeline, name, table)
    if to.isascii() and to.isdigit():
        newest = table.snapshot().version
        if int(to) > newest:
            raise NotFound(f"{name} has no version {to}; its versions are 0 to {newest}")
        limit = int(to)
    else:
        batch = find_any(session, pipeline.key, to)
        if not versions.get(batch.id):
            raise NotFound(f"{batch.key} is {batch.status} and stands at no version of {name}")
        limit = max(versions[batch.id])
    known = [session.get_one(Batch, batch_id) for batch_id in versions]
    later = [b for b in known if min(versions[b.id]) > limit and not (b.origin == REPLAY and b.status == "superseded")]
    stay = [b for b in known if min(versions[b.id]) <= limit]
    later += _never_published(session, pipeline, stay, set(versions))
    newer = [b.key for b in stay if limit < max(versions[b.id])]
    return sorted(later, key=lambda b: (-min(versions.get(b.id, [limit])), -b.arrival)), newer


def _never_published(
    session: Session, pipeline: CheckedPipeline, stay: Sequence[Batch], known: Collection[str]
) -> list[Batch]:
    """Snapshots that came when a newer one stood there: they would be the next in its place, and never were there."""
    chosen = select(Batch).where(Batch.pipeline == pipeline.key, Batch.status == "superseded", Batch.origin != REPLAY)
    late = [b for b in session.scalars(chosen) if b.id not in known]
    owners = {b.id: set(session.scalars(select(Batch.id).where(of_unit(pipeline, b)))) for b in late}
    return [b for b in late if not any(s.id in owners[b.id] and s.arrival > b.arrival for s in stay)]


def _versions(session: Session, pipeline: CheckedPipeline, name: str, table: LakeTable) -> dict[str, list[int]]:
    """{batch: versions of a table at which its attempts were published}, of batches that were not taken back.

    What a crash left published without an outcome counts as of the newest version.
    """
    chosen = (
        select(Batch, Attempt)
        .join(Attempt, Attempt.batch_id == Batch.id)
        .where(Batch.pipeline == pipeline.key, Batch.status.in_(decide.RESTORED))
        .order_by(Batch.arrival, Batch.id, Attempt.number)
    )
    snapshot = table.snapshot()
    found: dict[str, list[int]] = {}
    for batch, attempt in session.execute(chosen):
        targets = (attempt.outcome or {}).get("targets", ())
        if known := [t["version"] for t in targets if t["name"] == name and t["version"] is not None]:
            found.setdefault(batch.id, []).extend(known)
        elif attempt.outcome is None and snapshot.transaction(f"b:{batch.id}") == 2 * attempt.number - 1:
            found.setdefault(batch.id, []).append(snapshot.version)
    return found


def _plan(lake: Lake, pipeline: CheckedPipeline, going: Sequence[Batch], newer: Sequence[str] = ()) -> Plan:
    ids = [batch.id for batch in going]
    rebuilds = {
        "/".join(target.asset): rebuild_cost(lake, pipeline, target, ids)
        for target in pipeline.targets
        if isinstance(target.target, HiveTarget) and target.target.mode == "merge" and going
    }
    targets = tuple("/".join(target.asset) for target in pipeline.targets)
    return Plan(pipeline.key, tuple(batch.key for batch in going), targets, rebuilds, tuple(newer))


def _require_rebuilds(lake: Lake, pipeline: CheckedPipeline, going: Sequence[Batch]) -> None:
    """Refused where a merge target that has to forget these batches cannot be computed again without them."""
    ids = [batch.id for batch in going]
    for target in pipeline.targets:
        if isinstance(target.target, HiveTarget) and target.target.mode == "merge" and stand(lake, target, ids):
            try:
                require_rebuild(lake, pipeline, target, ids)
            except CannotRebuild as wrong:
                raise Refused(str(wrong)) from wrong


def _decider(actor: Actor, reason: str) -> decide.Decider:
    return decide.Decider(actor.name, actor.role, reason)


def _taken_back(
    lake: Lake,
    pipeline: CheckedPipeline,
    actor: Actor,
    action: str,
    reason: str,
    decided: Callable[[Session], list[BatchDecision]],
) -> list[str]:
    with lake.alone(pipeline.key):
        finish_taking_back(lake, pipeline)  # what a crash left of an earlier decision comes first
        keys = _decided(lake, pipeline.key, actor, action, reason, decided)
        finish_taking_back(lake, pipeline)
    return keys


def _decided(
    lake: Lake,
    pipeline: str,
    actor: Actor,
    action: str,
    reason: str,
    decided: Callable[[Session], list[BatchDecision]],
) -> list[str]:
    """The decision and its audit in one transaction; the keys of the batches it is about."""
    require(lake.catalog, pipeline, actor, action)
    reason_of(reason)
    with lake.ledger.write() as session:
        try:
            made = decided(session)
        except decide.CannotDecide as wrong:
            raise Refused(str(wrong)) from wrong
        session.flush()
        batches = {b.id: b.key for b in session.scalars(select(Batch).where(Batch.id.in_([d.batch_id for d in made])))}
        for decision in made:
            details = {"batch": batches[decision.batch_id], "reason": reason, "waivers": decision.waivers}
            audit.append(session, lake, actor, action, decision.batch_id, details)
        keys = [batches[decision.batch_id] for decision in made]
    journal_decided(lake, pipeline)
    return keys
