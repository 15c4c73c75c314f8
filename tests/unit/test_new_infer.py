"""What a sample gives away, and what it does not: identifiers stay text, codes stand beside numbers."""

from __future__ import annotations

from datetime import date
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from processing.infer import Guess, infer
from processing.infer_columns import ColumnGuess, infer_column
from processing.infer_sample import CannotInfer, read_beginning

SAMPLES = Path(__file__).parents[1] / "data" / "csv"


def guess(text: str | bytes, complete: bool = True, **chosen: object) -> Guess:
    return infer(text.encode() if isinstance(text, str) else text, complete, **chosen)  # type: ignore[arg-type]


def column(*cells: str, name: str = "x") -> ColumnGuess:
    return infer_column(name, cells)


@pytest.mark.parametrize(
    ("cells", "kind", "form"),
    [
        (["1", "22", "-3"], "int", None),
        (["1", "123456789"], "bigint", None),
        (["1.5", "22.25"], "decimal(18,2)", None),
        (["12345678901234567890.12", "1.00"], "decimal(24,2)", None),
        (["0.123456789", "1.5"], "double", None),
        (["1e5", "2.5"], "double", None),
        (["true", "False"], "boolean", None),
        (["2024-01-31", "2023-12-01"], "date", None),
        (["20240131", "20231201"], "date", "yyyyMMdd"),
        (["31.01.2024", "01.12.2023"], "date", "dd.MM.yyyy"),
        (["01/31/2024", "12/01/2023"], "date", "MM/dd/yyyy"),
        (["31/01/2024", "01/12/2023"], "date", "dd/MM/yyyy"),
        (["2024-01-31T10:00:00Z", "2024-01-31 10:00"], "timestamp", None),
        (["31.01.2024 10:00", "01.12.2023 11:30"], "timestamp", "dd.MM.yyyy HH:mm"),
        (["01", "002", "3"], "string", None),  # leading zeros mean something
        (["+4912345", "+4967890"], "string", None),
        (["1234567890123456789", "2234567890123456789"], "string", None),  # beyond what a number keeps exactly
        (["20241301", "20240131"], "int", None),  # the calendar has no month 13
        (["1,5", "2,5"], "string", None),
        (["a", "b"], "string", None),
        (["", ""], "string", None),
    ],
)
def test_type_of_a_column(cells: list[str], kind: str, form: str | None) -> None:
    found = column(*cells)
    assert (str(found.type), found.format) == (kind, form)


def test_day_and_month_that_cannot_be_told_apart_are_not_guessed() -> None:
    found = column("01/02/2024", "03/04/2024")
    assert str(found.type) == "string"
    assert "MM/dd/yyyy or dd/MM/yyyy" in found.notes[0]


def test_decimal_commas_are_said() -> None:
    assert "decimal comma" in column("1,5", "1.000,25").notes[0]


@pytest.mark.parametrize("name", ["zip", "phone_number", "account_no", "county_code", "iban"])
def test_digits_that_nobody_calculates_with_stay_text(name: str) -> None:
    assert str(column("12345", "23456", name=name).type) == "string"


def test_an_identifier_of_digits_may_grow() -> None:
    assert str(column("1", "2", name="customer_id").type) == "bigint"


def test_codes_beside_numbers_and_dates() -> None:
    found = column(*["12.5", "13.25"] * 30, *["NA"] * 8, *["Exempt"] * 2)
    assert (str(found.type), found.codes) == ("decimal(18,2)", ("NA", "Exempt"))
    assert found.evidence == "60 of 70 values are numbers, 10 are codes"
    assert column("20240101", "20240102", "NA").codes == ("NA",)


def test_an_unknown_code_has_to_repeat() -> None:
    numbers = [str(n) for n in range(200)]
    assert column(*numbers, *["late"] * 3).codes == ("late",)
    once = column(*numbers, "Miller")
    assert (once.codes, str(once.type)) == ((), "int")
    assert once.notes == ("1 of 201 values are neither and would be quarantined",)
    assert "Miller" not in repr(once)
    assert str(column("1", "2", "Miller").type) == "string"


