"""What differs between kinds of files: how they are scanned, how a range of one becomes cells, and a record's text."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipeline_xml.contract import Contract
from pipeline_xml.model import CsvSource, FileSource, JsonSource, ParquetSource
from processing.parse_json import parse_records
from processing.parse_parquet import parse_group, row_texts
from processing.read_parse import Parsed, RecordCountError, parse_range
from processing.scan import Scanner
from processing.scan_json import JsonScanner, json_records
from processing.scan_parquet import ParquetScanner
from processing.scan_result import Range, Scan
from processing.scan_spans import record_spans


class FileScanner(Protocol):
    """Counts the records of a file while it is copied. `feed` gives the bytes that offsets speak of."""

    @property
    def transcodes(self) -> bool: ...

    def feed(self, chunk: bytes) -> bytes: ...

    def finish(self, path: Path | None = None) -> Scan: ...


def scanner(source: FileSource, contract: Contract) -> FileScanner:
    """`finish` of it is given the copy."""
    if isinstance(source, JsonSource):
        return JsonScanner(source.max_record_bytes, source.empty_file == "accept")
    if isinstance(source, ParquetSource):
        return ParquetScanner(contract, source.empty_file == "accept")
    return Scanner(_csv(source), contract)


def column_names(scan: Scan | None, source: FileSource, contract: Contract) -> list[str]:
    """The columns of a file in the order of its cells."""
    columns = source.columns if isinstance(source, CsvSource) else ()
    return list((scan.header if scan else ()) or columns or [field.name for field in contract.fields])


def parse_file_range(
    path: str | Path, part: Range, scan: Scan, names: Sequence[str], source: FileSource, source_file: str
) -> Parsed:
    """The records of one range of the file at `path`, of which the scan speaks. RecordCountError names the file."""
    if isinstance(source, ParquetSource):
        return parse_group(path, part, names, source_file)
    data = _bytes_of(path, part)
    if isinstance(source, JsonSource):
        records = json_records(data, scan, part.records)
        if len(records) != part.records:
            raise RecordCountError(
                f"{source_file}: from record {part.first_record} on there are {len(records)} records, "
                f"the boundary scan counted {part.records}"
            )
        return parse_records(records, names)
    return parse_range(data, part, scan, names, _csv(source), source_file)


def parse_payloads(
    payloads: pa.BinaryArray,
    scan: Scan,
    names: Sequence[str],
    source: FileSource,
    source_file: str,
    only: Sequence[str],
) -> Parsed:
    """Records whose texts `range_texts` gave, in some of their columns. RecordCountError names the file."""
    if not isinstance(source, CsvSource):
        return parse_records(payloads.to_pylist(), names, only)
    together = pa.ListArray.from_arrays(pa.array([0, len(payloads)], pa.int32()), payloads)
    data = pc.binary_join(together, b"\n")[0].as_py() + b"\n"
    # Comments stand between records, and these are records.
    part = Range(0, len(data), 1, len(payloads))
    return parse_range(data, part, replace(scan, comments=False), names, source, source_file, only)


def range_texts(path: str | Path, part: Range, places: Any, scan: Scan, source: FileSource) -> pa.BinaryArray:
    """The exact bytes of the records at these places of a range, from 0; of a Parquet row JSON of its cells' texts."""
    if isinstance(source, ParquetSource):
        return pa.array(row_texts(path, part, places, scan.header), pa.binary())
    data = _bytes_of(path, part)
    if isinstance(source, JsonSource):
        records = json_records(data, scan, part.records)
        return pa.array([records[place] for place in places.tolist()], pa.binary())
    starts, stops = record_spans(data, _csv(source), scan)
    # The file as a column in which records and what stands between them take turns: nothing is copied but by `take`.
    edges = np.stack([starts, stops], axis=1).astype(np.int32)
    count = max(0, 2 * len(starts) - 1)
    turns = pa.BinaryArray.from_buffers(pa.binary(), count, [None, pa.py_buffer(edges), pa.py_buffer(data)])
    return turns.take(pa.array(2 * places))


def _bytes_of(path: str | Path, part: Range) -> bytes:
    with Path(path).open("rb") as raw:
        raw.seek(part.start)
        return raw.read(part.end - part.start)


def _csv(source: FileSource) -> CsvSource:
    if not isinstance(source, CsvSource):
        raise TypeError(f"files of kind '{source.kind}' cannot be read")
    return source
