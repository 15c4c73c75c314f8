"""Which accepted records a target took: a record is superseded where it lost in each merge target that it went to."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from pipeline_xml.checked import CheckedPipeline, CheckedTarget
from pipeline_xml.model import CsvTarget, HiveTarget
from processing import frame as f
from publishing.lake import Lake
from publishing.merge import MergeResult
from publishing.table_input import pinned
from publishing.targets import Publication, files_of, standing


def follows_merge(pipeline: CheckedPipeline, target: CheckedTarget) -> CheckedTarget | None:
    """The merge target of the dataset that an export writes: the export has the rows as they stand there."""
    for other in pipeline.targets if isinstance(target.target, CsvTarget) else ():
        merges = isinstance(other.target, HiveTarget) and other.target.mode == "merge"
        if merges and other.dataset.name == target.dataset.name:
            return other
    return None


def takers(pipeline: CheckedPipeline) -> list[int]:
    """The positions of the targets that decide what becomes of a record: all but exports that follow a merge."""
    return [position for position, target in enumerate(pipeline.targets) if follows_merge(pipeline, target) is None]


def lost_everywhere(
    lake: Lake, pipeline: CheckedPipeline, given: Publication, merged: Mapping[int, MergeResult]
) -> dict[int, int]:
    """The accepted records that no target took, by arrival. `merged`: what came of each merge target, by position.

    A merge that was committed before a crash is asked as it stood then, so a retry counts what the first run did.
    """
    import pyarrow as pa
    import pyarrow.compute as pc

    positions = takers(pipeline)
    if not all(pipeline.targets[position].dataset.per_record for position in positions):
        return {}  # groups hold a share of every record
    if not any(result.superseded for result in merged.values()):
        return {}
    if len(positions) == 1:
        return merged[positions[0]].superseded
    records = _records(given, given.manifest.records.get(f.ACCEPTED, ()))
    left = records
    for position in positions:
        ids = _records(given, files_of(given.manifest, position))[f.RECORD_ID].combine_chunks()
        if position in merged:
            target = pipeline.targets[position]
            table = lake.table(target.asset)
            snapshot = pinned(table, "/".join(target.asset), merged[position].version, or_newest=True)
            ids = standing(snapshot, ids, lambda batch: batch == given.batch.id)
        left = left.filter(pc.invert(pc.is_in(left[f.RECORD_ID], value_set=ids.cast(pa.string()))))
    return {entry["values"]: entry["counts"] for entry in pc.value_counts(left[f.ARRIVAL]).to_pylist()}


def _records(given: Publication, files: Sequence[Any]) -> Any:
    """Record ids and arrivals of staged files."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    schema = pa.schema([(f.RECORD_ID, pa.string()), (f.ARRIVAL, pa.int64())])
    found = [
        pq.ParquetFile(given.staged / item.path).read(columns=schema.names).select(schema.names).cast(schema)
        for item in files
    ]
    return pa.concat_tables([schema.empty_table(), *found])
