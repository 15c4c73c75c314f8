"""Tables against what the ledger says was published."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import select

from pipeline_xml.checked import Catalog, CheckedTarget
from pipeline_xml.model import HiveTarget
from processing import frame as f
from publishing.differences import Difference
from publishing.lake import Lake
from publishing.ledger import Attempt, Batch
from publishing.targets import unit_name
from publishing.verify_ledger import GOING_ON
from resources.lake_table import LakeTable, Snapshot

STANDING = ("published", "held", "superseded")


@dataclass(frozen=True, slots=True)
class Published:
    """A batch and what it last published: `attempt` is 0 where it never did, `rows` by target name."""

    batch: Batch
    attempt: int
    last: int
    rows: Mapping[str, int]
    quarantined: int

    @property
    def app(self) -> str:
        return self.batch.pipeline.partition("/")[0]

    @property
    def going_on(self) -> bool:
        return self.batch.status in GOING_ON

    @property
    def stands(self) -> bool:
        """Whether its rows belong into append targets."""
        return self.attempt > 0 and self.batch.status in STANDING


def published(lake: Lake) -> dict[str, Published]:
    """Every batch of the ledger with its newest published outcome."""
    with lake.ledger.read() as session:
        batches = session.scalars(select(Batch)).all()
        chosen = select(Attempt).where(Attempt.outcome.is_not(None)).order_by(Attempt.batch_id, Attempt.number)
        outcomes: dict[str, dict[int, dict[str, Any]]] = {}
        for attempt in session.scalars(chosen):
            outcomes.setdefault(attempt.batch_id, {})[attempt.number] = attempt.outcome or {}
    found = {}
    for batch in batches:
        own = outcomes.get(batch.id, {})
        done = max((n for n, o in own.items() if o["status"] == "published"), default=0)
        last = max(own, default=0)
        targets = own[done]["targets"] if done else []
        rows = {t["name"]: t["rows_written"] for t in targets if t["kind"] == "delta"}
        quarantine = own[last]["quarantine"] if last else None
        found[batch.id] = Published(batch, done, last, rows, quarantine["records"] if quarantine else 0)
    return found


def verify_tables(lake: Lake, catalog: Catalog, known: Mapping[str, Published]) -> Iterator[Difference]:
    """Every target table of the catalog, and every one that a batch says it published to."""
    targets: dict[str, tuple[str, CheckedTarget]] = {}
    for application in catalog.applications:
        for pipeline in application.pipelines:
            for target in pipeline.targets:
                if isinstance(target.target, HiveTarget):
                    targets["/".join(target.asset)] = (pipeline.key, target)
    names = set(targets) | {name for each in known.values() for name in each.rows}
    applications = {application.name for application in catalog.applications}
    for name in sorted(names):
        app, layer, table = name.split("/")
        if app in applications:
            yield from _table(lake.table((app, layer, table)), name, targets.get(name), known)


def _table(
    table: LakeTable, name: str, of: tuple[str, CheckedTarget] | None, known: Mapping[str, Published]
) -> Iterator[Difference]:
    writers = [each for each in known.values() if name in each.rows]
    if not table.exists:
        for each in writers:
            if each.stands:
                yield Difference("transaction_missing", f"{each.batch.key} in {name}", "no table", _wanted(each))
        return
    snapshot = table.snapshot()
    for each in writers:
        yield from _transaction(snapshot, name, each)
    counted = _counted(snapshot, f.BATCH_ID)
    for batch_id, rows in sorted(counted.items(), key=lambda item: str(item[0])):
        if batch_id not in known:
            subject = f"batch {batch_id} in {name}"
            yield Difference("rows_of_unknown_batch", subject, f"{rows} rows", "a batch of the ledger")
    for each in writers:
        yield from _rows(name, of[1] if of else None, each, counted.get(each.batch.id, 0), snapshot)
    for each in known.values():
        if name not in each.rows and each.batch.id in counted and not each.going_on:
            subject = f"{each.batch.key} in {name}"
            yield Difference("rows_not_published", subject, f"{counted[each.batch.id]} rows", "0 rows")
    if f.RECORD_ID in snapshot.schema().names:
        for record, times in twice(snapshot, f.RECORD_ID):
            yield Difference("record_doubled", f"record {record} in {name}", f"{times} rows", "1 row")


def _wanted(each: Published) -> str:
    return f"version {2 * each.attempt - 1} of b:{each.batch.id}"


def _transaction(snapshot: Snapshot, name: str, each: Published) -> Iterator[Difference]:
    if each.going_on:
        return
    version = snapshot.transaction(f"b:{each.batch.id}")
    subject = f"{each.batch.key} in {name}"
    if each.stands and version < 2 * each.attempt - 1:
        yield Difference("transaction_missing", subject, f"version {version}", _wanted(each))
    elif each.stands and version % 2 == 0 and not _waits(snapshot, each):
        yield Difference("transaction_missing", subject, f"version {version}: un-published", _wanted(each))
    elif not each.stands and version % 2:
        yield Difference("transaction_left", subject, f"version {version}", "none, or an even one")


def _waits(snapshot: Snapshot, each: Published) -> bool:
    """Whether it is held with nothing there: what it had published was replaced, and it was to come back."""
    return each.batch.status == "held" and snapshot.transaction(f"b:{each.batch.id}") == 2 * each.attempt


def _rows(
    name: str, target: CheckedTarget | None, each: Published, rows: int, snapshot: Snapshot
) -> Iterator[Difference]:
    """Where rows are counted: of a merge target newer ones take some away, of a replay a later attempt."""
    if each.going_on or target is None:
        return
    subject = f"{each.batch.key} in {name}"
    replaced = each.batch.status == "superseded" and (
        each.batch.origin == "replay" or snapshot.transaction(unit_name(target, each.batch)) > each.batch.arrival
    )
    if not each.stands or replaced or _waits(snapshot, each):
        if rows:
            yield Difference("rows_not_published", subject, f"{rows} rows", f"0 rows: it is {each.batch.status}")
        return
    wanted = each.rows[name]
    fewer_is_right = target.target.mode == "merge"
    if rows > wanted or (rows < wanted and not fewer_is_right):
        yield Difference("rows_differ", subject, f"{rows} rows", f"{wanted} rows")


def _counted(snapshot: Snapshot, column: str) -> dict[str, int]:
    """Rows by the value of a text column, read in pieces."""
    import pyarrow.compute as pc

    found: Counter[str] = Counter()
    for batch in snapshot.dataset().to_batches(columns=[column]):
        for entry in pc.value_counts(batch.column(0)).to_pylist():
            found[entry["values"]] += entry["counts"]
    return dict(found)


def twice(snapshot: Snapshot, column: str) -> list[tuple[str, int]]:
    """(value, how often) of those that stand more than once; the first twenty."""
    import pyarrow.compute as pc

    values = snapshot.dataset().to_table(columns=[column])[column]
    if pc.count_distinct(values).as_py() == len(values) - values.null_count:
        return []
    counts = pc.value_counts(values.drop_null())
    again = counts.filter(pc.greater(counts.field("counts"), 1))
    return [(entry["values"], entry["counts"]) for entry in again.slice(0, 20).to_pylist()]
