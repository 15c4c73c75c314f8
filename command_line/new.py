"""`lake new`: a contract and a pipeline written from a person's sample, and what was guessed said column by column.

No value of the sample is printed or written, but for column names and lists of codes: few, short, repeated texts.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any
from xml.sax.saxutils import escape, quoteattr

from rich.console import Console
from rich.table import Table

from pipeline_xml.problems import Problem
from pipeline_xml.sources_and_targets import character
from pipeline_xml.types import DataType
from processing.infer import Guess, infer
from processing.infer_columns import ColumnGuess
from processing.infer_sample import CannotInfer, read_beginning

_ID = re.compile(r"[A-Za-z_][A-Za-z0-9_]*\Z")
_DAY = r"(?:19|20)[0-9]{2}"
_DATES = (
    (re.compile(rf"{_DAY}-[01][0-9]-[0-3][0-9]"), "[0-9]{4}-[0-9]{2}-[0-9]{2}", "day"),
    (re.compile(rf"(?<![0-9]){_DAY}[01][0-9][0-3][0-9](?![0-9])"), "[0-9]{8}", "day"),
    (re.compile(rf"{_DAY}-[01][0-9](?![0-9-])"), "[0-9]{4}-[0-9]{2}", "month"),
    (re.compile(rf"(?<![0-9]){_DAY}[01][0-9](?![0-9])"), "[0-9]{6}", "month"),
    (re.compile(rf"(?<![0-9]){_DAY}(?![0-9])"), "[0-9]{4}", "year"),
)
_WRITTEN = {"\t": r"\t", "\x01": r"\x01"}


class CannotWrite(Exception):
    """The definition is not written: a name that cannot be used, or files that stand there already."""


@dataclass(frozen=True, slots=True)
class Definition:
    """The files of a new pipeline by their path below the config root."""

    app: str
    pipeline: str
    files: Mapping[str, str]
    pattern: str
    landing: str


@dataclass(frozen=True, slots=True)
class Made:
    """What `lake new` did. `problems` are those that `lake check` has with the written files."""

    guess: Guess
    definition: Definition
    root: Path
    problems: tuple[Problem, ...] = ()


def new(
    file: Path,
    root: Path,
    app: str = "sandbox",
    pipeline: str | None = None,
    *,
    rows: int = 10_000,
    header: bool | None = None,
    delimiter: str | None = None,
    force: bool = False,
) -> Made:
    """Reads the beginning of `file` and writes contract, pipeline and landing zone below the config root `root`."""
    from pipeline_xml.load import check_path
    from processing.transformations import registry

    delimiter = character(delimiter)
    if delimiter is not None and (len(delimiter) != 1 or not delimiter.isascii() or delimiter in '\r\n\0"'):
        raise CannotWrite("--delimiter must be one ASCII character; \\t and \\x01 are understood")
    data, complete = read_beginning(file, rows)
    try:
        guess = infer(data, complete, rows, header, delimiter)
    except CannotInfer as error:
        raise CannotInfer(f"{file}: {error}") from None
    made = define(guess, file.name, app, pipeline or identifier(file.stem))
    standing = [root / name for name in made.files if (root / name).exists()]
    if standing and not force:
        names = "\n  ".join(map(str, standing))
        raise CannotWrite(f"nothing written, because these files stand there:\n  {names}\nuse --force, or another --id")
    for name, text in made.files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    found = check_path(root, registry())
    return Made(guess, made, root, tuple(p for p in found if p.where.file in made.files))


def identifier(stem: str) -> str:
    """A pipeline's id from a file's name: lower case, without dates and numbers at its ends."""
    for form, _, _ in _DATES:
        stem = form.sub("", stem)
    name = re.sub(r"(_[0-9]+)+$", "", re.sub(r"[^a-z0-9]+", "_", stem.lower()).strip("_"))
    return name if _ID.match(name) else f"feed_{name}".rstrip("_")


def name_pattern(name: str) -> tuple[str, str | None]:
    """A landing pattern for files named like this one, and the grain of the date in it."""
    stem, dot, ending = name.rpartition(".")
    stem, ending = (stem, dot + ending) if stem else (name, "")
    for form, digits, grain in _DATES:
        if match := form.search(stem):
            before, after = _loose(stem[: match.start()]), _loose(stem[match.end() :])
            return f"{before}(?P<business_date>{digits}){after}{re.escape(ending)}", grain
    return f"{_loose(stem)}.*{re.escape(ending)}", None


def _loose(text: str) -> str:
    return re.sub(r"[0-9]+", "[0-9]+", re.escape(text).replace(r"\-", "-").replace(r"\ ", " "))


def define(guess: Guess, file_name: str, app: str, pipeline: str) -> Definition:
    """The texts of the files; CannotWrite for names that the language does not take."""
    for what, name in (("--app", app), ("--id", pipeline)):
        if not _ID.match(name):
            raise CannotWrite(f"{what} is '{name}'; valid: letters, digits and _, not a digit first")
    pattern, grain = name_pattern(file_name)
    if guess.control is not None and guess.control.business_date_field is not None:
        # Two places that say the date could disagree: the control record is the one that counts.
        pattern, grain = pattern.replace("?P<business_date>", "?:"), guess.grain
    home = f"applications/{app}/staging"
    landing = f"landing/{app}/{pipeline}"
    return Definition(
        app,
        pipeline,
        {
            f"{home}/schemas/{pipeline}.json": _contract(guess, pipeline, file_name),
            f"{home}/pipelines/{pipeline}.xml": _pipeline(guess, app, pipeline, pattern, grain or "day"),
            f"{home}/resources/{pipeline}.xml": landing_resources(pipeline, landing),
        },
        pattern,
        landing,
    )


def _contract(guess: Guess, pipeline: str, file_name: str) -> str:
    names = dict(zip([c.name for c in guess.columns], guess.written, strict=False))
    fields = {
        "required": [c.name for c in guess.columns if c.required],
        "properties": {c.name: field_spec(c, names.get(c.name, c.name)) for c in guess.columns},
    }
    return contract_text(pipeline, inferred(guess.records, file_name), guess.primary_key, fields)


def inferred(records: int, file_name: str) -> str:
    """What is said of a contract that was guessed from a sample."""
    told = f"Inferred by `lake new` from {records:,} records of one file named like {file_name}"
    return f"{told}: a guess, to be read and corrected by who knows the feed."


def contract_text(title: str, description: str, key: Sequence[str], rest: Mapping[str, Any]) -> str:
    """A JSON Schema as it is written; `rest` are its fields and what else there is to say."""
    head: dict[str, Any] = {"title": title, "description": description, "type": "object", "x-version": "1"}
    if key:
        head["x-primaryKey"] = list(key)
    return json.dumps(head | dict(rest), indent=2, ensure_ascii=False) + "\n"


def field_spec(column: ColumnGuess, written: str) -> dict[str, Any]:
    spec = _type(column.type)
    if column.format:
        spec["x-format"] = column.format
    if column.codes:
        spec["x-codes"] = list(column.codes)
    if column.listed:
        spec["enum"] = list(column.listed)
    if column.classification:
        spec["x-classification"] = column.classification
    heading = "" if written == column.name else f"In the file: {' '.join(written.split()) or 'a blank heading'}. "
    spec["description"] = heading + f"Guessed: {column.evidence}."
    return spec


def _type(kind: DataType) -> dict[str, Any]:
    written: dict[str, dict[str, Any]] = {
        "boolean": {"type": "boolean"},
        "int": {"type": "integer"},
        "bigint": {"type": "integer", "x-type": "bigint"},
        "decimal": {"type": "number", "x-type": str(kind)},
        "double": {"type": "number"},
        "date": {"type": "string", "format": "date"},
        "timestamp": {"type": "string", "format": "date-time"},
    }
    return dict(written.get(kind.kind, {"type": "string"}))


def _pipeline(guess: Guess, app: str, pipeline: str, pattern: str, grain: str) -> str:
    d = guess.dialect
    attributes = {
        "id": pipeline,
        "landing": pipeline,
        "pattern": pattern,
        "header": "true" if guess.header else "false",
        "delimiter": _WRITTEN.get(d.delimiter, d.delimiter),
        "quote": d.quote or "",
        "encoding": guess.encoding,
    }
    if d.escape:
        attributes["escape"] = d.escape
    if guess.skip_lines:
        attributes["skipLines"] = str(guess.skip_lines)
    csv = " ".join(f"{k}={quoteattr(v)}" for k, v in attributes.items())
    control = ""
    if guess.control is not None:
        c = guess.control
        field = f' field="{c.field}" counts="rows"' if c.field else ""
        day = f' businessDateField="{c.business_date_field}"' if c.business_date_field else ""
        control = f'\n      <control record="{c.record}"{field}{day}/>'
    return f"""<?xml version="1.0" encoding="UTF-8"?>
