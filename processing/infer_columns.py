"""What a column of a sample looks like: its type, whether it is always there, codes beside values, a short list.

Candidates are tried with the conversion that a run uses, so what is inferred here is read there.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from pipeline_xml.types import BIGINT, BOOLEAN, DATE, DOUBLE, INT, STRING, TIMESTAMP, DataType, decimal

KNOWN_CODES = frozenset({
    "na", "n/a", "n.a.", "#n/a", "null", "none", "nil", "nan", "-", "--", ".", "?", "\\n", "unknown", "unk", "missing",
    "exempt", "withheld", "suppressed", "redacted", "tbd", "not applicable", "not available",
})  # fmt: skip
MOST_CODES = 10
MOST_LISTED = 12
LONGEST_CODE = 20
FEW = 20  # with fewer records nothing is said about blanks or lists
_CODE = re.compile(r"[A-Za-z0-9 ./*?#\\_<>%-]{1,20}\Z")
_DECIMAL_COMMA = re.compile(r"[+-]?[0-9.]*[0-9],[0-9]+\Z")
_LEADING_ZERO = re.compile(r"[+-]?0[0-9]")
_PLAUSIBLE_DAY = re.compile(r"(19|20)[0-9]{6}([0-9]{6})?\Z")
_UNNAMED = re.compile(r"column_[0-9]+\Z")  # what a personal column is called is not known then: nothing is listed
_ID = re.compile(r"(^|_)(id|key|no|nr|num|number|seq|sequence)$", re.I)
_LABEL = re.compile(
    r"(^|_)(zip|zipcode|postal|postcode|plz|phone|tel|mobile|fax|account|acct|iban|bic|ssn|tax|fips|cusip|isin|card)(_|$)"
    r"|(^|_)code$", re.I,
)  # fmt: skip
_PERSONAL = re.compile(
    r"(^|_)(first_?name|last_?name|full_?name|surname|name|email|e_?mail|phone|tel|mobile|street|address|city|birth|dob"
    r"|birthday|birth_?date|date_?of_?birth|ssn|passport|iban|account|acct|card|ip)(_|$)", re.I,
)  # fmt: skip
_DAYS = ("yyyy-MM-dd", "yyyyMMdd", "dd.MM.yyyy", "MM/dd/yyyy", "dd/MM/yyyy", "yyyy/MM/dd", "dd-MM-yyyy", "MM-dd-yyyy",
         "yyyy.MM.dd")  # fmt: skip
_CLOCKS = ("yyyyMMddHHmmss", "yyyy/MM/dd HH:mm:ss", "yyyy/MM/dd HH:mm", "dd.MM.yyyy HH:mm:ss", "dd.MM.yyyy HH:mm",
           "MM/dd/yyyy HH:mm:ss", "MM/dd/yyyy HH:mm", "dd/MM/yyyy HH:mm:ss", "dd/MM/yyyy HH:mm")  # fmt: skip


@dataclass(frozen=True, slots=True)
class ColumnGuess:
    """`values` are cells that are not blank, `fits` how many of them are of the type, codes not counted."""

    name: str
    type: DataType
    evidence: str
    format: str | None = None
    required: bool = False
    codes: tuple[str, ...] = ()
    listed: tuple[str, ...] = ()
    classification: str | None = None
    values: int = 0
    blank: int = 0
    distinct: int = 0
    fits: int = 0
    notes: tuple[str, ...] = ()

    @property
    def unique(self) -> bool:
        return self.blank == 0 and self.values > 1 and self.distinct == self.values


@dataclass(frozen=True, slots=True)
class _Candidate:
    """A type, and which of the distinct texts are not of it."""

    type: DataType
    format: str | None
    words: str
    misfits: tuple[str, ...]
    missed: int  # cells, not texts


def infer_column(name: str, cells: Sequence[str], taken: frozenset[str] = frozenset()) -> ColumnGuess:
    """The guess for one column. `taken`: lower-case names of all columns, which `<name>_code` must not meet."""
    counts = Counter(cells)
    blank = counts.pop("", 0)
    values = sum(counts.values())
    personal = "pii" if _PERSONAL.search(name) else None
    required = blank == 0 and values >= FEW
    if not counts:
        return ColumnGuess(name, STRING, "no value in the sample: kept as text", blank=blank, classification=personal)
    best = min(_candidates(counts), key=lambda c: c.missed, default=None)
    codes, holds = _codes(best, counts, values, name, taken) if best is not None else ((), False)
    if best is None or not holds:
        return _text(name, counts, values, blank, required, personal, ())
    misfits = set(best.misfits)
    typed = [t for t in counts if t not in misfits]
    kind, refusal = _settled(best, name, typed)
    if refusal:
        return _text(name, counts, values, blank, required, personal, (refusal,))
    fits = values - best.missed
    coded = sum(counts[code] for code in codes)
    notes = []
    words = best.words if best.format is None else f"{best.words} {best.format}"
    evidence = f"{fits:,} of {values:,} values are {words}"
    if codes:
        evidence += f", {coded:,} are codes"
    if left := best.missed - coded:
        notes.append(f"{left:,} of {values:,} values are neither and would be quarantined")
    if kind == BIGINT and _ID.search(name):
        notes.append("bigint, because identifiers grow")
    if len(typed) == 1:
        notes.append("one single value: the type is a weak guess")
    return ColumnGuess(
        name, kind, evidence, None if best.format == "yyyy-MM-dd" else best.format, required, codes, (), personal,
        values, blank, len(counts), fits, tuple(notes),
    )  # fmt: skip


def _candidates(counts: Mapping[str, int]) -> list[_Candidate]:
    import pyarrow as pa

    from processing.validate_types import convert

    texts = list(counts)
    array = pa.array(texts, pa.string())

    def candidate(kind: DataType, layout: str | None, words: str) -> _Candidate:
        _, wrong = convert(array, kind, layout)
        misfits = {texts[i] for i in wrong.tolist()}
        if layout in ("yyyyMMdd", "yyyyMMddHHmmss"):
            misfits |= {t for t in texts if not _PLAUSIBLE_DAY.match(t)}
        if kind == TIMESTAMP and layout is None:
            misfits |= {t for t in texts if len(t) <= 10}
        return _Candidate(kind, layout, words, tuple(t for t in texts if t in misfits), sum(counts[t] for t in misfits))

    found = [candidate(BOOLEAN, None, "true or false")]
    found += [candidate(DATE, layout, "dates") for layout in _DAYS]
    found += [candidate(TIMESTAMP, None, "ISO timestamps")]
    found += [candidate(TIMESTAMP, layout, "timestamps") for layout in _CLOCKS]
    found.append(candidate(DOUBLE, None, "numbers"))
    found = [c for c in found if len(c.misfits) < len(texts)]
    least = min((c.missed for c in found), default=0)
    tied = [c for c in found if c.missed == least and c.format is not None]
    if len(tied) > 1:  # day and month cannot be told apart: neither is guessed
        words = f"dates, {' or '.join(str(c.format) for c in tied)}"
        found = [c for c in found if c not in tied] + [_Candidate(STRING, None, words, tied[0].misfits, least)]
    return found


def _codes(
    best: _Candidate, counts: Mapping[str, int], values: int, name: str, taken: frozenset[str]
) -> tuple[tuple[str, ...], bool]:
    """The misfits that are codes, and whether the type holds: codes must be few, short, known or repeated."""
    if not best.misfits:
        return (), True
    fits = values - best.missed
    texts = len(counts) - len(best.misfits)
    known = [t for t in best.misfits if t.strip().lower() in KNOWN_CODES]
    other = [t for t in best.misfits if t not in known and _CODE.match(t) and counts[t] >= 3]
    if len(other) * 3 > texts or fits * 2 < values or _UNNAMED.match(name):
        other = []
    codes = tuple(known + other)
    left = best.missed - sum(counts[c] for c in codes)
    enough = fits >= 2 or not left
    few_left = left == 0 or (values >= 100 and left * 100 <= values)
    free = not codes or (f"{name}_code".lower() not in taken and len(codes) <= MOST_CODES)
    return codes, enough and few_left and free


def _settled(best: _Candidate, name: str, texts: Sequence[str]) -> tuple[DataType, str | None]:
    """The final type; or why the column stays text although its values look like something else."""
    if best.type == STRING:
        return STRING, f'{best.words}: kept as text; say which by "format": "date" and "x-format"'
    if best.type != DOUBLE:
        return best.type, None
    if any(_LEADING_ZERO.match(t) for t in texts):
        return STRING, "digits with leading zeros: kept as text"
    if any(t.startswith("+") for t in texts):
        return STRING, "digits after a plus sign: kept as text"
    if _LABEL.search(name):
        return STRING, "digits that the name says nobody calculates with: kept as text"
    if any("e" in t.lower() for t in texts):
        return DOUBLE, None
    whole, fraction = _digits(texts)
    if not any("." in t for t in texts):
        if whole > 18:
            return STRING, "whole numbers of more than 18 digits: identifiers, kept as text"
        return (INT if whole <= 8 and not _ID.search(name) else BIGINT), None
    if fraction > 6:
        return DOUBLE, None
    return decimal(min(38, max(18, whole + fraction + 2)), fraction), None


def _digits(texts: Sequence[str]) -> tuple[int, int]:
    parts = [t.lstrip("-").partition(".") for t in texts]
    return max(len(p[0]) for p in parts), max(len(p[2]) for p in parts)


def _text(
    name: str, counts: Mapping[str, int], values: int, blank: int, required: bool, personal: str | None,
    notes: tuple[str, ...],
) -> ColumnGuess:  # fmt: skip
    """A column of texts; a short list of repeated short values becomes an enumeration."""
    short = all(len(t) <= LONGEST_CODE and _CODE.match(t) for t in counts)
    repeated = 1 < len(counts) <= MOST_LISTED and min(counts.values()) >= 3 and values >= 50
    known = not personal and not _UNNAMED.match(name)
    listed = tuple(sorted(counts)) if short and repeated and known and not notes else ()
    if not notes and all(_DECIMAL_COMMA.match(t) for t in counts):
        notes = ("numbers with a decimal comma: kept as text; the feed has to send a point to be typed",)
    evidence = f"text: {len(counts):,} distinct in {values:,} values"
    if listed:
        evidence = f"{values:,} of {values:,} values are one of {len(listed)} texts"
        notes = ("a text that is not listed would be quarantined",)
    return ColumnGuess(
        name, STRING, evidence, None, required, (), listed, personal, values, blank, len(counts), values, notes
    )
