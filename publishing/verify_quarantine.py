"""Quarantine against what attempts rejected: every rejected record has one entry, in a state its batch can have.

File closure: quarantined = open + replayed + resolved + discarded + superseded + withdrawn (+ held).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from sqlalchemy import select

from publishing.decisions import QuarantinedBatch
from publishing.differences import Difference
from publishing.lake import Lake
from publishing.quarantine import DISCARDED, HELD, OPEN, REPLAYED, RESOLVED, SUPERSEDED, WITHDRAWN
from publishing.verify_tables import Published, twice
from resources.lake_table import Snapshot

STATES = (OPEN, HELD, RESOLVED, REPLAYED, DISCARDED, SUPERSEDED, WITHDRAWN)
# What entries of a batch cannot be in, by the status of the batch.
IMPOSSIBLE = {
    "published": (HELD,),
    "superseded": (HELD,),
    "withdrawn": (HELD, OPEN),
    "unpublished": (HELD, OPEN),
}


def verify_quarantine(lake: Lake, known: Mapping[str, Published]) -> Iterator[Difference]:
    """The quarantine table of every pipeline that has a batch."""
    with lake.ledger.read() as session:
        stored = {row.batch_id: row.states for row in session.scalars(select(QuarantinedBatch))}
    for pipeline in sorted({each.batch.pipeline for each in known.values()}):
        table = lake.quarantine(pipeline)
        own = {batch_id: each for batch_id, each in known.items() if each.batch.pipeline == pipeline}
        if table.exists:
            snapshot = table.snapshot()
            entries = _entries(snapshot)
            for record, times in twice(snapshot, "record_id"):
                yield Difference("entry_doubled", f"record {record} of {pipeline}", f"{times} entries", "1 entry")
        else:
            entries = {}
        yield from _batches(pipeline, own, entries)
        yield from _summaries(own, entries, stored)


Entries = dict[str, dict[tuple[str, int], int]]


def _entries(snapshot: Snapshot) -> Entries:
    """batch -> {(state, attempt): entries}"""
    import pyarrow as pa

    columns = ["batch_id", "state", "attempt"]
    found: Entries = {}
    for rows in snapshot.dataset().to_batches(columns=columns):
        groups = pa.Table.from_batches([rows]).group_by(columns).aggregate([([], "count_all")])
        for group in groups.to_pylist():
            of_batch = found.setdefault(group["batch_id"], {})
            key = (group["state"], group["attempt"])
            of_batch[key] = of_batch.get(key, 0) + group["count_all"]
    return found


def _states(of_batch: Mapping[tuple[str, int], int]) -> dict[str, int]:
    found: dict[str, int] = {}
    for (state, _), number in of_batch.items():
        found[state] = found.get(state, 0) + number
    return found


def _batches(pipeline: str, own: Mapping[str, Published], entries: Entries) -> Iterator[Difference]:
    for batch_id, of_batch in sorted(entries.items()):
        each = own.get(batch_id)
        if each is None:
            number = sum(of_batch.values())
            subject = f"batch {batch_id} of {pipeline}"
            yield Difference("entries_of_unknown_batch", subject, f"{number} entries", "a batch of the ledger")
            continue
        for state, number in _states(of_batch).items():
            if state not in STATES:
                subject = f"{each.batch.key} of {pipeline}"
                yield Difference("entry_state_unknown", subject, f"{number} entries '{state}'", ", ".join(STATES))
            elif state in IMPOSSIBLE.get(each.batch.status, ()):
                subject = f"{each.batch.key} of {pipeline}, which is {each.batch.status}"
                yield Difference("entry_state_differs", subject, f"{number} entries '{state}'", "none in this state")
    for batch_id, each in sorted(own.items()):
        yield from _closure(pipeline, each, entries.get(batch_id, {}))


def _closure(pipeline: str, each: Published, of_batch: Mapping[tuple[str, int], int]) -> Iterator[Difference]:
    """What the newest attempt rejected has entries of that attempt. A replay's records keep the entry they have.

    Records of a table may be read again by a later batch, which then has the entry; and so may files of a batch that
    was taken back.
    """
    if each.going_on or not each.last or each.batch.origin == "replay":
        return
    found = sum(number for (_, attempt), number in of_batch.items() if attempt == each.last)
    fewer_is_right = each.batch.origin == "table" or each.batch.status in ("withdrawn", "unpublished")
    if found > each.quarantined or (found < each.quarantined and not fewer_is_right):
        subject = f"{each.batch.key} of {pipeline}, attempt {each.last}"
        yield Difference("entries_differ", subject, f"{found} entries", f"{each.quarantined} quarantined")


def _summaries(own: Mapping[str, Published], entries: Entries, stored: Mapping[str, Any]) -> Iterator[Difference]:
    for batch_id, each in sorted(own.items()):
        found, expected = stored.get(batch_id, {}), _states(entries.get(batch_id, {}))
        if not each.going_on and found != expected:
            yield Difference("quarantined_differs", each.batch.key, _said(found), _said(expected))


def _said(states: Mapping[str, int]) -> str:
    return ", ".join(f"{number} {state}" for state, number in sorted(states.items())) or "none"
