"""Entries of a quarantine table, a page at a time: in the order of their record ids, without reading what is not shown.

A table is a few files a batch, each in row groups with the least and greatest id of each. A page reads the groups that
can hold its records and no others, and of those only the columns that are shown.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from publishing.lake import Lake
from resources.lake_table import Snapshot

SHOWN = (
    "record_id", "batch_id", "attempt", "state", "source_file", "source_record", "business_date", "errors", "preview",
    "definition_hash", "rule_hash", "quarantined_at", "tries",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Entry:
    """A rejected record, masked. `preview` has the shape of cells; `errors` are all its reasons."""

    record_id: str
    batch_id: str
    attempt: int
    state: str
    source_file: str
    source_record: int
    business_date: str
    errors: tuple[Mapping[str, str | None], ...]
    preview: Mapping[str, str]
    definition_hash: str
    rule_hash: str
    quarantined_at: str
    tries: int


@dataclass(frozen=True, slots=True)
class _Group:
    """A row group, and the least and greatest record id it can hold; an empty text and None where nobody knows."""

    path: Path
    number: int
    low: str
    high: str | None


def page(
    lake: Lake, pipeline: str, batch_id: str, *, after: str | None = None, limit: int, state: str | None = None,
    rule: str | None = None,
) -> tuple[list[Entry], str | None]:  # fmt: skip
    """(entries, the record id after which the next page begins; None on the last)."""
    table = lake.quarantine(pipeline)
    if not table.exists:
        return [], None
    found = read_page(table.snapshot(), batch_id, SHOWN, after=after, limit=limit + 1, state=state, rule=rule)
    shown = [_entry(row) for row in found.slice(0, limit).to_pylist()]
    return shown, shown[-1].record_id if found.num_rows > limit else None


def read_page(
    snapshot: Snapshot, batch_id: str, columns: Sequence[str], *, after: str | None = None, limit: int,
    state: str | None = None, rule: str | None = None,
) -> Any:  # fmt: skip
    """The next `limit` entries of the batch in the order of their record ids, as an Arrow table of these columns."""
    import pyarrow as pa
    import pyarrow.compute as pc

    kept: list[Any] = []
    ids: Any = pa.array([], pa.string())
    for group in _groups(snapshot, batch_id, after):
        if len(ids) >= limit and group.low > ids[limit - 1].as_py():
            break
        rows = _chosen(group, batch_id, columns, after, state, rule, limit)
        if rows.num_rows:
            kept.append(rows)
            ids = pc.take(merged := pa.concat_arrays([ids, _flat(rows["record_id"])]), pc.sort_indices(merged))
    if not kept:
        return pa.table({name: [] for name in columns})
    whole = pa.concat_tables(kept, promote_options="default")
    return whole.take(pc.sort_indices(whole["record_id"])[:limit])


def _groups(snapshot: Snapshot, batch_id: str, after: str | None) -> list[_Group]:
    """The row groups that can hold such entries, by their least record id."""
    import pyarrow.parquet as pq

    found = []
    for item in snapshot.files():
        if not item.may_hold("batch_id", batch_id):
            continue
        metadata = pq.read_metadata(snapshot.root / item.path)
        names = _places(metadata)
        for number in range(metadata.num_row_groups):
            part = metadata.row_group(number)
            batch_low, batch_high = _limits(part, names["batch_id"])
            low, high = _limits(part, names["record_id"])
            if batch_high is not None and not batch_low <= batch_id <= batch_high:
                continue
            if after is None or high is None or high > after:
                found.append(_Group(snapshot.root / item.path, number, low, high))
    return sorted(found, key=lambda group: group.low)


def _places(metadata: Any) -> dict[str, int]:
    """Where each column stands in the file; nested ones have several places."""
    return {metadata.schema.column(i).path: i for i in range(metadata.num_columns)}


def _limits(part: Any, column: int) -> tuple[str, str | None]:
    statistics = part.column(column).statistics
    if statistics is None or not statistics.has_min_max:
        return "", None
    return statistics.min, statistics.max


def _chosen(
    group: _Group, batch_id: str, columns: Sequence[str], after: str | None, state: str | None, rule: str | None,
    limit: int,
) -> Any:  # fmt: skip
    """The first of the group's entries that are asked for. Columns that the file lacks came later: null."""
    import pyarrow as pa
    import pyarrow.compute as pc
    import pyarrow.parquet as pq

    with pq.ParquetFile(group.path) as file:
        there = file.schema_arrow.names
        needed = ["record_id", "batch_id", *(["state"] if state else []), *(["errors"] if rule else [])]
        keys = file.read_row_group(group.number, columns=needed)
        mask = pc.equal(keys["batch_id"], batch_id)
        if after is not None:
            mask = pc.and_(mask, pc.greater(keys["record_id"], after))
        if state is not None:
            mask = pc.and_(mask, pc.equal(keys["state"], state))
        if rule is not None:
            mask = pc.and_(mask, breaks(keys["errors"], rule))
        places = pc.indices_nonzero(mask)
        if not len(places):
            return pa.table({name: [] for name in columns})
        order = pc.sort_indices(keys["record_id"].take(places))[:limit]
        rows = file.read_row_group(group.number, columns=[name for name in columns if name in there])
        rows = rows.take(places.take(order))
        for name in columns:
            if name not in there:
                rows = rows.append_column(name, pa.nulls(rows.num_rows))
        return rows.select(list(columns))


