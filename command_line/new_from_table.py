"""`lake new APP/LAYER.TABLE`: a pipeline into the next layer that reads a table, and the contract of its rows.

Types are the table's own. What is guessed (the key, what orders rows, lists of codes, which columns are personal) is
said with the rows it was seen in. No value is printed or written but lists: few, short, repeated texts.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from rich.console import Console

from command_line.new import CannotWrite, contract_text, field_spec, print_columns
from pipeline_xml.problems import Problem
from pipeline_xml.system_columns import SYSTEM_COLUMNS
from processing.infer import primary_key
from processing.infer_columns import ColumnGuess, infer_column
from resources.settings import Settings

TABLE = re.compile(r"([A-Za-z0-9_\-]+)/(staging|standardization|service)\.([A-Za-z0-9_\-]+)\Z")
_NEXT = {"staging": "standardization", "standardization": "service", "service": "service"}
_ORDERS = re.compile(r"(^|_)(updated|modified|changed|valid_from|version|as_of|timestamp|booked|created)(_|$)", re.I)


@dataclass(frozen=True, slots=True)
class MadeFromTable:
    """`files` are the written texts by their path below `root`; `rows` of `total` were looked at."""

    table: str
    pipeline: str
    columns: tuple[ColumnGuess, ...]
    key: tuple[str, ...]
    key_why: str
    order: str | None
    read: str
    read_why: str
    rows: int
    total: int
    root: Path
    files: Mapping[str, str]
    problems: tuple[Problem, ...] = ()


def new_from_table(
    settings: Settings, name: str, root: Path, pipeline: str | None, rows: int, force: bool
) -> MadeFromTable:
    """Reads the beginning of the table and writes below the config root; CannotWrite says what there is instead."""
    from pipeline_xml.load import check_path
    from processing.transformations import registry

    match = TABLE.match(name)
    if match is None:
        raise CannotWrite(f"'{name}' is no table; valid: APP/LAYER.TABLE")
    made = _looked_at(settings, (match[1], match[2], match[3]), root, pipeline, rows)
    standing = [str(root / file) for file in made.files if (root / file).exists()]
    if standing and not force:
        raise CannotWrite(f"nothing written, these stand there: {', '.join(standing)}; use --force, or another --id")
    for file, text in made.files.items():
        (root / file).parent.mkdir(parents=True, exist_ok=True)
        (root / file).write_text(text, encoding="utf-8")
    found = check_path(root, registry(), settings.environment)
    return replace(made, problems=tuple(p for p in found if p.where.file in made.files))


def _looked_at(
    settings: Settings, asset: tuple[str, str, str], root: Path, pipeline: str | None, rows: int
) -> MadeFromTable:
    from resources.lake_table import LakeTable

    table = LakeTable(settings.application_data.joinpath(*asset))
    if not table.exists:
        logs = settings.application_data.glob("*/*/*/_delta_log")
        known = sorted(f"{p.parts[-4]}/{p.parts[-3]}.{p.parts[-2]}" for p in logs if p.parts[-3] in _NEXT)
        raise CannotWrite(f"no table {asset[0]}/{asset[1]}.{asset[2]}; there are: {', '.join(known) or 'none'}")
    rows_of = table.snapshot().dataset()
    total = rows_of.count_rows()
    columns = _columns(rows_of.head(rows), total)
    key, why = primary_key(columns, min(rows, total))
    columns = tuple(replace(c, required=True) if c.name in key else c for c in columns)
    order = next((c.name for c in columns if _ORDERS.search(c.name) and c.type.kind in ("date", "timestamp")), None)
    read, read_why = _read(settings, root, asset)
    identity = pipeline or f"{asset[2]}_{_NEXT[asset[1]]}"
    seen = MadeFromTable(
        f"{asset[0]}/{asset[1]}.{asset[2]}", identity, columns, key, why, order, read, read_why, min(rows, total),
        total, root, {},
    )  # fmt: skip
    home = f"applications/{asset[0]}/{_NEXT[asset[1]]}"
    return replace(
        seen,
        files={
            f"{home}/schemas/{identity}.json": _contract(seen),
            f"{home}/pipelines/{identity}.xml": _pipeline(seen, asset),
        },
    )


def _columns(head: Any, total: int) -> tuple[ColumnGuess, ...]:
    from processing.arrow_types import contract_type

    names = [n for n in head.column_names if n not in SYSTEM_COLUMNS]
    found = []
    for name in names:
        kind = contract_type(head.schema.field(name).type)
        if kind is None:
            raise CannotWrite(f"column '{name}' is {head.schema.field(name).type}, a type that contracts lack")
        cells = ["" if value is None else str(value) for value in head[name].to_pylist()]
        guess = infer_column(name, cells, frozenset(n.lower() for n in names))
        seen = f"the table's own type; {len(cells) - guess.blank:,} of {len(cells):,} rows have a value"
        listed = guess.listed if kind.kind == "string" else ()
        found.append(
            replace(
                guess, type=kind, format=None, codes=(), listed=listed, notes=(), evidence=seen,
                required=guess.blank == 0 and len(cells) == total > 0,
            )
        )  # fmt: skip
    return tuple(found)


def _read(settings: Settings, root: Path, asset: tuple[str, str, str]) -> tuple[str, str]:
    """How the table can be read: by its changes only where whoever writes it appends."""
    from pipeline_xml.load import read_catalog
    from processing.transformations import registry

    catalog = read_catalog(root, registry(), settings.environment)
    for application in catalog.applications:
        for checked in application.pipelines:
            for target in (t for t in checked.targets if t.asset == asset):
                if target.target.mode == "append":
                    return "changes", f"{checked.key} appends to it"
                return "partition", f"{checked.key} writes it by {target.target.mode}"
    return "partition", "no definition says who writes it"


def _contract(made: MadeFromTable) -> str:
    told = f"From {made.rows:,} of {made.total:,} rows of {made.table}: to be read and corrected by who knows the data."
    fields = {
        **({"x-orderBy": [made.order]} if made.order else {}),
        "required": [c.name for c in made.columns if c.required],
        "properties": {c.name: field_spec(c, c.name) for c in made.columns},
    }
    return contract_text(made.pipeline, told, made.key, fields)


def _pipeline(made: MadeFromTable, asset: tuple[str, str, str]) -> str:
    app, layer, table = asset
    merge = f'mode="merge" keys="{",".join(made.key)}" orderBy="{made.order}"' if made.key and made.order else ""
    target = f'<hive table="{_NEXT[layer]}.{made.pipeline}" {merge or "mode=" + chr(34) + "append" + chr(34)}'
    return f"""<?xml version="1.0" encoding="UTF-8"?>
