"""Rules about workflows as written: which pipelines, who decides, by when."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import timedelta

from pipeline_xml.durations import parse_duration
from pipeline_xml.model import ROLES, Application, Workflow
from pipeline_xml.rulebook import Report, catalog_rule

DECIDING = ("steward", "approver")  # an auditor looks and decides nothing


def _workflows(applications: Iterable[Application]) -> Iterable[tuple[Application, Workflow]]:
    return ((a, w) for a in applications for w in a.workflows)


@catalog_rule("LK620")
def known_pipelines(applications: tuple[Application, ...], report: Report) -> None:
    """A workflow names pipelines of its application."""
    for application, workflow in _workflows(applications):
        known = [p.id for p in application.pipelines]
        for name in workflow.pipelines:
            if name not in known and "pipeline" not in application.unread:
                report(f"unknown pipeline '{name}'", workflow.item_place("pipelines", name), known)


@catalog_rule("LK621")
def one_workflow(applications: tuple[Application, ...], report: Report) -> None:
    """A pipeline is in one workflow: what one says of its rejected records, another could contradict."""
    for application in applications:
        seen: dict[str, Workflow] = {}
        for workflow in application.workflows:
            for name in dict.fromkeys(workflow.pipelines):
                if name in seen:
                    first = seen[name]
                    message = f"the pipeline '{name}' is in two workflows, first in '{first.id}' at {first.where}"
                    report(message, workflow.item_place("pipelines", name))
                seen.setdefault(name, workflow)


@catalog_rule("LK622")
def levels_in_order(applications: tuple[Application, ...], report: Report) -> None:
    """Each escalation comes later than the one before it: levels are told one after the other."""
    for _, workflow in _workflows(applications):
        before, written = timedelta(-1), ""
        for level in workflow.escalations:
            after = _length(level.after)
            if after is None:
                continue  # LK142 tells it
            if after <= before:
                hint = "put the levels in the order of their time"
                report(f"level after {level.after} follows the one after {written}", level.place("after"), hint=hint)
            before, written = after, level.after


@catalog_rule("LK623")
def escalation_needs_sla(applications: tuple[Application, ...], report: Report) -> None:
    """Escalations count from the end of an SLA: the workflow's, or the remediationSla of each of its pipelines."""
    for application, workflow in _workflows(applications):
        if workflow.sla is not None or not workflow.escalations:
            continue
        bare = [
            p.id for p in application.pipelines if p.id in workflow.pipelines and p.error_policy.remediation_sla is None
        ]
        if bare:
            message = f"escalations without an SLA: {', '.join(bare)} names no remediationSla either"
            report(message, workflow.escalations[0].where, hint="write <sla>PT48H</sla> in the workflow")


@catalog_rule("LK624")
def known_roles(applications: tuple[Application, ...], report: Report) -> None:
    """Corrections are approved by the roles steward and approver; an auditor looks and decides nothing."""
    for _, workflow in _workflows(applications):
        for role in dict.fromkeys(workflow.approval_roles):
            where = workflow.item_place("roles", role)
            if role not in ROLES:
                report(f"unknown role '{role}' in <approval roles>", where, DECIDING)
            elif role not in DECIDING:
                report(f"the role '{role}' approves nothing", where, DECIDING)


@catalog_rule("LK625")
def somebody_decides(applications: tuple[Application, ...], report: Report) -> None:
    """Where stewards are named, one of them may correct, and another person may approve.

    The approver of a correction is never who made it: with one person alone nothing would ever be approved.
    """
    for _, workflow in _workflows(applications):
        if not workflow.stewards:
            continue
        correct = {s.user for s in workflow.stewards if s.role == "steward"}
        approve = {s.user for s in workflow.stewards if s.role in workflow.approval_roles}
        where = workflow.stewards[0].where
        if not correct:
            report("no <steward> has the role steward: nobody may correct", where)
        if not approve:
            roles = ", ".join(workflow.approval_roles)
            report(f"no <steward> has a role that approves ({roles}): nothing could be approved", where)
        elif correct and len(correct | approve) == 1:
            message = "one person alone corrects and approves: nothing could be approved"
            report(message, where, hint="name another user who approves")


@catalog_rule("LK626", "warning")
def assignment_reached(applications: tuple[Application, ...], report: Report) -> None:
    """The first assignment that fits a batch counts; behind one without rule, or of the same rule, none ever does."""
    for _, workflow in _workflows(applications):
        seen: list[str | None] = []
        for assignment in workflow.assignments:
            if None in seen:
                report("an assignment without rule comes before it: it is never reached", assignment.where)
            elif assignment.rule in seen:
                report(f"the rule '{assignment.rule}' is assigned already", assignment.place("rule"))
            seen.append(assignment.rule)


def _length(written: str) -> timedelta | None:
    try:
        return parse_duration(written)
    except ValueError:
        return None
