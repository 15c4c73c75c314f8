"""What breaks a file is found while it is copied: one test for each kind of bad file that arrives in real life."""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import date
from pathlib import Path

import pytest

from pipeline_xml.contract import Contract, Field
from pipeline_xml.location import Location
from pipeline_xml.model import Control, CsvSource
from pipeline_xml.types import STRING
from processing.scan import Scanner
from processing.scan_result import Finding, Scan, business_date

HERE = Location("test.xml")
SAMPLES = Path(__file__).parent.parent / "data" / "csv"
SOURCE = CsvSource(where=HERE, id="t")
PLAIN = CsvSource(where=HERE, id="t", header=False)


def scan(data: bytes, columns: str, source: CsvSource = SOURCE) -> Scan:
    scanner = Scanner(source, Contract("t", tuple(Field(c, STRING) for c in columns.split(",")), HERE))
    scanner.feed(data)
    return scanner.finish()


def sample(name: str, columns: str, source: CsvSource = SOURCE) -> Scan:
    return scan((SAMPLES / name).read_bytes(), columns, source)


def codes(found: Scan) -> list[str]:
    return [f.code for f in found.findings]


@pytest.mark.parametrize(
    ("name", "columns", "records"),
    [
        ("spectrum/comma_in_quotes.csv", "first,last,address,city,zip", 1),
        ("spectrum/empty.csv", "a,b,c", 2),
        ("spectrum/empty_crlf.csv", "a,b,c", 2),
        ("spectrum/escaped_quotes.csv", "a,b", 2),
        ("spectrum/json.csv", "key,val", 1),
        ("spectrum/location_coordinates.csv", "Contact Phone Number,Location Coordinates,Cities,Counties", 1),
        ("spectrum/newlines.csv", "a,b,c", 3),
        ("spectrum/newlines_crlf.csv", "a,b,c", 3),
        ("spectrum/quotes_and_newlines.csv", "a,b", 2),
        ("spectrum/simple.csv", "a,b,c", 1),
        ("spectrum/simple_crlf.csv", "a,b,c", 1),
        ("spectrum/utf8.csv", "a,b,c", 2),
        ("csvkit/blanks.csv", "a,b,c,d,e,f", 1),
        ("csvkit/mac_newlines.csv", "a,b,c", 2),
        ("csvkit/test_utf8_bom.csv", "foo,bar,baz", 2),
        ("csvkit/test_locale.csv", "a,b,c", 1),
        ("csvkit/bad.csv", "column_a,column_b,column_c", 3),
        ("csvkit/bad_skip_lines.csv", "column_a,column_b,column_c", 3),
        ("frictionless/bom.csv", "id,name", 2),
        ("frictionless/blank-rows.csv", "id,name,age", 3),
        ("frictionless/blank-rows-no-fields.csv", "id,name,age", 2),
        ("frictionless/blank-rows-multiple.csv", "id,name,age", 13),
        ("frictionless/defective-rows.csv", "id,name,age", 2),
        ("frictionless/duplicate-rows.csv", "id,name,age", 3),
        ("frictionless/leading-zeros.csv", "value", 3),
    ],
)
def test_awkward_but_sound_files_are_counted(name: str, columns: str, records: int) -> None:
    found = sample(name, columns)
    assert (found.records, found.findings) == (records, ())
    assert found.header == tuple(columns.split(","))


@pytest.mark.parametrize("name", ["csvkit/test_utf16_big.csv", "csvkit/test_utf16_little.csv"])
def test_utf16_is_read_when_declared(name: str) -> None:
    for encoding in ("utf-16", "UTF16"):
        found = sample(name, "a,b,c", CsvSource(where=HERE, id="t", encoding=encoding))
        assert (found.records, found.findings, found.transcoded, found.encoding) == (2, (), True, "utf-8")
        assert found.size == 36


@pytest.mark.parametrize("name", ["csvkit/test_utf16_big.csv", "csvkit/test_utf16_little.csv"])
@pytest.mark.parametrize("bom", [True, False])
def test_undeclared_utf16_is_named(name: str, bom: bool) -> None:
    data = (SAMPLES / name).read_bytes()
    error = next(f for f in scan(data if bom else data[2:], "a,b,c").errors if f.code == "encoding")
    assert "utf-16" in error.message


