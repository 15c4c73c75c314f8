"""The boundary scan of JSON: where each object of a file begins and ends, found without parsing a value.

A file whose first character is `[` is one array, each element a record; any other has a record a line. What stands
between two boundaries is a record whatever it holds: the parser may find that it is no JSON, but cannot lose it. An
array whose end is missing, or that ends before the file does, breaks the file.
"""

from __future__ import annotations

import codecs
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt

from processing.scan_result import Finding, Range, Scan
from processing.scan_split import Positions, neutralised

RANGE_BYTES = 8 * 1024 * 1024
PIECE_BYTES = 1024 * 1024
LINES: Literal["lines"] = "lines"
ARRAY: Literal["array"] = "array"
_SPACES = b" \t\r\n"
_LF, _QUOTE, _COMMA, _BACKSLASH, _CLOSE = 10, 34, 44, 92, 93
_STEP = np.zeros(256, np.int8)
_STEP[[91, 123]], _STEP[[93, 125]] = 1, -1
_STRUCTURE = _STEP != 0
_STRUCTURE[_COMMA] = True
_FILLED = np.ones(256, bool)
_FILLED[list(_SPACES)] = False


class ArrayEnds:
    """The ends of an array's elements in its text, fed piece by piece from behind its opening bracket."""

    def __init__(self) -> None:
        self.depth = 1
        self.in_string = False
        self._escaped = False
        self.closed = False
        self.crooked = False  # it was closed by a brace

    def split(self, piece: bytes) -> Positions:
        """Positions of the commas between elements and, where the array ends here, of its end."""
        a = np.frombuffer(piece, np.uint8)
        if self._escaped or _BACKSLASH in piece:
            a, self._escaped = neutralised(a, _BACKSLASH, self._escaped)
        quotes = np.flatnonzero(a == _QUOTE)
        at = np.flatnonzero(_STRUCTURE[a])
        at = at[(np.searchsorted(quotes, at) + self.in_string) % 2 == 0]
        depths = self.depth + np.cumsum(_STEP[a[at]], dtype=np.int64)
        ends = np.flatnonzero(depths == 0)
        self.in_string ^= bool(len(quotes) % 2)
        if len(ends):
            at, depths = at[: ends[0] + 1], depths[: ends[0] + 1]
            self.closed, self.crooked, self.in_string = True, int(a[at[-1]]) != _CLOSE, False
        if len(depths):
            self.depth = int(depths[-1])
        found: Positions = at[((depths == 1) & (a[at] == _COMMA)) | (depths == 0)]
        return found


