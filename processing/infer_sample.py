"""The first records of a file nobody has described: its encoding, its dialect, its cells. Bounded; nothing is kept.

CannotInfer            the file gives nothing to go by; says what it is and what to do
"""

from __future__ import annotations

import codecs
import csv
import io
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

MOST_BYTES = 64 * 1024 * 1024
_TRIAL = 256 * 1024
DELIMITERS = (",", ";", "\t", "|", "\x01")
_QUOTES: tuple[tuple[str | None, str | None], ...] = (('"', None), ('"', "\\"), ("'", None), (None, None))
_DECIMAL_COMMA = re.compile(r"-?[0-9]+,[0-9]+\Z")
_MAGIC = {
    b"PK\x03\x04": "a zip archive or an Excel workbook",
    b"\x1f\x8b": "gzip-compressed",
    b"PAR1": "a Parquet file",
    b"BZh": "bzip2-compressed",
    b"%PDF": "a PDF",
    b"\xd0\xcf\x11\xe0": "an old Excel or Word file",
    b"\xff\xfe\x00\x00": "UTF-32",
}


class CannotInfer(Exception):
    """Nothing can be inferred from this file."""


@dataclass(frozen=True, slots=True)
class Text:
    """The decoded beginning of a file. `complete`: it is all of it. `why` is what the encoding was recognised by."""

    text: str
    encoding: str
    why: str
    complete: bool


@dataclass(frozen=True, slots=True)
class Dialect:
    delimiter: str
    quote: str | None
    escape: str | None = None
    why: str = ""


@dataclass(frozen=True, slots=True)
class Record:
    """`line` is the number of physical lines before it."""

    line: int
    cells: tuple[str, ...]


def read_beginning(path: Path, rows: int) -> tuple[bytes, bool]:
    """Bytes enough for `rows` records of ordinary size, and whether that is the whole file. CannotInfer for no file."""
    limit = min(MOST_BYTES, max(_TRIAL, rows * 4096))
    if not path.is_file():
        what = "is a folder" if path.is_dir() else "does not exist"
        raise CannotInfer(f"{path} {what}; name a CSV file")
    try:
        with path.open("rb") as file:
            data = file.read(limit + 1)
    except OSError as error:
        raise CannotInfer(f"{path} cannot be read: {error.strerror}") from error
    return data[:limit], len(data) <= limit


def decode(data: bytes, complete: bool) -> Text:
    """The text and the encoding, by byte order mark, by where NULs stand, or by trying UTF-8."""
    if not data.strip():
        raise CannotInfer("the file is empty: there is nothing to infer from; give one with a few records")
    for magic, what in _MAGIC.items():
        if data.startswith(magic):
            raise CannotInfer(f"the file is {what}, not delimited text; unpack or export it as CSV first")
    encoding, why = _encoding(data, complete)
    decoder = codecs.getincrementaldecoder(encoding)(errors="strict")
    try:
        text = decoder.decode(data, complete)
    except UnicodeDecodeError:
        message = f"the file begins like {encoding} and goes on as something else; export it as UTF-8"
        raise CannotInfer(message) from None
    text = text.removeprefix("\ufeff")
    if not text.strip():
        raise CannotInfer("the file holds only blank lines: give one with a few records")
    if text.count("\0") * 5 > len(text):
        raise CannotInfer("the file is binary, not delimited text; export it as CSV")
    return Text(text, encoding, why, complete)


def _encoding(data: bytes, complete: bool) -> tuple[str, str]:
    if data.startswith(codecs.BOM_UTF8):
        return "utf-8", "a UTF-8 byte order mark"
    if data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return "utf-16", "a UTF-16 byte order mark"
    head = data[:512]
    even, odd = head[::2].count(0), head[1::2].count(0)
    if len(head) >= 4 and max(even, odd) * 5 > len(head) * 2 and min(even, odd) == 0:
        return ("utf-16be" if even else "utf-16le"), "a NUL in every second byte, without a byte order mark"
    try:
        codecs.getincrementaldecoder("utf-8")("strict").decode(data, complete)
    except UnicodeDecodeError:
        if not re.search(rb"[\x80-\x9f]", data):
            return "iso-8859-1", "bytes that are not UTF-8; read as Western European"
        if not re.search(rb"[\x81\x8d\x8f\x90\x9d]", data):
            return "windows-1252", "bytes that are not UTF-8, some of which only windows-1252 has"
        raise CannotInfer("the file is neither UTF-8, UTF-16 nor windows-1252; export it as UTF-8") from None
    return "utf-8", "plain ASCII, which is UTF-8" if data.isascii() else "valid UTF-8 with letters beyond ASCII"


@dataclass(frozen=True, slots=True)
class _Trial:
    dialect: Dialect
    width: int
    share: float  # of records that have the usual width
    first: bool  # the first record has it
    strict: bool  # quotes close where they should
    quoted: bool  # cells begin with the quote