def test_a_short_list_of_repeated_texts_becomes_an_enumeration() -> None:
    assert column(*["OPEN", "CLOSED"] * 30).listed == ("CLOSED", "OPEN")
    assert column(*["OPEN", "CLOSED"] * 5).listed == ()  # too few
    assert column(*["OPEN"] * 60, "ONCE").listed == ()
    assert column(*["Ann", "Bob"] * 30, name="first_name").listed == ()  # personal
    assert column(*["Ann", "Bob"] * 30, name="column_7").listed == ()  # nobody knows what it is


def test_a_code_column_that_exists_already_is_not_made_again() -> None:
    assert str(infer_column("rate", ["1", "2", "NA"], frozenset({"rate", "rate_code"})).type) == "string"


@given(st.lists(st.dates(date(1900, 1, 1), date(2099, 12, 31)), min_size=1, max_size=30))
def test_iso_dates_are_always_dates(days: list[date]) -> None:
    found = column(*(day.isoformat() for day in days))
    assert (str(found.type), found.fits) == ("date", len(days))


@given(st.lists(st.text(max_size=12), min_size=1, max_size=30))
def test_whatever_the_cells_every_value_is_counted(cells: list[str]) -> None:
    found = column(*cells)
    assert found.values + found.blank == len(cells)
    assert found.fits <= found.values


@pytest.mark.parametrize(
    ("text", "delimiter", "quote"),
    [
        ("a,b\n1,2\n", ",", '"'),
        ("a;b\n1,5;2\n2,5;3\n", ";", '"'),
        ("1,5;2,5;3,5\n1,6;2,6;3,6\n", ";", '"'),
        ("a\tb\n1\t2,3\n", "\t", '"'),
        ('a|b\n"x" y|2\n"z|3\n', "|", None),
        ("a,b\n'x,y',2\n'z',3\n", ",", "'"),
        ('a,b\n"x\\"y,",2\n"z",3\n', ",", '"'),
        ("a\x01b\n1\x012\n", "\x01", '"'),
    ],
)
def test_delimiter_and_quote(text: str, delimiter: str, quote: str | None) -> None:
    found = guess(text).dialect
    assert (found.delimiter, found.quote) == (delimiter, quote)


def test_a_backslash_that_escapes_is_found() -> None:
    assert guess('a,b\n"x\\"y,",2\n"z",3\n').dialect.escape == "\\"
    assert guess('a,b\n"x""y,",2\n"z",3\n').dialect.escape is None


@pytest.mark.parametrize(
    ("data", "encoding"),
    [
        (b"a,b\n1,2\n", "utf-8"),
        (b"\xef\xbb\xbfa,b\n1,2\n", "utf-8"),
        ("a,b\n1,é\n".encode("utf-16"), "utf-16"),
        ("a,b\n1,2\n3,4\n".encode("utf-16-le"), "utf-16le"),
        ("a,b\n1,2\n3,4\n".encode("utf-16-be"), "utf-16be"),
        ("a,b\n1,é\n".encode("latin-1"), "iso-8859-1"),
        ("a,b\n1,€\n".encode("cp1252"), "windows-1252"),
    ],
)
def test_encoding(data: bytes, encoding: str) -> None:
    found = guess(data)
    assert found.encoding == encoding
    assert [c.name for c in found.columns] == ["a", "b"]


def test_a_letter_cut_at_the_end_of_what_is_read_is_no_other_encoding() -> None:
    data = "a,b\n1,2\n3,é".encode()[:-1]
    assert guess(data, complete=False).encoding == "utf-8"


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (b"", "empty"),
        (b"\n\n \n", "empty"),
        (b"a,b,c\n", "header of 3 columns and no record below it"),
        (b"PK\x03\x04rest", "Excel"),
        (b"\x1f\x8brest", "gzip"),
        (b"\x00" * 100 + b"a,b\n", "binary"),
    ],
)
def test_what_cannot_be_inferred_from_says_what_to_do(data: bytes, says: str) -> None:
    with pytest.raises(CannotInfer, match=says) as caught:
        guess(data)
    assert any(word in str(caught.value) for word in ("give", "Give", "export", "unpack"))


