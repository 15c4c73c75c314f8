"""What the documents say, as frozen dataclasses. Every node knows where it stands and where each attribute stands."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import date
from functools import cached_property
from typing import Literal

from pipeline_xml.file_sources import Control as Control  # the model is one: these are named with the others
from pipeline_xml.file_sources import CsvSource as CsvSource
from pipeline_xml.file_sources import Delivery as Delivery
from pipeline_xml.file_sources import FileSource as FileSource
from pipeline_xml.file_sources import JsonSource as JsonSource
from pipeline_xml.file_sources import ParquetSource as ParquetSource
from pipeline_xml.file_sources import Total as Total
from pipeline_xml.node import Node as Node

Layer = Literal["staging", "standardization", "service"]
LAYERS: tuple[Layer, ...] = ("staging", "standardization", "service")
Grain = Literal["day", "month", "quarter", "year"]
Role = Literal["steward", "approver", "auditor"]
ROLES: tuple[Role, ...] = ("steward", "approver", "auditor")


@dataclass(frozen=True, slots=True, kw_only=True)
class Metadata(Node):
    app_name: str
    sla: str | None = None
    schedule: str | None = None
    time_zone: str = "UTC"
    calendar: str | None = None
    description: str = ""
    owner: str = ""
    tags: tuple[str, ...] = ()
    kinds: tuple[str, ...] = ()
    product_processor: str = ""
    grain: Grain = "day"
    reserved: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class ErrorPolicy(Node):
    """`explicit` is False where the document has no errorPolicy: some findings are then warnings."""

    on_record_error: Literal["quarantine", "skip"] = "quarantine"
    on_step_error: Literal["retry", "halt"] = "halt"
    quarantine_topic: str | None = None
    remediation_sla: str | None = None
    max_errors: int | None = None
    max_error_rate: float | None = None
    max_retries: int = 0
    retry_delay: str | None = None
    explicit: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class HiveSource(Node):
    """A lake table read as a source: `layer.table` of this application or `app.layer.table` of another."""

    id: str
    table: str
    read: Literal["partition", "full", "changes"] = "full"
    schema_ref: str | None = None
    load_policy: Literal["eager", "onDemand"] = "eager"


@dataclass(frozen=True, slots=True, kw_only=True)
class OtherSource(Node):
    """A source of a kind that is read and checked, and runs in a later version: database, kafka, api."""

    kind: str
    id: str
    attributes: Mapping[str, str] = field(default_factory=dict)
    schema_ref: str | None = None
    sql: str | None = None


Source = FileSource | HiveSource | OtherSource


@dataclass(frozen=True, slots=True, kw_only=True)
class StepColumn(Node):
    """A `<column>` child of a step: `expression` of a derive, `type` and `format` of a cast, `path` of a flatten."""

    name: str
    expression: str
    type: str | None = None
    format: str | None = None
    path: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Step(Node):
    """A transformation as written. `kind` is the element's name; the registry of transformations knows its meaning."""

    kind: str
    attributes: Mapping[str, str]
    columns: tuple[StepColumn, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class HiveTarget(Node):
    """`keys` and `order_by` default to the contract's x-primaryKey and x-orderBy."""

    table: str
    mode: Literal["append", "overwrite", "merge"]
    source: str | None = None
    partition_by: tuple[str, ...] = ()
    format: Literal["delta", "parquet", "orc"] = "delta"
    schema_ref: str | None = None
    keys: tuple[str, ...] = ()
    order_by: tuple[str, ...] = ()
    schema_evolution: Literal["none", "addColumns"] = "none"
    reserved: tuple[str, ...] = ()  # attributes written that this version refuses


@dataclass(frozen=True, slots=True, kw_only=True)
class CsvTarget(Node):
    path: str
    mode: Literal["append", "overwrite", "ignore", "error"] = "overwrite"
    compression: Literal["gzip", "bzip2", "snappy", "none"] = "none"
    source: str | None = None
    header: bool = True
    delimiter: str = ","

    @property
    def kind(self) -> str:
        return "csv"


@dataclass(frozen=True, slots=True, kw_only=True)
class OtherTarget(Node):
    kind: str
    id: str
    attributes: Mapping[str, str] = field(default_factory=dict)
    source: str | None = None
    schema_ref: str | None = None

    @property
    def mode(self) -> str:
        return self.attributes.get("mode", "append")


Target = HiveTarget | CsvTarget | OtherTarget


@dataclass(frozen=True, slots=True, kw_only=True)
class Pipeline(Node):
    """One pipeline document. `app` is the application's folder, not what `<appName>` says."""

    app: str
    id: str
    version: str
    layer: Layer
    metadata: Metadata
    sources: tuple[Source, ...]
    steps: tuple[Step, ...]
    targets: tuple[Target, ...]
    error_policy: ErrorPolicy
    rule_packs: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule(Node):
    """One rule of a pack. `kind` is the element's name (notNull, in, between, satisfies, rowCount, …)."""

    id: str
    kind: str
    attributes: Mapping[str, str]
    severity: Literal["error", "warning"] = "error"
    threshold: float | None = None
    owner: str = ""
    runbook: str = ""
    description: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class RulePack(Node):
    app: str
    id: str
    rules: tuple[Rule, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class PipelineRef(Node):
    id: str
    depends_on: tuple[str, ...] = ()
    on_failure: Literal["retry", "halt", "skip", "continue", "fallback"] = "halt"
    max_retries: int = 0
    fallback: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Notification(Node):
    kind: Literal["email", "webhook"]
    on: str
    address: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Parameter(Node):
    """A value that a run of the job may give, and expressions read as `:name`. `type` is as written."""

    name: str
    type: str = "string"
    default: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class JobPipeline(Node):
    app: str
    id: str
    version: str
    refs: tuple[PipelineRef, ...]
    schedule: str | None = None
    time_zone: str = "UTC"
    description: str = ""
    owner: str = ""
    parameters: tuple[Parameter, ...] = ()
    notifications: tuple[Notification, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class LandingZone(Node):
    """Where files arrive. `poll` and `settle` are ISO-8601 durations; for type `local` the uri is a folder.

    `host_key` is the SFTP server's: a public key line or SHA256:<fingerprint>; `endpoint` the URL of an S3 server.
    `manifest`: names, with * and ?, of files that list others.
    """

    app: str
    id: str
    type: Literal["local", "sftp", "s3"]
    uri: str
    secret_ref: str | None = None
    poll: str = "PT30S"
    settle: str = "PT0S"
    host_key: str | None = None
    endpoint: str | None = None
    done_marker: str | None = None
    manifest: str | None = None
    ignore: str | None = None
    max_files: int = 1000
    max_bytes: int = 10 * 1024**3


@dataclass(frozen=True, slots=True, kw_only=True)
class HolidayCalendar(Node):
    """`<calendar id>` in resources: the days on which nothing is expected."""

    app: str
    id: str
    holidays: frozenset[date]


@dataclass(frozen=True, slots=True, kw_only=True)
class SecretKey(Node):
    """`<maskKey id secretRef/>` in resources: the key that masks use; its value stays in the secret store."""

    app: str
    id: str
    secret_ref: str


@dataclass(frozen=True, slots=True, kw_only=True)
class DefaultAssignment(Node):
    """Who looks after a batch in which `rule` rejected records; without a rule, after any batch."""

    to: str
    rule: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class EscalationLevel(Node):
    """Who is told when a batch is still open that long (an ISO-8601 duration) after its SLA passed."""

    after: str
    to: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Steward(Node):
    user: str
    role: Role


@dataclass(frozen=True, slots=True, kw_only=True)
class Workflow(Node):
    """The way back of what some pipelines of one application quarantine.

    The first assignment that fits a batch counts. `sla` runs from the moment a batch was quarantined; without it, each
    pipeline's remediationSla. `escalations` are levels 1, 2, … Without `stewards` everybody is steward and approver.
    """

    app: str
    id: str
    pipelines: tuple[str, ...]
    description: str = ""
    owner: str = ""
    assignments: tuple[DefaultAssignment, ...] = ()
    approval_roles: tuple[str, ...] = ("approver",)
    replay: Literal["manual", "onApproval"] = "manual"
    sla: str | None = None
    escalations: tuple[EscalationLevel, ...] = ()
    stewards: tuple[Steward, ...] = ()

    def assignee(self, rules: Collection[str]) -> str | None:
        """Who looks after a batch whose records those rules rejected; `contract` stands for all of `contract.…`."""
        return next((a.to for a in self.assignments if a.rule is None or _one_is(a.rule, rules)), None)


def _one_is(name: str, rules: Iterable[str]) -> bool:
    return any(rule == name or rule.startswith(f"{name}.") for rule in rules)


@dataclass(frozen=True)
class Application:
    """`unread` are the kinds of documents of which one could not be read: a name that is missing may stand there."""

    name: str
    pipelines: tuple[Pipeline, ...] = ()
    jobs: tuple[JobPipeline, ...] = ()
    packs: tuple[RulePack, ...] = ()
    zones: tuple[LandingZone, ...] = ()
    keys: tuple[SecretKey, ...] = ()
    workflows: tuple[Workflow, ...] = ()
    unread: frozenset[str] = frozenset()
    calendars: tuple[HolidayCalendar, ...] = ()

    @cached_property
    def pipelines_by_id(self) -> Mapping[str, Pipeline]:
        return {each.id: each for each in self.pipelines}

    @cached_property
    def packs_by_id(self) -> Mapping[str, RulePack]:
        return {each.id: each for each in self.packs}

    @cached_property
    def parameters(self) -> Mapping[str, Mapping[str, Parameter]]:
        """By pipeline, as a fallback too: the parameters of the jobs that run it by name; of several the first."""
        found: dict[str, dict[str, Parameter]] = {}
        for job in self.jobs:
            for name in {name for ref in job.refs for name in (ref.id, ref.fallback) if name}:
                for parameter in job.parameters:
                    found.setdefault(name, {}).setdefault(parameter.name, parameter)
        return found