def find_dialect(text: Text, delimiter: str | None = None) -> Dialect:
    """The delimiter and quote under which the records agree most on their number of cells."""
    head = text.text[:_TRIAL]
    whole = text.complete and len(head) == len(text.text)
    found = []
    for each in (delimiter,) if delimiter else [d for d in DELIMITERS if d in head]:
        trials = [_try(head, each, quote, escape, whole) for quote, escape in _QUOTES]
        found.append(_best_quote(trials))
    usable = [t for t in found if t.width > 1 and (t.share >= 0.8 or (t.first and t.share >= 0.3))]
    if delimiter:
        usable = found
    if not usable:
        return Dialect(",", '"', why="no delimiter found: every record is one cell")
    best = max(usable, key=lambda t: (round(t.share, 2), t.width))
    comma = next((t for t in usable if t.dialect.delimiter == ";"), None)
    if comma is not None and best.dialect.delimiter == "," and comma.share >= best.share:
        best = comma if _decimal_commas(head, comma) else best
    shown = {"\t": "tab", "\x01": "\\x01"}.get(best.dialect.delimiter, best.dialect.delimiter)
    quotes = "quotes seen" if best.quoted else "no quotes seen"
    why = f"{best.share:.0%} of the first records have {best.width} cells by '{shown}'; {quotes}"
    return Dialect(best.dialect.delimiter, best.dialect.quote, best.dialect.escape, why)


def _try(head: str, delimiter: str, quote: str | None, escape: str | None, whole: bool) -> _Trial:
    dialect = Dialect(delimiter, quote, escape)
    try:
        rows = records(head, dialect, whole, 500)
    except CannotInfer:
        return _Trial(dialect, 0, 0.0, False, False, False)
    if not rows:
        return _Trial(dialect, 0, 0.0, False, False, False)
    widths = Counter(len(r.cells) for r in rows)
    width, often = widths.most_common(1)[0]
    share = often / len(rows)
    if len(rows) >= 3 and (width >= 3 or len(rows) >= 5):  # the first may be a control record or a title
        share = max(share, sum(len(r.cells) == width for r in rows[1:]) / (len(rows) - 1))
    opens = re.search(rf"(?:^|[\r\n]|{re.escape(delimiter)}){re.escape(quote)}", head) if quote else None
    strict = _strict(head, dialect, whole)
    return _Trial(dialect, width, share, len(rows[0].cells) == width, strict, bool(opens))


def _strict(head: str, dialect: Dialect, whole: bool) -> bool:
    if dialect.quote is None:
        return True
    try:
        for _ in _reader(_Lines(head), dialect, strict=True):
            pass
    except csv.Error as error:
        return "end of data" in str(error) and not whole
    return True


def _best_quote(trials: list[_Trial]) -> _Trial:
    """The usual quote, unless another explains the file better."""
    usual, escaped, single, none = trials
    if usual.quoted and (not usual.strict or none.share > usual.share + 0.02):
        if escaped.strict and escaped.share >= none.share:
            return escaped
        if none.share >= usual.share:
            return none
    if single.quoted and single.strict and not usual.quoted and single.share > usual.share + 0.02:
        return single
    return usual


def _decimal_commas(head: str, trial: _Trial) -> bool:
    rows = [r.cells for r in records(head, trial.dialect, True, 200)]
    return any(cells and all(map(_DECIMAL_COMMA.match, cells)) for cells in zip(*rows[1:], strict=False))


class _Lines:
    """The physical lines of a text, counted as they are taken."""

    def __init__(self, text: str) -> None:
        self._lines = io.StringIO(text, newline="")
        self.count = 0

    def __iter__(self) -> Iterator[str]:
        for line in self._lines:
            self.count += 1
            yield line


def _reader(lines: _Lines, dialect: Dialect, strict: bool = False) -> Iterator[list[str]]:
    return csv.reader(
        lines,
        delimiter=dialect.delimiter,
        quotechar=dialect.quote or '"',
        escapechar=dialect.escape,
        quoting=csv.QUOTE_MINIMAL if dialect.quote else csv.QUOTE_NONE,
        strict=strict,
    )


def records(text: str, dialect: Dialect, complete: bool, limit: int) -> list[Record]:
    """At most `limit` records that are not blank lines; the last of an incomplete text is cut and left out."""
    lines = _Lines(text)
    out: list[Record] = []
    line = 0
    try:
        for cells in _reader(lines, dialect):
            if cells:
                out.append(Record(line, tuple(cells)))
            line = lines.count
            if len(out) > limit:
                return out[:limit]
    except csv.Error:
        why = "a quote is never closed, or the delimiter is another"
        raise CannotInfer(f"a cell is longer than 131,072 characters: {why}") from None
    return out if complete else out[:-1]
