"""One pipeline, resolved section by section: sources, steps, targets, rules; then hashed and frozen.

What could not be resolved is reported once and remembered as broken, so that one mistake does not bring ten findings.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date

from pipeline_xml.branches import Branches, branches
from pipeline_xml.check_beside import check_beside
from pipeline_xml.check_rules import check_rules
from pipeline_xml.check_sources import check_sources
from pipeline_xml.check_steps import check_steps
from pipeline_xml.check_targets import check_targets
from pipeline_xml.checked import (
    CheckedPipeline,
    CheckedSource,
    CheckedTarget,
    Dataset,
    KeyRule,
    RowRule,
    StepPlan,
    Transformation,
)
from pipeline_xml.contract import Contract
from pipeline_xml.expressions import Expression
from pipeline_xml.fingerprint import definition_hash, rule_hash
from pipeline_xml.lake_tables import Table
from pipeline_xml.location import Location
from pipeline_xml.lookups import Lookups
from pipeline_xml.model import Application, Pipeline
from pipeline_xml.parameters import bound_value, parameter_type
from pipeline_xml.problems import Problems
from pipeline_xml.rulebook import code
from pipeline_xml.schema_ref import Schemas
from pipeline_xml.suite import Suites
from pipeline_xml.types import DataType
from pipeline_xml.written_table import WrittenTable

NOT_RUNNABLE = code("LK190", "It is read and checked, and cannot run in this version.", "warning")


@dataclass(frozen=True)
class Surroundings:
    """What a pipeline is checked against. `tables` are the lake tables of the pipelines checked so far."""

    applications: tuple[Application, ...]
    texts: Mapping[str, str]
    transformations: Mapping[str, Transformation]
    environment: str
    schemas: Schemas
    lookups: Lookups
    suites: Suites
    writers: Mapping[Table, Pipeline]
    tables: Mapping[Table, WrittenTable]
    problems: Problems

    def application(self, name: str) -> Application:
        return next(a for a in self.applications if a.name == name)


class PipelineCheck:
    """The state of checking one pipeline; the sections' own modules fill it."""

    def __init__(self, pipeline: Pipeline, around: Surroundings) -> None:
        self.pipeline, self.around, self.problems = pipeline, around, around.problems
        self.application = around.application(pipeline.app)
        self.sources: dict[str, CheckedSource] = {}
        self.contracts: dict[str, Contract] = {}
        self.datasets: dict[str, Dataset] = {}
        self.broken: set[str] = set()  # names of datasets that exist, with columns nobody knows
        self.used: set[str] = set()
        self.plans: list[StepPlan] = []
        self.not_runnable: list[str] = []
        self.parameters = self.application.parameters.get(pipeline.id, {})
        self.bound: set[str] = set()

    def bindings(self) -> dict[str, DataType]:
        """The types of what the jobs that run this pipeline may give it."""
        return {name: parameter_type(each) for name, each in self.parameters.items()}

    def reads(self, expression: Expression | None) -> Expression | None:
        """Remembers the bound values of an expression that the pipeline is to compute."""
        if expression is not None:
            self.bound |= expression.bindings - {"businessDate"}
        return expression

    def run(self) -> CheckedPipeline | None:
        """The checked pipeline, or None when a section has an error (reported)."""
        before = self.problems.error_count
        check_sources(self)
        check_steps(self)
        targets = check_targets(self)
        driving = self._driving(targets)
        drivers = tuple(dict.fromkeys(d for d in (driving, *(targets[0].dataset.drivers if targets else ())) if d))
        parts = branches(self.plans, targets, drivers)
        stem = self.plans[parts.stem].output if parts.stem >= 0 else None
        rules = check_rules(self, driving, stem)
        self._unbuilt(targets, driving, drivers, parts, [*rules.rows, *rules.keys])
        if self.problems.error_count > before:
            return None
        ordered = sorted(self.sources.values(), key=lambda s: s.source.id != driving)
        return CheckedPipeline(
            pipeline=self.pipeline,
            sources=tuple(ordered),
            steps=tuple(self.plans),
            targets=targets,
            row_rules=tuple(rules.rows),
            key_rules=tuple(rules.keys),
            dataset_rules=tuple(rules.datasets),
            definition_hash=definition_hash(self.pipeline, self.around, ordered, targets, self.plans),
            rule_hash=rule_hash([*rules.rows, *rules.keys, *rules.datasets]),
            bound=tuple(bound_value(name, self.parameters) for name in sorted(self.bound)),
            not_runnable=tuple(self.not_runnable),
            holidays=self._holidays(),
        )

    def _holidays(self) -> frozenset[date]:
        """Of the calendar that the metadata names; one that there is not, LK165 tells."""
        named = self.pipeline.metadata.calendar
        return next((c.holidays for c in self.application.calendars if c.id == named), frozenset())

    def _driving(self, targets: Iterable[CheckedTarget]) -> str | None:
        """The source whose records the first target holds; without a resolved target, the first source."""
        return next((t.dataset.driving for t in targets), next(iter(self.sources), None))

    def _unbuilt(
        self,
        targets: tuple[CheckedTarget, ...],
        driving: str | None,
        drivers: Collection[str],
        parts: Branches,
        rules: Sequence[RowRule | KeyRule],
    ) -> None:
        """What the language allows and this version cannot run: targets that hold records of different sources."""
        others = [t for t in targets if set(t.dataset.drivers) != set(drivers)]
        if others:
            named = ", ".join(dict.fromkeys(d for t in targets for d in t.dataset.drivers))
            instead = "write them by a pipeline for each source"
            self.cannot_run(f"targets hold records of different sources ({named})", others[0].target.where, instead)
        for name in parts.unclear:
            instead = 'give the later step a name of its own: as="…"'
            self.cannot_run(f"'{name}' is taken before and after a step changes it", self.pipeline.where, instead)
        check_beside(self, driving, drivers, rules)

    def cannot_run(self, what: str, where: Location, instead: str = "") -> None:
        """Remember why this pipeline does not run yet, and warn of it; `instead` is what to do until it does."""
        told = f"{where}: {NOT_RUNNABLE.name} not runnable in this version: {what}"
        self.not_runnable.append(f"{told}; {instead}" if instead else told)
        NOT_RUNNABLE.report(self.problems, f"not runnable in this version: {what}", where, hint=instead)
