"""The boundary scan of JSON agrees with the json module about records, however the bytes arrive, and loses no text."""

from __future__ import annotations

import json
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from processing.parse_json import MALFORMED, TWICE, UNKNOWN, parse_records
from processing.scan_json import JsonScanner, json_records
from processing.scan_result import Range, Scan

TEXT = st.text(st.sampled_from('ab "\'\\,[]{}:\n\r\t\u00e9\u6f22\u2028'), max_size=6)
VALUE = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**20), 10**20) | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=6,
)
OBJECT = st.dictionaries(st.sampled_from("abc"), VALUE, max_size=3)
LINE = st.text(st.sampled_from('a1 "\\,[]{}:\t\u00e9'), max_size=10)
CUTS = st.lists(st.integers(0, 10_000), max_size=8)


def scan(data: bytes, cuts: Sequence[int] = (), limit: int = 1_000_000, range_bytes: int = 16) -> Scan:
    scanner = JsonScanner(limit, range_bytes=range_bytes)
    edges = sorted({0, len(data), *(c % (len(data) + 1) for c in cuts)})
    for start, end in pairwise(edges):
        scanner.feed(data[start:end])
    return scanner.finish()


def texts(data: bytes, found: Scan) -> list[bytes]:
    """Of all ranges; each has to hold as many as were counted, and to follow the one before."""
    out: list[bytes] = []
    for part in found.ranges:
        records = json_records(data[part.start : part.end], found, part.records)
        assert (len(records), part.first_record) == (part.records, len(out) + 1)
        out += records
    assert len(out) == found.records
    return out


@settings(max_examples=300, deadline=None)
@given(
    items=st.lists(OBJECT, max_size=8),
    indent=st.sampled_from([None, 0, 2]),
    ascii_only=st.booleans(),
    bom=st.booleans(),
    cuts=CUTS,
)
def test_elements_of_an_array_are_those_that_the_json_module_finds(
    items: list[Any], indent: int | None, ascii_only: bool, bom: bool, cuts: list[int]
) -> None:
    data = (b"\xef\xbb\xbf" if bom else b"") + json.dumps(items, indent=indent, ensure_ascii=ascii_only).encode()
    found = scan(data, cuts)
    assert found.findings == ()
    assert [json.loads(text) for text in texts(data, found)] == items
    assert (found.size, found.form) == (len(data), "array")


@settings(max_examples=300, deadline=None)
@given(
    lines=st.lists(LINE, max_size=8),
    first=OBJECT,
    newline=st.sampled_from(["\n", "\r\n"]),
    end=st.booleans(),
    cuts=CUTS,
)
def test_every_line_with_something_in_it_is_a_record_with_its_exact_text(
    lines: list[str], first: Any, newline: str, end: bool, cuts: list[int]
) -> None:
    lines = [json.dumps(first), *lines]
    data = (newline.join(lines) + (newline if end else "")).encode()
    found = scan(data, cuts)
    assert texts(data, found) == [line.encode().strip() for line in lines if line.strip(" \t\r")]
    assert (found.findings, found.form) == ((), "lines")


def test_what_stands_between_commas_is_a_record_even_if_it_is_nothing() -> None:
    data = b'[1,,tru, {"a":[,]} ,]'
    found = scan(data, (3, 9), range_bytes=4)
    assert texts(data, found) == [b"1", b"", b"tru", b'{"a":[,]}', b""]
    assert found.findings == ()


@pytest.mark.parametrize("data", [b"[]", b" [ \n ] \n", b"\xef\xbb\xbf[]"])
def test_an_empty_array_is_an_empty_file_and_no_fault(data: bytes) -> None:
    found = scan(data, (1, 2))
    assert (found.records, found.ranges, found.findings) == (0, (), ())


@pytest.mark.parametrize("data", [b"{}", b"{}\n", b" \n{} ", b'\xef\xbb\xbf{"a":1}'])
def test_the_smallest_files_have_their_record(data: bytes) -> None:
    found = scan(data, (1,))
    assert (texts(data, found), found.findings) == ([data.strip(b"\xef\xbb\xbf \n")], ())


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (b"", "empty_file"),
        (b" \n\t\n", "empty_file"),
        (b'[{"a":1}', "truncated"),
        (b'[{"a":1}, {"b":"x', "truncated"),
        (b"[", "truncated"),
        (b'[{"a":1}] {"b":2}', "after_the_end"),
        (b'[{"a":1}]\n\n[2]', "after_the_end"),
        (b'[{"a":1}},{"b":2}]', "brackets"),
        ('{"a":1}'.encode("utf-16"), "encoding"),
    ],
)
def test_what_breaks_a_file_is_found(data: bytes, code: str) -> None:
    for cuts in ((), (1, 5), tuple(range(len(data)))):
        found = scan(data, cuts)
        assert [f.code for f in found.errors][:1] == [code]
        assert all(not any(str(v) in f.message for v in ("a\"", "b\"")) for f in found.findings)


def test_a_record_longer_than_allowed_is_found() -> None:
    for data in (b'{"a":1}\n{"a":"' + b"x" * 50 + b'"}\n', b'[{"a":1},{"a":"' + b"x" * 50 + b'"}]'):
        (finding,) = scan(data, (20, 30), limit=30).findings
        assert (finding.code, finding.record) == ("record_too_long", 2)


def test_records_become_texts_and_what_is_none_is_told() -> None:
    records = [
        b'{"a": 1.10, "b": "x"}', b'{"a": 1e1}', b'{"a": 1E-2, "b": null}',
        b'{"a": true, "b": {"k": [1.50, "\xc3\xa9", null]}}',
        b"[1]", b"7", b'{"a": NaN}', b'{"a": 1', b'{"a": 1, "a": 2}', b'{"a": 1, "c": 2}', b'{"a": "\xff"}',
        b'{"a": "\\ud800"}', b'{"a": "\\u0041\\ud83d\\ude00"}', b"[" * 100_000, b"", b'{"a": 1e999999, "b": ""}',
    ]  # fmt: skip
    parsed = parse_records(records, ["a", "b"])
    assert list(zip(*(c.to_pylist() for c in parsed.columns.columns), strict=True)) == [
        ("1.10", "x"), ("10", None), ("0.01", None), ("true", '{"k":[1.50,"\u00e9",null]}'), ("A\U0001f600", None),
        ("1e999999", ""),
    ]  # fmt: skip
    assert parsed.broken == (
        (4, MALFORMED), (5, MALFORMED), (6, MALFORMED), (7, MALFORMED), (8, TWICE), (9, UNKNOWN), (10, MALFORMED),
        (11, MALFORMED), (13, MALFORMED), (14, MALFORMED),
    )  # fmt: skip


def test_a_range_is_read_as_it_was_counted() -> None:
    scan = Scan(2, 10, 0, 10, (Range(0, 10, 1, 2),), "utf-8", form="array")
    assert json_records(b"1,2,", scan, 2) == [b"1", b"2"]
    assert json_records(b"1,2", scan, 2) == [b"1", b"2"]
