"""`lake schema` and `lake diff`: what an editor and a reviewer of definitions need."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from command_line.catalog import WrongUse
from resources.settings import Settings


def schema_command(
    folder: Annotated[Path, typer.Argument(help="Where the XSDs are written; made where it is missing.")],
) -> None:
    """Write the XSDs, with every transformation and its attributes, for completion in an XML editor."""
    from pipeline_xml.editor_schema import editor_schemas
    from processing.transformations import registry

    if folder.exists() and not folder.is_dir():
        raise WrongUse(f"{folder} is a file; name a folder")
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in editor_schemas(registry()).items():
        (folder / name).write_bytes(content)
        sys.stdout.write(f"{folder / name}\n")


def diff_command(
    old: Annotated[Path, typer.Argument(help="A config root as it was.")],
    new: Annotated[Path | None, typer.Argument(help="As it is to be; by default DATALAKE_CONFIG.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Only a JSON document on standard output.")] = False,
) -> None:
    """What changed between two states of the definitions, what breaks, and for whom; exit 1 if anything does."""
    from pipeline_xml.differences import differences, is_breaking
    from pipeline_xml.load import load_catalog, read_catalog
    from processing.transformations import registry

    settings = Settings.from_environment()
    roots = (old, new or settings.config)
    for root in roots:
        if not (root / "applications").is_dir():
            raise WrongUse(f"{root} is no config root: it has no folder applications")
    before = load_catalog(roots[0], registry(), settings.environment)
    after = read_catalog(roots[1], registry(), settings.environment)
    changes = differences(before, after)
    errors = [p for p in after.problems if p.severity == "error"]
    if as_json:
        document = {"breaking": is_breaking(changes), "errors": len(errors), "changes": [asdict(c) for c in changes]}
        sys.stdout.write(json.dumps(document, indent=1) + "\n")
    else:
        console = Console() if sys.stdout.isatty() else Console(width=160)
        for change in changes:
            word = "breaking" if change.breaking else "        "
            whom = f"  for {', '.join(change.whom)}" if change.whom else ""
            console.print(f"{word}  {change.subject}: {change.what}{whom}", markup=False, highlight=False)
        if not changes:
            console.print("nothing that anybody relies on changed", markup=False)
        if errors:
            console.print(f"{len(errors)} errors in {roots[1]}: see lake check", markup=False, style="red")
    raise typer.Exit(int(is_breaking(changes) or bool(errors)))
