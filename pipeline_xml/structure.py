"""The XSD's verdict on a document, told in our words: place, valid values, and all findings, not only the first.

libxml2 stops looking at the rest of a parent after one unexpected child; so the child is taken out and the document is
validated again, until nothing new is found.
"""

from __future__ import annotations

import re
from functools import cache
from itertools import islice
from pathlib import Path

from lxml import etree

from pipeline_xml.element import Element
from pipeline_xml.location import Location
from pipeline_xml.problems import Problem, Problems
from pipeline_xml.rulebook import code

_SCHEMAS = Path(__file__).parent / "schemas"
_XS = "{http://www.w3.org/2001/XMLSchema}"
_ROUNDS = 50
_MOST = 100  # findings of one file; behind that many the next are no help

WRONG_DOCUMENT = code("LK010", "The root element is not the kind of document that belongs in this folder.")
UNEXPECTED_ELEMENT = code(
    "LK011", "An element that is unknown, or stands where it may not: the sections have an order."
)
MISSING_ELEMENT = code("LK012", "A required element is missing.")
UNKNOWN_ATTRIBUTE = code("LK013", "An attribute that this element does not have.")
MISSING_ATTRIBUTE = code("LK014", "A required attribute is missing.")
INVALID_VALUE = code("LK015", "A value that is not one of the valid ones, or not of the required form.")
UNEXPECTED_TEXT = code("LK016", "Text where only elements may stand.")

_ATTRIBUTE = re.compile(r"attribute '([^']+)'")
_EXPECTED = re.compile(r"Expected is (?:one of )?\( (.+?) \)")
_SET = re.compile(r"element of the set \{(.*)\}", re.DOTALL)
_PATTERNS = {
    r"[A-Za-z_][A-Za-z0-9_\-]*": "a name: letters, digits, _ and -, not starting with a digit",
    r"[A-Za-z0-9_][A-Za-z0-9_.\-]*": "a rule id: letters, digits, _ . and -",
    r".|\\t|\\x[0-9A-Fa-f]{2}": r"one character, or \t or \x01 in writing",
    r"(.|\\t|\\x[0-9A-Fa-f]{2})?": r"one character, \t or \x01 in writing, or nothing",
}
_TYPES = {
    "positiveInteger": "a whole number of at least 1",
    "nonNegativeInteger": "a whole number of at least 0",
    "decimal": "a number",
    "rate": "a number from 0 to 1",
    "day": "a date that there is, as 2026-12-25",
}


@cache
def schema(document: str) -> etree.XMLSchema:
    """The compiled XSD of a document kind."""
    return etree.XMLSchema(_schema_tree(document))


@cache
def _schema_tree(document: str) -> etree._ElementTree:
    parser = etree.XMLParser(no_network=True, resolve_entities=False)
    return etree.parse(_SCHEMAS / f"{document}.xsd", parser)


@cache
def attributes_of(document: str, path: tuple[str, ...]) -> tuple[str, ...]:
    """The attributes the XSD gives the element at `path` (tags from the root), sorted; () where it cannot tell."""
    tree = _schema_tree(document).getroot()
    body = _body(tree, path)
    if body is None:
        return ()
    names = {str(a.get("name")) for a in body.iter(f"{_XS}attribute") if a.get("name")}
    for group in body.iter(f"{_XS}attributeGroup"):
        named = tree.find(f"{_XS}attributeGroup[@name='{group.get('ref')}']")
        names |= {str(a.get("name")) for a in named.iter(f"{_XS}attribute")} if named is not None else set()
    return tuple(sorted(names))


@cache
def children_of(document: str, path: tuple[str, ...]) -> tuple[str, ...]:
    """The child elements the XSD gives the element at `path`, in its order."""
    tree = _schema_tree(document).getroot()
    body = _body(tree, path)
    if body is None:
        return ()
    nested = {e for a in body.iter(f"{_XS}element") if a is not body for e in a.iterdescendants(f"{_XS}element")}
    return tuple(str(e.get("name")) for e in body.iter(f"{_XS}element") if e is not body and e not in nested)


def _body(tree: etree._Element, path: tuple[str, ...]) -> etree._Element | None:
    node = next((e for e in tree.findall(f"{_XS}element") if e.get("name") == path[0]), None)
    for tag in path[1:]:
        node = _find_element(tree, node, tag)
    return None if node is None else _type_of(tree, node)


def _type_of(tree: etree._Element, node: etree._Element) -> etree._Element:
    named = tree.find(f"{_XS}complexType[@name='{node.get('type')}']") if node.get("type") else None
    return node if named is None else named


def _find_element(tree: etree._Element, node: etree._Element | None, tag: str) -> etree._Element | None:
    if node is None:
        return None
    body = _type_of(tree, node)
    places = [body, *(g for r in body.iter(f"{_XS}group") for g in tree.findall(f"{_XS}group[@name='{r.get('ref')}']"))]
    return next((e for p in places for e in p.iter(f"{_XS}element") if e.get("name") == tag), None)


def validate(root: Element, document: str, problems: Problems) -> bool:
    """True when the document follows its XSD; else every finding is in `problems`."""
    if root.tag != document:
        WRONG_DOCUMENT.report(problems, f"<{root.tag}> where a <{document}> is expected", root.where, (document,))
        return False
    if namespaced := [e for e in root.walk() if ":" in e.tag or any(":" in a or a == "xmlns" for a in e.attributes)]:
        for element in namespaced:
            UNEXPECTED_ELEMENT.report(
                problems, f"<{element.tag}>: namespaces are not used in definitions", element.where
            )
        return False
    mirror: dict[etree._Element, Element] = {}
    tree = _build(root, mirror)
    found = _Findings(document, root, mirror)
    for _ in range(_ROUNDS):
        checker = schema(document)
        if checker.validate(tree):
            break
        removed = found.read(tree, checker.error_log)
        if not removed:
            break
    for problem in found.problems.values():
        problems.add(problem)
    return not found.problems


