"""Batches that come from a lake table: which rows of which version a pipeline has not read yet.

The position is the end of the last persisted batch. A `changes` batch is the files that commits in (from, to] added;
commits without data change (compaction) are skipped. One that takes rows away holds the batch, unless they come back
in the same commit (a reprocess, a replay) and either the pipeline merges, so that reading a record again replaces its
row, or they come back as they were: then only the records that are new are read.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date
from typing import Any

from sqlalchemy import func, or_, select

from pipeline_xml.checked import CheckedPipeline, CheckedSource
from pipeline_xml.model import HiveSource, HiveTarget
from processing.frame import BUSINESS_DATE, RECORD_ID
from processing.scan_result import business_date as period_end
from publishing.intake import journal_open_batches
from publishing.lake import Lake
from publishing.ledger import Batch, now
from publishing.persist import batch_key
from publishing.table_input import Window
from publishing.upstream_log import come_back_equal, comes_back, data_changes, log_holds, record_ids
from resources.lake_table import DataFile, LakeTable, Snapshot

REWRITTEN = "upstream_rewritten"


def persist_table_batches(lake: Lake, pipeline: CheckedPipeline, day: date | None) -> None:
    """Persists a batch for every business date whose rows the pipeline has not read (of `day` only, where given)."""
    source, upstream = pipeline.driving.source, pipeline.driving.upstream
    assert isinstance(source, HiveSource)  # noqa: S101 - the caller chose by kind
    if upstream is None:
        return
    table = lake.table(upstream)
    if not table.exists:
        return
    snapshot = table.snapshot()
    name = ".".join(upstream)
    if source.read == "changes":
        _persist_changes(lake, pipeline)
        return
    others = {s.source.id: lake.table(s.upstream) for s in pipeline.drivers[1:] if s.upstream is not None}
    if not all(other.exists for other in others.values()):
        return
    snapshots = {each: other.snapshot() for each, other in others.items()}
    versions = {each: other.version for each, other in snapshots.items()}
    if source.read == "full":
        days = [day or period_end(now().date().isoformat(), pipeline.pipeline.metadata.grain)]
    else:
        found = {d for each in (snapshot, *snapshots.values()) for d in business_dates(each, each.files())}
        days = sorted(d for d in found if day in (None, d))
    for each in days:
        last = _last(lake, pipeline.key, each if source.read == "partition" else None)
        if last is not None and last.window is not None:
            before = Window.of(last.window)
            moved = _moved(table, before.version, snapshot, source.read, each) or any(
                _moved(others[name], before.others.get(name, -1), other, source.read, each)
                for name, other in snapshots.items()
            )
            if not moved:
                continue
        _persist(lake, pipeline, [(each, Window(name, source.read, snapshot.version, others=versions))])


def business_dates(snapshot: Snapshot, files: Sequence[DataFile]) -> list[date]:
    """The business dates that stand in some files; from statistics where they prove a single one."""
    found: set[date] = set()
    mixed = []
    for item in files:
        low, high = item.low.get(BUSINESS_DATE), item.high.get(BUSINESS_DATE)
        if low is not None and low == high:
            found.add(date.fromisoformat(str(low)))
        else:
            mixed.append(item)
    if mixed:
        import pyarrow.compute as pc

        column = snapshot.dataset(mixed).to_table(columns=[BUSINESS_DATE])[BUSINESS_DATE]
        found |= {d for d in pc.unique(column).to_pylist() if d is not None}
    return sorted(found)


def _moved(table: LakeTable, before: int, snapshot: Snapshot, read: str, day: date) -> bool:
    """Whether a file that may hold rows of the unit came or went since a version; True where that is not known."""
    if before == snapshot.version:
        return False
    if not log_holds(table, before):
        return True
    old = {f.path: f for f in table.snapshot(before).files()}
    new = {f.path: f for f in snapshot.files()}
    changed = [f for f in (*old.values(), *new.values()) if (f.path in old) != (f.path in new)]
    return any(read == "full" or f.may_hold(BUSINESS_DATE, day.isoformat()) for f in changed)


@dataclass(frozen=True, slots=True)
class Changes:
    """What commits in (since, version] did to a table: paths of the rows to read by business date, less the records of
    the files `without`. `rewritten` says why it cannot be read so; `news` whether there is anything to tell.
    """

    table: str
    since: int
    version: int
    by_day: Mapping[date, Sequence[str]]
    without: tuple[str, ...]
    rewritten: tuple[str, ...]
    news: bool
    first: date | None = None  # a business date of what came, where nothing of it is new

    def window(self, day: date, parts: Mapping[str, Window]) -> Window:
        paths = tuple(sorted(self.by_day.get(day, ())))
        without = self.without if paths else ()
        return Window(self.table, "changes", self.version, self.since, paths, without=without, parts=parts)


def _persist_changes(lake: Lake, pipeline: CheckedPipeline) -> None:
    """A batch for each business date of what came into any of the driving tables since the last one."""
    last = _last(lake, pipeline.key, None)
    read = Window.of(last.window) if last is not None and last.window is not None else None
    if any(source.upstream is None or not lake.table(source.upstream).exists for source in pipeline.drivers):
        return
    found: dict[str, Changes] = {}
    for number, source in enumerate(pipeline.drivers):
        since = -1 if read is None else read.version if number == 0 else _version_of(read, source.source.id)
        found[source.source.id] = _changes(lake, pipeline, source, since)
    changed = [each for each in found.values() if each.news]
    if not changed:
        return
    own, *others = found.items()

    def window(day: date) -> Window:
        return own[1].window(day, {source: each.window(day, {}) for source, each in others})

    days = sorted({day for each in changed for day in each.by_day})
    if any(each.rewritten for each in changed):
        if _holds(lake, pipeline.key):  # it says already what there is to do
            return
        told = sorted(f"{each.table}: {why}" if others else why for each in changed for why in each.rewritten)
        day = min(days, default=period_end(now().date().isoformat(), pipeline.pipeline.metadata.grain))
        reason = f"{REWRITTEN}: {'; '.join(told)}; partitions: " + ", ".join(map(str, days))
        reason += f"; to read it anew: lake batches reread {pipeline.key} BATCH"
        nothing = {name: replace(each.window(day, {}), files=(), without=()) for name, each in found.items()}
        held = nothing.pop(own[0])
        _persist(lake, pipeline, [(day, replace(held, parts=nothing))], reason)
        return
    if not days:  # nothing is new: a batch without rows keeps the position
        days = [min(each.first for each in changed if each.first is not None)]
    _persist(lake, pipeline, [(day, window(day)) for day in days])


def _version_of(read: Window, source: str) -> int:
    """Up to which version another driving table was read; -1 where it was not."""
    return read.parts[source].version if source in read.parts else read.others.get(source, -1)


def _changes(lake: Lake, pipeline: CheckedPipeline, source: CheckedSource, since: int) -> Changes:
    assert source.upstream is not None  # noqa: S101 - the caller looked
    table, name = lake.table(source.upstream), ".".join(source.upstream)
    snapshot = table.snapshot()
    added: dict[str, DataFile] = {}
    rewritten: set[str] = set()
    without: set[str] = set()
    for version in range(since + 1, snapshot.version + 1) if since >= 0 else ():
        if not log_holds(table, version):
            rewritten.add(f"the log of version {version} is gone")
            continue
        came, went = data_changes(table, version)
        if went and not _replaceable(pipeline) and _only_more(source, table, version, came, went, added):
            unread = [path for path in went if path in added]
            without |= {path for path in went if path not in unread}
            added = {path: item for path, item in added.items() if path not in unread}
        elif went and not (_replaceable(pipeline) and comes_back(table, list(came), went)):
            rewritten.add(f"version {version} takes rows away")
        elif went:
            # What is not read yet and came back in this commit is read as it came back.
            for path in list(added):
                if path in went or comes_back(table, list(came), [path]):
                    del added[path]
        added |= came
    if gone := [path for path in added if not (table.root / path).exists()]:
        rewritten.add(f"{len(gone)} files were removed before they were read")
        added = {path: item for path, item in added.items() if path not in gone}
    if since == -1:  # the first read starts from what the snapshot holds
        added, rewritten = {f.path: f for f in snapshot.files()}, set()
    by_day: dict[date, list[str]] = {}
    read = None if rewritten or not without else record_ids([table.root / path for path in sorted(without)])
    for item in added.values():
        for each in business_dates(snapshot, [item]) if read is None else _new_dates(snapshot, item, read):
            by_day.setdefault(each, []).append(item.path)
    first = min(business_dates(snapshot, list(added.values())), default=None) if added and not by_day else None
    news = bool(added or rewritten)
    return Changes(
        name, since, snapshot.version, by_day, tuple(sorted(without)), tuple(sorted(rewritten)), news, first
    )


def _new_dates(snapshot: Snapshot, item: DataFile, read: Any) -> list[date]:
    """The business dates of a file's records that are not among those read."""
    import pyarrow.dataset as ds

    fresh = ~ds.field(RECORD_ID).isin(read)
    column = snapshot.dataset([item]).to_table(columns=[BUSINESS_DATE], filter=fresh)[BUSINESS_DATE]
    return sorted(each for each in column.unique().to_pylist() if each is not None)


