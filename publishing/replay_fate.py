"""What became of each record of a replay: told by what was staged and what stands in the targets; and its entry."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from pipeline_xml.checked import CheckedPipeline
from pipeline_xml.model import FileSource, HiveTarget
from processing import frame as f
from publishing.lake import Lake
from publishing.manifest import Manifest
from publishing.outcome import Counts, TargetOutcome
from publishing.quarantine import OPEN, REPLAYED, RESOLVED, SUPERSEDED
from publishing.restate import restate, with_column
from publishing.targets import Publication, standing


@dataclass(frozen=True, slots=True)
class Fate:
    """Arrow arrays of record ids. `known` stood in the target already, by an attempt that read them corrected.

    `again` were rejected once more, `set_aside` deduplicated or filtered by a step. `errors` are those of `again`.
    `by_table` counts the rows that stand in each target.
    """

    replayed: Any
    superseded: Any
    known: Any
    again: Any
    set_aside: Any
    errors: Any
    by_table: dict[str, int] = field(default_factory=dict)

    def counts(self, staged: Counts) -> Counts:
        return Counts(
            in_=staged.in_,
            accepted=len(self.replayed),
            quarantined=staged.quarantined,
            deduplicated=staged.deduplicated + len(self.known),
            filtered=staged.filtered,
            superseded=staged.superseded + len(self.superseded),
            skipped=staged.skipped,
        )

    def rows(self, target: TargetOutcome) -> int:
        return self.by_table.get(target.name, target.rows_written)

    def states(self) -> dict[str, Any]:
        """{state of the entry: record ids}"""
        import pyarrow as pa

        done = pa.concat_arrays([self.set_aside, self.known])
        return {REPLAYED: self.replayed, SUPERSEDED: self.superseded, OPEN: self.again, RESOLVED: done}


def fate_of(lake: Lake, pipeline: CheckedPipeline, given: Publication) -> Fate:
    """Asked once the targets are committed; asked again after a crash it says the same."""
    import pyarrow as pa
    import pyarrow.compute as pc

    manifest = given.manifest
    accepted = staged_ids(lake, manifest, f.ACCEPTED)
    again = staged_columns(lake, manifest, f.QUARANTINED, [f.RECORD_ID, f.ERRORS])
    none = pa.array([], pa.string())
    ours, others, by_table = none, none, {}
    tables = [t for t in pipeline.targets if isinstance(t.target, HiveTarget)]
    for target in tables:
        snapshot = lake.table(target.asset).snapshot()
        here = standing(snapshot, accepted, lambda batch: batch == given.batch.id)
        by_table["/".join(target.asset)] = len(here)
        ours = pc.unique(pa.concat_arrays([ours, here])) if len(ours) else here
        if len(here) < len(accepted):
            others = pa.concat_arrays([others, standing(snapshot, accepted, lambda batch: batch != given.batch.id)])
    if not tables:
        ours = accepted
    left = accepted.filter(pc.invert(pc.is_in(accepted, value_set=ours)))
    known = pc.is_in(left, value_set=others)
    aside = [staged_ids(lake, manifest, status) for status in (f.DEDUPLICATED, f.FILTERED, f.SKIPPED)]
    return Fate(
        replayed=ours,
        superseded=left.filter(pc.invert(known)),
        known=left.filter(known),
        again=again[f.RECORD_ID].combine_chunks(),
        set_aside=pa.concat_arrays(aside),
        errors=again[f.ERRORS].combine_chunks(),
        by_table=by_table,
    )


def settle_entries(lake: Lake, pipeline: CheckedPipeline, source: str, given: Publication, fate: Fate) -> None:
    """The entries say what became of their records, in one commit, `q:<replay>`. Those rejected again count a try."""
    import pyarrow as pa
    import pyarrow.compute as pc

    chosen = {state: records for state, records in fate.states().items() if len(records)}

    def change(entries: Any) -> Any:
        ids = entries["record_id"]
        waiting = pc.equal(entries["state"], OPEN)
        state = entries["state"]
        for name, records in chosen.items():
            state = pc.if_else(pc.and_(waiting, pc.is_in(ids, value_set=records)), name, state)
        if OPEN not in chosen:
            return with_column(entries, "state", state)
        failed = pc.and_(waiting, pc.is_in(ids, value_set=fate.again))
        tries = pc.fill_null(entries["tries"], 0)
        tries = pc.if_else(failed, pc.add(tries, pa.scalar(1, pa.int32())), entries["tries"])
        errors = entries["errors"].combine_chunks()
        both = pa.concat_arrays([errors, fate.errors.cast(errors.type)])
        fresh = pc.add(pc.index_in(ids, value_set=fate.again), len(errors))
        errors = both.take(pc.if_else(failed, fresh, pa.array(range(len(errors)), fresh.type)).combine_chunks())
        return with_column(with_column(with_column(entries, "state", state), "tries", tries), "errors", errors)

    name, version = f"q:{given.batch.id}", 2 * given.manifest.attempt - 1
    restate(lake, pipeline.key, _holders(lake, pipeline, source, chosen), {name: version}, change)


def _holders(lake: Lake, pipeline: CheckedPipeline, source: str, chosen: dict[str, Any]) -> Sequence[str]:
    """The batches that hold the entries: the one that rejected them, or a later one that read its table's row again."""
    if isinstance(pipeline.driving.source, FileSource):
        return [source]
    import pyarrow as pa
    import pyarrow.dataset as ds

    records = pa.concat_arrays(list(chosen.values()))
    wanted = ds.field("record_id").isin(records)
    rows = lake.quarantine(pipeline.key).snapshot().dataset().to_table(columns=["batch_id"], filter=wanted)
    return sorted({source, *rows["batch_id"].unique().to_pylist()})


def staged_ids(lake: Lake, manifest: Manifest, status: str) -> Any:
    """The record ids staged under a status, as one Arrow array."""
    return staged_columns(lake, manifest, status, [f.RECORD_ID])[f.RECORD_ID].combine_chunks()


def staged_columns(lake: Lake, manifest: Manifest, status: str, columns: Sequence[str]) -> Any:
    """`_record_id` and `_errors`, or one of them, of the records staged under a status, as an Arrow table."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    from processing.validate_errors import ERRORS_TYPE

    root = lake.settings.data / manifest.root
    types = {f.RECORD_ID: pa.string(), f.ERRORS: ERRORS_TYPE}
    schema = pa.schema([(name, types[name]) for name in columns])
    found = [
        pq.ParquetFile(root / item.path).read(columns=list(columns)).select(columns).cast(schema)
        for item in manifest.records.get(status, ())
    ]
    return pa.concat_tables([schema.empty_table(), *found])
