"""The first stage: a file becomes an element tree that follows its XSD, or problems."""

from __future__ import annotations

from pathlib import Path

from pipeline_xml.element import Element
from pipeline_xml.problems import Problems
from pipeline_xml.scan import read_bytes, scan
from pipeline_xml.structure import validate
from pipeline_xml.variables import Variables


def read_document(path: Path, file: str, document: str, variables: Variables, problems: Problems) -> Element | None:
    """The element tree of one definition, variables filled in; `file` is the name used in problems.

    None after problems: unreadable, hostile, not well-formed, or not what the XSD of `document` says.
    """
    data = read_bytes(path, file, problems)
    root = scan(data, file, problems) if data is not None else None
    if root is None:
        return None
    before = problems.error_count
    filled = variables.fill(root, problems)
    return filled if validate(filled, document, problems) and problems.error_count == before else None