def _holds(lake: Lake, pipeline: str) -> bool:
    """Whether a batch is held already for its upstream."""
    with lake.ledger.read() as session:
        held = select(Batch.id).where(Batch.pipeline == pipeline, Batch.reason.like(f"{REWRITTEN}%"))
        return session.scalars(held.where(Batch.status.in_(("open", "held"))).limit(1)).first() is not None


def _only_more(
    source: CheckedSource,
    table: LakeTable,
    version: int,
    came: Mapping[str, DataFile],
    went: Sequence[str],
    unread: Mapping[str, DataFile],
) -> bool:
    """Whether a commit that takes files away brings their rows back as they were, beside new ones.

    Not where it takes unread rows along that a compaction had put elsewhere: they could not be told from read ones.
    """
    moved = any(path not in went and comes_back(table, list(came), [path]) for path in unread)
    columns = [column.name for column in source.contract.columns]
    return not moved and come_back_equal(table, version, came, went, columns)


def _replaceable(pipeline: CheckedPipeline) -> bool:
    """Whether reading a record a second time replaces its row: true of merge targets only."""
    return all(isinstance(t.target, HiveTarget) and t.target.mode == "merge" for t in pipeline.targets)


def _last(lake: Lake, pipeline: str, day: date | None) -> Batch | None:
    """The newest batch whose window counts as read: not one that is held for its upstream, nor one taken back."""
    with lake.ledger.read() as session:
        read = or_(Batch.reason.is_(None), Batch.reason.not_like(f"{REWRITTEN}%"))
        stands = Batch.status.not_in(("withdrawing", "withdrawn", "unpublishing", "unpublished"))
        chosen = select(Batch).where(Batch.pipeline == pipeline, Batch.origin == "table", read, stands)
        if day is not None:
            chosen = chosen.where(Batch.business_date == day)
        return session.scalars(chosen.order_by(Batch.arrival.desc()).limit(1)).first()


