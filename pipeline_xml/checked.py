"""The checked model: every name resolved, every column known, before anything runs.

`check` makes it, `explain` prints it, the builder and the runner consume it: one object for all three.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from typing import Any, Literal, Protocol

from pipeline_xml.branches import Branches, branches
from pipeline_xml.contract import Contract, Field
from pipeline_xml.expressions import Expression
from pipeline_xml.location import Location
from pipeline_xml.model import (
    CsvTarget,
    FileSource,
    HiveSource,
    HiveTarget,
    HolidayCalendar,
    JobPipeline,
    LandingZone,
    OtherSource,
    OtherTarget,
    Pipeline,
    Rule,
    SecretKey,
    Step,
    Workflow,
)
from pipeline_xml.nested import Nested
from pipeline_xml.problems import Problems
from pipeline_xml.types import NESTED, DataType


@dataclass(frozen=True, slots=True)
class Column:
    """A column of a dataset. `origins` are (source id, column) pairs it is computed from: its lineage.

    `nested`: what stands in a list or an object; the column is the text of its JSON, into which only <flatten> looks.
    `by_record`: equal values of two records are not equal in it, so that it is no key.
    """

    name: str
    type: DataType
    nullable: bool = True
    description: str = ""
    classification: str | None = None
    origins: frozenset[tuple[str, str]] = frozenset()
    nested: Nested | None = None
    by_record: bool = False

    @property
    def seen(self) -> DataType:
        """The type as expressions and rules see it."""
        return NESTED if self.nested is not None else self.type


@dataclass(frozen=True, slots=True)
class RowOrder:
    """The order of rows that a sort gave; ties go by arrival and record number."""

    columns: tuple[str, ...]
    descending: bool
    nulls_first: bool


@dataclass(frozen=True, slots=True)
class Dataset:
    """A named set of rows inside a pipeline.

    `driving` is the source whose records it holds. While `per_record`, one row is one record of that source and every
    record is accounted for; after a step that changes what a row is (aggregate) it is False. `key`: columns in which no
    two rows agree (those with a null in them apart), where that is known; `order`: as a sort left the rows; `also`:
    other sources whose records it holds as well, after a union.
    """

    name: str
    columns: tuple[Column, ...]
    driving: str
    per_record: bool = True
    key: tuple[str, ...] = ()
    order: RowOrder | None = None
    also: tuple[str, ...] = ()

    @property
    def drivers(self) -> tuple[str, ...]:
        return (self.driving, *self.also)

    def column(self, name: str) -> Column | None:
        return next((c for c in self.columns if c.name == name), None)

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(c.name for c in self.columns)

    @property
    def scope(self) -> dict[str, DataType]:
        """Types by name, as expressions see them."""
        return {c.name: c.seen for c in self.columns}


@dataclass(frozen=True, slots=True)
class Reference:
    """A lookup table of `lookups/<id>.csv` with its contract `<id>.json` beside it."""

    id: str
    path: Path
    contract: Contract
    content_hash: str


@dataclass(frozen=True, slots=True)
class TableReference:
    """A lake table that a lookup reads, in the version that the attempt pins; `id` is its name as it is written.

    `merged`: it is merged by its primary key, so no two rows agree in that. `keys` are the columns it is looked up by,
    `columns` those and what the lookup takes.
    """

    id: str
    table: tuple[str, str, str]  # (app, layer, name)
    contract: Contract
    merged: bool
    keys: tuple[str, ...] = ()
    columns: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        return ".".join(self.table)

    @property
    def single(self) -> bool:
        """Whether it is known before anything runs that no key is there twice."""
        return self.merged and set(self.contract.primary_key) <= set(self.keys)


@dataclass(frozen=True, slots=True)
class StepPlan:
    """What a transformation decided at check time. `config` is its own frozen dataclass, opaque to everybody else.

    `secrets` are the references it will look up: a run makes sure of them before it computes anything. `rewrites` are
    columns of its input that the output lacks or holds other values in.
    """

    step: Step
    kind: str
    inputs: tuple[str, ...]
    output: Dataset
    config: Any
    references: tuple[Reference, ...] = ()
    tables: tuple[TableReference, ...] = ()
    secrets: tuple[str, ...] = ()
    rewrites: frozenset[str] = frozenset()
    version: str = ""  # of code that is not ours, part of the definition's hash
    needs_all: bool = False  # what becomes of a row depends on rows of other sources, whenever they came
    judges_records: bool = False  # its runner has `judged`, which rejects what the step could not take
    fills_vault: bool = False  # its runner has vault_rows, which are published before the targets


class StepContext(Protocol):
    """What a transformation may ask while it is checked."""

    pipeline: Pipeline
    problems: Problems
    datasets: Mapping[str, Dataset]
    contracts: Mapping[str, Contract]  # of each source by its id: x-orderBy is the default of deduplicate
    keys: tuple[SecretKey, ...]

    def reference(self, name: str, where: Location) -> Reference | TableReference | None:
        """The lookup or lake table of that name, or None after a problem was reported."""
        ...

    def expression(
        self,
        text: str,
        scope: Mapping[str, DataType],
        where: Location,
        datasets: Mapping[str, Mapping[str, DataType]] | None = None,
    ) -> Expression | None:
        """The compiled expression, or None after its problems were reported. `datasets` are those of a join."""
        ...


class Transformation(Protocol):
    """A strategy: one file in processing/transformations. `check` runs without any engine."""

    kind: str
    attributes: Mapping[str, bool]  # name -> required

    def check(self, step: Step, context: StepContext) -> StepPlan | None: ...


@dataclass(frozen=True, slots=True)
class RowRule:
    """A rule evaluated on every record: the record breaks it where `expression` is false (null counts as kept)."""

    rule: Rule
    pack: str
    expression: Expression
    columns: tuple[str, ...]
    fingerprint: str


@dataclass(frozen=True, slots=True)
class KeyRule:
    """A rule over a record's key, found by a join: `columns` are those of the record, beside them `theirs`.

    A foreignKey is broken where a key without null is not in the reference: a lookup, or the lake table (app, layer,
    name) in the version that the attempt pins. Without either, a key that occurs in several records breaks the rule.
    """

    rule: Rule
    pack: str
    columns: tuple[str, ...]
    fingerprint: str
    theirs: tuple[Field, ...] = ()
    reference: Reference | None = None
    table: tuple[str, str, str] | None = None

    @property
    def compares_records(self) -> bool:
        return self.reference is None and self.table is None


@dataclass(frozen=True, slots=True)
class DatasetRule:
    """A rule over the staged batch as a whole: rowCount, completeness, unique, freshness, reconcile, …

    `types` are those of `columns`; `table` (app, layer, name) and `theirs` what reconcile compares with.
    """

    rule: Rule
    pack: str
    columns: tuple[str, ...]
    fingerprint: str
    types: tuple[DataType, ...] = ()
    table: tuple[str, str, str] | None = None
    theirs: tuple[Field, ...] = ()


@dataclass(frozen=True, slots=True)
class BoundValue:
    """A value that expressions read as `:name` and a run gives: a job's parameter, or the run date."""

    name: str
    type: DataType
    default: str | None = None