<!-- Written by `lake new` from a sample. Bad records go to quarantine with their reasons; good ones to the table. -->
<pipeline id="{pipeline}" version="1.0" layer="staging">
  <metadata>
    <appName>{app}</appName>
    <description>{escape(pipeline)}: every record typed by its contract, good ones to a table.</description>
    <owner>owner@example.com</owner>
    <partition grain="{grain}"/>
  </metadata>
  <sources>
    <csv {csv}>
      <schemaRef>schemas/{pipeline}.json</schemaRef>{control}
    </csv>
  </sources>
  <targets>
    <hive table="staging.{pipeline}" mode="append" partitionBy="_business_date"/>
  </targets>
  <errorPolicy onRecordError="quarantine" onStepError="retry"/>
</pipeline>
"""


def landing_resources(pipeline: str, landing: str) -> str:
    """The document of the pipeline's landing zone."""
    zone = f'<landingZone id="{pipeline}" type="local" uri="{landing}" poll="PT2S" settle="PT1S" ignore="*.tmp"/>'
    return f'<?xml version="1.0" encoding="UTF-8"?>\n<resources>\n  {zone}\n</resources>\n'


def as_document(made: Made) -> dict[str, Any]:
    """What was guessed and written, for --json."""
    g, d = made.guess, made.definition
    columns = [asdict(c) | {"type": str(c.type)} for c in g.columns]
    problems = [
        {"code": p.code, "severity": p.severity, "message": p.message, "where": str(p.where)} for p in made.problems
    ]
    return {
        "application": d.app,
        "pipeline": d.pipeline,
        "files": [str(made.root / f) for f in d.files],
        "landing": d.landing,
        "pattern": d.pattern,
        "records": g.records,
        "complete": g.complete,
        "ragged": g.ragged,
        "source": {
            "encoding": g.encoding, "encoding_why": g.encoding_why, "delimiter": g.dialect.delimiter,
            "quote": g.dialect.quote, "escape": g.dialect.escape, "dialect_why": g.dialect.why, "header": g.header,
            "header_why": g.header_why, "skip_lines": g.skip_lines,
            "control": asdict(g.control) if g.control else None,
        },
        "columns": columns,
        "primary_key": list(g.primary_key),
        "key_why": g.key_why,
        "unchecked": list(g.unchecked),
        "problems": problems,
    }  # fmt: skip