def _identity(parts: Sequence[str]) -> str:
    return hashlib.sha256("\x00".join(parts).encode()).hexdigest()[:32]


def _persist(
    lake: Lake, pipeline: CheckedPipeline, windows: Sequence[tuple[date, Window]], fault: str | None = None
) -> None:
    """All in one transaction: the dates of one range of changes are read together or not at all."""
    with lake.ledger.write() as session:
        newest = session.scalar(select(func.max(Batch.arrival)).where(Batch.pipeline == pipeline.key)) or 0
        for day, window in windows:
            others = [f"{source}@{version}" for source, version in sorted(window.others.items())]
            others += [f"{source}@{part.since}-{part.version}" for source, part in sorted(window.parts.items())]
            parts = (pipeline.key, window.table, day.isoformat(), str(window.since), str(window.version), *others)
            identity, known, before = _identity(parts), True, 0
            while known and (found := session.get(Batch, identity)) is not None:
                known = found.status in ("withdrawn", "unpublished")  # taken back: the window may be read once more
                before += 1
                identity = _identity((*parts, f"#{before}")) if known else identity
            if not known:
                continue
            newest += 1
            session.add(
                Batch(
                    id=identity,
                    key=batch_key(day, f"{window.table.rsplit('.', 1)[-1]}-v{window.version}", 1, identity),
                    pipeline=pipeline.key,
                    business_date=day,
                    origin="table",
                    sender=None,
                    arrival=newest,
                    window=window.as_dict(),
                    status="open",
                    reason=fault,
                    attempt=1,
                    created_at=now(),
                )
            )
    journal_open_batches(lake, pipeline.key)
