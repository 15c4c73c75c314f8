"""docs/language.md: every element and attribute, with what it means and an example from documents that tests check."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path

from lxml import etree

from pipeline_xml.described import DOCUMENTS, Described, Part, elements, meaning, step_element
from processing.transformations import registry

PROJECT = Path(__file__).resolve().parent.parent
# Every one of them is checked by a test; most are run.
EXAMPLES = ("tests/cases/language/config", "tests/cases/valid", "config")
HEAD = """# The language

Printed by `scripts/generate_docs.py` from the XSDs, `pipeline_xml/schemas/words.toml` and the transformations; do not
edit. The examples stand in definitions that tests check, and most of them run. Expressions have a page of their own:
[expressions](expressions.md); what `lake check` finds: [rules](rules.md).
"""
RESERVED = {"operationColumn", "deleteWhen"}  # refused, so that no sound document has them
OF_EVERY_RULE = {"id", "severity", "threshold", "owner", "runbook", "description"}
TITLES = {
    "pipeline": "Pipelines",
    "jobPipeline": "Jobs",
    "rulePack": "Rule packs",
    "resources": "Resources",
    "workflow": "Workflows",
}


def language_page() -> str:
    lines = [HEAD]
    for document in DOCUMENTS:
        lines += [f"## {TITLES[document]}", ""]
        for found in elements(document):
            lines += _element(found)
            if found.path[-1] == "transformations":
                lines += _transformations()
    return "\n".join(lines).rstrip() + "\n"


def _element(found: Described) -> list[str]:
    name, inside = found.path[-1], f" in {found.path[-2]}" if len(found.path) > 1 else ""
    lines = [f"### `<{name}>`{inside}", "", meaning(found.path) or "", ""]
    return lines + _table(found.path, found.attributes, found.children)


def _transformations() -> Iterator[str]:
    for kind, runner in registry().items():
        path = ("pipeline", "transformations", kind)
        known = step_element(kind)
        values = {part.name: part.values for part in known.attributes} if known else {}
        attributes = {**runner.attributes, "as": False}
        parts = [Part(name, required, values.get(name, "")) for name, required in attributes.items()]
        text = inspect.getdoc(sys.modules[type(runner).__module__]) or ""
        yield from (f"### `<{kind}>`", "", text, "")
        yield from _step_table(path, parts)
        example = _first(path)
        if example is not None:
            yield from ("```xml", _shown(example), "```", "")


def _step_table(path: tuple[str, ...], parts: Iterable[Part]) -> Iterator[str]:
    yield from ("| attribute | | values | example |", "| --- | --- | --- | --- |")
    for part in parts:
        needed = "required" if part.required else ""
        yield f"| `{part.name}` | {needed} | {part.values} | {_example(path, part.name)} |"
    yield ""


def _table(path: tuple[str, ...], attributes: Iterable[Part], children: Iterable[Part]) -> list[str]:
    rows = [(f"`{p.name}`", p, _example(path, p.name)) for p in attributes]
    rows += [(f"`<{p.name}>`", p, _child_example(path, p.name)) for p in children]
    if not rows:
        return []
    lines = ["| | | what it is | values | example |", "| --- | --- | --- | --- | --- |"]
    for name, part, example in rows:
        needed = "required" if part.required else ""
        lines.append(f"| {name} | {needed} | {_cell(meaning(path, part.name) or '')} | {part.values} | {example} |")
    return [*lines, ""]


def missing() -> list[str]:
    """Elements and attributes without a meaning, or without an example in a document that is checked."""
    found = []
    for document in DOCUMENTS:
        for each in elements(document):
            name = "/".join(each.path)
            found += [] if meaning(each.path) else [f"{name}: no meaning"]
            for part in (*each.attributes, *each.children):
                found += [] if meaning(each.path, part.name) else [f"{name} {part.name}: no meaning"]
            shown = (p.name for p in each.attributes if p.name not in RESERVED)
            found += [f"{name} {p}: no example" for p in shown if not _example(each.path, p)]
            found += [f"{name} <{p.name}>: no example" for p in each.children if not _child_example(each.path, p.name)]
    for kind, runner in registry().items():
        path = ("pipeline", "transformations", kind)
        found += [f"{kind} {name}: no example" for name in runner.attributes if not _example(path, name)]
    return found


@cache
def _documents() -> tuple[etree._Element, ...]:
    paths = [path for root in EXAMPLES for path in sorted((PROJECT / root).rglob("*.xml"))]
    return tuple(etree.parse(path).getroot() for path in paths)


def _matching(path: tuple[str, ...]) -> Iterator[etree._Element]:
    for root in _documents():
        if root.tag == path[0]:
            yield from root.findall("/".join(path[1:])) if len(path) > 1 else [root]


def _alike(path: tuple[str, ...], name: str) -> Iterator[etree._Element]:
    """The elements whose attribute may serve as an example: what all rules, and all steps, have in common, of any."""
    yield from _matching(path)
    common = (path[0] == "rulePack" and name in OF_EVERY_RULE) or (path[1:2] == ("transformations",) and name == "as")
    if len(path) > 1 and common:
        yield from (child for parent in _matching(path[:-1]) for child in parent if isinstance(child.tag, str))


def _first(path: tuple[str, ...]) -> etree._Element | None:
    return next(_matching(path), None)


def _example(path: tuple[str, ...], name: str) -> str:
    value = next((e.get(name) for e in _alike(path, name) if e.get(name) is not None), None)
    return "" if value is None else f'`{name}="{_cell(_quoted(value))}"`'


def _child_example(path: tuple[str, ...], name: str) -> str:
    child = next((c for e in _matching(path) for c in e.findall(name)), None)
    return "" if child is None else f"`<{name}>{_cell(' '.join((child.text or '').split()))}</{name}>`"


def _quoted(value: str) -> str:
    return value.replace("&", "&amp;").replace("<", "&lt;").replace('"', "&quot;")


def _shown(element: etree._Element) -> str:
    text = etree.tostring(element, encoding="unicode", with_tail=False)
    lines = text.splitlines()
    outer = len(lines[-1]) - len(lines[-1].lstrip())
    return "\n".join([lines[0], *(line[outer:] if line[:outer].isspace() else line.lstrip() for line in lines[1:])])


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("`", "'")
