"""The XSDs for an XML editor: those that documents are checked with, with every transformation and its attributes.

The shipped schema leaves transformations open, because it knows none of them. An editor completes what a schema names:
here each has its attributes, those it needs marked, and none else.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from lxml import etree

from pipeline_xml.checked import Transformation

_XS = "{http://www.w3.org/2001/XMLSchema}"
_SCHEMAS = Path(__file__).parent / "schemas"


def editor_schemas(transformations: Mapping[str, Transformation]) -> dict[str, bytes]:
    """{file name: content} of one XSD a kind of document."""
    found = {path.name: path.read_bytes() for path in sorted(_SCHEMAS.glob("*.xsd"))}
    parser = etree.XMLParser(no_network=True, resolve_entities=False, remove_blank_text=True)
    root = etree.fromstring(found["pipeline.xsd"], parser)
    _name_the_steps(root, transformations)
    for kind, transformation in transformations.items():
        _add_attributes(root, kind, transformation)
    text = etree.tostring(root, pretty_print=True, xml_declaration=True, encoding="UTF-8")
    return found | {"pipeline.xsd": text}


def _name_the_steps(root: etree._Element, transformations: Mapping[str, Transformation]) -> None:
    """Instead of anything, one of the transformations there are."""
    steps = root.find(f"{_XS}complexType[@name='transformations']")
    assert steps is not None  # noqa: S101 - a test holds the shipped schema against this
    for child in list(steps):
        steps.remove(child)
    choice = etree.SubElement(steps, f"{_XS}choice", minOccurs="0", maxOccurs="unbounded")
    for kind in transformations:
        etree.SubElement(choice, f"{_XS}element", ref=kind)


def _add_attributes(root: etree._Element, kind: str, transformation: Transformation) -> None:
    """The element with its attributes; those with a list of values in the shipped schema keep it."""
    element = root.find(f"{_XS}element[@name='{kind}']")
    if element is None:
        element = etree.SubElement(root, f"{_XS}element", name=kind)
    shared = root.find(f"{_XS}complexType[@name='{element.get('type')}']") if element.get("type") else None
    body = element.find(f"{_XS}complexType")
    if body is None:
        body = etree.SubElement(element, f"{_XS}complexType")
        element.attrib.pop("type", None)
        if shared is not None:
            body.extend([_copy(child) for child in shared if child.tag == f"{_XS}sequence"])
    for rest in body.findall(f"{_XS}anyAttribute"):
        body.remove(rest)
    written = {a.get("name"): a for a in body.findall(f"{_XS}attribute")}
    for name, required in {"as": False, **transformation.attributes}.items():
        attribute = written.get(name)
        if attribute is None:
            attribute = etree.SubElement(body, f"{_XS}attribute", name=name, type="xs:string")
        if required:
            attribute.set("use", "required")
    if getattr(transformation, "open", False):
        etree.SubElement(body, f"{_XS}anyAttribute", processContents="skip")


def _copy(element: etree._Element) -> etree._Element:
    return etree.fromstring(etree.tostring(element))