@dataclass(frozen=True, slots=True)
class CheckedSource:
    source: FileSource | HiveSource | OtherSource
    contract: Contract
    zone: LandingZone | None = None
    upstream: tuple[str, str, str] | None = None  # (app, layer, table) of a lake table
    control_contract: Contract | None = None  # of the control record, where it names a schemaRef


@dataclass(frozen=True, slots=True, kw_only=True)
class FilesTarget(CsvTarget):
    """A lake table of plain files, without versions: written like an export, a folder a business date."""

    format: Literal["parquet", "orc"]

    @property
    def kind(self) -> str:
        return self.format


@dataclass(frozen=True, slots=True)
class CheckedTarget:
    """`keys` and `order_by` are resolved (merge); `asset` is (app, layer, name)."""

    target: HiveTarget | CsvTarget | OtherTarget
    dataset: Dataset
    asset: tuple[str, str, str]
    contract: Contract | None = None
    keys: tuple[str, ...] = ()
    order_by: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class CheckedPipeline:
    """A pipeline ready to build and run. The first source is the driving one.

    `definition_hash`: sha256 over the canonical text of XML, contracts and transformation versions.
    `rule_hash`: sha256 over the fingerprints of its rules. Sources and targets of kinds that are not built yet are
    named in `not_runnable`. Row rules are evaluated on the driving source's columns,
    before the first transformation. `bound` are the values of a run that its expressions read. `holidays`
    are those of the calendar that its metadata names.
    """

    pipeline: Pipeline
    sources: tuple[CheckedSource, ...]
    steps: tuple[StepPlan, ...]
    targets: tuple[CheckedTarget, ...]
    row_rules: tuple[RowRule, ...]
    dataset_rules: tuple[DatasetRule, ...]
    definition_hash: str
    rule_hash: str
    bound: tuple[BoundValue, ...] = ()
    not_runnable: tuple[str, ...] = ()  # why this version checks it, but does not run it; empty: it runs
    key_rules: tuple[KeyRule, ...] = ()
    holidays: frozenset[date] = frozenset()

    @property
    def record_rules(self) -> tuple[RowRule | KeyRule, ...]:
        """The rules that reject single records."""
        return (*self.row_rules, *self.key_rules)

    @property
    def looked_up(self) -> tuple[tuple[str, str, str], ...]:
        """The lake tables that lookups read and rules compare with; an attempt pins their versions."""
        named = [*(rule.table for rule in self.key_rules), *(rule.table for rule in self.dataset_rules)]
        named += [reference.table for plan in self.steps for reference in plan.tables]
        return tuple(dict.fromkeys(table for table in named if table is not None))

    @property
    def references(self) -> tuple[Reference, ...]:
        """The lookup files that steps and rules read."""
        of_rules = [rule.reference for rule in self.key_rules if rule.reference is not None]
        return (*(r for plan in self.steps for r in plan.references), *of_rules)

    @property
    def driving(self) -> CheckedSource:
        return self.sources[0]

    @property
    def drivers(self) -> tuple[CheckedSource, ...]:
        """The sources whose records the targets hold: the driving one, and after a union the others too."""
        named = self.targets[0].dataset.drivers if self.targets else ()
        return (self.driving, *(s for s in self.sources[1:] if s.source.id in named))

    @property
    def branches(self) -> Branches:
        """Where its records part, and where each dataset of them that is taken was made."""
        return branches(self.steps, self.targets, [s.source.id for s in self.drivers])

    @property
    def key(self) -> str:
        return f"{self.pipeline.app}/{self.pipeline.id}"


