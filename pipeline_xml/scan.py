"""The first look at an XML file: hostile input is refused here, before any tree is built by anybody else.

expat parses the bytes under our handlers: a document type, an entity, a file or a depth beyond the caps end it at once,
so that neither memory nor the network can be reached. The result is our own `Element` tree with the place of every tag,
attribute value and text.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from dataclasses import replace
from pathlib import Path
from xml.parsers import expat

from pipeline_xml.element import Element
from pipeline_xml.location import Location
from pipeline_xml.problems import Problems
from pipeline_xml.rulebook import Code, code

MAX_BYTES = 1024 * 1024
MAX_DEPTH = 50
MAX_ELEMENTS = 10_000
MAX_ATTRIBUTES = 200

UNREADABLE = code("LK001", "The file cannot be read: it is missing, not a regular file, or not UTF-8 text.")
NOT_WELL_FORMED = code("LK002", "The file is not well-formed XML.")
DTD_REFUSED = code(
    "LK003", "A document type (DTD) or an entity stands in the file. Definitions need neither; both are refused."
)
TOO_LARGE = code("LK004", "The file is larger, deeper or has more elements than any definition needs.")

_ATTRIBUTE = re.compile(rb"""\s+([^\s=/>]+)\s*=\s*(?:"([^"]*)"|'([^']*)')""")
_UNEVEN = re.compile(rb"&[^;]*;|\r\n|\n")
_TAG_NAME = re.compile(rb"<[^\s/>]+")


class _Refused(Exception):
    def __init__(self, finding: Code, message: str, offset: int, hint: str = "") -> None:
        self.finding, self.message, self.offset, self.hint = finding, message, offset, hint
        super().__init__(message)


def read_bytes(path: Path, file: str, problems: Problems, limit: int = MAX_BYTES) -> bytes | None:
    """The file's bytes without a byte order mark, or None after a problem: never more than `limit` is read."""
    where = Location(file)
    if not path.is_file():
        UNREADABLE.report(problems, "not a regular file", where)
        return None
    try:
        with path.open("rb") as stream:
            data = stream.read(limit + 1)
    except OSError as error:
        UNREADABLE.report(problems, f"cannot be read: {error.strerror}", where)
        return None
    if len(data) > limit:
        TOO_LARGE.report(problems, f"larger than {limit} bytes", where)
        return None
    data = data.removeprefix(b"\xef\xbb\xbf")
    try:
        data.decode("utf-8")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        UNREADABLE.report(problems, "not UTF-8 text", Location(file, line), hint="save the file as UTF-8")
        return None
    return data


def scan(data: bytes, file: str, problems: Problems) -> Element | None:
    """The element tree of UTF-8 `data`, or None after one problem."""
    scanner = _Scanner(data, file)
    try:
        return scanner.run()
    except _Refused as refused:
        refused.finding.report(problems, refused.message, scanner.place(refused.offset), hint=refused.hint)
    except expat.ExpatError as error:
        offset = max(scanner.parser.ErrorByteIndex, 0)
        NOT_WELL_FORMED.report(problems, f"not well-formed XML: {expat.ErrorString(error.code)}", scanner.place(offset))
    return None


class _Open:
    """An element whose end tag has not come yet."""

    def __init__(self, tag: str, where: Location, attributes: dict[str, str], places: dict[str, Location]) -> None:
        self.tag, self.where, self.attributes, self.places = tag, where, attributes, places
        self.text: list[str] = []
        self.text_where: Location | None = None
        self.children: list[Element] = []

    def close(self) -> Element:
        return Element(
            self.tag,
            self.where,
            self.attributes,
            self.places,
            "".join(self.text),
            self.text_where,
            tuple(self.children),
        )


