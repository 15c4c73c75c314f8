"""What stands before the data of a csv file: byte order mark, skipped lines, control record, header. And its checks."""

from __future__ import annotations

import codecs
import csv
import re
from collections import Counter

from pipeline_xml.contract import Contract
from pipeline_xml.model import Control, CsvSource
from processing.scan_result import Finding
from processing.scan_split import Splitter

_LINE_END = re.compile(rb"\r\n|\r|\n")
_NUMBER = re.compile(r" *([0-9]{1,18}) *\Z")


class Head:
    """Collects bytes until everything before the data is known. In order: skipped lines, control record, header."""

    def __init__(self, source: CsvSource, encoding: str) -> None:
        self._source, self._encoding = source, encoding
        self._buffer = b""
        self._limit = source.max_record_bytes
        self.header: tuple[str, ...] = ()
        self.control: tuple[str, ...] | None = None
        self.offset = 0
        self.too_long = False

    def feed(self, piece: bytes, final: bool) -> bytes | None:
        """What of the bytes is data, from `offset` on; None while more is needed."""
        self._buffer += piece
        if len(self._buffer) < 3 and not final:
            return None
        try:
            at = self._read(final)
        except _NeedMore:
            # Bounded: the head is one or two records, each of which must not pass the limit, and a few lines.
            if len(self._buffer) <= 2 * self._limit + 65536:
                return None
            self.too_long, at = True, len(self._buffer)
        self.offset = at
        return self._buffer[at:]

    def _read(self, final: bool) -> int:
        at = 3 if self._buffer.startswith(codecs.BOM_UTF8) else 0
        for _ in range(self._source.skip_lines):
            at = self._line(at, final)
        control = self._source.control_inside
        if control is not None and control.record == "first":
            at, record = self._record(at, final)
            self.control = cells(record, self._source, self._encoding) if record else None
        if self._source.header:
            at, record = self._record(at, final)
            self.header = cells(record, self._source, self._encoding) if record else ()
        return at

    def _line(self, at: int, final: bool) -> int:
        end = line_end(self._buffer, at)
        if end is not None and (end < len(self._buffer) or final or self._buffer[end - 1] != 13):
            return end
        if not final:
            raise _NeedMore
        return len(self._buffer)

    def _record(self, at: int, final: bool) -> tuple[int, bytes]:
        """The next record that is neither blank nor a comment, and where the one after it begins."""
        comment = self._source.comment
        while at < len(self._buffer):
            if comment and self._buffer.startswith(comment.encode(), at):
                at = self._line(at, final)
                continue
            piece = self._buffer[at:]
            if not final and piece.endswith(b"\r"):
                piece = piece[:-1]
                if not piece:
                    break
            splitter = Splitter(self._source.delimiter, self._source.quote, self._source.escape)
            stops, ends = splitter.split(piece)
            if not len(ends):
                if not final:
                    raise _NeedMore
                return len(self._buffer), piece
            length, start = int(stops[0]), at
            at += int(ends[0])
            if length:
                self.too_long = self.too_long or length > self._limit
                return at, self._buffer[start : start + length]
        if not final:
            raise _NeedMore
        return at, b""


class _NeedMore(Exception):
    pass


def line_end(data: bytes, at: int) -> int | None:
    """Where the line after the one at `at` begins; None without a line end."""
    match = _LINE_END.search(data, at)
    return match.end() if match else None


def cells(record: bytes, source: CsvSource, encoding: str) -> tuple[str, ...]:
    """The cells of one record; `encoding` is `Scan.encoding`, that of the bytes the scan speaks of."""
    text = record.decode(encoding, "replace")
    reader = csv.reader(
        [text],
        delimiter=source.delimiter,
        quotechar=source.quote or None,
        escapechar=source.escape if source.escape != source.quote else None,
        quoting=csv.QUOTE_MINIMAL if source.quote else csv.QUOTE_NONE,
    )
    try:
        return tuple(next(reader, []))
    except csv.Error:  # a cell beyond csv's own limit: no header or control record looks like this
        return ()


def known_names(header: tuple[str, ...], contract: Contract) -> tuple[str, ...]:
    """A header as it may be kept: a cell that is no column of the contract by its position, as it may be a value."""
    names = {f.name for f in contract.fields}
    return tuple(cell if cell in names else f"#{i}" for i, cell in enumerate(header, 1))


def check_header(header: tuple[str, ...], contract: Contract) -> list[Finding]:
    """A header must hold each column of the contract once and nothing else, in any order.

    Cells are named by position: where the header is missing they are a record's values.
    """
    names = [f.name for f in contract.fields]
    counts = Counter(header)
    valid = f"the contract's columns are: {', '.join(names)}"
    if not counts.keys() & set(names):
        return [Finding("header_missing", f"the first record holds no column name of the contract; {valid}")]
    found: list[Finding] = []
    if missing := [n for n in names if n not in counts]:
        found.append(Finding("header_missing_columns", f"the header lacks {', '.join(missing)}; {valid}"))
    if unknown := [str(i) for i, cell in enumerate(header, 1) if cell not in names]:
        text = f"column {', '.join(unknown)} of the header is not in the contract; {valid}"
        found.append(Finding("header_unknown_columns", text))
    if twice := [n for n in names if counts[n] > 1]:
        found.append(Finding("header_duplicate_columns", f"the header holds {', '.join(twice)} more than once"))
    return found


def check_control(
    control: Control, found: tuple[str, ...] | None, records: int, width: int
) -> tuple[int | None, list[Finding]]:
    """The declared total, and what is wrong with the control record."""
    where = "first" if control.record == "first" else "last"
    missing = Finding("control_missing", f"the {where} record should be the control record, and is not there")
    if found is None:
        return None, [missing]
    needed = max(control.field or 0, control.business_date_field or 0)
    if len(found) < needed:
        text = f"the control record has {len(found)} fields, and field {needed} is needed"
        return None, [Finding("control_truncated", text)]
    if control.field is None:
        return None, []
    match = _NUMBER.match(found[control.field - 1])
    if match is None:
        if len(found) == width and width > 1:
            # As wide as the data and without a total: more likely a record of data, which must not be lost.
            return None, [missing]
        text = f"field {control.field} of the control record is not a number, so the count of records is not checked"
        return None, [Finding("control_not_a_number", text, severity="warning")]
    declared = int(match[1])
    if declared != records:
        text = f"the control record declares {declared} records, the file holds {records}"
        return declared, [Finding("control_total", text)]
    return declared, []
