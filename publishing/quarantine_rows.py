"""The rows of a quarantine table, made from the rejects that an attempt staged and from the raw files."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from pipeline_xml.checked import CheckedPipeline
from pipeline_xml.model import CsvSource, FileSource
from processing import frame as f
from processing.formats import column_names
from processing.keys import seal_all
from processing.raw_text import raw_ranges
from processing.read import RawFile
from processing.scan_head import cells
from processing.scan_result import Scan
from publishing.ahead import made_ahead
from publishing.lake import Lake
from publishing.manifest import Manifest
from publishing.quarantine_previews import previews, shown_columns
from resources.quarantine_key import quarantine_key

CHUNK = 100_000  # records that are made into rows at once
CHUNK_BYTES = 256 * 1024 * 1024  # of their raw text, as long as it is in their files on the average


@dataclass(frozen=True, slots=True)
class Payloads:
    """The exact bytes of each record (a binary array), and its cells: string arrays by column, null where a record
    lacks the cell."""

    plain: Any
    columns: Mapping[str, Any]


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
    """Tables of `schema`, one a chunk of staged rejects, their raw text sealed; `state` is theirs all.

    Columns of the schema that a fresh reject has no value for are null.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    key = quarantine_key(lake.settings)
    root = lake.settings.data / manifest.root
    contract = pipeline.driving.contract
    classified = {x.name for x in contract.fields if x.classification}
    constant = {
        "batch_id": manifest.batch,
        "attempt": manifest.attempt,
        "state": state,
        "pipeline": pipeline.key,
        "dataset": pipeline.driving.source.id,
        "stage": pipeline.pipeline.layer,
        "key_id": key.id,
        "definition_hash": pipeline.definition_hash,
        "rule_hash": pipeline.rule_hash,
        "run_id": run_id,
        "quarantined_at": opened_at,
    }
    source = pipeline.driving.source
    # What came from a file is read again from raw; of a table's row the row itself is the payload.
    needed = [*f.IDENTITY, f.ERRORS] if isinstance(source, FileSource) else None

    def batches() -> Iterator[tuple[Any, Mapping[str, str | None]]]:
        for item in manifest.records[f.QUARANTINED]:
            with pq.ParquetFile(root / item.path) as parquet:
                for batch in parquet.iter_batches(batch_size=_at_once(raw), columns=needed):
                    yield batch, item.partition

    def table(given: tuple[Any, Mapping[str, str | None]]) -> Any:
        batch, partition = given
        rows = _with_partition(batch, partition, schema)
        if isinstance(source, FileSource):
            payloads = _of_files(pipeline, source, rows, raw)
        else:
            payloads = _of_table(pipeline, rows)
        sealed = seal_all(payloads.plain, key.value, key.id, rows[f.RECORD_ID])
        made = {
            "record_id": rows[f.RECORD_ID],
            "source_file": rows[f.SOURCE_FILE],
            "source_record": rows[f.SOURCE_RECORD],
            "arrival": rows[f.ARRIVAL],
            "sender": rows[f.SENDER],
            "business_date": rows[f.BUSINESS_DATE],
            "errors": rows[f.ERRORS],
            "raw": sealed,
            "preview": previews(contract.primary_key, classified, payloads.columns, rows[f.ERRORS]),
            **{name: pa.repeat(pa.scalar(v, schema.field(name).type), len(sealed)) for name, v in constant.items()},
        }
        columns = [made[x.name].cast(x.type) if x.name in made else pa.nulls(len(sealed), x.type) for x in schema]
        return pa.Table.from_arrays(columns, schema=schema)

    yield from made_ahead(table, batches())


