"""Where each record of a range of the file begins and ends."""

from __future__ import annotations

import re

import numpy as np

from pipeline_xml.model import CsvSource
from processing.scan_head import line_end
from processing.scan_result import Scan
from processing.scan_split import Positions, Splitter


def record_spans(data: bytes, source: CsvSource, scan: Scan) -> tuple[Positions, Positions]:
    """Begin and end (without its line end) of each record in `data`, which begins and ends at record boundaries."""
    starts: list[Positions] = []
    stops: list[Positions] = []
    splitter = Splitter(source.delimiter, source.quote, source.escape)
    comment = source.comment.encode("ascii") if source.comment and scan.comments else None
    next_comment = re.compile(rb"[\r\n]" + re.escape(comment or b""))
    at = begin = 0
    while at < len(data):
        if comment and at == begin and data.startswith(comment, at):
            at = begin = line_end(data, at) or len(data)
            continue
        match = next_comment.search(data, at) if comment else None
        piece_end = match.end() - 1 if match else len(data)
        piece_stops, ends = splitter.split(data[at:piece_end])
        if len(ends):
            starts.append(np.append(np.int64(begin), ends[:-1] + at))
            stops.append(piece_stops + at)
            begin = at + int(ends[-1])
        at = piece_end
    if begin < len(data):
        starts.append(np.array([begin], np.int64))
        stops.append(np.array([len(data)], np.int64))
    if not starts:
        return np.empty(0, np.int64), np.empty(0, np.int64)
    first, last = np.concatenate(starts), np.concatenate(stops)
    real = np.ones(len(first), bool) if scan.blank_records else last > first
    return first[real], last[real]
