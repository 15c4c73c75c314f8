"""`lake new FILE` of JSON or Parquet: a contract with its lists and objects, and a pipeline that makes rows of them.

No value of the sample is printed or written, but for field names and lists of codes: few, short, repeated texts.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any
from xml.sax.saxutils import escape, quoteattr

from rich.console import Console

from command_line.new import (
    CannotWrite,
    contract_text,
    field_spec,
    identifier,
    inferred,
    landing_resources,
    name_pattern,
    print_columns,
)
from pipeline_xml.problems import Problem
from pipeline_xml.system_columns import SYSTEM_COLUMNS
from processing.infer_columns import ColumnGuess
from processing.infer_records import FieldGuess, RecordsGuess, infer_records, leaves

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*\Z")


@dataclass(frozen=True, slots=True)
class MadeFromRecords:
    """`files` are the written texts by their path below `root`; `left_out` lists that the pipeline does not take."""

    guess: RecordsGuess
    app: str
    pipeline: str
    pattern: str
    landing: str
    root: Path
    files: Mapping[str, str]
    left_out: tuple[str, ...]
    problems: tuple[Problem, ...] = ()


def new_from_records(
    file: Path, kind: str, root: Path, app: str, pipeline: str | None, rows: int, force: bool
) -> MadeFromRecords:
    """Reads the beginning of the file and writes below the config root; CannotWrite says what hinders."""
    from pipeline_xml.load import check_path
    from processing.transformations import registry

    made = _made(infer_records(file, kind, rows), file, root, app, pipeline or identifier(file.stem))
    standing = [str(root / name) for name in made.files if (root / name).exists()]
    if standing and not force:
        raise CannotWrite(f"nothing written, these stand there: {', '.join(standing)}; use --force, or another --id")
    for name, text in made.files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text, encoding="utf-8")
    found = check_path(root, registry())
    return replace(made, problems=tuple(p for p in found if p.where.file in made.files))


def _made(guess: RecordsGuess, file: Path, root: Path, app: str, pipeline: str) -> MadeFromRecords:
    for what, name in (("--app", app), ("--id", pipeline)):
        if not _NAME.match(name):
            raise CannotWrite(f"{what} is '{name}'; valid: letters, digits and _, not a digit first")
    names = [f.name for f in guess.fields]
    odd = [n for n in names if not _NAME.match(n) or n.lower() in SYSTEM_COLUMNS]
    odd += [n for n in names if sum(n.lower() == other.lower() for other in names) > 1]
    if odd:
        told = ", ".join(dict.fromkeys(odd))
        raise CannotWrite(f"fields that cannot be columns: {told}; have the feed name them by letters, digits and _")
    pattern, grain = name_pattern(file.name)
    home, landing = f"applications/{app}/staging", f"landing/{app}/{pipeline}"
    steps, left_out = _steps(guess.fields)
    source = (
        f"<{guess.kind} id={quoteattr(pipeline)} landing={quoteattr(pipeline)} pattern={quoteattr(pattern)}"
        f' schemaRef="schemas/{pipeline}.json"/>'
    )
    files = {
        f"{home}/schemas/{pipeline}.json": _contract(guess, pipeline, file.name),
        f"{home}/pipelines/{pipeline}.xml": _pipeline(app, pipeline, source, grain or "day", steps, left_out),
        f"{home}/resources/{pipeline}.xml": landing_resources(pipeline, landing),
    }
    return MadeFromRecords(guess, app, pipeline, pattern, landing, root, files, left_out)


def _contract(guess: RecordsGuess, pipeline: str, file_name: str) -> str:
    return contract_text(pipeline, inferred(guess.records, file_name), guess.primary_key, _object(guess.fields))


def _object(fields: Sequence[FieldGuess]) -> dict[str, Any]:
    required = [f.name for f in fields if f.guess.required]
    return {"type": "object", "required": required, "properties": {f.name: _spec(f) for f in fields}}


def _spec(field: FieldGuess) -> dict[str, Any]:
    told = {"description": f"Guessed: {field.guess.evidence}."}
    if not field.inside:
        return field_spec(field.guess, field.name)
    if not field.many:
        return _object(field.inside) | told
    if field.inside[0].name != ".":
        return {"type": "array", "items": _object(field.inside)} | told
    item = _spec(field.inside[0])
    if field.inside[0].guess.blank:
        item["type"] = [item["type"], "null"]
    return {"type": "array", "items": item} | told


def _steps(fields: Sequence[FieldGuess]) -> tuple[list[str], tuple[str, ...]]:
    """A row for each item of the first list, objects beside it; and the lists that are left out."""
    held = [f for f in fields if f.inside]
    lists = [f for f in held if f.many]
    taken = [f for f in held if not f.many] + lists[:1]
    left_out = tuple(f.name for f in lists[1:])
    names = {f.name.lower() for f in fields if f not in taken}
    steps = []
    if left_out:
        kept = ",".join(f.name for f in fields if f.name not in left_out)
        steps.append(f'<select source="{{}}" columns="{kept}"/>')
    for field in taken:
        position = f' position="{_free(f"{field.name}_number", names)}"' if field.many else ""
        columns = "\n".join(f"      {column}" for column in _columns(field, names))
        steps.append(f'<flatten source="{{}}" column="{field.name}"{position}>\n{columns}\n    </flatten>')
    return steps, left_out


def _columns(field: FieldGuess, names: set[str]) -> Iterator[str]:
    for path, _ in leaves(field):
        wanted = re.sub(r"[^A-Za-z0-9_]", "_", path if path != "." else field.name.removesuffix("s"))
        wanted = wanted if _NAME.match(wanted) else f"c_{wanted}"
        name = _free(wanted if wanted.lower() not in names else f"{field.name}_{wanted}", names)
        yield f'<column name="{name}"' + ("/>" if name == path else f" path={quoteattr(path)}/>")


def _free(wanted: str, names: set[str]) -> str:
    number, free = 2, wanted
    while free.lower() in names or free.lower() in SYSTEM_COLUMNS:
        number, free = number + 1, f"{wanted}_{number}"
    names.add(free.lower())
    return free


def _pipeline(app: str, pipeline: str, source: str, grain: str, steps: list[str], left_out: tuple[str, ...]) -> str:
    told = "Bad records go to quarantine with their reasons; good ones to the table."
    if steps:
        told = "Each item becomes a row; records that are quarantined come again by the next attempt, not by a replay."
    if left_out:
        told += f" Left out: {', '.join(left_out)}; give each a pipeline of its own."
    written = "".join(f"\n    {step.replace('{}', pipeline)}" for step in steps)
    transformations = f"\n  <transformations>{written}\n  </transformations>" if steps else ""
    policy = "" if steps else '\n  <errorPolicy onRecordError="quarantine" onStepError="retry"/>'
    return f"""<?xml version="1.0" encoding="UTF-8"?>
