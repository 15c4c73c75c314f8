"""The book of findings: every code, what it means and how grave it is. `docs/rules.md` is printed from it.

A finding is declared once: `code(...)` for one that reading or resolving reports, `@pipeline_rule`, `@checked_rule` or
`@catalog_rule` for a semantic rule, whose docstring is its documentation.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeVar

from pipeline_xml.location import Location
from pipeline_xml.problems import Problem, Problems, Severity

if TYPE_CHECKING:
    from pipeline_xml.checked import CheckedPipeline
    from pipeline_xml.model import Application, Pipeline

CHAPTERS = {
    "LK0": "Reading and structure of documents",
    "LK1": "Names, layers and settings",
    "LK2": "Columns and expressions",
    "LK3": "Transformations",
    "LK4": "Contracts",
    "LK5": "Accounting",
    "LK6": "Jobs, resources and workflows",
}


@dataclass(frozen=True, slots=True)
class Code:
    """A kind of finding. `report` adds one to a collector with the severity the book gives it."""

    name: str
    meaning: str
    severity: Severity = "error"

    def report(
        self,
        problems: Problems,
        message: str,
        where: Location,
        valid: Iterable[str] = (),
        hint: str = "",
        severity: Severity | None = None,
    ) -> None:
        problems.add(Problem(self.name, message, where, severity or self.severity, tuple(valid), hint))


BOOK: dict[str, Code] = {}


def code(name: str, meaning: str, severity: Severity = "error") -> Code:
    """Declare a finding; a second declaration of the same name is a mistake of the programmer."""
    if name in BOOK or name[:3] not in CHAPTERS:
        raise ValueError(f"{name} is declared twice or belongs to no chapter: {', '.join(CHAPTERS)}")
    BOOK[name] = Code(name, " ".join(meaning.split()), severity)
    return BOOK[name]


NO_CONTRACT = code(
    "LK410", "A source whose columns nobody has declared: it needs schemaRef, or columns for texts only."
)
UNKNOWN_COLUMN = code("LK204", "A column that does not exist in the dataset, contract or record it is looked for in.")


@dataclass(frozen=True, slots=True)
class Report:
    """What a rule is given to speak with: its own code, bound to the collector."""

    finding: Code
    problems: Problems

    def __call__(
        self,
        message: str,
        where: Location,
        valid: Iterable[str] = (),
        hint: str = "",
        severity: Severity | None = None,
    ) -> None:
        self.finding.report(self.problems, message, where, valid, hint, severity)


PipelineRule = Callable[["Pipeline", Report], None]
CheckedRule = Callable[["CheckedPipeline", Report], None]
CatalogRule = Callable[["tuple[Application, ...]", Report], None]
_Rule = TypeVar("_Rule", PipelineRule, CheckedRule, CatalogRule)


@dataclass(slots=True)
class _Rules:
    pipeline: list[tuple[Code, PipelineRule]] = field(default_factory=list)
    checked: list[tuple[Code, CheckedRule]] = field(default_factory=list)
    catalog: list[tuple[Code, CatalogRule]] = field(default_factory=list)


_RULES = _Rules()


def _register(target: list[tuple[Code, _Rule]], name: str, severity: Severity) -> Callable[[_Rule], _Rule]:
    def register(rule: _Rule) -> _Rule:
        target.append((code(name, rule.__doc__ or "", severity), rule))
        return rule

    return register


def pipeline_rule(name: str, severity: Severity = "error") -> Callable[[PipelineRule], PipelineRule]:
    """A rule over one document as written."""
    return _register(_RULES.pipeline, name, severity)


def checked_rule(name: str, severity: Severity = "error") -> Callable[[CheckedRule], CheckedRule]:
    """A rule over one pipeline whose names and columns are all resolved."""
    return _register(_RULES.checked, name, severity)


def catalog_rule(name: str, severity: Severity = "error") -> Callable[[CatalogRule], CatalogRule]:
    """A rule over all applications together."""
    return _register(_RULES.catalog, name, severity)


def apply_pipeline_rules(pipeline: Pipeline, problems: Problems) -> None:
    for finding, rule in _RULES.pipeline:
        rule(pipeline, Report(finding, problems))


def apply_checked_rules(checked: CheckedPipeline, problems: Problems) -> None:
    for finding, rule in _RULES.checked:
        rule(checked, Report(finding, problems))


def apply_catalog_rules(applications: tuple[Application, ...], problems: Problems) -> None:
    for finding, rule in _RULES.catalog:
        rule(applications, Report(finding, problems))