def _build(element: Element, mirror: dict[etree._Element, Element]) -> etree._Element:
    node = etree.Element(element.tag, element.attributes)
    if element.text:  # libxml2 takes an empty text node for text
        node.text = element.text
    mirror[node] = element
    for child in element.children:
        node.append(_build(child, mirror))
    return node


class _Findings:
    """Problems by what they say and where, so that a second validation repeats none."""

    def __init__(self, document: str, root: Element, mirror: dict[etree._Element, Element]) -> None:
        self.document, self.root, self.mirror = document, root, mirror
        self.problems: dict[tuple[str, Location, str], Problem] = {}
        self.removed: set[tuple[etree._Element, str]] = set()

    def read(self, tree: etree._Element, log: etree._ListErrorLog) -> bool:
        """Take the findings of one validation in; True when an unexpected element was taken out of the tree."""
        doomed: list[etree._Element] = []
        for entry in islice(log, _MOST - len(self.problems)):
            node = self._node(tree, entry.path)
            if node is None:
                continue
            if entry.type_name == "SCHEMAV_ELEMENT_CONTENT":
                doomed += self._content(node, entry.message)
            else:
                self._value(node, entry.type_name, entry.message)
        for node in doomed:
            parent = node.getparent()
            if parent is not None:
                self.removed.add((parent, str(node.tag)))
                parent.remove(node)
        return bool(doomed)

    @staticmethod
    def _node(tree: etree._Element, path: str | None) -> etree._Element | None:
        found = tree.xpath(path) if path else []
        return found[0] if isinstance(found, list) and found and isinstance(found[0], etree._Element) else None

    def _path(self, node: etree._Element) -> tuple[str, ...]:
        return tuple(str(e.tag) for e in (*reversed(list(node.iterancestors())), node))

    def _add(self, name: str, message: str, where: Location, valid: tuple[str, ...] = (), hint: str = "") -> None:
        self.problems.setdefault((name, where, message), Problem(name, message, where, valid=valid, hint=hint))

    def _content(self, node: etree._Element, message: str) -> list[etree._Element]:
        element = self.mirror[node]
        match = _EXPECTED.search(message)
        expected = tuple(match[1].split(", ")) if match else ()
        if "Missing child" in message:
            if not any((node, tag) in self.removed for tag in expected):
                text = f"<{element.tag}> lacks a required element"
                self._add(MISSING_ELEMENT.name, text, element.where, expected)
            return []
        parent = node.getparent()
        inside = f" in <{self.mirror[parent].tag}>" if parent is not None else ""
        twice = parent is not None and sum(1 for c in parent if c.tag == node.tag) > 1 and not expected
        text = f"<{element.tag}> is not expected here{inside}" + (": it stands there already" if twice else "")
        if parent is not None and not expected and not twice:
            expected = children_of(self.document, self._path(parent))
        self._add(UNEXPECTED_ELEMENT.name, text, element.where, expected)
        return [node]

    def _value(self, node: etree._Element, kind: str, message: str) -> None:
        element = self.mirror[node]
        match = _ATTRIBUTE.search(message)
        name = match[1] if match else ""
        if kind == "SCHEMAV_CVC_COMPLEX_TYPE_3_2_1":
            known = attributes_of(self.document, self._path(node))
            text = f"unknown attribute '{name}' in <{element.tag}>"
            self._add(UNKNOWN_ATTRIBUTE.name, text, element.places.get(name, element.where), known)
        elif kind == "SCHEMAV_CVC_COMPLEX_TYPE_4":
            missing = re.findall(r"attribute '([^']+)' is required", message)
            self._add(MISSING_ATTRIBUTE.name, f"<{element.tag}> lacks the attribute '{missing[0]}'", element.where)
        elif kind in ("SCHEMAV_CVC_COMPLEX_TYPE_2_3", "SCHEMAV_CVC_COMPLEX_TYPE_2_1"):
            where = element.text_where or element.where
            self._add(UNEXPECTED_TEXT.name, f"text inside <{element.tag}>, which takes none", where)
        else:
            self._invalid(element, name, kind, message)

    def _invalid(self, element: Element, name: str, kind: str, message: str) -> None:
        where = element.places.get(name) or element.text_where or element.where
        value = element.attributes.get(name, element.text.strip())
        what = f"<{element.tag} {name}>" if name else f"<{element.tag}>"
        if any(p.where == where and p.code == INVALID_VALUE.name for p in self.problems.values()):
            return
        if match := _SET.search(message):
            valid = tuple(re.findall(r"'([^']*)'", match[1]))
            self._add(INVALID_VALUE.name, f"'{value}' is not a value of {what}", where, valid)
            return
        form = next((text for pattern, text in _PATTERNS.items() if f"'{pattern}'" in message), "")
        form = form or next(
            (text for type_, text in _TYPES.items() if f"'{type_}'" in message or f"xs:{type_}'" in message), ""
        )
        if kind == "SCHEMAV_CVC_MINLENGTH_VALID":
            form = "not empty"
        elif "clusive" in message:
            form = form or _TYPES["rate"]
        self._add(
            INVALID_VALUE.name, f"'{value}' is not valid for {what}", where, hint=f"must be {form}" if form else ""
        )