class JsonScanner:
    """Feed it the bytes of one file in order, in chunks of any size. `accepts_nothing`: no bytes are no records."""

    transcodes = False

    def __init__(self, max_record_bytes: int, accepts_nothing: bool = False, range_bytes: int = RANGE_BYTES) -> None:
        self._limit, self._accepts_nothing, self._range_bytes = max_record_bytes, accepts_nothing, range_bytes
        self._head: bytes | None = b""  # what came before the first character that is no space
        self._array: ArrayEnds | None = None
        self._size = self._offset = self._start = self._range_start = self._data_start = 0
        self._records = self._range_records = 0
        self._filled = False  # something stands in the record that is not ended yet
        self._data_end: int | None = None
        self._ranges: list[Range] = []
        self._findings: dict[str, Finding] = {}

    def feed(self, chunk: bytes) -> bytes:
        """`chunk` itself, which the offsets speak of."""
        self._size += len(chunk)
        rest = self._begin(chunk) if self._head is not None else chunk
        self._pieces(rest)
        return chunk

    def _pieces(self, rest: bytes) -> None:
        for at in range(0, len(rest), PIECE_BYTES):
            self._piece(rest[at : at + PIECE_BYTES])

    def _begin(self, chunk: bytes, final: bool = False) -> bytes:
        """What of the head belongs to the records, once it is known what the file begins with."""
        head = (self._head or b"") + chunk
        if head.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
            self._find("encoding", "the file is UTF-16, and JSON is exchanged in UTF-8", None, 0)
        bom = len(codecs.BOM_UTF8) if head.startswith(codecs.BOM_UTF8) else 0
        body = head[bom:].lstrip(_SPACES)
        known = body and len(head) >= len(codecs.BOM_UTF8)
        if not known and not final and len(head) <= self._limit:
            self._head = head
            return b""
        self._head = None
        begin = len(head) - len(body)
        if body.startswith(b"["):
            self._array, begin = ArrayEnds(), begin + 1
        self._offset = self._start = self._range_start = self._data_start = begin
        return head[begin:]

    def _piece(self, piece: bytes) -> None:
        a = np.frombuffer(piece, np.uint8)
        filled = np.flatnonzero(_FILLED[a])
        if self._data_end is not None:
            if len(filled):
                self._find("after_the_end", "text stands after the end of the array", self._records, self._offset)
            self._offset += len(piece)
            return
        ends = self._array.split(piece) if self._array is not None else np.flatnonzero(a == _LF)
        before = self._offset
        self._offset += len(piece)
        if not len(ends):
            self._filled = self._filled or bool(len(filled))
        else:
            self._count(before, ends, filled)
        if self._array is not None and self._array.closed:
            self._close_array(before + int(ends[-1]), piece[int(ends[-1]) + 1 :])
        elif self._offset - self._start > self._limit:
            self._too_long(self._records + 1, self._start)
        if self._start - self._range_start >= self._range_bytes:
            self._close_range(self._start)

    def _count(self, base: int, ends: Positions, filled: npt.NDArray[np.int64]) -> None:
        """Counts the records that end in a piece: of lines, those with something in them; of elements, all."""
        starts = np.empty_like(ends)
        starts[0], starts[1:] = self._start - base, ends[:-1] + 1
        full = np.diff(np.searchsorted(filled, ends), prepend=0) > 0
        full[0] |= self._filled
        real = full
        if self._array is not None:
            real = np.ones(len(ends), bool)
            if self._array.closed and self._records + len(ends) == 1 and not full[-1]:
                real[-1] = False  # an array without elements
        lengths = np.where(real, ends - starts, 0)
        if int(lengths.max()) > self._limit:
            first = int(np.argmax(lengths > self._limit))
            self._too_long(self._records + int(np.count_nonzero(real[: first + 1])), base + int(starts[first]))
        self._records += int(np.count_nonzero(real))
        self._start = base + int(ends[-1]) + 1
        self._filled = bool(len(filled)) and int(filled[-1]) > int(ends[-1])

    def _close_array(self, end: int, rest: bytes) -> None:
        if self._array is not None and self._array.crooked:
            self._find("brackets", "a brace closes the array: brackets do not fit", self._records, end)
        self._close_range(end)
        self._data_end = end
        if rest.strip(_SPACES):
            self._find("after_the_end", "text stands after the end of the array", self._records, end + 1)

    def finish(self, _path: Path | None = None) -> Scan:
        """After the last byte."""
        if self._head is not None:
            self._pieces(self._begin(b"", final=True))
        if self._array is not None and self._data_end is None:
            self._find("truncated", "the file ends inside the array that opens it", self._records + 1, self._start)
        elif self._array is None:
            self._records += self._filled
            self._close_range(self._offset)
            if not self._records and (self._size or not self._accepts_nothing):
                self._find("empty_file", "the file holds no record", None, 0)
        return Scan(
            records=self._records,
            size=self._size,
            data_start=self._data_start,
            data_end=self._offset if self._data_end is None else self._data_end,
            ranges=tuple(self._ranges),
            encoding="utf-8",
            nul=True,  # an escape may stand for one
            form=ARRAY if self._array is not None else LINES,
            findings=tuple(self._findings.values()),
        )

    def _close_range(self, end: int) -> None:
        records = self._records - self._range_records
        if records:
            self._ranges.append(Range(self._range_start, end, self._range_records + 1, records))
            self._range_start, self._range_records = end, self._records

    def _too_long(self, record: int, offset: int) -> None:
        self._find("record_too_long", f"the record is longer than maxRecordBytes ({self._limit})", record, offset)

    def _find(self, code: str, message: str, record: int | None, offset: int | None) -> None:
        self._findings.setdefault(code, Finding(code, message, record, offset))


def json_records(data: bytes, scan: Scan, count: int) -> list[bytes]:
    """The text of each record of a range, without spaces around it; of what the scan counted, all and no more."""
    if scan.form == LINES:
        return [line for line in (part.strip(_SPACES) for part in data.split(b"\n")) if line]
    ends = ArrayEnds().split(data).tolist()[:count]
    starts = [0, *(end + 1 for end in ends)]
    if len(ends) < count:
        ends.append(len(data))
    return [data[start:end].strip(_SPACES) for start, end in zip(starts, ends, strict=False)]