def _at_once(raw: Mapping[int, RawFile]) -> int:
    """How many records make a chunk: their texts are columns in memory, some chunks at a time."""
    ranges = [part for file in raw.values() for part in file.scan.ranges]
    size, records = sum(part.end - part.start for part in ranges), sum(part.records for part in ranges)
    return max(1, min(CHUNK, CHUNK_BYTES * records // size)) if size else CHUNK


def _with_partition(batch: Any, partition: Mapping[str, str | None], schema: Any) -> dict[str, Any]:
    """The batch's columns by name; what the target is partitioned by stands in the names of the folders only."""
    import pyarrow as pa

    rows = {name: batch.column(at) for at, name in enumerate(batch.schema.names)}
    for name, text in partition.items():
        value = pa.repeat(pa.scalar(text, pa.string()), batch.num_rows)
        stored = name.removeprefix("_")  # of the identity: the quarantine table's own type
        known = name in f.IDENTITY and stored in schema.names
        rows.setdefault(name, value.cast(schema.field(stored).type) if known else value)
    return rows


def _of_table(pipeline: CheckedPipeline, rows: Mapping[str, Any]) -> Payloads:
    """The rows themselves as JSON, as their table had them."""
    import pyarrow as pa

    if f.ORIGINAL in rows:
        original = rows[f.ORIGINAL]
        rows = dict(zip((x.name for x in original.type), original.flatten(), strict=True))
    names = [c.name for c in pipeline.driving.contract.columns if c.name in rows]
    values = {name: rows[name].to_pylist() for name in names}
    texts = {
        name: pa.array([None if v is None else str(v) for v in column], pa.string()) for name, column in values.items()
    }
    payloads = [
        json.dumps(
            {name: value for name, value in zip(names, row, strict=True) if value is not None},
            default=str,
            ensure_ascii=False,
        ).encode()
        for row in zip(*values.values(), strict=True)
    ]
    return Payloads(pa.array(payloads, pa.binary()), texts)


def _of_files(
    pipeline: CheckedPipeline, source: FileSource, rows: Mapping[str, Any], raw: Mapping[int, RawFile]
) -> Payloads:
    """Read again from the raw files by offset; the cells of all of them parsed at once, as far as they are shown."""
    import numpy as np
    import pyarrow as pa

    contract = pipeline.driving.contract
    arrivals, numbers = rows[f.ARRIVAL].to_numpy(), rows[f.SOURCE_RECORD].to_numpy()
    shown = shown_columns(contract.primary_key, rows[f.ERRORS])
    alike: dict[tuple[Any, ...], tuple[Scan, list[Any], list[Any]]] = {}
    for arrival in sorted(rows[f.ARRIVAL].unique().to_pylist()):
        file = raw[arrival]
        places = np.flatnonzero(arrivals == arrival)
        places = places[np.argsort(numbers[places], kind="stable")]
        names = tuple(column_names(file.scan, source, contract))
        kind = (names, file.scan.encoding, file.scan.blank_records)
        _, order, texts = alike.setdefault(kind, (file.scan, [], []))
        order.append(places)
        texts += [found for _, found in raw_ranges(file.path, file.scan, numbers[places], source)]
    plain, parsed = [], []
    for (names, _, _), (scan, _, texts) in alike.items():
        plain.append(pa.concat_arrays(texts))
        parsed.append(_cells(plain[-1], scan, names, [n for n in shown if n in names], source))
    stands = np.concatenate([places for _, order, _ in alike.values() for places in order])
    back = pa.array(np.argsort(stands, kind="stable"))
    columns = {
        name: pa.concat_arrays(
            [p[name] if name in p else pa.nulls(len(t), pa.string()) for p, t in zip(parsed, plain, strict=True)]
        ).take(back)
        for name in dict.fromkeys(name for p in parsed for name in p)
    }
    return Payloads(pa.concat_arrays(plain).take(back), columns)


def _cells(
    payloads: Any, scan: Scan, names: Sequence[str], shown: Sequence[str], source: FileSource
) -> dict[str, Any]:
    """The cells of records in the shown columns, as they stand there; null where a broken record has none."""
    import numpy as np
    import pyarrow as pa

    from processing.formats import parse_payloads
    from processing.read_parse import RecordCountError

    if not shown:
        return {}
    try:
        parsed = parse_payloads(payloads, scan, names, replace(source, null_values=()), "", shown)
    except (RecordCountError, UnicodeDecodeError):
        return _one_by_one(payloads, scan, names, shown, source)
    if not parsed.broken:
        return dict(zip(shown, parsed.columns.columns, strict=True))
    broken = [place for place, _ in parsed.broken]
    sound = np.ones(len(payloads), bool)
    sound[broken] = False
    order = pa.array(np.argsort(np.concatenate([np.flatnonzero(sound), broken]), kind="stable"))
    others = _one_by_one(payloads.take(pa.array(broken)), scan, names, shown, source)
    return {
        name: pa.concat_arrays([column, others[name]]).take(order)
        for name, column in zip(shown, parsed.columns.columns, strict=True)
    }


def _one_by_one(
    payloads: Any, scan: Scan, names: Sequence[str], shown: Sequence[str], source: FileSource
) -> dict[str, Any]:
    import pyarrow as pa

    if not isinstance(source, CsvSource):  # what is no JSON has no cells
        return {name: pa.nulls(len(payloads), pa.string()) for name in shown}
    texts = [dict(zip(names, cells(payload, source, scan.encoding), strict=False)) for payload in payloads.to_pylist()]
    return {name: pa.array([row.get(name) for row in texts], pa.string()) for name in shown}
