"""The quarantine table of a pipeline: every rejected record with all its reasons, its raw text sealed.

One commit an attempt, with the transaction `q:<batch>`: publishing attempt n is version 2n-1. Entries of an earlier
attempt that this one no longer rejects become `resolved`; those it rejects again are replaced.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator, Mapping, Sequence
from datetime import date, datetime
from pathlib import Path
from typing import Any

from pipeline_xml.checked import CheckedPipeline
from pipeline_xml.model import CsvSource
from processing import frame as f
from processing.keys import seal
from processing.raw_text import raw_records
from processing.read import RawFile
from processing.scan_head import cells
from publishing import failpoints
from publishing.commit import committed, until_committed
from publishing.durable import fsync
from publishing.lake import Lake
from publishing.ledger import Batch
from publishing.manifest import Manifest
from resources.lake_table import DataFile, Snapshot, describe_parquet
from resources.quarantine_key import quarantine_key

OPEN = "open"
HELD = "held"
RESOLVED = "resolved"
CHUNK = 50_000
PREVIEW = 24


def schema() -> Any:
    """The Arrow schema of a quarantine table."""
    import pyarrow as pa

    text = pa.string()
    error = pa.struct([(name, text) for name in f.ERROR_FIELDS])
    return pa.schema(
        [
            ("record_id", text), ("batch_id", text), ("attempt", pa.int32()), ("state", text), ("pipeline", text),
            ("dataset", text), ("source_file", text), ("source_record", pa.int64()), ("business_date", pa.date32()),
            ("stage", text), ("errors", pa.list_(error)), ("raw", pa.binary()), ("key_id", text), ("preview", text),
            ("definition_hash", text), ("rule_hash", text), ("run_id", text),
            ("quarantined_at", pa.timestamp("us", tz="UTC")),
        ]
    )  # fmt: skip


def commit_quarantine(
    lake: Lake,
    pipeline: CheckedPipeline,
    batch: Batch,
    manifest: Manifest,
    raw: Mapping[int, RawFile],
    opened_at: datetime,
    run_id: str,
) -> tuple[Path, int]:
    """Commits the rejects of an attempt once; returns the table's path and the number of records."""
    staged = manifest.records.get(f.QUARANTINED, ())
    records = sum(item.records for item in staged)
    table = lake.quarantine(pipeline.key)
    seen = _record_ids(lake, manifest) if batch.origin == "table" and table.exists else None
    if not records and not (table.exists and (manifest.attempt > 1 or seen is not None)):
        return table.root, 0
    table.open_or_create(schema(), (), f"Rejected records of {pipeline.key}")
    name, version = f"q:{manifest.batch}", 2 * manifest.attempt - 1

    def commit(snapshot: Snapshot) -> int | None:
        if committed(snapshot, name, version):
            return None
        replaced = _known(snapshot, manifest, seen) if version > 1 or seen is not None else []
        if not records and not replaced:
            return None
        rows = _rows(lake, pipeline, manifest, raw, opened_at, run_id)
        adds = [_write(table.root, manifest, rows)] if records else []
        adds += _earlier(snapshot, replaced, manifest, adds, seen)
        failpoints.reached("quarantine.written")
        landed = snapshot.commit(adds, replaced, {name: version}, {"datalake.batch": manifest.batch})
        failpoints.reached("quarantine.committed")
        return landed

    until_committed(table, commit)
    return table.root, records


def _write(root: Path, manifest: Manifest, tables: Iterator[Any]) -> DataFile:
    import pyarrow.parquet as pq

    path = f"part-{manifest.batch}-{manifest.attempt:04d}-{uuid.uuid4().hex}.parquet"
    with pq.ParquetWriter(root / path, schema(), compression="zstd") as writer:
        for table in tables:
            writer.write_table(table)
    fsync(root / path)
    return describe_parquet(root, path)