def breaks(errors: Any, rule: str) -> Any:
    """A boolean for each list of errors: whether the rule is among them."""
    import pyarrow as pa
    import pyarrow.compute as pc

    whole = _flat(errors)
    parents = pc.list_parent_indices(whole)
    rows = parents.filter(pc.equal(whole.flatten().field("rule"), rule))
    return pc.is_in(pa.array(range(len(whole)), parents.type), value_set=rows)


def _flat(column: Any) -> Any:
    import pyarrow as pa

    return column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column


def find(snapshot: Snapshot, batch_id: str, record_id: str, columns: Sequence[str] = SHOWN) -> Any | None:
    """The entry of one record of the batch as an Arrow table of one row; None where there is none."""
    return next(scan(snapshot, [batch_id], columns, record_ids=[record_id]), None)


def entry_of(lake: Lake, pipeline: str, batch_id: str, record_id: str) -> Entry | None:
    """One record of the batch; None where the batch has no such entry."""
    table = lake.quarantine(pipeline)
    row = find(table.snapshot(), batch_id, record_id) if table.exists else None
    return _entry({"tries": None, **row.to_pylist()[0]}) if row is not None else None


def scan(
    snapshot: Snapshot, batch_ids: Sequence[str], columns: Sequence[str], *, rule: str | None = None,
    state: str | None = None, record_ids: Sequence[str] | None = None,
) -> Iterator[Any]:  # fmt: skip
    """All entries of these batches that are asked for, as Arrow tables of at most a row group each."""
    import pyarrow as pa
    import pyarrow.compute as pc
    import pyarrow.parquet as pq

    batches = pa.array(sorted(batch_ids), pa.string())
    records = None if record_ids is None else pa.array(record_ids, pa.string())
    first, last = (min(record_ids, default=""), max(record_ids, default="")) if record_ids is not None else ("", "")
    needed = list(dict.fromkeys((*columns, "record_id", "batch_id", "state", *(["errors"] if rule else []))))
    for item in snapshot.files():
        if not any(item.may_hold("batch_id", batch_id) for batch_id in batch_ids):
            continue
        with pq.ParquetFile(snapshot.root / item.path) as file:
            there = [name for name in needed if name in file.schema_arrow.names]
            place = _places(file.metadata)["record_id"]
            for number in range(file.metadata.num_row_groups):
                low, high = _limits(file.metadata.row_group(number), place)
                if record_ids is not None and high is not None and not (last >= low and first <= high):
                    continue
                rows = file.read_row_group(number, columns=there)
                mask = pc.is_in(rows["batch_id"], value_set=batches)
                if records is not None:
                    mask = pc.and_(mask, pc.is_in(rows["record_id"], value_set=records))
                if state is not None:
                    mask = pc.and_(mask, pc.equal(rows["state"], state))
                if rule is not None:
                    mask = pc.and_(mask, breaks(rows["errors"], rule))
                rows = rows.filter(mask)
                if rows.num_rows:
                    yield rows.select([name for name in columns if name in there]).combine_chunks()


def _entry(row: Mapping[str, Any]) -> Entry:
    return Entry(
        record_id=row["record_id"],
        batch_id=row["batch_id"],
        attempt=row["attempt"],
        state=row["state"],
        source_file=row["source_file"],
        source_record=row["source_record"],
        business_date=row["business_date"].isoformat(),
        errors=tuple(dict(error) for error in row["errors"]),
        preview=json.loads(row["preview"]) if row["preview"] else {},
        definition_hash=row["definition_hash"],
        rule_hash=row["rule_hash"],
        quarantined_at=row["quarantined_at"].isoformat(timespec="seconds").replace("+00:00", "Z"),
        tries=row["tries"] or 0,
    )
