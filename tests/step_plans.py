"""Steps as a pipeline has them: written as XML into a small config root and checked by the product itself."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pipeline_xml.checked import CheckedPipeline
from pipeline_xml.load import load_catalog
from pipeline_xml.problems import DefinitionError, Problem
from processing.transformations import registry

_PIPELINE = """<pipeline id="p" version="1.0" layer="staging">
  <metadata><appName>app</appName><sla>PT2H</sla><schedule>0 6 * * *</schedule></metadata>
  <sources><csv id="s" path="landing/*.csv" schemaRef="schemas/s.json"/></sources>
  <transformations>
{steps}
  </transformations>
  <targets><csv path="out" mode="append"/></targets>
  <errorPolicy onRecordError="skip"/>
</pipeline>
"""
FIRST_LINE = 5  # of the steps in that document


def contract(properties: Mapping[str, object], **rest: object) -> dict[str, object]:
    return {"title": "t", "type": "object", "x-version": "1", **rest, "properties": properties}


def write(
    root: Path,
    steps: str,
    source: Mapping[str, object],
    lookups: Mapping[str, tuple[Mapping[str, object], str]] | None = None,
    keys: Mapping[str, str] | None = None,
) -> Path:
    """A config root with one pipeline `app/p` of one source `s`; lookups are (contract, csv text) by name."""
    app = root / "applications" / "app"
    files = {
        app / "staging" / "pipelines" / "p.xml": _PIPELINE.format(steps=steps),
        app / "staging" / "schemas" / "s.json": json.dumps(source),
    }
    for name, (reference, text) in (lookups or {}).items():
        files[app / "lookups" / f"{name}.json"] = json.dumps(reference)
        files[app / "lookups" / f"{name}.csv"] = text
    mask_keys = "".join(f'<maskKey id="{name}" secretRef="{ref}"/>' for name, ref in (keys or {}).items())
    files[app / "staging" / "resources" / "keys.xml"] = f"<resources>{mask_keys}</resources>"
    for path, text in files.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return root


def checked(root: Path, *args: Any, **kwargs: Any) -> CheckedPipeline:
    """The pipeline; DefinitionError where there is an error. Arguments are those of `write`."""
    found = load_catalog(write(root, *args, **kwargs), registry()).pipeline("app", "p")
    assert found is not None
    return found


def problems(root: Path, *args: Any, **kwargs: Any) -> tuple[Problem, ...]:
    """Every error of the definitions."""
    try:
        load_catalog(write(root, *args, **kwargs), registry())
    except DefinitionError as error:
        return tuple(p for p in error.problems if p.severity == "error")
    return ()