def test_utf16_that_is_none_or_ends_in_the_middle() -> None:
    source = CsvSource(where=HERE, id="t", encoding="utf-16", header=False)
    assert "encoding" in codes(scan(b"a,b\n1,2\n", "a,b", source))
    data = "1,2\n3,4\n".encode("utf-16")
    assert codes(scan(data, "a,b", source)) == []
    assert "encoding" in codes(scan(data[:-1], "a,b", source))


@pytest.mark.parametrize("name", ["csvkit/test_latin1.csv", "frictionless/latin1.csv"])
def test_latin1_in_a_utf8_feed_is_named_with_its_record(name: str) -> None:
    columns = "a,b,c" if "csvkit" in name else "id,name"
    data = (SAMPLES / name).read_bytes()
    (error,) = scan(data, columns).errors
    assert (error.code, error.record, error.offset) == ("encoding", 2, data.index(b"\xa9"))
    for encoding in ("iso-8859-1", "windows-1252"):
        assert scan(data, columns, CsvSource(where=HERE, id="t", encoding=encoding)).findings == ()


def test_bytes_windows_1252_does_not_define() -> None:
    source = CsvSource(where=HERE, id="t", header=False, encoding="windows-1252")
    (error,) = scan(b"1,2\n3,\x81\n", "a,b", source).errors
    assert (error.code, error.record, error.offset) == ("encoding", 2, 6)


@pytest.mark.parametrize("cut", range(1, 8))
def test_utf8_across_chunks_is_sound_and_cut_off_is_not(cut: int) -> None:
    data = "é漢😀,x\n".encode()
    scanner = Scanner(PLAIN, Contract("t", (Field("a", STRING), Field("b", STRING)), HERE))
    scanner.feed(data[:cut])
    scanner.feed(data[cut:])
    assert scanner.finish().findings == ()
    whole = cut in (2, 5)
    assert ("encoding" in codes(scan(data[:cut], "a,b", PLAIN))) is not whole


def test_nul_bytes_are_noted_and_break_no_file() -> None:
    found = sample("csvkit/null_byte.csv", "a,b,c")
    assert (found.records, found.nul, found.findings) == (1, True, ())


@pytest.mark.parametrize("data", [b"", b"\n", b"\xef\xbb\xbf", b"\r\n\r\n"])
def test_empty_files(data: bytes) -> None:
    assert codes(scan(data, "a,b")) == ["empty_file"]
    assert codes(scan(data, "a,b", PLAIN)) == ["empty_file"]


def test_header_only_is_a_sound_file_without_records() -> None:
    for data in (b"a,b", b"a,b\n", b"a,b\r\n"):
        found = scan(data, "a,b")
        assert (found.records, found.findings, found.ranges) == (0, (), ())


@pytest.mark.parametrize(
    ("data", "record", "offset"),
    [
        (b'a,b\n1,2\n3,"open\n4,5\n6,7\n', 2, 10),
        (b'a,b\n1,2\n\n3,"o""pe\n4,""', 2, 11),
        (b'a,b\n"1,2\n', 1, 4),
        (b'a,b\n1,"""', 1, 6),
    ],
)
@pytest.mark.parametrize("size", [1, 3, 100])
def test_an_unclosed_quote_is_named_where_it_opened(data: bytes, record: int, offset: int, size: int) -> None:
    scanner = Scanner(SOURCE, Contract("t", (Field("a", STRING), Field("b", STRING)), HERE))
    for at in range(0, len(data), size):
        scanner.feed(data[at : at + size])
    (error,) = scanner.finish().errors
    assert (error.code, error.record, error.offset) == ("unclosed_quote", record, offset)


def test_a_file_that_ends_with_an_escape_is_cut_off() -> None:
    source = CsvSource(where=HERE, id="t", header=False, escape="\\")
    (error,) = scan(b"1,2\n3,4\\", "a,b", source).errors
    assert (error.code, error.record) == ("truncated", 2)
    assert scan(b"1,2\n3,4\\\\", "a,b", source).findings == ()


