"""Sources of files: csv, JSON and Parquet, and what a file says of itself in a control record."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

from pipeline_xml.node import Node


@dataclass(frozen=True, slots=True, kw_only=True)
class Total(Node):
    """A total that a control record declares in `field` (from 1): of `counts` (rows), of a column's `sum`, or a `hash`
    of the file's bytes."""

    field: int
    counts: Literal["rows"] | None = None
    sum: str | None = None
    hash: Literal["sha256", "md5"] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Control(Node):
    """The control record of a file, in the file itself or in a control `file` of its own, which is called like it with
    another ending. Fields count from 1. `counts` names what the total in `field` counts: `rows`.
    """

    record: Literal["first", "last"] = "first"
    file: str | None = None
    field: int | None = None
    counts: str = "rows"
    business_date_field: int | None = None
    schema_ref: str | None = None
    totals: tuple[Total, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Delivery(Node):
    """What was agreed on how files come. `sequence`: whether their numbers rise by one for each sender, ever on
    (`running`) or from 1 within each business date (`perDate`).

    For each business date of `calendar`, `files` files (of each of `senders`, where they are named) are due that long
    (an ISO-8601 duration) after it begins, by the clock of the pipeline's time zone.

    `same_records`: what becomes of a file with the records of an earlier one of its sender, in whatever order or form.
    """

    sequence: Literal["none", "running", "perDate"] = "none"
    calendar: Literal["daily", "weekdays", "monthEnd"] | None = None
    due: str | None = None
    files: int = 1
    senders: tuple[str, ...] = ()
    same_records: Literal["publish", "hold"] = "publish"


@dataclass(frozen=True, slots=True, kw_only=True)
class FileSource(Node):
    """Either `path` (wildcards) or `landing` with `pattern` (a regex with named groups).

    `compression` is what its files have to be packed by; None lets the first bytes of each tell. `member_pattern`
    chooses the members of an archive, and its groups come before those of `pattern`. With `pgp_secret_ref`, the private
    key, every file has to be encrypted; `pgp_passphrase_ref` unlocks that key. `null_values` are the texts of a cell
    that mean null.

    With `supersedes="name"` a file takes the place of the one that came before under its name, for the same business
    date and sender. `empty_file`: whether a file of no bytes is held, or is a delivery of no records.
    """

    kind: ClassVar[str] = ""
    id: str
    path: str | None = None
    landing: str | None = None
    pattern: str | None = None
    compression: Literal["gzip", "bzip2", "zstd", "zip", "none"] | None = None
    member_pattern: str | None = None
    pgp_secret_ref: str | None = None
    pgp_passphrase_ref: str | None = None
    max_unpacked_bytes: int = 10 * 1024**3
    null_values: tuple[str, ...] = ()
    load_policy: Literal["eager", "onDemand"] = "eager"
    schema_ref: str | None = None
    control: Control | None = None
    delivery: Delivery | None = None
    max_record_bytes: int = 16 * 1024 * 1024
    snapshot: bool = False
    supersedes: Literal["none", "name"] = "none"
    empty_file: Literal["hold", "accept"] = "hold"


@dataclass(frozen=True, slots=True, kw_only=True)
class CsvSource(FileSource):
    kind: ClassVar[str] = "csv"
    header: bool = True
    delimiter: str = ","
    quote: str | None = '"'
    escape: str | None = None
    encoding: str = "utf-8"
    null_values: tuple[str, ...] = ("",)
    comment: str | None = None
    skip_lines: int = 0
    columns: tuple[str, ...] = ()
    infer_schema: bool = False

    @property
    def control_inside(self) -> Control | None:
        """The control record that stands in the file itself, and is none of its data."""
        return self.control if self.control is not None and self.control.file is None else None


@dataclass(frozen=True, slots=True, kw_only=True)
class JsonSource(FileSource):
    """JSON in UTF-8: an object a line, or one array of objects; the first character of a file tells."""

    kind: ClassVar[str] = "json"


@dataclass(frozen=True, slots=True, kw_only=True)
class ParquetSource(FileSource):
    kind: ClassVar[str] = "parquet"
