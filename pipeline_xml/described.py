"""The elements and attributes that the XSDs know, with what they mean: for the language's page and for editors."""

from __future__ import annotations

import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from lxml import etree

_XS = "{http://www.w3.org/2001/XMLSchema}"
_SCHEMAS = Path(__file__).parent / "schemas"
_NUMBERS = {
    "xs:positiveInteger": "a whole number from 1",
    "xs:nonNegativeInteger": "a whole number from 0",
    "rate": "0 to 1",
    "trueOrFalse": "true, false",
}


@dataclass(frozen=True, slots=True)
class Part:
    """An attribute or a child that holds text: `values` are those it may have, or their form; empty where free."""

    name: str
    required: bool
    values: str


@dataclass(frozen=True, slots=True)
class Described:
    """An element by the tags that lead to it; `children` are those that hold text."""

    path: tuple[str, ...]
    attributes: tuple[Part, ...]
    children: tuple[Part, ...]


DOCUMENTS = ("pipeline", "jobPipeline", "rulePack", "resources", "workflow")


def words() -> Mapping[str, Mapping[str, str]]:
    """What elements and attributes mean: {element, or parent/element, or *: {attribute, or "": meaning}}."""
    return tomllib.loads((_SCHEMAS / "words.toml").read_text(encoding="utf-8"))


def meaning(path: tuple[str, ...], name: str = "") -> str | None:
    """What an element means, or with a name one of its attributes or children that hold text."""
    book = _book()
    sections = ["/".join(path[-2:]), path[-1], *(["*"] if name else [])]
    return next((book[s][name] for s in sections if name in book.get(s, {})), None)


@cache
def _book() -> Mapping[str, Mapping[str, str]]:
    return words()


def elements(document: str) -> Iterator[Described]:
    """Every element of a kind of document that has attributes or elements inside, from the root down."""
    tree = etree.parse(_SCHEMAS / f"{document}.xsd").getroot()
    root = tree.find(f"{_XS}element[@name='{document}']")
    if root is not None:
        yield from _walk(tree, root, ())


def step_element(kind: str) -> Described | None:
    """A transformation as far as the pipeline's XSD knows it: the values of its attributes, its <column> children."""
    tree = etree.parse(_SCHEMAS / "pipeline.xsd").getroot()
    found = tree.find(f"{_XS}element[@name='{kind}']")
    return next(_walk(tree, found, ("pipeline", "transformations")), None) if found is not None else None


def _walk(tree: etree._Element, element: etree._Element, above: tuple[str, ...]) -> Iterator[Described]:
    path = (*above, str(element.get("name")))
    body = _body(tree, element)
    if body is None:
        return
    inside = list({e.get("name"): e for e in _inside(tree, body)}.values())
    texts = [e for e in inside if _body(tree, e) is None]
    yield Described(
        path,
        tuple(Part(str(a.get("name")), a.get("use") == "required", _values(tree, a)) for a in _attributes(tree, body)),
        tuple(Part(str(e.get("name")), e.get("minOccurs") != "0", _values(tree, e)) for e in texts),
    )
    for child in inside:
        yield from _walk(tree, child, path)


def _body(tree: etree._Element, element: etree._Element) -> etree._Element | None:
    """The complex type of an element; None where it holds text only."""
    inline = element.find(f"{_XS}complexType")
    if inline is not None:
        return inline
    return tree.find(f"{_XS}complexType[@name='{element.get('type')}']")


def _inside(tree: etree._Element, body: etree._Element) -> Iterator[etree._Element]:
    for node in body:
        if node.tag == f"{_XS}element":
            yield node
        elif node.tag == f"{_XS}group":
            group = tree.find(f"{_XS}group[@name='{node.get('ref')}']")
            yield from _inside(tree, group) if group is not None else ()
        elif node.tag in {f"{_XS}{name}" for name in ("sequence", "choice", "all")}:
            yield from _inside(tree, node)


def _attributes(tree: etree._Element, body: etree._Element) -> Iterator[etree._Element]:
    extended = body.find(f"{_XS}simpleContent/{_XS}extension")
    for node in extended if extended is not None else body:
        if node.tag == f"{_XS}attribute":
            yield node
        elif node.tag == f"{_XS}attributeGroup":
            group = tree.find(f"{_XS}attributeGroup[@name='{node.get('ref')}']")
            yield from group if group is not None else ()


def _values(tree: etree._Element, node: etree._Element) -> str:
    kind = str(node.get("type") or "")
    if kind in _NUMBERS:
        return _NUMBERS[kind]
    named = tree.find(f"{_XS}simpleType[@name='{kind}']") if kind else node.find(f"{_XS}simpleType")
    listed = [] if named is None else [str(e.get("value")) for e in named.iter(f"{_XS}enumeration")]
    return ", ".join(listed)