@pytest.mark.parametrize("dialect", [{"delimiter": "\u00a7"}, {"delimiter": "||"}, {"quote": "\u201c"}])
def test_a_dialect_of_other_than_ascii_characters_is_refused(dialect: dict[str, str]) -> None:
    with pytest.raises(ValueError, match="one ASCII character"):
        scan(b"", "a,b", replace(PLAIN, **dialect))  # type: ignore[arg-type]  # a dict of texts


def test_a_record_longer_than_the_limit() -> None:
    source = CsvSource(where=HERE, id="t", header=False, max_record_bytes=10)
    (error,) = scan(b"1,2\n3,4444444444444\n5,6\n", "a,b", source).errors
    assert (error.code, error.record, error.offset) == ("record_too_long", 2, 4)


def test_a_50_megabyte_field_is_named_at_the_default_limit_and_takes_little_memory() -> None:
    import tracemalloc

    scanner = Scanner(PLAIN, Contract("t", (Field("a", STRING), Field("b", STRING)), HERE))
    chunk = b"x" * 1_000_000
    tracemalloc.start()
    scanner.feed(b"1,2\n3,")
    for _ in range(50):
        scanner.feed(chunk)
    scanner.feed(b"\n4,5\n")
    found = scanner.finish()
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert [(f.code, f.record) for f in found.errors] == [("record_too_long", 2)]
    assert found.records == 3
    assert peak < 20_000_000


def test_a_header_that_never_ends_is_given_up() -> None:
    source = CsvSource(where=HERE, id="t", max_record_bytes=1000)
    assert "record_too_long" in codes(scan(b'"' + b"x" * 200_000, "a,b", source))


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        (b"b,a", []),
        (b'"a","b"', []),
        (b"a", ["header_missing_columns"]),
        (b"a,b,c", ["header_unknown_columns"]),
        (b"a,b,a", ["header_duplicate_columns"]),
        (b"A,b", ["header_missing_columns", "header_unknown_columns"]),
        (b"secret,value", ["header_missing"]),
    ],
)
def test_headers(header: bytes, expected: list[str]) -> None:
    found = scan(header + b"\n1,2\n", "a,b")
    assert codes(found) == expected
    assert not any("secret" in f.message for f in found.findings)


def test_blank_and_repeated_header_cells_of_a_sample() -> None:
    found = sample("frictionless/invalid.csv", "id,name")
    assert codes(found) == ["header_unknown_columns", "header_duplicate_columns"]
    (error,) = sample("frictionless/blank-headers.csv", "id,age").errors
    assert error.code == "header_unknown_columns" and "column 2 " in error.message


FIRST = CsvSource(where=HERE, id="t", header=False, delimiter="|", control=Control(where=HERE, record="first", field=2))
LAST = CsvSource(where=HERE, id="t", header=False, delimiter="|", control=Control(where=HERE, record="last", field=2))


@pytest.mark.parametrize("end", [b"", b"\n", b"\r\n\n"])
def test_a_control_record_is_no_record_and_its_total_is_checked(end: bytes) -> None:
    for source, data in ((FIRST, b"T|2|x\n1|2\n\n3|4" + end), (LAST, b"1|2\n\n3|4\nT|2|x" + end)):
        for chunk in (1, 100):
            scanner = Scanner(source, Contract("t", (Field("a", STRING), Field("b", STRING)), HERE), range_bytes=3)
            for at in range(0, len(data), chunk):
                scanner.feed(data[at : at + chunk])
            found = scanner.finish()
            assert (found.records, found.declared, found.control, found.findings) == (2, 2, ("T", "2", "x"), ())
            records = b"".join(data[r.start : r.end] for r in found.ranges)
            assert records.split() == [b"1|2", b"3|4"]
            assert sum(r.records for r in found.ranges) == 2


