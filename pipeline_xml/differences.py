"""What changed between two states of the definitions, whether it breaks something, and for whom.

Compared is what others rely on: the columns, keys and modes of lake tables and exports, the contracts that senders of
files have to keep, the rules that reject, the jobs. A change breaks where somebody who did nothing wrong has to do
something.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from pipeline_xml.checked import Catalog, CheckedPipeline, CheckedSource, CheckedTarget, Column
from pipeline_xml.contract import Field
from pipeline_xml.differences_jobs import job_changes
from pipeline_xml.model import HiveTarget
from pipeline_xml.versioned import is_greater, versioned

Asset = tuple[str, str, str]


@dataclass(frozen=True, slots=True)
class Change:
    """`subject` is a table, an export, a feed, a pipeline or a job; `whom` who has to do something, or is to know."""

    breaking: bool
    subject: str
    what: str
    whom: tuple[str, ...] = ()


def differences(old: Catalog, new: Catalog) -> tuple[Change, ...]:
    """The breaking ones first, then by subject."""
    found = [*_tables(old, new), *_feeds(old, new), *_rules(old, new), *_jobs(old, new)]
    return tuple(sorted(found, key=lambda c: (not c.breaking, c.subject, c.what)))


def _pipelines(catalog: Catalog) -> dict[str, CheckedPipeline]:
    return {p.key: p for a in catalog.applications for p in a.pipelines}


def _targets(catalog: Catalog) -> dict[Asset, tuple[CheckedPipeline, CheckedTarget]]:
    return {t.asset: (p, t) for p in _pipelines(catalog).values() for t in p.targets}


def _tables(old: Catalog, new: Catalog) -> Iterator[Change]:
    before, after = _targets(old), _targets(new)
    kept = {p.key for p in _pipelines(new).values()}
    for asset, (pipeline, target) in before.items():
        name, readers = ".".join(asset), readers_of(old, asset)
        if asset in after:
            yield from _target(name, readers, target, after[asset][1])
            yield from _unversioned(name, (pipeline, target), after[asset])
        elif pipeline.key in kept or pipeline.key not in _unchecked(old, new):
            yield Change(True, name, "is not written any more", _named(readers, None))
        else:
            yield Change(True, name, f"{pipeline.key}, which writes it, does not pass the check any more", ())
    for asset in after.keys() - before.keys():
        yield Change(False, ".".join(asset), "is new")


def _unchecked(old: Catalog, new: Catalog) -> set[str]:
    """Pipelines whose documents are still there, and have errors now."""
    places = {p.where.file for p in new.problems if p.severity == "error"}
    return {key for key, p in _pipelines(old).items() if p.pipeline.where.file in places}


def _target(name: str, readers: Mapping[str, set[str]], old: CheckedTarget, new: CheckedTarget) -> Iterator[Change]:
    columns = {c.name: c for c in new.dataset.columns}
    for column in old.dataset.columns:
        whom = _named(readers, column.name)
        now = columns.get(column.name)
        if now is None:
            yield Change(True, name, f"column {column.name} is gone", whom)
        else:
            yield from _column(name, whom, column, now)
    known = {c.name for c in old.dataset.columns}
    for added in (c for c in new.dataset.columns if c.name not in known):
        yield Change(False, name, f"column {added.name} {added.type} is new", _named(readers, None))
    everybody = _named(readers, None)
    if old.dataset.per_record != new.dataset.per_record:
        word = "a row is no record any more" if old.dataset.per_record else "a row is a record now"
        yield Change(True, name, word, everybody)
    first, second = old.target, new.target
    if first.mode != second.mode:
        yield Change(True, name, f"mode {first.mode} became {second.mode}", everybody)
    if old.keys != new.keys and "merge" in (first.mode, second.mode):
        yield Change(True, name, f"keys {_list(old.keys)} became {_list(new.keys)}", everybody)
    if isinstance(first, HiveTarget) and isinstance(second, HiveTarget) and first.partition_by != second.partition_by:
        what = f"partitions by {_list(first.partition_by)} became {_list(second.partition_by)}"
        yield Change(True, name, f"{what}: the table has to be made anew", everybody)


def _unversioned(
    name: str, old: tuple[CheckedPipeline, CheckedTarget], new: tuple[CheckedPipeline, CheckedTarget]
) -> Iterator[Change]:
    """Columns that go without a greater version: the table takes no batch until there is one."""
    gone = [column for column in old[1].dataset.names if column not in new[1].dataset.names]
    was, now = versioned(*old), versioned(*new)
    if gone and isinstance(new[1].target, HiveTarget) and not is_greater(now.version, was.version):
        until = f"until the {now.named}, {now.version} now, is above {was.version}"
        yield Change(True, name, f"batches without {_list(gone)} are held {until}")


def _list(names: Iterable[str]) -> str:
    return ", ".join(names) or "nothing"


def _column(name: str, whom: tuple[str, ...], old: Column, new: Column) -> Iterator[Change]:
    if old.type != new.type:
        yield Change(True, name, f"column {old.name} {old.type} became {new.type}", whom)
    if not old.nullable and new.nullable:
        yield Change(True, name, f"column {old.name} may be null now", whom)
    if old.classification != new.classification:
        was, became = old.classification or "not classified", new.classification or "not classified"
        yield Change(new.classification is not None, name, f"column {old.name} was {was} and is {became}", whom)


def readers_of(catalog: Catalog, asset: Asset) -> dict[str, set[str]]:
    """{pipeline: the table's columns that its own targets are computed from} of all that read a table."""
    found: dict[str, set[str]] = {}
    for pipeline in _pipelines(catalog).values():
        for source in pipeline.sources:
            if source.upstream == asset:
                columns = (c for t in pipeline.targets for c in t.dataset.columns)
                used = {column for c in columns for origin, column in c.origins if origin == source.source.id}
                used |= {c for rule in pipeline.row_rules if source is pipeline.driving for c in rule.columns}
                found.setdefault(pipeline.key, set()).update(used)
    return found


def _named(readers: Mapping[str, set[str]], column: str | None) -> tuple[str, ...]:
    """The readers of a table; of a column those that compute from it, and where none does all who may look at it."""
    using = sorted(key for key, used in readers.items() if column in used)
    return tuple(using) or tuple(sorted(readers))


def _feeds(old: Catalog, new: Catalog) -> Iterator[Change]:
    """What senders of files have to keep to."""
    after = _pipelines(new)
    for key, pipeline in _pipelines(old).items():
        now = {s.source.id: s for s in after[key].sources} if key in after else {}
        for source in pipeline.sources:
            if source.upstream is None and source.source.id in now:
                yield from _contract(f"{key}: {source.source.id}", source, now[source.source.id])


def _contract(feed: str, old: CheckedSource, new: CheckedSource) -> Iterator[Change]:
    senders = (f"senders of {old.zone.app}/{old.zone.id}" if old.zone else "senders of the files",)
    before = {f.name: f for f in old.contract.fields}
    for name in before.keys() - {f.name for f in new.contract.fields}:
        yield Change(True, feed, f"field {name} is not expected any more", senders)
    for field in new.contract.fields:
        was = before.get(field.name)
        if was is None:
            yield Change(True, feed, f"field {field.name} is expected", senders)
        elif stricter := _stricter(was, field):
            yield Change(True, feed, f"field {field.name} {stricter}", senders)
        elif was != field:
            yield Change(False, feed, f"field {field.name} is allowed more, or described anew", senders)


def _stricter(old: Field, new: Field) -> str | None:
    if old.nested != new.nested:
        return f"{old.nested or old.type} became {new.nested or new.type}"
    if (old.type, old.format) != (new.type, new.format):
        return f"{old.type} became {new.type}" if old.type != new.type else "has another format"
    if old.nullable and not new.nullable:
        return "must not be empty now"
    return "has other constraints" if old.constraints != new.constraints or old.codes != new.codes else None


def _jobs(old: Catalog, new: Catalog) -> Iterator[Change]:
    pipelines = _pipelines(old)

    def readers(key: str) -> tuple[str, ...]:
        targets = pipelines[key].targets if key in pipelines else ()
        return tuple(sorted({reader for t in targets for reader in readers_of(old, t.asset)}))

    for change in job_changes(old, new, readers):
        yield Change(change.breaking, f"job {change.job}", change.what, change.whom)


def _rules(old: Catalog, new: Catalog) -> Iterator[Change]:
    after = _pipelines(new)
    for key, pipeline in _pipelines(old).items():
        if key not in after:
            continue
        before, now = _marks(pipeline), _marks(after[key])
        for name, mark in now.items():
            if before.get(name) != mark:
                word = "is new" if name not in before else "changed"
                yield Change(False, key, f"rule {name} {word}: it may reject or hold what passed", ())
        yield from (Change(False, key, f"rule {name} is gone", ()) for name in before.keys() - now.keys())
        if pipeline.definition_hash != after[key].definition_hash:
            yield Change(False, key, "its definition changed: what is published stays until it is reprocessed", ())


def _marks(pipeline: CheckedPipeline) -> dict[str, str]:
    found = {r.rule.id: r.fingerprint for r in pipeline.row_rules}
    found |= {r.rule.id: r.fingerprint for r in pipeline.key_rules}
    return found | {r.rule.id: r.fingerprint for r in pipeline.dataset_rules}


def is_breaking(changes: Iterable[Change]) -> bool:
    return any(change.breaking for change in changes)
