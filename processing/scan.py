"""The boundary scan: counts the records of a csv file and finds where each begins, while the file is copied.

    scanner = Scanner(source, contract)
    for chunk in file: raw.write(chunk); working = scanner.feed(chunk)     # working copy: only if scanner.transcodes
    scan = scanner.finish()

It is independent of the parser: its count is the `in` that every later count is held against. Memory is bounded by
`max_record_bytes`, whatever the size of the file. Not counted: skipped lines, the control record, the header, comment
lines, blank lines (but in a file of one column a blank line is a record whose only cell is empty).
NUL bytes do not break a file: they are noted (`Scan.nul`) and the reader quarantines the records that hold them.
"""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np

from pipeline_xml.contract import Contract
from pipeline_xml.model import CsvSource
from processing.scan_encoding import Decoding
from processing.scan_head import Head, cells, check_control, check_header, known_names, line_end
from processing.scan_result import Finding, Range, Scan
from processing.scan_split import Positions, Splitter

RANGE_BYTES = 8 * 1024 * 1024  # one task reads one range: large enough to be cheap, small enough to spread over cores
PIECE_BYTES = 1024 * 1024


class Scanner:
    """Feed it the bytes of one file in order, in chunks of any size."""

    def __init__(self, source: CsvSource, contract: Contract, range_bytes: int = RANGE_BYTES) -> None:
        self._source, self._contract = source, contract
        self._range_bytes, self._limit = range_bytes, source.max_record_bytes
        self._decoding = Decoding(source.encoding)
        self._head: Head | None = Head(source, self._decoding.working)
        self._header: tuple[str, ...] = ()
        self._control: tuple[str, ...] | None = None
        self._splitter = Splitter(source.delimiter, source.quote, source.escape)
        self._comment = source.comment.encode("ascii") if source.comment else None
        self._comment_start = re.compile(rb"[\r\n]" + re.escape(self._comment or b""))
        self._width = len(source.columns or contract.fields)
        self._trailer = source.control_inside is not None and source.control_inside.record == "last"
        self._findings: dict[str, Finding] = {}
        self._size = 0
        self._offset = 0  # of the next byte to be looked at
        self._held = b""  # a CR at the end of a piece: an LF may follow
        self._record_start = self._range_start = self._data_start = 0
        self._records = self._range_records = 0
        self._ranges: list[Range] = []
        self._opened: tuple[int, int] = (0, 0)  # offset and record of the quote that is open
        self._in_comment = self._comments = self._nul = False
        self._partial: list[bytes] = []  # the unfinished record, kept only to know a trailer
        self._last: tuple[int, int, bytes] | None = None  # records before, offset and bytes of the last record

    @property
    def transcodes(self) -> bool:
        """The ranges speak of a UTF-8 working copy, made of what `feed` returns."""
        return self._decoding.transcodes

    def feed(self, chunk: bytes) -> bytes:
        """The bytes that offsets speak of: `chunk` itself, or its UTF-8 text for a UTF-16 file."""
        return self._feed(chunk, final=False)

    def _feed(self, chunk: bytes, final: bool) -> bytes:
        self._size += len(chunk)
        working = self._decoding.feed(chunk, final)
        done = 0
        if self._decoding.bad is not None and "encoding" not in self._findings:
            done = self._decoding.bad_at or 0
            self._pieces(working[:done])
            text = f"{self._decoding.why}: the file is not {self._decoding.name} as declared"
            self._find("encoding", text, None if self._head else self._records + 1, self._decoding.bad)
        self._pieces(working[done:])
        return working

    def _pieces(self, data: bytes) -> None:
        for at in range(0, len(data), PIECE_BYTES):
            self._piece(data[at : at + PIECE_BYTES])

    def finish(self, _path: Path | None = None) -> Scan:
        """After the last byte."""
        self._feed(b"", final=True)
        if self._head is not None:
            self._take_head(self._head, b"", final=True)
        if self._held:
            held, self._held = self._held, b""
            self._data(held)
        if self._splitter.in_quote:
            offset, record = self._opened
            self._find("unclosed_quote", "the file ends inside a quote that opened here", record, offset)
        elif self._splitter.escaped:
            self._find("truncated", "the file ends with an escape character", self._records + 1, self._offset)
        if self._offset > self._record_start and not self._in_comment:
            self._note_last(self._record_start, b"".join(self._partial))
            self._records += 1
        self._close_range(self._offset)
        if suspicion := self._decoding.suspicion():
            self._findings.pop("encoding", None)
            self._find("encoding", f"the file {suspicion}", None, 0)
        data_end = self._take_trailer()
        return self._result(data_end)

    def _result(self, data_end: int) -> Scan:
        accepted = not self._size and self._source.empty_file == "accept"
        if not self._size or (not self._records and not self._header and self._control is None):
            if not accepted:
                self._find("empty_file", "the file holds no record, no header and no control record", None, 0)
        elif self._source.header:
            self._report(check_header(self._header, self._contract))
        declared = None
        control = self._source.control_inside
        if control and not accepted and "empty_file" not in self._findings:
            declared, found = check_control(control, self._control, self._records, self._width)
            self._report(found)
        return Scan(
            records=self._records,
            size=self._size,
            data_start=self._data_start,
            data_end=data_end,
            ranges=tuple(self._ranges),
            encoding=self._decoding.working,
            transcoded=self._decoding.transcodes,
            header=known_names(self._header, self._contract),
            control=self._control or (),
            declared=declared,
            nul=self._nul,
            comments=self._comments,
            blank_records=self._width == 1,
            findings=tuple(self._findings.values()),
        )

    def _piece(self, piece: bytes) -> None:
        if self._head is not None:
            self._take_head(self._head, piece, final=False)
            return
        piece = self._held + piece
        self._held = b"\r" if piece.endswith(b"\r") else b""
        self._data(piece[:-1] if self._held else piece)

    def _take_head(self, head: Head, piece: bytes, final: bool) -> None:
        rest = head.feed(piece, final)
        if rest is None:
            return
        self._header, self._control = head.header, head.control
        if head.too_long:
            self._find("record_too_long", f"a record before the data is longer than {self._limit} bytes", None, 0)
        self._data_start = self._offset = self._record_start = self._range_start = head.offset
        self._head = None
        self._pieces(rest)

    def _data(self, piece: bytes) -> None:
        """A piece of the data: comment lines are taken out, as quotes inside them mean nothing."""
        if 0 in piece:
            self._nul = True
        if self._comment is None or (self._comment not in piece and not self._in_comment):
            self._segment(piece)
            return
        at = 0
        while at < len(piece):
            if self._in_comment:
                end = line_end(piece, at)
                self._in_comment = end is None
                at, begin = (len(piece) if end is None else end), at
                self._offset += at - begin
                self._record_start = self._offset
            elif self._offset == self._record_start and piece.startswith(self._comment, at):
                self._in_comment = self._comments = True
            else:
                match = self._comment_start.search(piece, at)
                end = match.end() - 1 if match else len(piece)
                self._segment(piece[at:end])
                at = end

    def _segment(self, piece: bytes) -> None:
        if not piece:
            return
        base = self._offset
        stops, ends = self._splitter.split(piece)
        self._offset += len(piece)
        before = self._records
        if len(ends):
            self._count(base, stops, ends, piece)
        elif self._trailer and self._offset - self._record_start <= self._limit:
            self._partial.append(piece)
        if self._splitter.opened is not None:
            self._opened = (base + self._splitter.opened, self._records + 1)
        if self._offset - self._record_start > self._limit:
            self._too_long(self._records + 1, self._record_start)
        if self._record_start - self._range_start >= self._range_bytes and self._records > before:
            self._close_range(self._record_start)

    def _count(self, base: int, stops: Positions, ends: Positions, piece: bytes) -> None:
        starts = np.empty_like(ends)
        starts[0], starts[1:] = self._record_start - base, ends[:-1]
        lengths = stops - starts
        filled = lengths > 0
        real = len(ends) if self._width == 1 else int(np.count_nonzero(filled))
        if int(lengths.max()) > self._limit:
            first = int(np.argmax(lengths > self._limit))
            index = first if self._width == 1 else int(np.count_nonzero(filled[:first]))
            self._too_long(self._records + index + 1, base + int(starts[first]))
        if self._trailer:
            if filled.any():
                last = int(np.flatnonzero(filled)[-1])
                carried = b"".join(self._partial) if last == 0 else b""
                uncounted = last if self._width == 1 else int(np.count_nonzero(filled[:last]))
                self._last = (
                    self._records + uncounted,
                    base + int(starts[last]),
                    carried + piece[max(0, int(starts[last])) : int(stops[last])],
                )
            self._partial = [piece[int(ends[-1]) :]]
        self._records += real
        self._record_start = base + int(ends[-1])

    def _note_last(self, start: int, record: bytes) -> None:
        if self._trailer:
            self._last = (self._records, start, record)

    def _take_trailer(self) -> int:
        """Takes the control record off the end of the data; where the data then ends."""
        if not self._trailer or self._last is None:
            return self._offset
        before, start, record = self._last
        self._control = cells(record, self._source, self._decoding.working)
        self._records = before
        kept: list[Range] = []
        for r in self._ranges:
            records = min(r.records, before + 1 - r.first_record)
            if records > 0:
                kept.append(Range(r.start, min(r.end, start), r.first_record, records))
        self._ranges = kept
        return start

    def _close_range(self, end: int) -> None:
        records = self._records - self._range_records
        if records:
            self._ranges.append(Range(self._range_start, end, self._range_records + 1, records))
            self._range_start, self._range_records = end, self._records

    def _too_long(self, record: int, offset: int) -> None:
        hint = "; a quote that is never closed looks like this" if self._splitter.in_quote else ""
        self._find("record_too_long", f"the record is longer than maxRecordBytes ({self._limit}){hint}", record, offset)

    def _find(self, code: str, message: str, record: int | None, offset: int | None) -> None:
        self._findings.setdefault(code, Finding(code, message, record, offset))

    def _report(self, findings: list[Finding]) -> None:
        for finding in findings:
            self._findings.setdefault(finding.code, finding)
