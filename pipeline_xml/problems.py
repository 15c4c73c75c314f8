"""What is wrong with a definition: problems are collected, never raised one by one.

    DefinitionError        raised once, with every problem of every file
    ├── .problems          tuple of Problem, sorted by place
    └── Problem            code, severity, message, where, valid values, what to do
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from pipeline_xml.location import Location

Severity = Literal["error", "warning"]


@dataclass(frozen=True, slots=True)
class Problem:
    """One finding. `valid` are the values that would have been right, `hint` what to do about it."""

    code: str
    message: str
    where: Location
    severity: Severity = "error"
    valid: tuple[str, ...] = ()
    hint: str = ""


class DefinitionError(Exception):
    """Definitions that cannot be used; carries all problems found, warnings included."""

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems = tuple(sorted(problems, key=lambda p: (p.where, p.code)))
        super().__init__("\n".join(f"{p.where}: {p.code} {p.message}" for p in self.problems))


class Problems:
    """A collector handed through reading and checking."""

    def __init__(self) -> None:
        self._found: list[Problem] = []
        self.error_count = 0

    def error(self, code: str, message: str, where: Location, valid: Iterable[str] = (), hint: str = "") -> None:
        self.add(Problem(code, message, where, "error", tuple(valid), hint))

    def warning(self, code: str, message: str, where: Location, valid: Iterable[str] = (), hint: str = "") -> None:
        self.add(Problem(code, message, where, "warning", tuple(valid), hint))

    def add(self, problem: Problem) -> None:
        self._found.append(problem)
        self.error_count += problem.severity == "error"

    @property
    def found(self) -> tuple[Problem, ...]:
        return tuple(sorted(self._found, key=lambda p: (p.where, p.code)))

    @property
    def errors(self) -> tuple[Problem, ...]:
        return tuple(p for p in self.found if p.severity == "error")


def nearest(value: str, valid: Iterable[str]) -> str | None:
    """The valid value that looks most like `value`, or None when nothing is close."""
    matches = difflib.get_close_matches(value, list(valid), n=1, cutoff=0.6)
    return matches[0] if matches else None