class _Scanner:
    def __init__(self, data: bytes, file: str) -> None:
        self.data, self.file = data, file
        self.lines = [0, *(m.end() for m in re.finditer(rb"\n", data))]
        self.stack: list[_Open] = []
        self.known = (0, 0)  # the byte last asked for, and the characters before it in its line
        self.count = 0
        self.root: Element | None = None
        self.parser = expat.ParserCreate("utf-8")
        self.parser.SetParamEntityParsing(expat.XML_PARAM_ENTITY_PARSING_NEVER)
        self.parser.StartElementHandler = self._start
        self.parser.EndElementHandler = self._end
        self.parser.CharacterDataHandler = self._text
        self.parser.StartDoctypeDeclHandler = self._doctype
        self.parser.EntityDeclHandler = self._doctype
        self.parser.ExternalEntityRefHandler = self._doctype
        self.parser.SkippedEntityHandler = self._doctype

    def run(self) -> Element:
        self.parser.Parse(self.data, True)
        if self.root is None:
            raise _Refused(NOT_WELL_FORMED, "not well-formed XML: no element found", 0)
        return self.root

    def place(self, offset: int) -> Location:
        """The place of a byte. Places are asked for in order, so that a line is decoded once, however long it is."""
        line = bisect_right(self.lines, offset)
        start, characters = self.lines[line - 1], 0
        known_offset, known_characters = self.known
        if start <= known_offset <= offset:
            start, characters = known_offset, known_characters
        characters += len(self.data[start:offset].decode("utf-8", "replace"))
        self.known = (offset, characters)
        return Location(self.file, line, characters + 1)

    def _doctype(self, *_: object) -> int:
        message = "a document type or an entity is not allowed"
        hint = "remove <!DOCTYPE …>; write &lt; &gt; &amp; &quot; &apos; for the characters themselves"
        raise _Refused(DTD_REFUSED, message, self.parser.CurrentByteIndex, hint)

    def _start(self, tag: str, attributes: dict[str, str]) -> None:
        offset = self.parser.CurrentByteIndex
        self.count += 1
        if len(self.stack) >= MAX_DEPTH:
            raise _Refused(TOO_LARGE, f"elements nested deeper than {MAX_DEPTH}", offset)
        if self.count > MAX_ELEMENTS:
            raise _Refused(TOO_LARGE, f"more than {MAX_ELEMENTS} elements", offset)
        if len(attributes) > MAX_ATTRIBUTES:  # libxml2 takes minutes over an element of 100,000
            raise _Refused(TOO_LARGE, f"more than {MAX_ATTRIBUTES} attributes", offset)
        self.stack.append(_Open(tag, self.place(offset), attributes, self._attribute_places(offset)))

    def _attribute_places(self, offset: int) -> dict[str, Location]:
        places = {}
        name = _TAG_NAME.match(self.data, offset)
        position = name.end() if name else offset
        while found := _ATTRIBUTE.match(self.data, position):
            position = found.end()
            start = found.start(2) if found.start(2) >= 0 else found.start(3)
            places[found[1].decode("utf-8")] = self._with_anchors(start, found[2] if found[2] is not None else found[3])
        return places

    def _with_anchors(self, start: int, raw: bytes) -> Location:
        """The place of an attribute's value, with an anchor behind each entity and line break in it."""
        where = self.place(start)
        anchors = []
        offset = end = 0
        for match in _UNEVEN.finditer(raw):
            offset += len(raw[end : match.start()].decode("utf-8")) + 1
            end = match.end()
            after = self.place(start + end)
            anchors.append((offset, after.line, after.column))
        return replace(where, anchors=tuple(anchors)) if anchors else where

    def _text(self, text: str) -> None:
        top = self.stack[-1]
        if top.text_where is None and (body := text.lstrip()):
            blank = text[: len(text) - len(body)]
            top.text_where = self.place(self.parser.CurrentByteIndex + len(blank.encode()))
        top.text.append(text)

    def _end(self, _tag: str) -> None:
        element = self.stack.pop().close()
        if self.stack:
            self.stack[-1].children.append(element)
        else:
            self.root = element
