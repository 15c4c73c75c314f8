"""The boundary scan agrees with the csv module about records, however the bytes arrive."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from pipeline_xml.contract import Contract, Field
from pipeline_xml.location import Location
from pipeline_xml.model import CsvSource
from pipeline_xml.types import STRING
from processing.scan import Scanner
from processing.scan_result import Scan

HERE = Location("test.xml")
DELIMITERS = ",;|\t\x01"
# Characters that could be mistaken for the dialect, one of several bytes, and plain ones.
CELL = st.text(st.sampled_from('ab1 "\'\\,;|\t\r\n#é漢\ufeff'), max_size=8)


def contract(width: int) -> Contract:
    return Contract("t", tuple(Field(f"c{i}", STRING) for i in range(width)), HERE)


def scan(data: bytes, source: CsvSource, width: int, cuts: Sequence[int] = (), range_bytes: int = 16) -> Scan:
    scanner = Scanner(source, contract(width), range_bytes)
    edges = sorted({0, len(data), *(c % (len(data) + 1) for c in cuts)})
    for start, end in pairwise(edges):
        scanner.feed(data[start:end])
    return scanner.finish()


def dialect_of(delimiter: str, newline: str, quote_all: bool, escape: str | None) -> type[csv.Dialect]:
    members = {
        "delimiter": delimiter,
        "lineterminator": newline,
        "quoting": csv.QUOTE_ALL if quote_all else csv.QUOTE_MINIMAL,
        "escapechar": escape,
    }
    return type("Dialect", (csv.excel,), members)


def told(found: Scan) -> Scan:
    """Without the ranges: where they are cut depends on the chunks."""
    return replace(found, ranges=())


@settings(max_examples=400, deadline=None)
@given(
    rows=st.lists(st.lists(CELL, min_size=1, max_size=4), max_size=12),
    delimiter=st.sampled_from(DELIMITERS),
    newline=st.sampled_from(["\n", "\r\n", "\r"]),
    quote_all=st.booleans(),
    escape=st.sampled_from([None, "\\"]),
    encoding=st.sampled_from(["utf-8", "utf-16", "utf-16-le"]),
    bom=st.booleans(),
    end=st.booleans(),
    cuts=st.lists(st.integers(0, 10_000), max_size=12),
)
def test_count_and_ranges_equal_what_the_csv_module_reads(
    rows: list[list[str]], delimiter: str, newline: str, quote_all: bool, escape: str | None, encoding: str, bom: bool,
    end: bool, cuts: list[int],
) -> None:
    out = io.StringIO()
    dialect = dialect_of(delimiter, newline, quote_all, escape)
    csv.writer(out, dialect).writerows(rows)
    text = out.getvalue()
    assume(not text.startswith("\ufeff"))  # that would be a byte order mark, no data
    if not end and rows:
        text = text[: -len(newline)]
    data = (("\ufeff" if bom and encoding == "utf-8" else "") + text).encode(encoding)
    source = CsvSource(where=HERE, id="t", header=False, delimiter=delimiter, escape=escape, encoding=encoding)

    found = scan(data, source, 4, cuts)

    working = text.encode("utf-8") if not data.startswith(b"\xef\xbb\xbf") else data
    if encoding == "utf-16" and text:
        working = ("\ufeff" + text).encode("utf-8")
    read = [row for row in csv.reader(io.StringIO(text, newline=""), dialect) if row]
    assert found.records == len(read)
    assert not [f for f in found.findings if f.code not in ("empty_file", "encoding")]
    by_range: list[list[str]] = []
    record = 1
    for start, stop, first, count in found.ranges:
        part = working[start:stop].decode("utf-8")
        mine = [row for row in csv.reader(io.StringIO(part, newline=""), dialect) if row]
        assert (first, count) == (record, len(mine))
        record += len(mine)
        by_range += mine
    assert by_range == read
    assert Scan.of(found.as_dict()) == found


@settings(max_examples=200, deadline=None)
@given(
    text=st.text(st.sampled_from('a",\n\r'), max_size=40),
    cuts=st.lists(st.integers(0, 100), max_size=6),
)
def test_any_text_splits_alike_whatever_the_chunks(text: str, cuts: list[int]) -> None:
    """Quotes anywhere, opened or not: the csv module and the scan still agree on the records."""
    source = CsvSource(where=HERE, id="t", header=False)
    found = scan(text.encode(), source, 3, cuts)
    read = [row for row in csv.reader(io.StringIO(text, newline="")) if row]
    assert found.records == len(read)
    assert told(found) == told(scan(text.encode(), source, 3))


@given(text=st.text(st.sampled_from('a"\\,\n'), max_size=40), cuts=st.lists(st.integers(0, 100), max_size=6))
def test_escapes_split_alike_whatever_the_chunks(text: str, cuts: list[int]) -> None:
    source = CsvSource(where=HERE, id="t", header=False, escape="\\")
    assert told(scan(text.encode(), source, 3, cuts)) == told(scan(text.encode(), source, 3))


def test_a_quote_inside_an_unquoted_cell_is_plain_text() -> None:
    found = scan(b'1,19" rack,x\n2,plain,"q"\n3,5",y\n', CsvSource(where=HERE, id="t", header=False), 3)
    assert (found.records, found.findings) == (3, ())


def test_without_quote_every_line_is_a_record() -> None:
    source = CsvSource(where=HERE, id="t", header=False, quote=None)
    assert scan(b'1,"a\n2,b"\n', source, 2).records == 2


def test_blank_lines_are_no_records_unless_there_is_one_column() -> None:
    source = CsvSource(where=HERE, id="t", header=False)
    assert scan(b"\n1,2\n\r\n\n3,4\n\n", source, 2).records == 2
    assert scan(b"\n1\n\r\n\n3\n", source, 1).records == 5


def test_comment_lines_are_no_records_and_their_quotes_mean_nothing() -> None:
    source = CsvSource(where=HERE, id="t", header=False, comment="#")
    data = b'# "a comment\n1,2\n#\n3,"#\n#x"\n# the "end'
    for cut in range(len(data)):
        found = scan(data, source, 2, [cut])
        assert (found.records, found.comments, found.findings) == (2, True, ())


@pytest.mark.parametrize("size", [1, 7, 4096])
def test_a_large_file_is_cut_into_ranges_at_records(size: int) -> None:
    data = b"".join(b"%d,%s\n" % (i, b"x" * (i % 90)) for i in range(2_000))
    scanner = Scanner(CsvSource(where=HERE, id="t", header=False), contract(2), 10_000)
    for start in range(0, len(data), size):
        scanner.feed(data[start : start + size])
    found = scanner.finish()
    assert found.records == 2_000
    assert found.ranges[0].start == 0 and found.ranges[-1].end == len(data)
    for one, two in pairwise(found.ranges):
        assert one.end == two.start and one.first_record + one.records == two.first_record
        assert data[one.end - 1 : one.end] == b"\n"
        assert 10_000 <= one.end - one.start <= 10_000 + max(size, 100)
