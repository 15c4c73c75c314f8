"""The second stage: element trees become the frozen model. The XSD has been passed, so forms are right here."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import date
from typing import Any, cast

from pipeline_xml.element import Element
from pipeline_xml.model import (
    DefaultAssignment,
    ErrorPolicy,
    EscalationLevel,
    HolidayCalendar,
    JobPipeline,
    LandingZone,
    Metadata,
    Notification,
    Parameter,
    Pipeline,
    PipelineRef,
    Rule,
    RulePack,
    SecretKey,
    Step,
    StepColumn,
    Steward,
    Workflow,
)
from pipeline_xml.place import items, word_places, words
from pipeline_xml.sources_and_targets import source, target

_RULE_ATTRIBUTES = frozenset({"id", "severity", "threshold", "owner", "runbook", "description"})


def pipeline(root: Element, app: str) -> Pipeline:
    """The pipeline that a `<pipeline>` document describes."""
    sections = {c.tag: c for c in root.children}
    metadata = sections["metadata"]
    steps = sections.get("transformations")
    quality = sections.get("quality")
    return Pipeline(
        app=app,
        id=root.attributes["id"],
        version=root.attributes["version"],
        layer=cast(Any, root.attributes["layer"]),
        metadata=_metadata(metadata),
        sources=tuple(source(e) for e in sections["sources"].children),
        steps=tuple(_step(e) for e in steps.children) if steps else (),
        targets=tuple(target(e) for e in sections["targets"].children),
        error_policy=_error_policy(sections.get("errorPolicy"), root),
        rule_packs=tuple(quality.attributes["rules"].replace(",", " ").split()) if quality else (),
        where=root.where,
        places={**root.all_places(), **({"rules": quality.places["rules"]} if quality else {})},
    )


def _metadata(e: Element) -> Metadata:
    partition = e.child("partition")
    return Metadata(
        app_name=e.value("appName") or "",
        sla=e.value("sla"),
        schedule=e.value("schedule"),
        time_zone=e.value("timeZone") or "UTC",
        calendar=e.value("calendar"),
        description=" ".join((e.value("description") or "").split()),
        owner=e.value("owner") or "",
        tags=items(e.value("tags")),
        kinds=items(e.value("kinds")),
        product_processor=e.value("productProcessor") or "",
        grain=cast(Any, partition.attributes["grain"]) if partition else "day",
        reserved=("retention",) if e.child("retention") else (),
        where=e.where,
        places=e.all_places(),
    )


def _error_policy(e: Element | None, root: Element) -> ErrorPolicy:
    if e is None:
        return ErrorPolicy(where=root.where)
    a = e.attributes
    return ErrorPolicy(
        on_record_error=cast(Any, a.get("onRecordError", "quarantine")),
        on_step_error=cast(Any, a.get("onStepError", "halt")),
        quarantine_topic=a.get("quarantineTopic"),
        remediation_sla=a.get("remediationSla"),
        max_errors=int(a["maxErrors"]) if "maxErrors" in a else None,
        max_error_rate=float(a["maxErrorRate"]) if "maxErrorRate" in a else None,
        max_retries=int(a.get("maxRetries", "0")),
        retry_delay=a.get("retryDelay"),
        explicit=True,
        where=e.where,
        places=e.places,
    )


def _step(e: Element) -> Step:
    columns = tuple(
        StepColumn(
            name=c.attributes.get("name", "").strip(),
            expression=c.attributes.get("expression", c.text).strip(),
            type=c.attributes.get("type"),
            format=c.attributes.get("format"),
            path=c.attributes.get("path"),
            where=c.where,
            places=c.all_places() | ({"expression": c.text_where} if c.text_where else {}),
        )
        for c in e.children
        if c.tag == "column"
    )
    return Step(kind=e.tag, attributes=e.attributes, columns=columns, where=e.where, places=e.places)


def job(root: Element, app: str) -> JobPipeline:
    """The job that a `<jobPipeline>` document describes."""
    sections = {c.tag: c for c in root.children}
    parameters = sections.get("parameters")
    notifications = sections.get("notifications")
    return JobPipeline(
        app=app,
        id=root.attributes["id"],
        version=root.attributes["version"],
        refs=tuple(_ref(e) for e in sections["pipelines"].children),
        schedule=root.value("schedule"),
        time_zone=root.value("timeZone") or "UTC",
        description=" ".join((root.value("description") or "").split()),
        owner=root.value("owner") or "",
        parameters=tuple(_parameter(e) for e in parameters.children) if parameters else (),
        notifications=tuple(_notification(e) for e in notifications.children) if notifications else (),
        where=root.where,
        places=root.all_places(),
    )


def _parameter(e: Element) -> Parameter:
    a = e.attributes
    return Parameter(
        name=a["name"], type=a.get("type", "string"), default=a.get("default"), where=e.where, places=e.places
    )


def _ref(e: Element) -> PipelineRef:
    a = e.attributes
    return PipelineRef(
        id=a["id"],
        depends_on=items(a.get("dependsOn")),
        on_failure=cast(Any, a.get("onFailure", "halt")),
        max_retries=int(a.get("maxRetries", "0")),
        fallback=a.get("fallback"),
        where=e.where,
        places=e.all_places("dependsOn"),
    )


def _notification(e: Element) -> Notification:
    a = e.attributes
    address = a.get("to") or a.get("urlSecretRef") or a.get("url") or ""
    return Notification(kind=cast(Any, e.tag), on=a["on"], address=address, where=e.where, places=e.places)


def rule_pack(root: Element, app: str) -> RulePack:
    """The rules of a `<rulePack>` document; the pack's owner is the owner of rules that name none."""
    return RulePack(
        app=app,
        id=root.attributes["id"],
        rules=tuple(_rule(e, root.attributes.get("owner", "")) for e in root.children),
        where=root.where,
        places=root.places,
    )