<!-- Written by `lake new` from a sample. {told.replace("--", "- -")} -->
<pipeline id="{pipeline}" version="1.0" layer="staging">
  <metadata>
    <appName>{app}</appName>
    <description>{escape(pipeline)}: every record typed by its contract, good ones to a table.</description>
    <owner>owner@example.com</owner>
    <partition grain="{grain}"/>
  </metadata>
  <sources>
    {source}
  </sources>{transformations}
  <targets>
    <hive table="staging.{pipeline}" mode="append" partitionBy="_business_date"/>
  </targets>{policy}
</pipeline>
"""


def tell(made: MadeFromRecords, as_json: bool, config: Path) -> None:
    """What was guessed and how sure it is, what was written, what `lake check` says of it, and what comes next."""
    g = made.guess
    if as_json:
        document = {
            "application": made.app, "pipeline": made.pipeline, "kind": g.kind, "records": g.records,
            "broken": g.broken, "complete": g.complete, "fields": [_as_document(f) for f in g.fields],
            "primary_key": list(g.primary_key), "key_why": g.key_why, "left_out": list(made.left_out),
            "pattern": made.pattern, "landing": made.landing, "unchecked": list(g.unchecked),
            "files": [str(made.root / file) for file in made.files],
            "problems": [{"code": p.code, "severity": p.severity, "message": p.message} for p in made.problems],
        }  # fmt: skip
        sys.stdout.write(json.dumps(document, indent=1) + "\n")
        return
    console = Console()
    lines = [f"read {g.records:,} records of {g.kind} ({'the whole file' if g.complete else 'its beginning'})"]
    if g.broken:
        lines.append(f"  broken     {g.broken:,} records are no JSON objects; they would be quarantined")
    lines.append(f"  key        {g.key_why}")
    for line in lines:
        console.print(line, markup=False, highlight=False, soft_wrap=True)
    console.print(print_columns(list(_all(g.fields))))
    elsewhere = "" if config.resolve() == made.root.resolve() else f"DATALAKE_CONFIG={made.root} "
    lines = ["not checked: " + "; ".join(g.unchecked)]
    lines += [f"left out: the list {name} has to have a pipeline of its own" for name in made.left_out]
    lines += [f"wrote {made.root / file}" for file in made.files]
    lines += [f"{p.severity} {p.where}: {p.code} {p.message}" for p in made.problems]
    lines.append(f"files named like {made.pattern} are taken from {made.landing} below the lake root (DATALAKE_DATA)")
    lines.append(f"next: put the file there, then: {elsewhere}lake run {made.app}/{made.pipeline}")
    for line in lines:
        console.print(line, markup=False, highlight=False, soft_wrap=True)


def _all(fields: Sequence[FieldGuess], before: str = "") -> Iterator[ColumnGuess]:
    """Every field with its path."""
    for each in fields:
        path = f"{before}{each.name}" if each.name != "." else before.rstrip(".")
        if each.name != ".":
            yield replace(each.guess, name=path)
        yield from _all(each.inside, f"{path}.")


def _as_document(field: FieldGuess) -> dict[str, Any]:
    kind = "list" if field.many else "object" if field.inside else str(field.guess.type)
    return asdict(field.guess) | {"type": kind, "inside": [_as_document(f) for f in field.inside]}
