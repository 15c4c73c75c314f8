"""Regular expressions are rewritten to what both engines read alike, or refused."""

from __future__ import annotations

import re

import pyarrow as pa
import pyarrow.compute as pc
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from pipeline_xml.expressions.codes import Refused
from pipeline_xml.expressions.patterns import date_pattern, like_pattern, matches_empty, portable_pattern


@pytest.mark.parametrize(
    ("pattern", "portable"),
    [
        (r"^\d+$", r"^[0-9]+\z"),
        (r"[\d\w]", r"[0-9A-Za-z0-9_]"),
        (r"\D\s", r"[^0-9][ \t\n\r\f\x0B]"),
        (r"a.b", r"a[^\n]b"),
        (r"(?P<y>[0-9]{4})-(?:x|y)", r"([0-9]{4})-(?:x|y)"),
        (r"[^]a-]", r"[^\]a\-]"),
        (r"[a-z&]", r"[a-z\&]"),
        (r"\-\.\/\@", r"\-\./@"),
        (r"x]y}", r"x\]y\}"),
        (r"\x41\x{1F600}", r"\x{41}\x{1F600}"),
        (r"a{2,}?b{3}", r"a{2,}?b{3}"),
    ],
)
def test_rewritten(pattern: str, portable: str) -> None:
    assert portable_pattern(pattern) == portable


@pytest.mark.parametrize(
    "pattern",
    [
        r"(?=a)", r"(?!a)", r"(?<=a)", r"(?<!a)", r"(?>a)", r"(?i)a", r"(?s:a)", r"(a)\1", r"\k<x>", r"\bx", r"\B",
        r"a++", r"a*+", r"a{2}+", r"\Qa\E", r"a\Z", r"\h", r"\R", r"\X", r"\pL", r"\p{L}", r"[[:alpha:]]", r"[a[b]]",
        r"[a&&b]", r"[a--b]", r"[\D]", r"[z-a]", r"[\d-a", r"[a", r"(a", r"a)", r"*a", r"a**", r"a{", r"a{2,1}",
        r"a{2000}", r"(a{500}){500}", r"(a{100}){11}", r"((?:a{10})*b){101}", "a\ud800",
        "a\\", r"\x4", r"\x{110000}", r"\x{D800}", r"^*", r"|*", r"\u0041", "a" * 1001,
        "(" * 30 + "a" + ")" * 30,
    ],
)  # fmt: skip
def test_refused(pattern: str) -> None:
    with pytest.raises(Refused) as found:
        portable_pattern(pattern)
    assert found.value.code == "LK216"


@settings(max_examples=500, deadline=None)
@example("\\x00", "")  # a code point, which Python writes in another way
@example("\\x41b", "Ab")
@given(st.text(alphabet="ab01-[]()|*+?{}^$.,\\dwsDxé \n&~", max_size=14), st.text(alphabet="ab01- \né_", max_size=8))
def test_what_passes_means_what_python_reads(pattern: str, text: str) -> None:
    """Python's ASCII reading of the pattern as written is the meaning; \\Z is its name of the very end."""
    try:
        portable = portable_pattern(pattern)
    except Refused:
        return
    as_written = re.sub(r"(?<!\\)((?:\\\\)*)\$", r"\1\\Z", pattern)
    if "[" in as_written and r"\Z" in as_written:
        return  # a $ inside [ ] is itself
    expected = re.search(as_written, text, re.ASCII) is not None
    # The engines' ways of writing the very end and a code point, as Python writes them.
    read = re.sub(r"\\x\{([0-9A-F]+)\}", lambda m: f"\\U{int(m[1], 16):08X}", portable.replace(r"\z", r"\Z"))
    assert (re.search(read, text, re.ASCII) is not None) == expected


@settings(max_examples=200, deadline=None)
@given(st.text(alphabet="a.%_[\\", max_size=8))
def test_like_matches_its_own_plain_text(text: str) -> None:
    plain = "".join("!" + c if c in "%_!" else c for c in text)
    found = like_pattern(plain, "!").replace(r"\z", r"\Z")
    assert re.search(found, text) is not None
    assert re.search(found, text + "x") is None


@settings(max_examples=500, deadline=None)
@given(st.text(alphabet="ab01-[]()|*+?{}^$.,\\dwsDxé \n&~", max_size=14), st.text(alphabet="ab01- \né_", max_size=8))
@example("(?:(?:a{10}){10}){10}", "a" * 1000)
@example("[^a]{1000}[^b]{1000}[^\\x{10000}]{1000}", "")
@example("(?P<x>(|a)+)*", "")
def test_contracts_read_it_alike(pattern: str, text: str) -> None:
    """Contracts are checked by Arrow's RE2: what passes compiles there, and means what Python reads."""
    try:
        portable = portable_pattern(pattern)
    except Refused:
        return
    found = pc.match_substring_regex(pa.array([text]), portable)[0].as_py()
    python = re.sub(r"\\x\{([0-9A-F]+)\}", lambda m: f"\\U{int(m[1], 16):08X}", portable).replace(r"\z", r"\Z")
    assert found == (re.search(python, text, re.ASCII) is not None)


def test_empty_matches() -> None:
    assert matches_empty(portable_pattern("a*")) and matches_empty(portable_pattern("^|b"))
    assert not matches_empty(portable_pattern(r"\x{1F600}+"))


@pytest.mark.parametrize(
    ("form", "time"),
    [("yyyy-MM-dd", False), ("ddMMyyyy", False), ("yyyy-MM-dd'T'HH:mm:ss", True), ("yyyy/MM", None)],
)
def test_date_formats(form: str, time: bool | None) -> None:
    gate = date_pattern(form, time).replace(r"\z", r"\Z")
    sample = form.replace("'", "")
    for token, digits in (("yyyy", "2020"), ("MM", "02"), ("dd", "29"), ("HH", "10"), ("mm", "11"), ("ss", "12")):
        sample = sample.replace(token, digits)
    assert re.search(gate, sample) and not re.search(gate, sample + "0") and not re.search(gate, " " + sample)


@pytest.mark.parametrize(
    ("form", "time"),
    [
        ("yy-MM-dd", False), ("yyyy-M-dd", False), ("yyyy-MM-dd HH", False), ("yyyy-MM-dd", True), ("yyyy-MM", False),
        ("yyyyyyyy", None), ("yyyy-MM-dd mm", None), ("yyyy-MM-dd'x'", None), ("MMM yyyy dd", None),
        ("yyyyMMMdd", None),
    ],
)  # fmt: skip
def test_date_formats_refused(form: str, time: bool | None) -> None:
    with pytest.raises(Refused) as found:
        date_pattern(form, time)
    assert found.value.code == "LK216"