@dataclass(frozen=True, slots=True)
class CheckedApplication:
    name: str
    pipelines: tuple[CheckedPipeline, ...] = ()
    jobs: tuple[JobPipeline, ...] = ()
    zones: tuple[LandingZone, ...] = ()
    keys: tuple[SecretKey, ...] = ()
    workflows: tuple[Workflow, ...] = ()
    calendars: tuple[HolidayCalendar, ...] = ()

    @property
    def workflow_by_pipeline(self) -> Mapping[str, Workflow]:
        """By the pipeline's key, app/id: for whoever goes through all of them."""
        return {f"{self.name}/{name}": workflow for workflow in self.workflows for name in workflow.pipelines}


@dataclass(frozen=True, slots=True)
class Catalog:
    """All applications of a config root, checked together. `sha` identifies the whole set of documents."""

    root: Path
    applications: tuple[CheckedApplication, ...]
    problems: tuple[Any, ...] = field(default=())

    def application(self, name: str) -> CheckedApplication | None:
        return next((a for a in self.applications if a.name == name), None)

    def pipeline(self, app: str, pipeline_id: str) -> CheckedPipeline | None:
        found = self.application(app)
        return next((p for p in found.pipelines if p.pipeline.id == pipeline_id), None) if found else None

    def job(self, app: str, job_id: str) -> JobPipeline | None:
        found = self.application(app)
        return next((j for j in found.jobs if j.id == job_id), None) if found else None

    def workflow(self, pipeline_key: str) -> Workflow | None:
        """The workflow that names the pipeline `app/id`."""
        app, _, pipeline_id = pipeline_key.partition("/")
        found = self.application(app)
        return next((w for w in found.workflows if pipeline_id in w.pipelines), None) if found else None

    def remediation_sla(self, pipeline_key: str) -> str | None:
        """How long a quarantined batch of the pipeline may stay open: its workflow's sla, else its remediationSla."""
        app, _, pipeline_id = pipeline_key.partition("/")
        checked = self.pipeline(app, pipeline_id)
        return remediation_sla(checked, self.workflow(pipeline_key)) if checked else None


def remediation_sla(checked: CheckedPipeline, workflow: Workflow | None) -> str | None:
    """`Catalog.remediation_sla` where pipeline and workflow are at hand."""
    written = workflow.sla if workflow else None
    return written or checked.pipeline.error_policy.remediation_sla
