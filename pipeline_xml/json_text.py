"""JSON with places: the value, and where each key stands, so that a finding in a schema file has a line."""

from __future__ import annotations

import json
import pathlib
import re
from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from pipeline_xml.location import Location
from pipeline_xml.problems import Problems
from pipeline_xml.rulebook import Code
from pipeline_xml.scan import read_bytes

Path = tuple[str | int, ...]
MAX_DEPTH = 50
_STRINGS = json.JSONDecoder()

_SPACE = re.compile(r"[ \t\n\r]*")
_SCALAR = re.compile(r"-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][+-]?\d+)?|true|false|null")


class JsonError(ValueError):
    """Not JSON; `offset` counts characters."""

    def __init__(self, message: str, offset: int) -> None:
        self.message, self.offset = message, offset
        super().__init__(message)


def read_json(text: str, file: str) -> tuple[Any, Mapping[Path, Location]]:
    """The value and the place of every key (of list items: the item's). A key that occurs twice is an error.

    Numbers with a fraction come as Decimal, so that a bound of a contract is the number that was written.
    """
    reader = _Reader(text)
    value = reader.value((), 0)
    end = reader.skip(reader.position)
    if end != len(text):
        raise JsonError("text after the end of the document", end)
    return value, {path: locate(text, offset, file) for path, offset in reader.offsets.items()}


def read_json_file(
    path: pathlib.Path, file: str, problems: Problems, bad: Code
) -> tuple[Any, Mapping[Path, Location]] | None:
    """`read_json` of a file of the definitions, `file` in problems; None after one: `bad` where it is not JSON."""
    data = read_bytes(path, file, problems)
    if data is None:
        return None
    text = data.decode("utf-8")
    try:
        return read_json(text, file)
    except JsonError as error:
        bad.report(problems, f"not JSON: {error.message}", locate(text, error.offset, file))
        return None


def locate(text: str, offset: int, file: str) -> Location:
    line = text.count("\n", 0, offset)
    return Location(file, line + 1, offset - (text.rfind("\n", 0, offset) + 1) + 1)


class _Reader:
    def __init__(self, text: str) -> None:
        self.text = text
        self.position = 0
        self.offsets: dict[Path, int] = {}

    def skip(self, position: int) -> int:
        found = _SPACE.match(self.text, position)
        return found.end() if found else position

    def value(self, path: Path, depth: int) -> Any:
        if depth > MAX_DEPTH:
            raise JsonError(f"nested deeper than {MAX_DEPTH}", self.position)
        self.position = self.skip(self.position)
        self.offsets.setdefault(path, self.position)
        start = self.text[self.position : self.position + 1]
        if start == "{":
            return self._object(path, depth)
        if start == "[":
            return self._array(path, depth)
        if start == '"':
            return self._string()
        scalar = _SCALAR.match(self.text, self.position)
        if scalar is None:
            raise JsonError("a value is expected", self.position)
        self.position = scalar.end()
        return json.loads(scalar[0], parse_float=Decimal)

    def _string(self) -> str:
        try:
            found, self.position = _STRINGS.raw_decode(self.text, self.position)
        except json.JSONDecodeError as error:
            raise JsonError(error.msg, error.pos) from error
        return str(found)

    def _next(self, expected: str) -> str:
        self.position = self.skip(self.position)
        found = self.text[self.position : self.position + 1]
        if not found or found not in expected:
            raise JsonError(f"one of {' '.join(expected)} is expected", self.position)
        self.position += 1
        return found

    def _closes(self, end: str) -> bool:
        self.position = self.skip(self.position + 1)
        if self.text[self.position : self.position + 1] == end:
            self.position += 1
            return True
        return False

    def _object(self, path: Path, depth: int) -> dict[str, Any]:
        out: dict[str, Any] = {}
        if self._closes("}"):
            return out
        while True:
            self.position = self.skip(self.position)
            offset = self.position
            if self.text[offset : offset + 1] != '"':
                raise JsonError("a key in double quotes is expected", offset)
            key = self._string()
            if key in out:
                raise JsonError(f"the key '{key}' occurs twice", offset)
            self.offsets[(*path, key)] = offset
            self._next(":")
            out[key] = self.value((*path, key), depth + 1)
            if self._next(",}") == "}":
                return out

    def _array(self, path: Path, depth: int) -> list[Any]:
        out: list[Any] = []
        if self._closes("]"):
            return out
        while True:
            out.append(self.value((*path, len(out)), depth + 1))
            if self._next(",]") == "]":
                return out
