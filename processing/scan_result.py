"""What the boundary scan of a file found: counts, ranges, header, control record, findings. Plain data."""

from __future__ import annotations

import calendar
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from datetime import date
from typing import Any, Literal, NamedTuple

from pipeline_xml.model import Grain


class Range(NamedTuple):
    """A stretch of the file that begins and ends at record boundaries. `first_record` counts from 1."""

    start: int
    end: int
    first_record: int
    records: int


@dataclass(frozen=True, slots=True)
class Finding:
    """What breaks a file (error) or is worth knowing (warning). `record` and `offset` say where; never a value.

    `record` is the physical data record, None before the data. `offset` is of the file as sent for `encoding`, else of
    the bytes the ranges speak of (they differ only for UTF-16).
    """

    code: str
    message: str
    record: int | None = None
    offset: int | None = None
    severity: Literal["error", "warning"] = "error"


@dataclass(frozen=True, slots=True)
class Scan:
    """`records` is the independent count that every later count is held against.

    `size`: bytes of the file as sent. `ranges`, `data_start` and `data_end` are offsets into the file as sent or, where
    `transcoded`, into the UTF-8 working copy made of what `Scanner.feed` returned. `encoding` is that of those bytes.
    `nul`: NUL bytes stand in the data. `comments`: comment lines stand between the records.
    `blank_records`: a blank line is a record, as the file has one column. `form`: of JSON, lines or array. Of a Parquet
    file the ranges are row groups, counted from 0.
    """

    records: int
    size: int
    data_start: int
    data_end: int
    ranges: tuple[Range, ...]
    encoding: str
    transcoded: bool = False
    header: tuple[str, ...] = ()
    control: tuple[str, ...] = ()
    declared: int | None = None
    nul: bool = False
    comments: bool = False
    blank_records: bool = False
    form: str = ""
    findings: tuple[Finding, ...] = ()
    beside: Mapping[str, str] = field(default_factory=dict)  # checksums, control file: publishing/beside.py

    @property
    def errors(self) -> tuple[Finding, ...]:
        """The findings that hold the file."""
        return tuple(f for f in self.findings if f.severity == "error")

    @staticmethod
    def of_archive(size: int, findings: tuple[Finding, ...] = (), beside: Mapping[str, str] | None = None) -> Scan:
        """Of a file that holds no records itself; `findings` say why it was not unpacked."""
        return Scan(
            records=0, size=size, data_start=0, data_end=0, ranges=(), encoding="", findings=findings,
            beside=dict(beside or {}),
        )  # fmt: skip

    def as_dict(self) -> dict[str, Any]:
        """Ready for json; `of` is its inverse, less the control record: where that is missing it is a record's values.

        Who asks for it scans the file.
        """
        return asdict(self) | {"ranges": [list(r) for r in self.ranges], "control": []}

    @staticmethod
    def of(terms: Mapping[str, Any]) -> Scan:
        return Scan(
            **{
                **terms,
                "ranges": tuple(Range(*r) for r in terms["ranges"]),
                "header": tuple(terms["header"]),
                "control": tuple(terms["control"]),
                "findings": tuple(Finding(**f) for f in terms["findings"]),
            }
        )


_DATE = re.compile(r"([0-9]{4})(?:-?([0-9]{2})(?:-?([0-9]{2}))?)?\Z")
_FORMS = "yyyy, yyyyMM, yyyy-MM, yyyyMMdd, yyyy-MM-dd"
_MONTHS: Mapping[Grain, int] = {"day": 1, "month": 1, "quarter": 3, "year": 12}


def business_date(text: str, grain: Grain) -> date:
    """The last day of the period that the text names or lies in. ValueError says which forms are valid.

    A text coarser than the grain (a year under grain month) names no single period and is refused.
    """
    match = _DATE.match(text.strip())
    if match is None:
        raise ValueError(f"the business date is not a date; valid forms: {_FORMS}")
    year, month, day = int(match[1]), int(match[2] or 0), int(match[3] or 0)
    if match[2] is None and grain != "year":
        raise ValueError(f"the business date is a year, but the pipeline's grain is {grain}; valid forms: {_FORMS[6:]}")
    if match[3] is None and grain == "day":
        text = "the business date is a month, but the pipeline's grain is day"
        raise ValueError(f"{text}; valid forms: yyyyMMdd, yyyy-MM-dd")
    try:
        named = date(year, month if match[2] else 12, day if match[3] else 1)
    except ValueError:
        raise ValueError(f"the business date is not a day of the calendar; valid forms: {_FORMS}") from None
    if grain == "day":
        return named
    span = _MONTHS[grain]
    last = -(-named.month // span) * span
    return date(year, last, calendar.monthrange(year, last)[1])
