"""What `lake explain` says of the way back of a pipeline: its workflow, and how corrected records come in."""

from __future__ import annotations

from typing import Any

from rich.console import Console
from rich.text import Text

from pipeline_xml.check_workflows import no_replay
from pipeline_xml.checked import CheckedPipeline, remediation_sla
from pipeline_xml.model import Workflow
from stewardship.actors import APPROVER


def explain_way_back(checked: CheckedPipeline, workflow: Workflow | None) -> dict[str, Any]:
    """Plain data. Without a workflow: what holds then."""
    return {
        "workflow": workflow.id if workflow else None,
        "where": str(workflow.where) if workflow else None,
        "description": workflow.description if workflow else "",
        "owner": (workflow.owner if workflow else "") or checked.pipeline.metadata.owner,
        "assignments": [{"rule": a.rule, "to": a.to} for a in (workflow.assignments if workflow else ())],
        "approval_roles": list(workflow.approval_roles if workflow else (APPROVER,)),
        "stewards": [{"user": s.user, "role": s.role} for s in (workflow.stewards if workflow else ())],
        "replay": workflow.replay if workflow else "manual",
        "comes_back": _comes_back(checked),
        "sla": remediation_sla(checked, workflow),
        "escalations": [{"after": e.after, "to": e.to} for e in (workflow.escalations if workflow else ())],
    }


def _comes_back(checked: CheckedPipeline) -> str:
    from publishing.replay import replays_by_attempt

    if why := no_replay(checked):
        return f"never: {why}"
    return "by the next attempt of its batch" if replays_by_attempt(checked) else "in a batch of its own"


def print_way_back(console: Console, said: dict[str, Any]) -> None:
    """The same for a person."""
    title = f"workflow {said['workflow']} · {said['where']}" if said["workflow"] else "no workflow"
    console.print()
    console.print(Text(f"way back · {title}", "bold"), soft_wrap=True)
    lines = [said["description"]] if said["description"] else []
    lines += [f"a corrected record comes back {said['comes_back']}; replay {said['replay']}"]
    lines += [f"assigned to {a['to']}: {a['rule'] or 'what no rule before names'}" for a in said["assignments"]]
    lines += [f"approved by {', '.join(said['approval_roles'])}, never by who corrected"]
    lines += [f"{s['role']} {s['user']}" for s in said["stewards"]] or ["everybody is steward and approver"]
    lines += [f"due {said['sla']} after it was quarantined" if said["sla"] else "due at no time"]
    lines += [f"{e['after']} later {e['to']} is told" for e in said["escalations"]]
    for line in lines:
        console.print(Text(f"  {line}"), soft_wrap=True)