def print_made(console: Console, made: Made, config: Path | None = None) -> None:
    """What was guessed, from how many records, how sure it is, what was not checked, and the next command.

    `config` is the config root that `lake run` will use where nothing else is said.
    """
    g, d = made.guess, made.definition
    extent = "the whole file" if g.complete else "the beginning of the file"
    _say(console, f"read {g.records:,} records ({extent})", style="bold")
    shown = _WRITTEN.get(g.dialect.delimiter, g.dialect.delimiter)
    _say(console, f"  encoding   {g.encoding}: {g.encoding_why}")
    _say(console, f"  delimiter  '{shown}', quote {g.dialect.quote or 'none'}: {g.dialect.why}")
    _say(console, f"  header     {'yes' if g.header else 'no'}: {g.header_why}")
    if g.skip_lines:
        why = ": cells of the header cannot be column names, so columns go by position" if g.renamed else ""
        _say(console, f"             skipped before the records: {g.skip_lines} line(s){why}")
    if g.control is not None:
        _say(console, f"  control    {g.control.why}")
        if g.control.business_date_field:
            field = g.control.business_date_field
            _say(console, f"             field {field} is taken for the business date ({g.grain})")
    if g.ragged:
        _say(console, f"  ragged     {g.ragged:,} records have another number of cells; they would be quarantined")
    _say(console, f"  key        {g.key_why}")
    console.print(print_columns(g.columns))
    _say(console, "not checked: " + "; ".join(g.unchecked))
    if any(c.codes or c.listed for c in g.columns):
        _say(console, "of the file's values only the codes and lists above stand in the contract: few, short, repeated")
    for name in d.files:
        _say(console, f"wrote {made.root / name}")
    for problem in made.problems:
        _say(console, f"{problem.severity} {problem.where}: {problem.code} {problem.message}", style="yellow")
    _say(console, f"files named like {d.pattern} are taken from {d.landing} below the lake root (DATALAKE_DATA)")
    elsewhere = "" if config is None or config.resolve() == made.root.resolve() else f"DATALAKE_CONFIG={made.root} "
    _say(console, f"next: put the file there, then: {elsewhere}lake run {d.app}/{d.pipeline}", style="bold")


def print_columns(columns: Sequence[ColumnGuess]) -> Table:
    """The columns as a table for a person."""
    table = Table(title="columns", title_justify="left")
    for name in ("column", "type", "blank", "how sure", "codes and lists", "note"):
        table.add_column(name, overflow="fold")
    for c in columns:
        kind = f"{c.type} {c.format}" if c.format else str(c.type)
        blank = "never" if c.required else f"{c.blank:,}" if c.blank else "may be"
        personal = ("personal, by its name",) if c.classification else ()
        cells = (c.name, kind, blank, c.evidence, ", ".join(c.codes or c.listed), "; ".join((*c.notes, *personal)))
        table.add_row(*(_plain(cell) for cell in cells))
    return table


def _plain(text: str) -> Any:
    from rich.text import Text

    return Text(text)


def _say(console: Console, text: str, style: str | None = None) -> None:
    console.print(text, style=style, markup=False, highlight=False, soft_wrap=True)