@pytest.mark.parametrize(
    ("line", "expected", "severity"),
    [
        (b"T|3|x", "control_total", "error"),
        (b"T", "control_truncated", "error"),
        (b"T|n/a|x", "control_not_a_number", "warning"),
        (b"5|six", "control_missing", "error"),
    ],
)
def test_control_records_that_do_not_fit(line: bytes, expected: str, severity: str) -> None:
    for source, data in ((FIRST, line + b"\n1|2\n3|4\n"), (LAST, b"1|2\n3|4\n" + line + b"\n")):
        (finding,) = scan(data, "a,b", source).findings
        assert (finding.code, finding.severity) == (expected, severity)
        assert "six" not in finding.message and "n/a" not in finding.message


def test_a_file_that_lacks_everything_but_its_control_record() -> None:
    assert codes(scan(b"T|0|x\n", "a,b", FIRST)) == []
    assert codes(scan(b"T|0|x\n", "a,b", LAST)) == []
    assert codes(scan(b"T|1|x\n", "a,b", FIRST)) == ["control_total"]


def test_ragged_records_count_against_the_control_total() -> None:
    assert scan(b"T|3|x\n1|2\n3\n4|5|6\n", "a,b", FIRST).findings == ()


def test_skipped_lines_then_control_then_header() -> None:
    control = Control(where=HERE, record="first", field=1)
    source = CsvSource(where=HERE, id="t", skip_lines=2, control=control, comment="#")
    found = scan(b'any "thing\r\n\r\n# comment\r\n1,x,y\r\na,b\r\n7,8\r\n', "a,b", source)
    assert (found.records, found.control, found.header, found.findings) == (1, ("1", "x", "y"), ("a", "b"), ())


def test_a_scan_survives_a_journal() -> None:
    import json

    found = scan(b'T|3|x\n1|2\n3|"4', "a,b", FIRST)
    assert found.findings and found.ranges
    assert Scan.of(json.loads(json.dumps(found.as_dict()))) == replace(found, control=())
    assert isinstance(Scan.of(found.as_dict()).findings[0], Finding)


def test_where_header_or_control_record_are_missing_no_cell_of_a_record_is_kept() -> None:
    found = scan(b"secret,5\nother,6\n", "a,b")
    assert (codes(found), found.header) == (["header_missing"], ("#1", "#2"))
    controlled = scan(b"secret|5\nother|6\n", "a,b", FIRST)
    assert controlled.errors
    for kept in (found, controlled):
        assert "secret" not in str(kept.as_dict())
    assert scan(b"a,extra,b\n1,2,3\n", "a,b").header == ("a", "#2", "b")


@pytest.mark.parametrize("encoding", ["ebcdic", "cp037", "utf-7", "shift_jis"])
def test_other_encodings_are_refused_with_the_valid_ones(encoding: str) -> None:
    with pytest.raises(ValueError, match="valid: utf-8, iso-8859-1, windows-1252, utf-16"):
        scan(b"", "a", CsvSource(where=HERE, id="t", encoding=encoding))


@pytest.mark.parametrize(
    ("text", "grain", "expected"),
    [
        ("2020", "year", date(2020, 12, 31)),
        ("202002", "month", date(2020, 2, 29)),
        ("2020-02", "quarter", date(2020, 3, 31)),
        ("20200215", "month", date(2020, 2, 29)),
        ("2020-08-15", "quarter", date(2020, 9, 30)),
        ("2020-08-15", "year", date(2020, 12, 31)),
        (" 2020-08-15 ", "day", date(2020, 8, 15)),
    ],
)
def test_business_dates(text: str, grain: str, expected: date) -> None:
    assert business_date(text, grain) == expected  # type: ignore[arg-type]  # parametrize knows only str


@pytest.mark.parametrize(
    ("text", "grain"),
    [("2020", "month"), ("2020-08", "day"), ("2020-02-30", "day"), ("2020-13", "month"), ("0000", "year"),
     ("99", "year"), ("", "day"), ("\u0662\u0660\u0662\u0660", "year"), ("2020-00", "month"), ("2020-01-00", "day")],
)  # fmt: skip
def test_business_dates_that_are_none(text: str, grain: str) -> None:
    with pytest.raises(ValueError, match=re.escape("yyyy-MM")) as raised:
        business_date(text, grain)  # type: ignore[arg-type]  # parametrize knows only str
    assert not text or f"'{text}'" not in str(raised.value)