def _rule(e: Element, owner: str) -> Rule:
    a = e.attributes
    return Rule(
        id=a["id"],
        kind=e.tag,
        attributes={k: v for k, v in a.items() if k not in _RULE_ATTRIBUTES},
        severity=cast(Any, a.get("severity", "error")),
        threshold=float(a["threshold"]) if "threshold" in a else None,
        owner=a.get("owner", owner),
        runbook=a.get("runbook", ""),
        description=" ".join(a.get("description", "").split()),
        where=e.where,
        places=e.all_places("columns", "values", "on"),
    )


def workflow(root: Element, app: str) -> Workflow:
    """The way back that a `<workflow>` document describes."""
    approval, replay, names = root.child("approval"), root.child("replay"), root.attributes["pipelines"]
    roles = approval.attributes["roles"] if approval else "approver"
    return Workflow(
        app=app,
        id=root.attributes["id"],
        pipelines=words(names),
        description=" ".join((root.value("description") or "").split()),
        owner=root.value("owner") or "",
        assignments=tuple(
            DefaultAssignment(to=a["to"], rule=a.get("rule"), where=e.where, places=e.places)
            for e, a in _children(root, "assignment")
        ),
        approval_roles=words(roles),
        replay=cast(Any, replay.attributes["mode"]) if replay else "manual",
        sla=root.value("sla"),
        escalations=tuple(
            EscalationLevel(after=a["after"], to=a["to"], where=e.where, places=e.places)
            for e, a in _children(root, "escalation")
        ),
        stewards=tuple(
            Steward(user=a["user"], role=cast(Any, a["role"]), where=e.where, places=e.places)
            for e, a in _children(root, "steward")
        ),
        where=root.where,
        places={
            **root.all_places(),
            **word_places("pipelines", names, root.places["pipelines"]),
            **(word_places("roles", roles, approval.places["roles"]) if approval else {}),
            **({"mode": replay.places["mode"]} if replay else {}),
        },
    )


def _children(root: Element, tag: str) -> Iterable[tuple[Element, dict[str, str]]]:
    return ((e, e.attributes) for e in root.children if e.tag == tag)


def resources(
    root: Element, app: str
) -> tuple[tuple[LandingZone, ...], tuple[SecretKey, ...], tuple[HolidayCalendar, ...]]:
    """Landing zones, mask keys and calendars of a `<resources>` document."""
    zones = tuple(_zone(e, app) for e in root.children if e.tag == "landingZone")
    keys = tuple(
        SecretKey(app=app, id=e.attributes["id"], secret_ref=e.attributes["secretRef"], where=e.where, places=e.places)
        for e in root.children
        if e.tag == "maskKey"
    )
    return zones, keys, tuple(_calendar(e, app) for e in root.children if e.tag == "calendar")


def _calendar(e: Element, app: str) -> HolidayCalendar:
    days = frozenset(date.fromisoformat(each.attributes["date"].strip()) for each in e.children)
    return HolidayCalendar(app=app, id=e.attributes["id"], holidays=days, where=e.where, places=e.places)


def _zone(e: Element, app: str) -> LandingZone:
    a = e.attributes
    return LandingZone(
        app=app,
        id=a["id"],
        type=cast(Any, a["type"]),
        uri=a["uri"],
        secret_ref=a.get("secretRef"),
        host_key=a.get("hostKey"),
        endpoint=a.get("endpoint"),
        poll=a.get("poll", "PT30S"),
        settle=a.get("settle", "PT0S"),
        done_marker=a.get("doneMarker"),
        manifest=a.get("manifest"),
        ignore=a.get("ignore"),
        max_files=int(a.get("maxFiles", "1000")),
        max_bytes=int(a.get("maxBytes", str(10 * 1024**3))),
        where=e.where,
        places=e.places,
    )
