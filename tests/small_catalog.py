"""A small checked catalog and a scripted lake, for tests of everything Dagster: no files, no engine."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import date, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

from datalake_assets.work import Announce, OpenWork, Work
from pipeline_xml.checked import (
    Catalog,
    CheckedApplication,
    CheckedPipeline,
    CheckedSource,
    CheckedTarget,
    Column,
    Dataset,
    Reference,
    RowRule,
    StepPlan,
)
from pipeline_xml.contract import Constraints, Contract, Field
from pipeline_xml.expressions import ColumnRef, Expression
from pipeline_xml.location import Location
from pipeline_xml.model import (
    CsvSource,
    CsvTarget,
    ErrorPolicy,
    HiveSource,
    HiveTarget,
    JobPipeline,
    LandingZone,
    Layer,
    Metadata,
    Pipeline,
    PipelineRef,
    Rule,
    Step,
)
from pipeline_xml.types import BOOLEAN, INT, STRING
from publishing.ledger import now
from publishing.outcome import (
    BatchOutcome,
    CheckOutcome,
    Counts,
    FileOutcome,
    PipelineOutcome,
    QuarantineOutcome,
    StepLine,
    TargetOutcome,
    worst,
)
from publishing.standing import Standing
from stewardship.actors import Actor

ROOT = Path("/config")
ORDERS_XML = "applications/shop/staging/pipelines/orders.xml"
METADATA = Metadata(
    where=Location(ORDERS_XML, 2, 3),
    app_name="shop",
    sla="PT2H",
    schedule="0 6 * * *",
    time_zone="Europe/Madrid",
    calendar="TARGET2",
    description="Orders as the shops file them",
    owner="orders@example.com",
    tags=("retail", "daily report"),
    kinds=("register",),
    product_processor="Retail Banking",
    grain="year",
)
ZONE = LandingZone(
    where=Location("applications/shop/staging/resources/landing.xml", 2, 3),
    app="shop",
    id="inbox",
    type="local",
    uri="landing/inbox",
    poll="PT2S",
)
ORDER_FIELDS = (
    Field("id", STRING, nullable=False, description="Order number"),
    Field("amount", INT, constraints=Constraints(minimum=Decimal(0))),
    Field("email", STRING, classification="pii", constraints=Constraints(pattern="@")),
)


def row_rule(rule_id: str, pack: str = "edits", severity: Any = "error", line: int = 3) -> RowRule:
    where = Location("applications/shop/exceptions/rules/edits.xml", line, 3)
    rule = Rule(
        where=where, id=rule_id, kind="satisfies", attributes={}, severity=severity, description=f"Edit {rule_id}",
        owner="edits@example.com", runbook="https://example.com/edits", threshold=0.1,
    )
    expression = Expression("amount > 0", ColumnRef("amount", BOOLEAN), frozenset({"amount"}))
    return RowRule(rule, pack, expression, ("amount",), f"fp-{rule_id}")


def columns(source: str, *names: str) -> tuple[Column, ...]:
    types = {f.name: f for f in ORDER_FIELDS}
    return tuple(
        Column(n, types[n].type, types[n].nullable, types[n].description, types[n].classification,
               frozenset({(source, n)}))
        for n in names
    )


def checked_pipeline(
    pipeline_id: str,
    layer: Layer,
    source: CheckedSource,
    targets: tuple[CheckedTarget, ...],
    *,
    metadata: Metadata = METADATA,
    rules: tuple[RowRule, ...] = (),
    steps: tuple[StepPlan, ...] = (),
    policy: ErrorPolicy | None = None,
) -> CheckedPipeline:
    where = Location(f"applications/shop/{layer}/pipelines/{pipeline_id}.xml", 1, 1)
    pipeline = Pipeline(
        where=where, app="shop", id=pipeline_id, version="1.0", layer=layer, metadata=metadata,
        sources=(source.source,), steps=(), targets=tuple(t.target for t in targets),
        error_policy=policy or ErrorPolicy(where=where, remediation_sla="P5D"),
    )
    return CheckedPipeline(pipeline, (source,), steps, targets, rules, (), f"def-{pipeline_id}", f"rules-{pipeline_id}")


def orders(metadata: Metadata = METADATA, rules: tuple[RowRule, ...] | None = None) -> CheckedPipeline:
    where = Location(ORDERS_XML, 12, 5)
    contract = Contract("orders", ORDER_FIELDS, Location("applications/shop/staging/schemas/orders.json"))
    source = CheckedSource(CsvSource(where=where, id="orders", landing="inbox", pattern=".*"), contract, ZONE)
    target = CheckedTarget(
        HiveTarget(where=Location(ORDERS_XML, 22, 5), table="staging.orders", mode="append"),
        Dataset("orders", columns("orders", "id", "amount", "email"), "orders"),
        ("shop", "staging", "orders"),
    )
    return checked_pipeline(
        "orders", "staging", source, (target,), metadata=metadata,
        rules=(row_rule("E1"), row_rule("E2", severity="warning", line=4)) if rules is None else rules,
    )


def clean() -> CheckedPipeline:
    where = Location("applications/shop/standardization/pipelines/clean.xml", 9, 5)
    contract = Contract("orders", ORDER_FIELDS, where)
    source = CheckedSource(
        HiveSource(where=where, id="o", table="staging.orders"), contract, upstream=("shop", "staging", "orders")
    )
    country = Reference("country", ROOT / "country.csv", Contract("country", (), where, version="7"), "c0ffee")
    joined = Dataset(
        "o", (*columns("o", "id", "amount"), Column("country", STRING, origins=frozenset({("country", "name")}))), "o"
    )
    step = Step(where=where, kind="lookup", attributes={"source": "o", "reference": "country"})
    target = CheckedTarget(
        HiveTarget(where=where, table="standardization.clean", mode="merge"), joined,
        ("shop", "standardization", "clean"), keys=("id",),
    )
    return checked_pipeline(
        "clean", "standardization", source, (target,), metadata=replace(METADATA, schedule=None),
        steps=(StepPlan(step, "lookup", ("o",), joined, None, (country,)),),
    )


def report() -> CheckedPipeline:
    where = Location("applications/shop/service/pipelines/report.xml", 9, 5)
    upstream = ("shop", "standardization", "clean")
    source = CheckedSource(
        HiveSource(where=where, id="c", table="standardization.clean"), Contract("c", (), where), upstream=upstream
    )
    totals = Dataset("totals", (Column("total", INT, origins=frozenset({("c", "amount")})),), "c", per_record=False)
    return checked_pipeline(
        "report", "service", source,
        (
            CheckedTarget(CsvTarget(where=where, path="service/exports"), totals, ("shop", "service", "report_csv")),
            CheckedTarget(
                HiveTarget(where=where, table="service.report", mode="overwrite"), totals, ("shop", "service", "report")
            ),
        ),
        metadata=replace(METADATA, grain="month", schedule="30 7 1 * *"),
    )


def chain(*refs: PipelineRef, schedule: str | None = "0 6 * * *") -> JobPipeline:
    where = Location("applications/shop/service/jobs/nightly.xml", 1, 1)
    return JobPipeline(where=where, app="shop", id="nightly", version="1.0", refs=refs, schedule=schedule)


def ref(pipeline_id: str, *after: str, **more: Any) -> PipelineRef:
    where = Location("applications/shop/service/jobs/nightly.xml", 3, 5)
    return PipelineRef(where=where, id=pipeline_id, depends_on=after, **more)


def catalog(
    pipelines: tuple[CheckedPipeline, ...] | None = None, jobs: tuple[JobPipeline, ...] | None = None
) -> Catalog:
    pipelines = (orders(), clean(), report()) if pipelines is None else pipelines
    if jobs is None:
        jobs = (chain(ref("orders"), ref("clean", "orders"), ref("report", "clean")),)
    return Catalog(ROOT, (CheckedApplication("shop", pipelines, jobs, (ZONE,)),))


def batch(checked: CheckedPipeline, day: str = "2018-12-31", *, passed: bool = True, **more: Any) -> BatchOutcome:
    """Ten in, one quarantined by E1; every rule and platform check evaluated."""
    counts = Counts(in_=10, accepted=9, quarantined=1)
    checks = [CheckOutcome("reconciled", "error", True, 0), CheckOutcome("quarantine_rate", "error", passed, 0)]
    checks += [CheckOutcome(r.rule.id, r.rule.severity, r.rule.id != "E2", 1, "edit") for r in checked.row_rules]
    found = BatchOutcome(
        batch=f"b-{day}", key=f"{day}_{checked.pipeline.id}_9f3a", business_date=day, attempt=1, origin="files",
        status="published", reason=None, counts=counts,
        files=(FileOutcome("file:///lake/landing/inbox/a.csv", "published", None, counts),),
        targets=tuple(
            TargetOutcome("delta", "/".join(t.asset), "/lake/" + "/".join(t.asset), 4, 9) for t in checked.targets
        ),
        checks=tuple(checks), quarantine=QuarantineOutcome("/lake/exceptions", 1),
        steps=(StepLine("aggregate", 9, 3, "one row a group"),), quarantined_by_rule={"E1": 1}, seconds=1.5,
    )
    return replace(found, **more)


def standing(day: str = "2018-12-31", tries: int = 0, **states: int) -> Standing:
    """The batch of `batch` for orders, its oldest record two hours old."""
    return Standing(
        batch=f"b-{day}", key=f"{day}_orders_9f3a", business_date=day, records=sum(states.values()), states=states,
        tries=tries, quarantined_at=now() - timedelta(hours=2),
    )


@dataclass
class ScriptedWork:
    """Plays outcomes by pipeline id, and remembers what it was asked."""

    script: Mapping[str, Callable[[CheckedPipeline], list[BatchOutcome]]] = field(default_factory=dict)
    published: tuple[CheckOutcome, ...] = ()
    asked: list[tuple[str, date | None, bool, str | None]] = field(default_factory=list)
    opened: int = 0
    given: list[tuple[str, dict[str, str]]] = field(default_factory=list)
    actors: list[Actor] = field(default_factory=list)
    before: tuple[Standing, ...] = ()
    after: tuple[Standing, ...] = ()
    closed: tuple[CheckOutcome, ...] = ()

    def run(
        self,
        checked: CheckedPipeline,
        *,
        run_id: str,
        business_date: date | None,
        reprocess: bool,
        claim: str | None,
        announce: Announce,
        parameters: Mapping[str, str],
    ) -> PipelineOutcome:
        self.asked.append((checked.pipeline.id, business_date, reprocess, claim))
        self.given.append((checked.pipeline.id, dict(parameters)))
        batches = [
            b
            for b in self.script.get(checked.pipeline.id, lambda _: [])(checked)
            if business_date is None or b.business_date == business_date.isoformat()
        ]
        for one in batches:
            announce(one)
        return PipelineOutcome(checked.key, worst(b.status for b in batches), tuple(batches))

    def checks(self, checked: CheckedPipeline, business_date: date | None) -> tuple[CheckOutcome, ...]:
        self.asked.append((checked.pipeline.id, business_date, False, "checks"))
        return self.published

    def replay(
        self, checked: CheckedPipeline, *, run_id: str, batch_key: str | None, actor: Actor, announce: Announce
    ) -> PipelineOutcome:
        """Plays the outcomes under `<pipeline>_replay`, and from then on `after` is how the batches stand."""
        self.asked.append((f"{checked.pipeline.id}_replay", None, False, batch_key))
        self.actors.append(actor)
        batches = self.script.get(f"{checked.pipeline.id}_replay", lambda _: [])(checked)
        for one in batches:
            announce(one)
        self.before = self.after or self.before
        return PipelineOutcome(checked.key, worst(b.status for b in batches), tuple(batches))

    def standings(self, checked: CheckedPipeline, keys: Collection[str] | None = None) -> tuple[Standing, ...]:
        return tuple(s for s in self.before if keys is None or s.key in keys)

    def replay_checks(self, checked: CheckedPipeline, batch_key: str) -> tuple[CheckOutcome, ...]:
        self.asked.append((checked.pipeline.id, None, False, f"replay checks of {batch_key}"))
        return self.closed

    @property
    def ran(self) -> list[str]:
        return [pipeline for pipeline, *_ in self.asked]

    def open(self) -> OpenWork:
        @contextmanager
        def opened() -> Iterator[Work]:
            self.opened += 1
            yield self

        return opened