def test_a_missing_file_and_a_folder(tmp_path: Path) -> None:
    with pytest.raises(CannotInfer, match="does not exist"):
        read_beginning(tmp_path / "x.csv", 10)
    with pytest.raises(CannotInfer, match="is a folder"):
        read_beginning(tmp_path, 10)


def test_header_or_not() -> None:
    assert guess("id,name\n1,x\n2,y\n").header
    assert not guess("1,x\n2,y\n").header
    assert not guess("x,y\nx,z\n").header  # a cell occurs again below
    assert [c.name for c in guess("1,x\n2,y\n").columns] == ["column_1", "column_2"]
    assert guess("x,y\nz,w\n").header
    assert "weak" in guess("x,y\nz,w\n").header_why
    assert not guess("x,y\nz,w\n", header=False).header


def test_headings_that_cannot_be_names_go_by_position() -> None:
    found = guess('Loan Amount,,id,ID,"2nd\nline"\n1,2,3,4,5\n6,7,8,9,10\n', header=True)
    assert not found.header
    assert found.skip_lines == 2  # the header is two lines long
    assert [c.name for c in found.columns] == ["loan_amount", "column_2", "id", "id_2", "c_2nd_line"]
    assert found.written[0] == "Loan Amount"


def test_title_lines_before_a_header_are_skipped() -> None:
    found = guess("Report of the day\n\na,b,c\n1,2,3\n4,5,6\n")
    assert (found.skip_lines, found.header, found.records) == (2, True, 2)


def test_a_first_record_that_is_too_short_is_data_where_there_is_no_header() -> None:
    found = guess("9,9\n1,2,3\n4,5,6\n7,8,9\n")
    assert (found.records, found.ragged, found.skip_lines) == (4, 1, 0)


def test_records_that_are_all_ragged_are_said_and_guessed_as_text() -> None:
    found = guess("id,name,age\n1,x\n2,y,3,4\n")
    assert (found.records, found.ragged) == (2, 2)
    assert {str(c.type) for c in found.columns} == {"string"}


def test_control_record() -> None:
    text = "1|B|2018|x|3\n" + "".join(f"2|{i}|a|b|c|d|e|f|g|h|i|j\n" for i in (1, 2, 3))
    control = guess(text).control
    assert control is not None
    assert (control.record, control.field, control.business_date_field, control.grain) == ("first", 5, 3, "year")
    assert guess(text).records == 3
    last = guess("a,b,c\n1,2,3\n4,5,6\nT,2\n").control
    assert last is not None
    assert (last.record, last.field) == ("last", 2)
    assert guess(text.replace("|3\n", "|9\n", 1)).control is None  # no cell holds the number: maybe a short record


def test_primary_key() -> None:
    ids = "".join(f"x{i % 7},{i}\n" for i in range(50))
    assert guess("kind,order_id\n" + ids).primary_key == ("order_id",)
    assert guess("kind,amount\n1,2\n1,3\n").primary_key == ()  # two records prove nothing
    twice = guess("order_id,b\n" + "1,2\n" * 2 + "3,4\n")
    assert twice.primary_key == ()
    assert [c.required for c in guess("order_id,b\n1,2\n2,\n").columns] == [True, False]


def test_what_was_not_read_is_said() -> None:
    text = "a,b\n" + "".join(f"{i},x\n" for i in range(100))
    part = guess(text, rows=40)
    assert (part.records, part.complete) == (40, False)
    assert "everything after the first 40 records" in part.unchecked
    assert guess(text).complete
    cut = guess(text[:-2], complete=False)
    assert (cut.records, cut.complete) == (99, False)  # the last one may be cut


@pytest.mark.parametrize("file", sorted(p for p in SAMPLES.rglob("*.csv") if p.is_file()), ids=lambda p: p.stem)
def test_awkward_samples_are_inferred_or_refused_by_name(file: Path) -> None:
    data, complete = read_beginning(file, 10_000)
    try:
        found = infer(data, complete)
    except CannotInfer as refused:
        assert file.stem == "empty", refused
        return
    assert found.records > 0
    assert found.columns
    assert found.complete