def _record_ids(lake: Lake, manifest: Manifest) -> Any:
    """Every record of the attempt. Those of a table may have been read, and rejected, by an earlier batch."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    staged = [lake.settings.data / manifest.root / item.path for files in manifest.records.values() for item in files]
    found = [pq.ParquetFile(path).read(columns=[f.RECORD_ID])[f.RECORD_ID] for path in staged]
    return pa.chunked_array([chunk for column in found for chunk in column.chunks], pa.string()).combine_chunks()


def _ours(rows: Any, manifest: Manifest, seen: Any) -> Any:
    """Which entries are of this batch, or of a record that it read again."""
    import pyarrow.compute as pc

    ours = pc.equal(rows["batch_id"], manifest.batch)
    return ours if seen is None else pc.or_(ours, pc.is_in(rows["record_id"], value_set=seen))


def _known(snapshot: Snapshot, manifest: Manifest, seen: Any) -> list[DataFile]:
    """The files that hold such entries."""
    import pyarrow.compute as pc

    if seen is None:
        return [item for item in snapshot.files() if item.may_hold("batch_id", manifest.batch)]
    columns = ["batch_id", "record_id"]
    tables = ((item, snapshot.dataset([item]).to_table(columns=columns)) for item in snapshot.files())
    return [item for item, rows in tables if pc.any(_ours(rows, manifest, seen), min_count=0).as_py()]


def _earlier(
    snapshot: Snapshot, files: Sequence[DataFile], manifest: Manifest, adds: Sequence[DataFile], seen: Any
) -> list[DataFile]:
    """The rows of the files that go out, less those rejected again; open ones that were not become resolved.

    A held attempt publishes nothing, so a record that it would accept is not back yet: what was open stays open.
    """
    import pyarrow as pa
    import pyarrow.compute as pc
    import pyarrow.parquet as pq

    if not files:
        return []
    old = snapshot.dataset(files).to_table().cast(schema())
    again: Any = pa.array([], pa.string())
    for item in adds:
        again = pq.ParquetFile(snapshot.root / item.path).read(columns=["record_id"])["record_id"].combine_chunks()
    rejected_again = pc.and_(_ours(old, manifest, seen), pc.is_in(old["record_id"], value_set=again))
    old = old.filter(pc.invert(rejected_again))
    over = [HELD] if manifest.held else [OPEN, HELD]
    resolved = pc.and_(_ours(old, manifest, seen), pc.is_in(old["state"], pa.array(over)))
    position = old.schema.get_field_index("state")
    old = old.set_column(position, "state", pc.if_else(resolved, RESOLVED, old["state"]))
    return [_write(snapshot.root, manifest, iter([old]))] if old.num_rows else []


def _rows(
    lake: Lake,
    pipeline: CheckedPipeline,
    manifest: Manifest,
    raw: Mapping[int, RawFile],
    opened_at: datetime,
    run_id: str,
) -> Iterator[Any]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    key = quarantine_key(lake.settings)
    root = lake.settings.data / manifest.root
    state = HELD if manifest.held else OPEN
    # What came from a file is read again from raw; of a table's row the row itself is the payload.
    needed = [*f.IDENTITY, f.ERRORS] if isinstance(pipeline.driving.source, CsvSource) else None
    for item in manifest.records[f.QUARANTINED]:
        with pq.ParquetFile(root / item.path) as parquet:
            for batch in parquet.iter_batches(batch_size=CHUNK, columns=needed):
                # What the target is partitioned by stands in the names of the folders, not in the files.
                rows = [{**item.partition, **row} for row in batch.to_pylist()]
                payloads = _payloads(pipeline, rows, raw)
                out = []
                for row in rows:
                    payload, texts = payloads[row[f.RECORD_ID]]
                    out.append(
                        {
                            "record_id": row[f.RECORD_ID],
                            "batch_id": manifest.batch,
                            "attempt": manifest.attempt,
                            "state": state,
                            "pipeline": pipeline.key,
                            "dataset": pipeline.driving.source.id,
                            "source_file": row[f.SOURCE_FILE],
                            "source_record": row[f.SOURCE_RECORD],
                            "business_date": _day(row[f.BUSINESS_DATE]),
                            "stage": pipeline.pipeline.layer,
                            "errors": row[f.ERRORS],
                            "raw": seal(payload, key.value, key.id, row[f.RECORD_ID]),
                            "key_id": key.id,
                            "preview": preview(pipeline, texts, row[f.ERRORS]),
                            "definition_hash": pipeline.definition_hash,
                            "rule_hash": pipeline.rule_hash,
                            "run_id": run_id,
                            "quarantined_at": opened_at,
                        }
                    )
                yield pa.Table.from_pylist(out, schema())


def _day(value: date | str) -> date:
    return date.fromisoformat(value) if isinstance(value, str) else value


def _payloads(
    pipeline: CheckedPipeline, rows: Sequence[Mapping[str, Any]], raw: Mapping[int, RawFile]
) -> dict[str, tuple[bytes, dict[str, str]]]:
    """The exact bytes of each record and its cells by column: from the raw file, or the row itself as JSON."""
    source = pipeline.driving.source
    if not isinstance(source, CsvSource):
        names = [c.name for c in pipeline.driving.contract.columns]
        out = {}
        for row in rows:
            values = {n: row[n] for n in names if row.get(n) is not None}
            payload = json.dumps(values, default=str, ensure_ascii=False).encode()
            out[row[f.RECORD_ID]] = (payload, {n: str(v) for n, v in values.items()})
        return out
    by_file: dict[int, dict[int, str]] = {}
    for row in rows:
        by_file.setdefault(row[f.ARRIVAL], {})[row[f.SOURCE_RECORD]] = row[f.RECORD_ID]
    found: dict[str, tuple[bytes, dict[str, str]]] = {}
    for arrival, wanted in by_file.items():
        file = raw[arrival]
        names = list(file.scan.header or source.columns or [x.name for x in pipeline.driving.contract.fields])
        for number, payload in raw_records(file.path, file.scan, sorted(wanted), source):
            texts = cells(payload, source, file.scan.encoding)
            found[wanted[number]] = (payload, dict(zip(names, texts, strict=False)))
    return found


def preview(pipeline: CheckedPipeline, cells: Mapping[str, str], errors: Sequence[Mapping[str, str]]) -> str:
    """The shape of the cells that are wrong and of the key: letters become a, digits 9; personal fields only ***."""
    classified = {x.name for x in pipeline.driving.contract.fields if x.classification}
    wrong = [name for error in errors for name in (error["column"] or "").split(",")]
    shown = dict.fromkeys([*pipeline.driving.contract.primary_key, *wrong])
    return json.dumps({n: "***" if n in classified else shape(cells[n]) for n in shown if n in cells})


def shape(text: str) -> str:
    """`Ab-12` as `aa-99`, cut after 24 characters: shows what kind of value stands there, never the value."""
    shown = text[:PREVIEW]
    masked = "".join("9" if c.isdigit() else "a" if c.isalpha() else c if c in " .,-/:_+" else "?" for c in shown)
    return masked + ("…" if len(text) > PREVIEW else "")
