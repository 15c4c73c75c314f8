"""Suites of Great Expectations beside the rule packs, `exceptions/rules/<name>.json`: read, each expectation placed.

    {"name": "…", "expectations": [{"type": "expect_…", "kwargs": {…}, "meta": {…}}, …]}

Great Expectations itself is not imported: what its expectations are called and take stands in `suite_rows` and
`suite_whole`, and a test holds that against the library.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipeline_xml.json_text import read_json_file
from pipeline_xml.location import Location
from pipeline_xml.problems import Problems
from pipeline_xml.rulebook import code

NO_SUITE = code(
    "LK134",
    """An expectations rule names a Great Expectations suite: a .json file beside the application's rule packs that
    holds a list of expectations.""",
)
_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.\-]*\.json\Z")
_IGNORED = frozenset({"result_format", "catch_exceptions", "include_config", "batch_id"})  # they judge nothing


@dataclass(frozen=True, slots=True)
class Expectation:
    """One expectation of a suite. `places` are those of its arguments; `severity` is what it says itself, if so."""

    type: str
    arguments: Mapping[str, Any]
    where: Location
    places: Mapping[str, Location]
    mostly: float | None = None
    severity: str | None = None
    description: str = ""

    def place(self, argument: str) -> Location:
        return self.places.get(argument, self.where)


class Suites:
    """The suites of a config root; each file is read once, its problems reported once."""

    def __init__(self, root: Path, problems: Problems) -> None:
        self.root, self.problems = root, problems
        self._read: dict[Path, tuple[Expectation, ...] | None] = {}

    def suite(self, app: str, name: str, where: Location) -> tuple[Expectation, ...] | None:
        """The expectations of `<name>`, or None after a problem was reported."""
        folder = self.root / "applications" / app / "exceptions" / "rules"
        path = folder / name
        if not _NAME.match(name) or not path.is_file() or path.resolve().parent != folder.resolve():
            known = sorted(p.name for p in folder.glob("*.json"))
            hint = "a file of exceptions/rules, without a folder"
            NO_SUITE.report(self.problems, f"unknown suite '{name}'", where, known, "" if known else hint)
            return None
        if path not in self._read:
            self._read[path] = _read(path, path.relative_to(self.root).as_posix(), self.problems)
        return self._read[path]


def _read(path: Path, file: str, problems: Problems) -> tuple[Expectation, ...] | None:
    read = read_json_file(path, file, problems, NO_SUITE)
    if read is None:
        return None
    value, places = read
    listed = value.get("expectations") if isinstance(value, dict) else None
    if not isinstance(listed, list) or not listed:
        hint = '{"name": "…", "expectations": [{"type": "expect_…", "kwargs": {…}}]}'
        NO_SUITE.report(problems, 'a suite has a list "expectations" that is not empty', Location(file), hint=hint)
        return None
    found = []
    for number, item in enumerate(listed):
        at = ("expectations", number)
        kind = (item.get("type") or item.get("expectation_type")) if isinstance(item, dict) else None
        arguments = item.get("kwargs", {}) if isinstance(item, dict) else None
        if not isinstance(kind, str) or not isinstance(arguments, dict):
            message = 'an expectation has a "type" and "kwargs"'
            NO_SUITE.report(problems, message, places.get(at, Location(file)))
            return None
        mostly, severity = arguments.get("mostly"), item.get("severity")
        given = {k: v for k, v in arguments.items() if k not in _IGNORED | {"mostly"} and v is not None}
        if mostly is not None and not (isinstance(mostly, int | float) or hasattr(mostly, "quantize")):
            NO_SUITE.report(problems, '"mostly" is a number from 0 to 1', places[(*at, "kwargs", "mostly")])
            return None
        found.append(
            Expectation(
                type=kind,
                arguments=given,
                where=places.get((*at, "type"), places.get((*at, "expectation_type"), places[at])),
                places={name: places[(*at, "kwargs", name)] for name in arguments},
                mostly=None if mostly is None else float(mostly),
                severity=severity if isinstance(severity, str) else None,
                description=_text(item.get("description")) or _text(item.get("notes")),
            )
        )
    return tuple(found)


def _text(value: Any) -> str:
    return " ".join(value.split()) if isinstance(value, str) else ""
