"""The rows of a quarantine table, made from the rejects that an attempt staged and from the raw files."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from datetime import date, datetime
from typing import Any

from pipeline_xml.checked import CheckedPipeline
from pipeline_xml.model import CsvSource
from processing import frame as f
from processing.keys import seal
from processing.raw_text import raw_records
from processing.read import RawFile
from processing.scan_head import cells
from publishing.lake import Lake
from publishing.manifest import Manifest
from resources.quarantine_key import quarantine_key

CHUNK = 50_000
PREVIEW = 24


def rejected_rows(
    lake: Lake,
    pipeline: CheckedPipeline,
    manifest: Manifest,
    raw: Mapping[int, RawFile],
    opened_at: datetime,
    run_id: str,
    state: str,
    schema: Any,
) -> Iterator[Any]:
    """Tables of `schema`, one a chunk of staged rejects, their raw text sealed; `state` is theirs all."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    key = quarantine_key(lake.settings)
    root = lake.settings.data / manifest.root
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
                            "arrival": row[f.ARRIVAL],
                            "sender": row[f.SENDER],
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
                yield pa.Table.from_pylist(out, schema)


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
