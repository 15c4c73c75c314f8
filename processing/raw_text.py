"""The exact bytes of single records, read again by offset."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa

from pipeline_xml.model import FileSource
from processing.formats import range_texts
from processing.scan_result import Scan
from processing.scan_split import Positions


def raw_records(
    path: str | Path, scan: Scan, record_numbers: Sequence[int], source: FileSource
) -> Iterator[tuple[int, bytes]]:
    """(record number, its bytes without the line end) in ascending order; `raw_ranges` one by one."""
    for numbers, records in raw_ranges(path, scan, record_numbers, source):
        yield from zip(numbers.tolist(), records.to_pylist(), strict=True)


def raw_ranges(
    path: str | Path, scan: Scan, record_numbers: Sequence[int], source: FileSource
) -> Iterator[tuple[Positions, pa.BinaryArray]]:
    """(record numbers, the bytes of each without the line end) in ascending order; each needed range is read once.

    `path` is the file that the scan's offsets speak of. ValueError for a number that the file does not have.
    """
    wanted = np.asarray(record_numbers, np.int64)
    if np.any(wanted[1:] <= wanted[:-1]):
        wanted = np.unique(wanted)
    if len(wanted) and not 1 <= wanted[0] <= wanted[-1] <= scan.records:
        raise ValueError(f"the file has records 1 to {scan.records}; asked for {wanted[0]} to {wanted[-1]}")
    for part in scan.ranges:
        first, last = np.searchsorted(wanted, (part.first_record, part.first_record + part.records))
        if first < last:
            places = wanted[first:last] - part.first_record
            yield wanted[first:last], range_texts(path, part, places, scan, source)