<!-- Written by `lake new` from a table. Steps go between <sources> and <targets>. -->
<pipeline id="{made.pipeline}" version="1.0" layer="{_NEXT[layer]}">
  <metadata>
    <appName>{app}</appName>
    <description>{made.pipeline}: from {layer}.{table}.</description>
    <owner>owner@example.com</owner>
  </metadata>
  <sources>
    <hive id="{table}" table="{layer}.{table}" read="{made.read}"/>
  </sources>
  <targets>
    {target} schemaRef="schemas/{made.pipeline}.json"/>
  </targets>
</pipeline>
"""


def tell(made: MadeFromTable, as_json: bool) -> None:
    """What was read and guessed, how sure it is, what was written and what `lake check` says of it."""
    if as_json:
        document = {
            "table": made.table, "pipeline": made.pipeline, "rows": made.rows, "total": made.total,
            "columns": [asdict(c) | {"type": str(c.type)} for c in made.columns], "primary_key": list(made.key),
            "key_why": made.key_why, "order_by": made.order, "read": made.read, "read_why": made.read_why,
            "files": [str(made.root / file) for file in made.files],
            "problems": [{"code": p.code, "severity": p.severity, "message": p.message} for p in made.problems],
        }  # fmt: skip
        sys.stdout.write(json.dumps(document, indent=1) + "\n")
        return
    console = Console()
    lines = [
        f"read {made.rows:,} of {made.total:,} rows of {made.table}",
        f"  key        {made.key_why}",
        f"  order      {made.order + ', by its name and type' if made.order else 'no column looks like one'}",
        f"  read       {made.read}: {made.read_why}",
    ]
    for line in lines:
        console.print(line, markup=False, highlight=False, soft_wrap=True)
    console.print(print_columns(made.columns))
    lines = ["not checked: rules between columns, keys of several columns, which columns are personal but by names"]
    lines += [f"wrote {made.root / file}" for file in made.files]
    lines += [f"{p.severity} {p.where}: {p.code} {p.message}" for p in made.problems]
    for line in lines:
        console.print(line, markup=False, highlight=False, soft_wrap=True)
