"""The exact bytes of single records, read again by offset."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from pathlib import Path

from pipeline_xml.model import CsvSource
from processing.scan_result import Scan
from processing.scan_spans import record_spans


def raw_records(
    path: str | Path, scan: Scan, record_numbers: Sequence[int], source: CsvSource
) -> Iterator[tuple[int, bytes]]:
    """(record number, its bytes without the line end) in ascending order; each needed range is read once.

    `path` is the file that the scan's offsets speak of. ValueError for a number that the file does not have.
    """
    firsts = [r.first_record for r in scan.ranges]
    wanted = sorted(set(record_numbers))
    if wanted and not 1 <= wanted[0] <= wanted[-1] <= scan.records:
        raise ValueError(f"the file has records 1 to {scan.records}; asked for {wanted[0]} to {wanted[-1]}")
    with Path(path).open("rb") as file:
        at = 0
        while at < len(wanted):
            part = scan.ranges[bisect_right(firsts, wanted[at]) - 1]
            file.seek(part.start)
            data = file.read(part.end - part.start)
            starts, stops = record_spans(data, source, scan)
            while at < len(wanted) and wanted[at] < part.first_record + part.records:
                place = wanted[at] - part.first_record
                yield wanted[at], data[int(starts[place]) : int(stops[place])]
                at += 1
